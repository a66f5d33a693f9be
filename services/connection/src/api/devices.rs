//! Registering devices for push. Only their form is checked here: the rest is the push service's.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use protocol::push::{Devices, PushInfo, RegisterDevice};
use protocol::rpc::{self, ListDevices, ReadPushInfo, RemoveDevice};
use protocol::{Code, Refusal, limits};

use super::caller::{Caller, Json, TokenCaller};
use super::conversations::DEADLINE;
use super::problem::Problem;
use crate::app::App;
use crate::token::is_device_id;

/// `POST /v1/devices`
pub async fn register(
    State(app): State<Arc<App>>,
    TokenCaller(caller): TokenCaller,
    Json(device): Json<RegisterDevice>,
) -> Result<Response, Problem> {
    check(&device)?;
    if caller.device_id.is_some_and(|id| id != device.device_id) {
        return Err(Refusal::new(Code::Forbidden, "this token is another device's").into());
    }
    let request = rpc::RegisterDevice {
        user_id: caller.user_id,
        device,
    };
    let registered = bus::rpc::call(app.hub.log.bus(), &request, DEADLINE).await?;
    let status = if registered.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Body(registered.device)).into_response())
}

/// `GET /v1/devices`
pub async fn list(State(app): State<Arc<App>>, Caller(user_id): Caller) -> Result<Body<Devices>, Problem> {
    let request = ListDevices { user_id };
    Ok(Body(bus::rpc::call(app.hub.log.bus(), &request, DEADLINE).await?))
}

/// `DELETE /v1/devices/{device_id}`
pub async fn remove(
    State(app): State<Arc<App>>,
    Caller(user_id): Caller,
    Path(device_id): Path<String>,
) -> Result<StatusCode, Problem> {
    if !is_device_id(&device_id) {
        return Err(Refusal::new(Code::NotFound, "no such device of yours").into());
    }
    let request = RemoveDevice { user_id, device_id };
    bus::rpc::call(app.hub.log.bus(), &request, DEADLINE).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/push`
pub async fn info(State(app): State<Arc<App>>, Caller(_): Caller) -> Result<Body<PushInfo>, Problem> {
    Ok(Body(
        bus::rpc::call(app.hub.log.bus(), &ReadPushInfo {}, DEADLINE).await?,
    ))
}

/// Names the field that is wrong, and never what stands in it: one of them is a secret.
fn check(device: &RegisterDevice) -> Result<(), Refusal> {
    let invalid = |text: String| Err(Refusal::invalid(text));
    if !is_device_id(&device.device_id) {
        return invalid("`device_id` must be 1 to 128 bytes".into());
    }
    let token = &device.token.0;
    if token.trim().is_empty() || token.len() > limits::PUSH_TOKEN_BYTES {
        let most = limits::PUSH_TOKEN_BYTES;
        return invalid(format!("`token` must be 1 to {most} bytes, and not blank"));
    }
    if device
        .app_id
        .as_ref()
        .is_some_and(|it| it.is_empty() || it.len() > limits::APP_ID_BYTES)
    {
        return invalid(format!("`app_id` must be 1 to {} bytes", limits::APP_ID_BYTES));
    }
    let is_letter = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
    let is_locale = |it: &String| (1..=limits::LOCALE_BYTES).contains(&it.len()) && it.bytes().all(is_letter);
    if device.locale.as_ref().is_some_and(|it| !is_locale(it)) {
        let most = limits::LOCALE_BYTES;
        return invalid(format!(
            "`locale` must be a language tag of 1 to {most} letters, digits, `-`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Whether a registration with a field like this is taken.
    fn takes(field: &str, value: Value) -> bool {
        let mut body = json!({"device_id": "phone-1", "platform": "apns", "token": "ab"});
        body[field] = value;
        check(&serde_json::from_value(body).unwrap()).is_ok()
    }

    #[test]
    fn a_registration_is_bounded_in_every_field() {
        for (field, most) in [("device_id", 128), ("token", 8_192), ("app_id", 255), ("locale", 35)] {
            assert!(takes(field, "x".repeat(most).into()), "{field}");
            assert!(!takes(field, "x".repeat(most + 1).into()), "{field}");
            assert!(!takes(field, "".into()), "{field}");
        }
    }

    #[test]
    fn a_blank_token_is_none_and_a_subscription_is_one() {
        assert!(!takes("token", " \n".into()));
        assert!(takes(
            "token",
            json!({"endpoint": "https://push.example/1", "keys": {"p256dh": "x", "auth": "y"}})
        ));
    }

    #[test]
    fn a_locale_is_a_language_tag() {
        assert!(takes("locale", "pt-BR".into()) && takes("locale", "zh_Hant".into()));
        assert!(!takes("locale", "de.UTF-8".into()) && !takes("locale", "d\u{e9}".into()));
    }
}

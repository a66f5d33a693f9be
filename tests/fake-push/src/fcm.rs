//! Google's `POST /v1/projects/{project}/messages:send`: who may send, to what, and Google's answers.
//!
//! Left out: topics and conditions, quotas (a script plays them), and what is forwarded to Apple or to browsers.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::answer::{self, Arrived, Outcome, Verdict};
use crate::fcm_message::{self, Message};
use crate::google::{bad_request, error, error_info, fcm_error};
use crate::options::{PROJECT, Provider};
use crate::proto_json::Wrong;
use crate::shown::Shown;
use crate::world::World;

const BEFORE_PROJECT: &str = "/v1/projects/";
const AFTER_PROJECT: &str = "/messages:send";

/// The device token that the body names.
pub(crate) fn target(request: &Arrived) -> String {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    body["message"]["token"].as_str().unwrap_or_default().to_owned()
}

/// Judges a whole request.
pub(crate) fn judge(world: &World, request: &Arrived) -> Verdict {
    let path = request.uri.path().strip_prefix(BEFORE_PROJECT);
    let project = path.and_then(|it| it.strip_suffix(AFTER_PROJECT));
    let Some(project) = project.filter(|it| request.method == Method::POST && !it.is_empty()) else {
        let response = error(
            StatusCode::NOT_FOUND,
            "The requested URL was not found on this server.",
            &[],
        );
        return Verdict::refused(response, "path");
    };
    if let Err((message, reason)) = authorize(world, request) {
        let response = error(StatusCode::UNAUTHORIZED, message, &[error_info(reason)]);
        let response = answer::with(
            response,
            "www-authenticate",
            r#"Bearer realm="https://accounts.google.com/""#,
        );
        return Verdict::refused(response, reason);
    }
    let message = match fcm_message::check(&request.body) {
        Ok(message) => message,
        Err(wrong) => return invalid(&wrong),
    };
    if project != PROJECT {
        let details = [fcm_error("SENDER_ID_MISMATCH")];
        let response = error(StatusCode::FORBIDDEN, "SenderId mismatch", &details);
        return Verdict::refused(response, "SENDER_ID_MISMATCH");
    }
    if world.devices.gone_since(&message.token).is_some() {
        let details = [fcm_error("UNREGISTERED")];
        let response = error(StatusCode::NOT_FOUND, "Requested entity was not found.", &details);
        return Verdict::gone(response, "UNREGISTERED");
    }
    accepted(world, request, project, message)
}

/// The message and the reason of a 401.
fn authorize(world: &World, request: &Arrived) -> Result<(), (&'static str, &'static str)> {
    let Some(token) = request.bearer() else {
        return Err((
            "Request is missing required authentication credential.",
            "CREDENTIALS_MISSING",
        ));
    };
    if world.grants.is_valid(token, request.at) {
        return Ok(());
    }
    Err((
        "Request had invalid authentication credentials.",
        "ACCESS_TOKEN_TYPE_UNSUPPORTED",
    ))
}

fn invalid(wrong: &Wrong) -> Verdict {
    let field = bad_request(&wrong.field, &wrong.description);
    let details = match wrong.malformed {
        // Google's front end refuses it, before FCM sees it.
        true => vec![field],
        false => vec![fcm_error("INVALID_ARGUMENT"), field],
    };
    let response = error(StatusCode::BAD_REQUEST, &wrong.description, &details);
    Verdict::refused(
        response,
        format!("INVALID_ARGUMENT {}: {}", wrong.field, wrong.description),
    )
}

fn accepted(world: &World, request: &Arrived, project: &str, message: Message) -> Verdict {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("projects/{project}/messages/0:{}%{}", request.at.as_millis(), &id[..16]);
    let response = answer::json(StatusCode::OK, &json!({ "name": name }));
    let wanted = world.records.is_kept() && !message.validate_only;
    let shown = wanted.then(|| {
        let mut shown = Shown::new(Provider::Fcm, request.at);
        shown.app = project.to_owned();
        shown.id = name;
        message.show(&mut shown);
        Box::new(shown)
    });
    Verdict {
        response,
        outcome: Outcome::Accepted(shown),
    }
}

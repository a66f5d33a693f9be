//! `GET /v1/ws`: the upgrade. Everything after it is the session's.
//!
//! Done here rather than by axum's own extractor, so that the socket is the bare TCP stream with a read buffer of our
//! size: an idle connection then costs a few KiB instead of a hundred.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use protocol::client_frame::{AppState, Auth};
use protocol::{Code, Refusal, limits};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::caller::{Fields, bearer};
use super::origin;
use super::problem::Problem;
use crate::app::App;
use crate::listener::AcceptedAt;
use crate::session::{Meter, handshake};

/// Idle sockets are many and small frames the rule: a kibibyte (measured: 5.5 KiB a socket instead of 136).
const READ_BUFFER: usize = 1024;
/// Larger than what a session hands over between two flushes, so that handing over never writes.
const WRITE_BUFFER: usize = 256 * 1024;

/// Upgrades a connection, whatever its token says: a browser sees close codes, not failed upgrades.
pub async fn upgrade(
    State(app): State<Arc<App>>,
    Extension(AcceptedAt(accepted_at)): Extension<AcceptedAt>,
    fields: Fields,
    mut request: Request,
) -> Result<Response, Problem> {
    app.drain.admit()?;
    let headers = request.headers();
    if !origin::is_allowed(headers, &app.settings.allowed_origins) {
        return Err(Refusal::new(
            Code::Forbidden,
            "this origin may not connect: PARLEY_HTTP__ALLOWED_ORIGINS",
        )
        .into());
    }
    let Some(accept) = accept_key(request.method(), headers) else {
        return Ok(not_an_upgrade());
    };
    let upgrade_said = handshake::Upgrade {
        offered: offered(&app, headers, &fields),
        accepted_at,
        traceparent: super::traceparent(headers),
    };
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Ok(not_an_upgrade());
    };
    let tasks = app.drain.tasks.clone();
    tasks.spawn(async move {
        match upgrade.await {
            Ok(upgraded) => serve(app, upgraded, upgrade_said).await,
            Err(error) => tracing::debug!(%error, "an upgrade failed"),
        }
    });
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

fn not_an_upgrade() -> Response {
    let problem = Problem(Refusal::invalid("this is a WebSocket of version 13: connect with one"));
    let mut response = problem.with_status(StatusCode::UPGRADE_REQUIRED);
    response
        .headers_mut()
        .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response
        .headers_mut()
        .insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// The answer to the client's key, if the request is a WebSocket's (RFC 6455 §4.2.1).
fn accept_key(method: &Method, headers: &HeaderMap) -> Option<HeaderValue> {
    let lists = |name: header::HeaderName, token: &str| {
        let values = headers
            .get_all(name)
            .into_iter()
            .filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .any(|it| it.trim().eq_ignore_ascii_case(token))
    };
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|it| it == "13");
    let asked = method == Method::GET && lists(header::CONNECTION, "upgrade") && lists(header::UPGRADE, "websocket");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asked && version)?;
    HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()
}

/// What the request itself brings in place of an `auth` frame, or what is wrong with it.
fn offered(app: &App, headers: &HeaderMap, fields: &Fields) -> Option<Result<Auth, Refusal>> {
    let query = fields.text("token").filter(|_| app.settings.query_token);
    let token = bearer(headers).or(query)?.to_owned();
    let state = match fields.text("state") {
        None => None,
        Some("foreground") => Some(AppState::Foreground),
        Some("background") => Some(AppState::Background),
        Some(_) => return Some(Err(Refusal::invalid("`state` is `foreground` or `background`"))),
    };
    let text = |name: &str| fields.text(name).map(str::to_owned);
    Some(Ok(Auth {
        token,
        device_id: text("device_id"),
        resume: text("resume"),
        state,
    }))
}

async fn serve(app: Arc<App>, upgraded: Upgraded, said: handshake::Upgrade) {
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        tracing::error!("an upgraded connection is not the listener's own");
        return;
    };
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = READ_BUFFER;
    config.write_buffer_size = WRITE_BUFFER;
    config.max_message_size = Some(limits::FRAME_BYTES);
    config.max_frame_size = Some(limits::FRAME_BYTES);
    let stream = Meter::new(parts.io.into_inner());
    let early = parts.read_buf.to_vec();
    let ws = WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await;
    handshake::serve(app, ws, said).await;
}

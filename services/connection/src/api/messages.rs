//! The history of a conversation, and sending over HTTP.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use protocol::client_frame::MessageSend;
use protocol::http::History;
use protocol::limits::{HISTORY_DEFAULT, HISTORY_MOST};
use protocol::rpc::{ReadHistory, SendMessage};
use protocol::server_frame::MessageAck;
use protocol::{Code, ConversationId, Refusal, ServerId};
use tokio::time::Instant;

use super::caller::{Caller, Fields, Json, TokenCaller};
use super::conversations::DEADLINE;
use super::problem::Problem;
use crate::app::App;
use crate::session::frames::too_often;

/// `GET /v1/conversations/{id}/messages`
pub async fn history(
    State(app): State<Arc<App>>,
    Caller(user_id): Caller,
    Path(conversation_id): Path<String>,
    fields: Fields,
) -> Result<Body<History>, Problem> {
    let limit = fields.limit(HISTORY_DEFAULT, HISTORY_MOST)?;
    let (before, after) = (fields.number("before")?, fields.number("after")?);
    let request = ReadHistory {
        user_id,
        conversation_id,
        before,
        after,
        limit,
    };
    Ok(Body(bus::rpc::call(app.hub.log.bus(), &request, DEADLINE).await?))
}

/// `POST /v1/conversations/{id}/messages`
pub async fn send(
    State(app): State<Arc<App>>,
    TokenCaller(caller): TokenCaller,
    Path(conversation): Path<String>,
    headers: HeaderMap,
    Json(mut send): Json<MessageSend>,
) -> Result<Response, Problem> {
    let came = Instant::now();
    let limited = app.http_sends.lock().take(&caller.user_id, Instant::now());
    limited.map_err(|refused| {
        metrics::counter!("parley_rate_limited_total", "transport" => "http").increment(1);
        too_often(refused.retry_after_ms)
    })?;
    let conversation_id = ConversationId::parse(&conversation).ok_or_else(Refusal::no_conversation)?;
    send.conversation_id = conversation;
    let client_id = send.client_id.clone();
    let request = SendMessage {
        user_id: caller.user_id,
        sender_name: caller.name,
        traceparent: telemetry::trace::current().or_else(|| super::traceparent(&headers)),
        send,
    };
    let sent = bus::rpc::call(app.hub.log.bus(), &request, DEADLINE).await;
    match &sent {
        Ok(_) => crate::metrics::ACKS_HTTP.record(came.elapsed()),
        Err(refusal) if matches!(refusal.code, Code::Unavailable | Code::Internal) => {
            metrics::counter!("parley_send_failures_total", "transport" => "http", "code" => refusal.code.as_str())
                .increment(1);
        }
        Err(_) => {}
    }
    let sent = sent?;
    app.hub.lanes[app.hub.lane_of(&conversation_id)].note(sent.position);
    let status = if sent.duplicate {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let ack = MessageAck {
        client_id,
        server_id: ServerId {
            conversation_id: conversation_id.clone(),
            seq: sent.seq,
        },
        conversation_id,
        seq: sent.seq,
        timestamp: sent.timestamp,
        duplicate: sent.duplicate,
        reference: None,
    };
    Ok((status, Body(ack)).into_response())
}

//! Creating, reading and listing conversations: all of it decided and stored by the message service.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use protocol::http::{Conversation, Conversations, CreateConversation};
use protocol::limits::{CONVERSATIONS_DEFAULT, CONVERSATIONS_MOST};
use protocol::rpc::{Create, ListConversations, ReadConversation};

use super::caller::{Caller, Fields, Json};
use super::problem::Problem;
use crate::app::App;

/// Within the two seconds in which the contract wants an answer.
pub(super) const DEADLINE: Duration = Duration::from_millis(1_900);
/// A group of thousands is thousands of memberships to store.
const CREATE_DEADLINE: Duration = Duration::from_secs(8);

/// `POST /v1/conversations`
pub async fn create(
    State(app): State<Arc<App>>,
    Caller(user_id): Caller,
    Json(body): Json<CreateConversation>,
) -> Result<Response, Problem> {
    let within = if body.members.len() > 100 {
        CREATE_DEADLINE
    } else {
        DEADLINE
    };
    let created = bus::rpc::call(app.hub.log.bus(), &Create { user_id, body }, within).await?;
    let status = if created.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Body(created.conversation)).into_response())
}

/// `GET /v1/conversations`
pub async fn list(
    State(app): State<Arc<App>>,
    Caller(user_id): Caller,
    fields: Fields,
) -> Result<Body<Conversations>, Problem> {
    let limit = fields.limit(CONVERSATIONS_DEFAULT, CONVERSATIONS_MOST)?;
    let next = fields.text("next").map(str::to_owned);
    let request = ListConversations { user_id, limit, next };
    Ok(Body(bus::rpc::call(app.hub.log.bus(), &request, DEADLINE).await?))
}

/// `GET /v1/conversations/{id}`
pub async fn read(
    State(app): State<Arc<App>>,
    Caller(user_id): Caller,
    Path(conversation_id): Path<String>,
) -> Result<Body<Conversation>, Problem> {
    let request = ReadConversation {
        user_id,
        conversation_id,
    };
    Ok(Body(bus::rpc::call(app.hub.log.bus(), &request, DEADLINE).await?))
}

//! Changing a conversation and its members, and listing them: decided by the message service.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Body;
use axum::extract::{Path, State};
use http::StatusCode;
use protocol::http::{AddMembers, Conversation, Members, SetRole, UpdateConversation};
use protocol::limits::{MEMBERS_DEFAULT, MEMBERS_MOST};
use protocol::rpc::{Change, ChangeConversation, ListMembers};
use protocol::{Code, Refusal, UserId};

use super::caller::{Caller, Fields, Json};
use super::conversations::DEADLINE;
use super::problem::Problem;
use crate::app::App;

/// Thousands of new members are thousands of memberships to store.
const MANY_DEADLINE: Duration = Duration::from_secs(8);
const MANY: usize = 100;

/// `PATCH /v1/conversations/{id}`
pub async fn update(
    State(app): State<Arc<App>>,
    Caller(user_id): Caller,
    Path(conversation_id): Path<String>,
    Json(body): Json<UpdateConversation>,
) -> Result<Body<Conversation>, Problem> {
    changed(&app, user_id, conversation_id, Change::Update(body)).await
}

/// `POST /v1/conversations/{id}/members`
pub async fn add(
    State(app): State<Arc<App>>,
    Caller(user_id): Caller,
    Path(conversation_id): Path<String>,
    Json(body): Json<AddMembers>,
) -> Result<Body<Conversation>, Problem> {
    changed(&app, user_id, conversation_id, Change::Add(body.members)).await
}

/// `PATCH /v1/conversations/{id}/members/{user_id}`
pub async fn set_role(
    State(app): State<Arc<App>>,
    Caller(user_id): Caller,
    Path((conversation_id, member)): Path<(String, String)>,
    Json(body): Json<SetRole>,
) -> Result<Body<Conversation>, Problem> {
    let member = parse(&member)?;
    changed(&app, user_id, conversation_id, Change::SetRole(member, body.role)).await
}

/// `DELETE /v1/conversations/{id}/members/{user_id}`
pub async fn remove(
    State(app): State<Arc<App>>,
    Caller(user_id): Caller,
    Path((conversation_id, member)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let member = parse(&member)?;
    change(&app, user_id, conversation_id, Change::Remove(member)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/conversations/{id}/members`
pub async fn list(
    State(app): State<Arc<App>>,
    Caller(user_id): Caller,
    Path(conversation_id): Path<String>,
    fields: Fields,
) -> Result<Body<Members>, Problem> {
    let request = ListMembers {
        user_id,
        conversation_id,
        limit: fields.limit(MEMBERS_DEFAULT, MEMBERS_MOST)?,
        next: fields.text("next").map(str::to_owned),
        read: fields.number("read")?,
        delivered: fields.number("delivered")?,
    };
    Ok(Body(bus::rpc::call(app.hub.log.bus(), &request, DEADLINE).await?))
}

/// Nobody with such an id can be a member.
fn parse(member: &str) -> Result<UserId, Refusal> {
    UserId::parse(member).ok_or_else(|| Refusal::new(Code::NotFound, "no such member of this conversation"))
}

async fn changed(app: &App, user: UserId, id: String, change_: Change) -> Result<Body<Conversation>, Problem> {
    let conversation = change(app, user, id, change_).await?;
    // Only who leaves cannot see what became of it.
    Ok(Body(conversation.ok_or_else(Refusal::no_conversation)?))
}

async fn change(
    app: &App,
    user_id: UserId,
    conversation_id: String,
    change: Change,
) -> Result<Option<Conversation>, Refusal> {
    let many = matches!(&change, Change::Add(members) if members.len() > MANY);
    let request = ChangeConversation {
        user_id,
        conversation_id,
        change,
    };
    let within = if many { MANY_DEADLINE } else { DEADLINE };
    bus::rpc::call(app.hub.log.bus(), &request, within).await
}

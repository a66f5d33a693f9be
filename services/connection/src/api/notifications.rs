//! What a user wants to be notified of: in all conversations, and in one.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::{Path, State};
use protocol::UserId;
use protocol::push::{ConversationNotifications, Notifications, UpdateConversationNotifications, UpdateNotifications};
use protocol::rpc::{SetConversationNotifications, SetNotifications};

use super::caller::{Caller, Json};
use super::conversations::DEADLINE;
use super::problem::Problem;
use crate::app::App;

/// `GET /v1/notifications`
pub async fn read(State(app): State<Arc<App>>, Caller(user): Caller) -> Result<Body<Notifications>, Problem> {
    of_all(&app, user, None).await
}

/// `PATCH /v1/notifications`
pub async fn update(
    State(app): State<Arc<App>>,
    Caller(user): Caller,
    Json(update): Json<UpdateNotifications>,
) -> Result<Body<Notifications>, Problem> {
    of_all(&app, user, Some(update)).await
}

/// `GET /v1/conversations/{id}/notifications`
pub async fn read_one(
    State(app): State<Arc<App>>,
    Caller(user): Caller,
    Path(conversation): Path<String>,
) -> Result<Body<ConversationNotifications>, Problem> {
    of_one(&app, user, conversation, None).await
}

/// `PATCH /v1/conversations/{id}/notifications`
pub async fn update_one(
    State(app): State<Arc<App>>,
    Caller(user): Caller,
    Path(conversation): Path<String>,
    Json(update): Json<UpdateConversationNotifications>,
) -> Result<Body<ConversationNotifications>, Problem> {
    of_one(&app, user, conversation, Some(update)).await
}

async fn of_all(
    app: &App,
    user_id: UserId,
    update: Option<UpdateNotifications>,
) -> Result<Body<Notifications>, Problem> {
    let request = SetNotifications { user_id, update };
    Ok(Body(bus::rpc::call(app.hub.log.bus(), &request, DEADLINE).await?))
}

async fn of_one(
    app: &App,
    user_id: UserId,
    conversation_id: String,
    update: Option<UpdateConversationNotifications>,
) -> Result<Body<ConversationNotifications>, Problem> {
    let request = SetConversationNotifications {
        user_id,
        conversation_id,
        update,
    };
    Ok(Body(bus::rpc::call(app.hub.log.bus(), &request, DEADLINE).await?))
}

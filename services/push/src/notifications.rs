//! What users want to be notified of: read, and changed one field at a time.

use std::time::Duration;

use bus::subjects::{self, DEVICES_STREAM};
use bus::write::{Terms, write};
use bus::{Bus, LogError, directory, leader};
use protocol::push::{ConversationNotifications, Notifications};
use protocol::rpc::{SetConversationNotifications, SetNotifications};
use protocol::{ConversationId, Refusal, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::registry::read;
use crate::service::unavailable;

const ATTEMPTS: usize = 8;
/// What is set back to the default leaves a mark for so long.
const MARK: Duration = Duration::from_secs(60 * 60);

/// Of all conversations.
///
/// # Errors
/// `unavailable`: safe to repeat.
pub(crate) async fn set(bus: &Bus, request: SetNotifications) -> Result<Notifications, Refusal> {
    let subject = subjects::notifications(&request.user_id);
    let update = |value: &mut Notifications| {
        value.expire(Timestamp::now());
        if let Some(with) = &request.update {
            value.update(with);
        }
    };
    change(bus, subject, update).await.map_err(|error| unavailable(&error))
}

/// Of one conversation.
///
/// # Errors
/// `not_found` where the user is no member, `unavailable`.
pub(crate) async fn set_of_conversation(
    bus: &Bus,
    request: SetConversationNotifications,
) -> Result<ConversationNotifications, Refusal> {
    let user = &request.user_id;
    let id = ConversationId::parse(&request.conversation_id).ok_or_else(Refusal::no_conversation)?;
    let found = directory::find(bus, user, &id).await;
    let membership = found.map_err(|error| unavailable(&error))?;
    if membership.is_none_or(|it| it.until.is_some()) {
        return Err(Refusal::no_conversation());
    }
    let update = |value: &mut ConversationNotifications| {
        value.expire(Timestamp::now());
        if let Some(with) = &request.update {
            value.update(with);
        }
    };
    let subject = subjects::conversation_notifications(user, &id);
    change(bus, subject, update).await.map_err(|error| unavailable(&error))
}

/// Reads a value, changes it and writes it where that makes a difference.
async fn change<T>(bus: &Bus, subject: String, update: impl Fn(&mut T)) -> Result<T, LogError>
where
    T: Clone + Default + PartialEq + Serialize + DeserializeOwned,
{
    for _ in 0..ATTEMPTS {
        let record = leader::last(bus, DEVICES_STREAM, &subject).await?;
        let before: T = record.as_ref().and_then(|it| read(&it.payload)).unwrap_or_default();
        let mut after = before.clone();
        update(&mut after);
        if after == before {
            return Ok(after);
        }
        let is_default = after == T::default();
        let payload = if is_default {
            Vec::new()
        } else {
            serde_json::to_vec(&after).unwrap_or_default()
        };
        let terms = Terms {
            expected: Some(record.map_or(0, |it| it.position)),
            ttl: is_default.then_some(MARK),
            ..Terms::default()
        };
        match write(bus, subject.clone(), payload.into(), terms).await {
            Ok(_) => return Ok(after),
            Err(LogError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Err(LogError::Away("the setting kept changing".into()))
}

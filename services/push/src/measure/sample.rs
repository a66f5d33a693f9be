//! The pushes of a load: a message of a group as a device would be told of it, another device and another message each
//! time, all of the same size.

use anyhow::Context;
use protocol::{ConversationId, ServerId, Timestamp};
use uuid::Uuid;

use crate::provider::{Address, Alert, Content, Push};

/// Devices, and messages: after so many they come again.
pub(super) const DIFFERENT: u64 = 1_000;
/// How long providers may keep them.
const TTL_MS: i64 = 24 * 60 * 60 * 1_000;

/// See the module.
#[derive(Debug)]
pub struct Sample {
    app: String,
    conversation_id: ConversationId,
    body: String,
    expires_at: Timestamp,
}

impl Sample {
    /// Of the app that the settings name first.
    ///
    /// # Errors
    /// They name none.
    pub fn new(config: &config::Push, text_bytes: usize) -> anyhow::Result<Self> {
        let words = "The quick brown fox jumps over the lazy dog and trots home. ";
        Ok(Self {
            app: config.apns.apps.first().context("the settings name no app")?.clone(),
            conversation_id: ConversationId::parse("g0190a1b2c3d4e5f60718293a4b5c6d7e").context("no id")?,
            body: words.chars().cycle().take(text_bytes).collect(),
            expires_at: Timestamp::from_millis(Timestamp::now().as_millis() + TTL_MS),
        })
    }

    pub(super) fn push(&self, number: u64) -> Push {
        // Always four digits.
        let number = number % DIFFERENT + DIFFERENT;
        let seed = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        Push {
            address: Address {
                token: format!("{seed:064x}"),
                app: self.app.clone(),
                sandbox: false,
            },
            id: uuid::Builder::from_random_bytes(seed.to_be_bytes()).into_uuid(),
            collapse_id: self.conversation_id.as_str().to_owned(),
            expires_at: self.expires_at,
            content: Content::Alert(Alert {
                title: "bench".to_owned(),
                body: self.body.clone(),
                badge: Some(3),
                sound: "default",
                category: "message",
                conversation_id: self.conversation_id.clone(),
                server_id: ServerId {
                    conversation_id: self.conversation_id.clone(),
                    seq: number,
                }
                .to_string(),
                seq: number,
                traceparent: Some(format!("00-{}-b7ad6b7169203331-01", Uuid::from_u128(seed).simple())),
            }),
        }
    }
}

//! The next version of the services, as the others meet it on the bus in a rolling deploy: it writes events that they do
//! not know, envelopes of a later version, and requests and signals with fields and types of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::broker::Broker;
use super::deployment::Deployment;
use super::people::Room;
use super::{client_id, until};

/// Between two rounds of everything.
const PACE: Duration = Duration::from_millis(200);
/// For a request that met a replica which was just leaving.
const ANSWER: Duration = Duration::from_secs(1);
/// For one of all its attempts, on a machine that stalls: what is measured here are the others.
const ANSWERS: Duration = Duration::from_secs(30);

/// A version to come, in conversations of its own.
pub struct Newer {
    broker: Broker,
    /// It sends here, and events of an unknown type are between its messages.
    pub mixed: Room<2>,
    /// Here are entries of a later version of the envelope, and nobody sends.
    later: Room<2>,
}

impl Newer {
    pub async fn of(deployment: &Deployment) -> Self {
        Self {
            broker: Broker::of(deployment).await,
            mixed: deployment.direct().await,
            later: deployment.direct().await,
        }
    }

    /// Writes until it is over, and returns how many messages it has sent into the mixed conversation.
    pub async fn write(&self, over: &AtomicBool) -> usize {
        let (mut seq, mut later) = (1, 1);
        for sent in 0.. {
            if over.load(Ordering::Relaxed) {
                return sent;
            }
            let answer = self.send(&format!("of the next version {sent}")).await;
            assert_eq!(answer["ok"]["seq"], seq + 1, "{answer}");
            let entry = self.broker.last_entry(&self.mixed.id).await;
            let unknown = json!({"v": 1, "state_at": entry["state_at"], "hologram": {"depth": 3},
                "frame": event(&self.mixed.id, seq + 2)});
            self.broker.append(&self.mixed.id, &unknown).await;
            seq += 2;
            later += 1;
            let newer = json!({"v": 2, "state_at": 1, "frame": event(&self.later.id, later)});
            self.broker.append(&self.later.id, &newer).await;
            self.broker.publish("chat.live.presence", &signals()).await;
            self.broker.publish("chat.live.typing", &signal()).await;
            tokio::time::sleep(PACE).await;
        }
        unreachable!("it never stops by itself")
    }

    /// Sends as a newer connection node would.
    async fn send(&self, text: &str) -> Value {
        let request = json!({"user_id": self.mixed.users[0].id, "client_id": client_id(), "text": text,
            "conversation_id": self.mixed.id, "hologram": {"depth": 3}});
        until("an answer to a request of the next version", ANSWERS, async || {
            let asked = self.broker.try_call("message.send", &request);
            tokio::time::timeout(ANSWER, asked).await.ok()
        })
        .await
    }
}

fn event(conversation: &str, seq: u64) -> Value {
    json!({"type": "conversation:locked", "conversation_id": conversation, "seq": seq,
        "timestamp": "2100-01-01T00:00:00.000Z", "hologram": true})
}

fn signal() -> Value {
    json!({"type": "hologram_waved", "user_id": "somebody", "depth": 3})
}

fn signals() -> Value {
    json!({"signals": [signal()], "from": "the future"})
}

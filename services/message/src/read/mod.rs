//! Reads: history, and conversations as their members see them.
//!
//! Each shows at least all that was acked before the request began: it notes the log's end first, waits until the
//! projection has passed it, and only then asks MongoDB. All within two seconds, also while MongoDB is away.

mod audience;
mod conversations;
mod history;
mod logged;
mod members;
mod page;
mod room;
mod show;
mod unread;
mod view;

use std::sync::Arc;
use std::time::Duration;

use bus::Lane;
use protocol::Refusal;
use serde::Serialize;
use tokio::time::Instant;

use crate::conversation::{Conversation, State};
use crate::service::{Service, unavailable};

/// Bytes of an answer around its items.
const FRAME_BYTES: usize = 1_024;
/// Time for a whole read: the contract's two seconds less the way to the client.
const DEADLINE: Duration = Duration::from_millis(1_700);

async fn within<T>(read: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let done = tokio::time::timeout(DEADLINE, read).await;
    done.unwrap_or_else(|_| Err(Refusal::unavailable("the history is away for the moment: try again")))
}

/// How many of these one answer holds.
fn fitting<'a, T: Serialize + 'a>(items: impl Iterator<Item = &'a T>, bytes_most: usize) -> usize {
    let mut bytes = 0;
    let fits = |it: &&T| {
        bytes += serde_json::to_vec(it).map_or(0, |text| text.len() + 1);
        bytes <= bytes_most
    };
    items.take_while(fits).count()
}

fn deadline() -> Instant {
    Instant::now() + DEADLINE
}

impl Service {
    /// Bytes of an answer's items.
    fn answer_bytes_most(&self) -> usize {
        self.log.bus().payload_bytes_most().saturating_sub(FRAME_BYTES)
    }

    /// Waits until MongoDB holds everything that `lane` held when this was called.
    async fn wait_for_lane(&self, lane: Lane) -> Result<(), Refusal> {
        let state = self.log.state(lane).await.map_err(|error| unavailable(&error))?;
        let last = state.map_or(0, |it| it.last);
        self.wait_stored(lane, last, deadline()).await
    }

    /// Waits until MongoDB holds everything up to a conversation's head.
    async fn wait_for_state(&self, conversation: &Arc<Conversation>, state: &State) -> Result<(), Refusal> {
        if state.head.position == 0 {
            // Nothing of it is in the log: all has aged out, long after it was projected.
            return Ok(());
        }
        self.wait_stored(conversation.lane, state.head.position, deadline())
            .await
    }
}

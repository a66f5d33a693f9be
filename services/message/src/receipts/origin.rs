//! Where a watermark begins of which the log holds nothing. Nearly always with nothing; but a stream of receipts that is
//! younger than the conversation may be one that was made anew, and then MongoDB knows what the one before it held.

use std::time::Duration;

use bus::subjects::Lane;
use protocol::rpc::ReceiptKind;
use protocol::{ConversationId, Refusal, Timestamp, UserId};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::conversation::State;
use crate::service::{Service, unavailable};
use crate::store::unsigned;

/// How long the stream is believed to be the one that it was.
const BELIEVED_FOR: Duration = Duration::from_millis(100);

/// When the stream of receipts was made, by NATS' clock, and when that was asked.
#[derive(Debug, Default)]
pub(super) struct Made(Mutex<Option<(Instant, Timestamp)>>);

impl Service {
    /// The `seq` that a watermark had before the log lost it; 0 where it had none.
    pub(super) async fn lost_watermark(&self, state: &State, user: &UserId, kind: ReceiptKind) -> Result<u64, Refusal> {
        if state.created_at >= self.receipts_made_at().await? {
            return Ok(0);
        }
        self.stored_watermark(&state.id, user, kind).await
    }

    async fn stored_watermark(&self, id: &ConversationId, user: &UserId, kind: ReceiptKind) -> Result<u64, Refusal> {
        let stored = self.store.member(user, id).await;
        let stored = stored.map_err(|error| unavailable(&error))?;
        Ok(stored.map_or(0, |it| match kind {
            ReceiptKind::Read => unsigned(it.read),
            ReceiptKind::Delivered => unsigned(it.delivered),
        }))
    }

    async fn receipts_made_at(&self) -> Result<Timestamp, Refusal> {
        let mut known = self.watermarks.made.0.lock().await;
        if let Some((asked, at)) = *known
            && asked.elapsed() < BELIEVED_FOR
        {
            return Ok(at);
        }
        let asked = Instant::now();
        let state = self.log.state(Lane::Receipts).await;
        let state = state.map_err(|error| unavailable(&error))?;
        let state = state.ok_or_else(|| unavailable(&"the stream of receipts does not exist"))?;
        let at = Timestamp::from_millis(i64::try_from(state.identity / 1_000_000).unwrap_or(i64::MAX));
        *known = Some((asked, at));
        Ok(at)
    }
}

//! Finding an entry of a conversation by its `seq`, where only the log can tell where it stands.

use bus::direct::Reach;
use bus::{LogError, Record};

use super::Conversation;
use crate::event::Seen;
use crate::service::Service;

/// An entry of any size.
const BYTES_MOST: usize = 1 << 20;

impl Service {
    /// The first entry of a conversation whose `seq` is not below one: `None` where there is none, or it has aged out.
    ///
    /// Bisects the stream: `seq` and position grow together, so that 2^n entries take n reads.
    pub(crate) async fn first_from(&self, conversation: &Conversation, seq: u64) -> Result<Option<Record>, LogError> {
        let Some(last) = self.log.newest(conversation.lane, &conversation.subject).await? else {
            return Ok(None);
        };
        let (mut low, mut high) = (1, last.position);
        let mut found = None;
        while low <= high {
            let middle = low + (high - low) / 2;
            let place = (middle, Reach::Position(last.position));
            let next = self
                .log
                .from(conversation.lane, &conversation.subject, place, 1, BYTES_MOST);
            let record = next.await?.records.into_iter().next();
            let seen = record.as_ref().and_then(|it| Seen::of(it).ok());
            let (Some(record), Some(seen)) = (record, seen) else {
                high = middle - 1;
                continue;
            };
            if seen.seq == seq {
                return Ok(Some(record));
            }
            if seen.seq > seq {
                high = middle - 1;
                found = Some(record);
            } else {
                low = seen.position + 1;
            }
        }
        Ok(found)
    }
}

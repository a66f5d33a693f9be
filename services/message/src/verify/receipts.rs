//! Each watermark of the log against its member's document.

use std::collections::HashMap;

use bus::Lane;
use bus::streams::StreamState;
use protocol::rpc::ReceiptKind;
use protocol::{ConversationId, UserId};

use super::Run;
use crate::event::Event;
use crate::store::unsigned;

impl Run<'_> {
    pub(super) async fn compare_receipts(&mut self, state: StreamState) -> anyhow::Result<()> {
        let mut from = state.first;
        while let Some((records, next)) = self.read(Lane::Receipts, from, state.last).await? {
            from = next;
            let mut events = Vec::with_capacity(records.len());
            for record in &records {
                if let Some(event) = self.decode(Lane::Receipts, record) {
                    events.push(event);
                }
            }
            self.compare_watermarks(&events).await?;
        }
        Ok(())
    }

    async fn compare_watermarks(&mut self, events: &[Event]) -> anyhow::Result<()> {
        let receipts = events.iter().filter_map(|it| match it {
            Event::Receipt(kind, receipt) => Some((it, *kind, receipt)),
            Event::Message(_) | Event::Created(_) | Event::Updated(_) => None,
            Event::Added(..) | Event::Removed(..) | Event::Newer(_) => None,
        });
        let receipts: Vec<_> = receipts.collect();
        let keys: Vec<(UserId, ConversationId)> = receipts
            .iter()
            .map(|(_, _, it)| (it.user_id.clone(), it.conversation_id.clone()))
            .collect();
        let members = self.store.members_at(&keys).await?;
        let stored: HashMap<(UserId, ConversationId), (u64, u64)> = members
            .into_iter()
            .map(|it| {
                (
                    (it.key.user_id, it.key.conversation_id),
                    (unsigned(it.read), unsigned(it.delivered)),
                )
            })
            .collect();
        for ((event, kind, receipt), key) in receipts.into_iter().zip(keys) {
            self.outcome.entries += 1;
            let (read, delivered) = stored.get(&key).copied().unwrap_or((0, 0));
            let (what, stored) = match kind {
                ReceiptKind::Read => ("read", read),
                ReceiptKind::Delivered => ("delivered", delivered),
            };
            if stored < receipt.seq {
                let id = receipt.conversation_id.as_str();
                let logged = receipt.seq;
                self.problem(format!(
                    "watermark: {what} in conversation {id} is {stored} in MongoDB, {logged} in the log"
                ));
                self.repair(event).await?;
            }
        }
        Ok(())
    }
}

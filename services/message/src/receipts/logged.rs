//! Watermarks as the log holds them, of many users at once and without MongoDB.

use std::collections::HashMap;

use bus::subjects::{self, Lane};
use bus::{LogError, direct, streams};
use protocol::rpc::ReceiptKind;
use protocol::{ConversationId, UserId};

use super::watermark::Known;
use crate::service::Service;

/// Users asked for in one request, each with two watermarks.
const USERS_MOST: usize = direct::SUBJECTS_MOST / 2;

impl Service {
    /// `seq`s read and delivered, by user, without those who have confirmed nothing.
    pub(crate) async fn logged_watermarks(
        &self,
        id: &ConversationId,
        users: &[&UserId],
    ) -> Result<HashMap<UserId, (u64, u64)>, LogError> {
        let mut all: HashMap<UserId, (u64, u64)> = HashMap::new();
        let least = streams::recent_end(self.log.bus(), &Lane::Receipts.stream()).await?;
        for chunk in users.chunks(USERS_MOST) {
            let kinds = [ReceiptKind::Read, ReceiptKind::Delivered];
            let place = |user, kind| (subjects::receipt(id, user, kind), (user, kind));
            let places = chunk.iter().flat_map(|it| kinds.map(|kind| place(*it, kind)));
            let places: HashMap<String, (&UserId, ReceiptKind)> = places.collect();
            if places.is_empty() {
                continue;
            }
            let asked: Vec<String> = places.keys().cloned().collect();
            for record in self.log.lasts(Lane::Receipts, &asked, least).await? {
                let Some((user, kind)) = places.get(&record.subject) else {
                    continue;
                };
                let seq = Known::of(record.position, &record.payload).seq;
                let (read, delivered) = all.entry((*user).clone()).or_default();
                // What was read has been delivered.
                *delivered = seq.max(*delivered);
                if *kind == ReceiptKind::Read {
                    *read = seq;
                }
            }
        }
        Ok(all)
    }
}

//! Each conversation of a partition: its head, and that MongoDB has nothing the log does not.

use std::collections::HashMap;

use bus::Lane;
use futures_util::{StreamExt, TryStreamExt};
use protocol::ConversationId;

use super::{Run, Track, Tracks};
use crate::event::Seen;
use crate::store::{ConversationDocument, unsigned};

const CHUNK: usize = 500;
const CONCURRENCY: usize = 32;

impl Run<'_> {
    pub(super) async fn compare_conversations(&mut self, lane: Lane, tracks: &Tracks) -> anyhow::Result<()> {
        let all: Vec<(&ConversationId, &Track)> = tracks.iter().collect();
        for chunk in all.chunks(CHUNK) {
            let ids: Vec<ConversationId> = chunk.iter().map(|(id, _)| (*id).clone()).collect();
            let documents = self.store.conversations(&ids).await?;
            let documents: HashMap<ConversationId, ConversationDocument> =
                documents.into_iter().map(|it| (it.id.clone(), it)).collect();
            for (id, track) in chunk {
                self.outcome.conversations += 1;
                self.compare_head(lane, id, track, documents.get(id)).await?;
            }
            self.find_extra(lane, chunk).await?;
        }
        Ok(())
    }

    async fn compare_head(
        &mut self,
        lane: Lane,
        id: &ConversationId,
        track: &Track,
        document: Option<&ConversationDocument>,
    ) -> anyhow::Result<()> {
        let head = document
            .and_then(|it| it.head.as_ref())
            .map_or(0, |it| unsigned(it.seq));
        let last = document.and_then(|it| it.last).map(unsigned);
        // Higher is fine: entries have come since the start.
        if head < track.last_seq {
            self.problem(format!(
                "head: conversation {} is at {head} in MongoDB, {} in the log",
                id.as_str(),
                track.last_seq
            ));
            self.repair_at(lane, track.last_position).await?;
        }
        if last < track.last_message {
            let logged = track.last_message.unwrap_or(0);
            self.problem(format!(
                "last message: conversation {} misses {logged} in MongoDB",
                id.as_str()
            ));
            self.repair_at(lane, track.last_message_position).await?;
        }
        Ok(())
    }

    async fn repair_at(&mut self, lane: Lane, position: u64) -> anyhow::Result<()> {
        match self.event_at(lane, position).await? {
            Some(event) => self.repair(&event).await,
            None => Ok(()),
        }
    }

    /// Documents above the log's end that the log does not have by now either.
    async fn find_extra(&mut self, lane: Lane, chunk: &[(&ConversationId, &Track)]) -> anyhow::Result<()> {
        let asked: Vec<(ConversationId, u64)> = chunk
            .iter()
            .map(|(id, track)| ((*id).clone(), track.last_seq))
            .collect();
        let store = self.store.clone();
        let above: Vec<(ConversationId, Vec<u64>)> = futures_util::stream::iter(asked)
            .map(|(id, last)| {
                let store = store.clone();
                async move {
                    let seqs = store.events_above(&id, last).await?;
                    anyhow::Ok((id, seqs))
                }
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        for (id, seqs) in above.into_iter().filter(|(_, seqs)| !seqs.is_empty()) {
            // Read after MongoDB: whatever was projected by then is in the log by now.
            let (_, subject) = self.log.place(&id);
            let last = self.log.newest(lane, &subject).await?;
            let head = last.as_ref().and_then(|it| Seen::of(it).ok()).map_or(0, |it| it.seq);
            for seq in seqs.into_iter().filter(|seq| *seq > head) {
                self.problem(format!(
                    "extra: conversation {} seq {seq} is in MongoDB and not in the log",
                    id.as_str()
                ));
            }
        }
        Ok(())
    }
}

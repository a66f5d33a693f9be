//! What a batch of events writes, folded to one update for each conversation and member.
//!
//! Everything is idempotent and monotone: written twice, in any order, by any number of replicas at once, it comes to
//! the same.

use std::collections::HashMap;

use mongodb::bson::{RawDocumentBuf, cstr, rawdoc};
use protocol::http::{HistoryAccess, Role};
use protocol::rpc::ReceiptKind;
use protocol::server_frame::ConversationCreated;
use protocol::{ConversationId, Timestamp, UserId};

use super::encode::{added, conversation_type, created, date, history, message, removed, role, updated};
use super::queries::signed;
use crate::effect::Effect;
use crate::event::Event;

/// The documents and updates of some events.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Documents to insert, in the order of those events that [have one](Event::is_stored).
    pub(super) events: Vec<RawDocumentBuf>,
    pub(super) conversations: Vec<RawDocumentBuf>,
    pub(super) members: Vec<RawDocumentBuf>,
}

/// Of each fact of a conversation the newest, with the `seq` that told it.
#[derive(Default)]
struct Fold<'a> {
    created: Option<&'a ConversationCreated>,
    named: Option<(u64, &'a str)>,
    shows: Option<(u64, HistoryAccess)>,
    size: Option<(u64, u64)>,
    head: Option<(u64, Timestamp)>,
    last: Option<u64>,
}

/// The same of a member.
#[derive(Default)]
struct MemberFold {
    /// Role and place of whoever joined.
    membership: Option<(u64, Option<(Role, usize)>)>,
    joined: Option<u64>,
    role: Option<(u64, Role)>,
    read: Option<u64>,
    delivered: Option<u64>,
}

/// Keeps what was told by the greater `seq`.
fn newest<T>(known: &mut Option<(u64, T)>, seq: u64, told: T) {
    if known.as_ref().is_none_or(|it| it.0 < seq) {
        *known = Some((seq, told));
    }
}

impl Writes {
    /// Folds events into writes.
    pub(super) fn of<'a>(events: impl IntoIterator<Item = &'a Event>, now: Timestamp) -> Self {
        let mut writes = Self::default();
        let mut folds: HashMap<&ConversationId, Fold<'a>> = HashMap::new();
        let mut members: HashMap<(&UserId, &ConversationId), MemberFold> = HashMap::new();
        for event in events {
            let id = event.conversation_id();
            let document = match event {
                Event::Receipt(kind, it) => {
                    members.entry((&it.user_id, id)).or_default().confirm(*kind, it.seq);
                    continue;
                }
                // Nobody here knows what to store of it; but where the conversation ends.
                Event::Newer(_) => {
                    folds.entry(id).or_default().take(event);
                    continue;
                }
                Event::Message(it) => message(it, true, now),
                Event::Created(it) => created(it),
                Event::Updated(it) => updated(it),
                Event::Added(it, size) => added(it, *size),
                Event::Removed(it, size) => removed(it, *size),
            };
            writes.events.push(document);
            for effect in event.effects() {
                members
                    .entry((effect.user(), id))
                    .or_default()
                    .take(event.seq(), effect);
            }
            folds.entry(id).or_default().take(event);
        }
        writes.conversations = folds.into_iter().map(|(id, fold)| fold.update(id)).collect();
        writes.members = members
            .into_iter()
            .map(|((user, id), fold)| fold.update(user, id))
            .collect();
        writes
    }
}

impl<'a> Fold<'a> {
    fn take(&mut self, event: &'a Event) {
        let seq = event.seq();
        match event {
            Event::Receipt(..) => return,
            Event::Newer(_) => {}
            Event::Message(_) => self.last = self.last.max(Some(seq)),
            Event::Created(it) => self.created = Some(it),
            Event::Updated(it) => {
                if let Some(name) = &it.name {
                    newest(&mut self.named, seq, name);
                }
                if let Some(history) = it.history {
                    newest(&mut self.shows, seq, history);
                }
            }
            Event::Added(_, size) | Event::Removed(_, size) => newest(&mut self.size, seq, *size),
        }
        self.head = self.head.max(Some((seq, event.timestamp())));
    }

    fn update(&self, id: &ConversationId) -> RawDocumentBuf {
        let mut most = RawDocumentBuf::new();
        if let Some((seq, at)) = self.head {
            most.append(cstr!("head"), rawdoc! { "seq": signed(seq), "at": date(at) });
        }
        if let Some(last) = self.last {
            most.append(cstr!("last"), signed(last));
        }
        if let Some((seq, name)) = self.named {
            most.append(cstr!("named"), rawdoc! { "seq": signed(seq), "name": name });
        }
        if let Some((seq, it)) = self.shows {
            most.append(cstr!("shows"), rawdoc! { "seq": signed(seq), "history": history(it) });
        }
        if let Some((seq, size)) = self.size {
            most.append(cstr!("sized"), rawdoc! { "seq": signed(seq), "size": signed(size) });
        }
        let mut update = RawDocumentBuf::new();
        if let Some(it) = self.created {
            let mut state = rawdoc! { "seq": signed(it.seq), "size": signed(it.members.len() as u64) };
            if let Some(name) = &it.name {
                state.append(cstr!("name"), name.as_str());
            }
            if !it.history.is_all() {
                state.append(cstr!("history"), history(it.history));
            }
            most.append(cstr!("state"), state);
            let once = rawdoc! {
                "type": conversation_type(it.conversation_type),
                "created_at": date(it.timestamp),
                "by": it.by.as_str(),
            };
            update.append(cstr!("$set"), once);
        }
        update.append(cstr!("$max"), most);
        rawdoc! { "q": { "_id": id.as_str() }, "u": update, "upsert": true }
    }
}

impl MemberFold {
    /// What was read has been delivered.
    fn confirm(&mut self, kind: ReceiptKind, seq: u64) {
        self.delivered = self.delivered.max(Some(seq));
        if kind == ReceiptKind::Read {
            self.read = self.read.max(Some(seq));
        }
    }

    fn take(&mut self, seq: u64, effect: Effect<'_>) {
        match effect {
            Effect::Joined { role, place, .. } => {
                newest(&mut self.membership, seq, Some((role, place)));
                // Whoever was there from the first event on is known by its absence.
                self.joined = self.joined.max(Some(seq).filter(|it| *it > 1));
            }
            Effect::Left { .. } => newest(&mut self.membership, seq, None),
            Effect::Role { role, .. } => newest(&mut self.role, seq, role),
        }
    }

    fn update(&self, user: &UserId, id: &ConversationId) -> RawDocumentBuf {
        let mut most = RawDocumentBuf::new();
        if let Some((seq, joined)) = &self.membership {
            let mut membership = rawdoc! { "seq": signed(*seq) };
            if let Some((it, place)) = joined {
                membership.append(cstr!("role"), role(*it));
                membership.append(cstr!("since"), signed(*seq));
                membership.append(cstr!("n"), signed(*place as u64));
            }
            most.append(cstr!("m"), membership);
        }
        if let Some((seq, it)) = self.role {
            most.append(cstr!("r"), rawdoc! { "seq": signed(seq), "role": role(it) });
        }
        for (name, value) in [
            (cstr!("joined"), self.joined),
            (cstr!("read"), self.read),
            (cstr!("delivered"), self.delivered),
        ] {
            if let Some(value) = value {
                most.append(name, signed(value));
            }
        }
        rawdoc! { "q": { "_id": { "u": user.as_str(), "c": id.as_str() } }, "u": { "$max": most }, "upsert": true }
    }
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;

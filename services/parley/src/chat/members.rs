//! Who is in the open conversation, as what, and who of them has received and read what. Pure.

use std::collections::{BTreeMap, BTreeSet};

use protocol::UserId;
use protocol::http::{Conversation, Role};
use protocol::rpc::ReceiptKind;
use protocol::server_frame::{MemberAdded, MemberRemoved, Receipt, RoleChange};

/// How far an own message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// In the log.
    Sent,
    /// On a device of every other member.
    Delivered,
    /// Read by every other member.
    Read,
}

/// A member beside this user.
#[derive(Debug, Clone, Copy)]
struct Other {
    role: Role,
    /// The event that made him one, where this client saw it: what is older is not waiting for him.
    since: u64,
    delivered: u64,
    read: u64,
}

/// The members of one conversation. Of a large one only some are known by name.
#[derive(Debug)]
pub(super) struct Members {
    me: UserId,
    others: BTreeMap<UserId, Other>,
    /// Members beside this user, those not listed included.
    others_count: usize,
    /// As of which event they were last read.
    learnt_at: u64,
}

impl Members {
    /// Nobody yet: they come by [`Members::learn`].
    pub(super) fn new(me: UserId) -> Self {
        Self {
            me,
            others: BTreeMap::new(),
            others_count: 0,
            learnt_at: 0,
        }
    }

    /// Takes over members and watermarks as the server tells them; a watermark never falls.
    pub(super) fn learn(&mut self, conversation: &Conversation) {
        let mut listed = BTreeMap::new();
        for it in conversation.members.iter().filter(|it| it.user_id != self.me) {
            let known = self.others.get(&it.user_id);
            let other = Other {
                role: it.role,
                since: known.map_or(0, |it| it.since),
                delivered: known.map_or(0, |it| it.delivered).max(it.delivered_seq),
                read: known.map_or(0, |it| it.read).max(it.read_seq),
            };
            listed.insert(it.user_id.clone(), other);
        }
        let total = conversation.member_count.and_then(|it| usize::try_from(it).ok());
        self.others_count = total.map_or(listed.len(), |total| total.saturating_sub(1));
        self.others = listed;
        self.learnt_at = self.learnt_at.max(conversation.seq);
    }

    /// How many members there are, this user included.
    pub(super) fn count(&self) -> usize {
        self.others_count + 1
    }

    /// The others that are known, by name.
    pub(super) fn others(&self) -> impl Iterator<Item = &UserId> {
        self.others.keys()
    }

    /// What one of them may do, where he is known.
    pub(super) fn role(&self, user: &UserId) -> Option<Role> {
        self.others.get(user).map(|it| it.role)
    }

    /// Takes those who were added.
    pub(super) fn add(&mut self, added: &MemberAdded) {
        let counts = self.counts(added.seq);
        for user in added.user_ids.iter().filter(|it| **it != self.me) {
            let other = Other {
                role: Role::Member,
                since: added.seq,
                delivered: 0,
                read: 0,
            };
            if !self.others.contains_key(user) {
                self.others.insert(user.clone(), other);
                self.others_count += usize::from(counts);
            }
        }
    }

    /// Lets those go who were removed or left.
    pub(super) fn remove(&mut self, removed: &MemberRemoved) {
        let is_whole = self.is_whole();
        let counts = self.counts(removed.seq);
        let gone: BTreeSet<&UserId> = removed.user_ids.iter().filter(|it| **it != self.me).collect();
        for user in gone {
            let was_known = self.others.remove(user).is_some();
            if counts && (was_known || !is_whole) {
                self.others_count = self.others_count.saturating_sub(1);
            }
        }
        if let Some(owner) = &removed.owner {
            self.set_role(owner, Role::Owner);
        }
    }

    /// Takes new roles.
    pub(super) fn set_roles(&mut self, roles: &[RoleChange]) {
        roles.iter().for_each(|it| self.set_role(&it.user_id, it.role));
    }

    fn set_role(&mut self, user: &UserId, role: Role) {
        if let Some(other) = self.others.get_mut(user) {
            other.role = role;
        }
    }

    /// Whether all are known by name. Only then is it clear by itself who is counted already.
    fn is_whole(&self) -> bool {
        self.others.len() == self.others_count
    }

    /// Whether a change at `seq` is not in the count yet.
    fn counts(&self, seq: u64) -> bool {
        self.is_whole() || seq > self.learnt_at
    }

    /// Takes another's watermark. False if it says nothing new.
    pub(super) fn receipt(&mut self, kind: ReceiptKind, receipt: &Receipt) -> bool {
        let user = &receipt.user_id;
        // A late one of somebody who has left; where not all are listed, it is of one of those.
        if *user == self.me || (!self.others.contains_key(user) && self.is_whole()) {
            return false;
        }
        let unlisted = Other {
            role: Role::Member,
            since: 0,
            delivered: 0,
            read: 0,
        };
        let other = self.others.entry(user.clone()).or_insert(unlisted);
        let mark = match kind {
            ReceiptKind::Delivered => &mut other.delivered,
            ReceiptKind::Read => &mut other.read,
        };
        let is_news = receipt.seq > *mark;
        *mark = receipt.seq.max(*mark);
        is_news
    }

    /// Forgets the watermarks, for a log that may be another one.
    pub(super) fn forget_marks(&mut self) {
        for other in self.others.values_mut() {
            (other.delivered, other.read) = (0, 0);
        }
        self.learnt_at = 0;
    }

    /// How far an own message at `seq` has come: as far as with the last of those who were members then.
    pub(super) fn mark(&self, seq: u64) -> Mark {
        let later = self.others.values().filter(|it| it.since > seq).count();
        let awaited = self.others_count.saturating_sub(later);
        let reached = |mark: fn(&Other) -> u64| {
            let those = self.others.values().filter(|it| it.since <= seq && mark(it) >= seq);
            let count = those.count();
            count > 0 && count >= awaited
        };
        if reached(|it| it.read) {
            Mark::Read
        } else if reached(|it| it.delivered.max(it.read)) {
            Mark::Delivered
        } else {
            Mark::Sent
        }
    }
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;

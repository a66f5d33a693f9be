//! Conversations and their members as documents: several small facts, each with the `seq` of the event that told it, so
//! that of each the newest wins whatever order they are written in. What they come to together is said here.

use mongodb::bson::DateTime;
use protocol::http::{HistoryAccess, Role};
use protocol::server_frame::ConversationType;
use protocol::{ConversationId, UserId};
use serde::Deserialize;

use super::documents::{time, unsigned};
use crate::conversation::members::{Member, Members};
use crate::conversation::state::Settings;
use crate::conversation::{Head, State};

/// A conversation. What a creation sets is absent while only later events have been projected.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ConversationDocument {
    #[serde(rename = "_id")]
    pub(crate) id: ConversationId,
    #[serde(rename = "type")]
    pub(crate) conversation_type: Option<ConversationType>,
    pub(crate) created_at: Option<DateTime>,
    state: Option<StateDocument>,
    named: Option<NamedDocument>,
    shows: Option<ShowsDocument>,
    sized: Option<SizedDocument>,
    pub(crate) head: Option<HeadDocument>,
    /// `seq` of the last message.
    pub(crate) last: Option<i64>,
}

/// Settings as of the creation.
#[derive(Debug, Clone, Deserialize)]
struct StateDocument {
    /// Number of members.
    size: i64,
    name: Option<String>,
    history: Option<HistoryAccess>,
}

/// The name that the event `seq` gave; in all of these the greater document, compared field by field, is the newer.
#[derive(Debug, Clone, Deserialize)]
struct NamedDocument {
    seq: i64,
    name: String,
}

/// What new members see since the event `seq`.
#[derive(Debug, Clone, Deserialize)]
struct ShowsDocument {
    seq: i64,
    history: HistoryAccess,
}

/// Number of members after the event `seq`.
#[derive(Debug, Clone, Deserialize)]
struct SizedDocument {
    seq: i64,
    size: i64,
}

/// When a conversation had its last event, and nothing else of it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct HeadOnly {
    #[serde(rename = "_id")]
    pub(crate) id: ConversationId,
    pub(crate) head: Option<HeadTime>,
}

/// See [`HeadOnly`].
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct HeadTime {
    pub(crate) at: DateTime,
}

/// The last event.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct HeadDocument {
    pub(crate) seq: i64,
    pub(crate) at: DateTime,
}

impl ConversationDocument {
    /// Whether its creation is projected.
    pub(crate) fn is_created(&self) -> bool {
        self.conversation_type.is_some() && self.created_at.is_some() && self.state.is_some()
    }

    /// Its name now.
    pub(crate) fn name(&self) -> Option<&str> {
        let named = self.named.as_ref().map(|it| it.name.as_str());
        named.or_else(|| self.state.as_ref()?.name.as_deref())
    }

    /// What new members see now.
    pub(crate) fn history(&self) -> HistoryAccess {
        let shows = self.shows.as_ref().map(|it| it.history);
        shows.or_else(|| self.state.as_ref()?.history).unwrap_or_default()
    }

    /// Number of members now.
    pub(crate) fn size(&self) -> usize {
        let sized = self.sized.as_ref().map(|it| it.size);
        let size = sized.or_else(|| self.state.as_ref().map(|it| it.size));
        size.map_or(0, |it| usize::try_from(it).unwrap_or(0))
    }

    /// `seq` of the event that gave the name, that gave the setting, and that changed the size last; 0 for the creation.
    pub(crate) fn changed_at(&self) -> (u64, u64, u64) {
        (
            self.named.as_ref().map_or(0, |it| unsigned(it.seq)),
            self.shows.as_ref().map_or(0, |it| unsigned(it.seq)),
            self.sized.as_ref().map_or(0, |it| unsigned(it.seq)),
        )
    }

    /// The last event, standing nowhere in the stream.
    pub(crate) fn head(&self) -> Option<Head> {
        self.head.as_ref().map(|it| Head {
            seq: unsigned(it.seq),
            position: 0,
            timestamp: time(it.at),
        })
    }
}

/// A member, or who was one, with his watermarks.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct MemberDocument {
    #[serde(rename = "_id")]
    pub(crate) key: MemberKey,
    /// Absent while only his watermarks have been projected.
    m: Option<MembershipDocument>,
    /// The role that he was given later than he joined.
    r: Option<RoleDocument>,
    /// `since` of his last membership, where that is not the conversation's first event.
    joined: Option<i64>,
    #[serde(default)]
    pub(crate) read: i64,
    #[serde(default)]
    pub(crate) delivered: i64,
}

/// `_id` of a member.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct MemberKey {
    #[serde(rename = "u")]
    pub(crate) user_id: UserId,
    #[serde(rename = "c")]
    pub(crate) conversation_id: ConversationId,
}

/// The last event that made him a member, or ended it: all but its `seq` is absent then. The greater document is the
/// newer.
#[derive(Debug, Clone, Deserialize)]
struct MembershipDocument {
    seq: i64,
    role: Option<Role>,
    since: Option<i64>,
    /// Place among those who joined with the same event.
    n: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
struct RoleDocument {
    seq: i64,
    role: Role,
}

/// What a member's document says of his membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// He is a member.
    Present {
        role: Role,
        since: u64,
        /// Place among those who joined with the same event.
        place: u64,
    },
    /// He was one.
    Gone { since: u64, until: u64 },
    /// Only his watermarks are known so far.
    Unknown,
}

impl MemberDocument {
    /// What is known of his membership.
    pub(crate) fn standing(&self) -> Standing {
        let Some(m) = &self.m else { return Standing::Unknown };
        let (Some(role), Some(since)) = (m.role, m.since) else {
            let since = self.joined.map_or(1, unsigned);
            let until = unsigned(m.seq);
            return Standing::Gone { since, until };
        };
        let given = self.r.as_ref().filter(|it| it.seq > m.seq);
        Standing::Present {
            role: given.map_or(role, |it| it.role),
            since: unsigned(since),
            place: m.n.map_or(0, unsigned),
        }
    }

    /// `seq` of the last event that made or ended his membership, and of the last that gave him a role.
    pub(crate) fn changed_at(&self) -> (u64, u64) {
        (
            self.m.as_ref().map_or(0, |it| unsigned(it.seq)),
            self.r.as_ref().map_or(0, |it| unsigned(it.seq)),
        )
    }

    /// Whether he is a member.
    pub(crate) fn is_present(&self) -> bool {
        matches!(self.standing(), Standing::Present { .. })
    }

    /// `since` and place: the order in which members joined.
    pub(crate) fn joined_at(&self) -> (u64, u64) {
        match self.standing() {
            Standing::Present { since, place, .. } => (since, place),
            Standing::Gone { .. } | Standing::Unknown => (0, 0),
        }
    }
}

/// The state that documents tell; `None` while the creation is not projected.
pub(crate) fn state_of(document: &ConversationDocument, mut members: Vec<MemberDocument>) -> Option<State> {
    if !document.is_created() {
        return None;
    }
    members.sort_by_key(MemberDocument::joined_at);
    let member = |it: MemberDocument| match it.standing() {
        Standing::Present { role, since, .. } => Some(Member {
            user_id: it.key.user_id,
            role,
            since,
        }),
        Standing::Gone { .. } | Standing::Unknown => None,
    };
    let members: Members = members.into_iter().filter_map(member).collect();
    let settings = Settings {
        conversation_type: document.conversation_type?,
        name: document.name().map(str::to_owned),
        history: document.history(),
        created_at: time(document.created_at?),
    };
    Some(State::of(document.id.clone(), settings, members, document.head()?))
}

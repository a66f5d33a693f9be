//! Whether one device is notified of one message: a pure function of what is known.
//!
//! Per device, not per user: a desktop that is open must not silence the phone. Who gathers what is known is `facts`.

use protocol::client_frame::AppState;
use protocol::push::Level;
use serde::{Deserialize, Serialize};

/// All that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The device's user sent the message.
    pub(crate) is_sender: bool,
    /// The message is older than notifications are sent for.
    pub(crate) is_expired: bool,
    /// What the user wants of this conversation.
    pub(crate) level: Level,
    /// The conversation, or everything, is muted now.
    pub(crate) is_muted: bool,
    /// The user chose not to be disturbed.
    pub(crate) is_dnd: bool,
    /// The conversation has two members by its kind.
    pub(crate) is_direct: bool,
    /// The message names the user.
    pub(crate) is_mention: bool,
    /// What the user has made exceptions of.
    pub(crate) mentions_override_mute: bool,
    /// See above.
    pub(crate) direct_override_mute: bool,
    /// Some device of the user has read it.
    pub(crate) is_read: bool,
    /// This device has confirmed that it has it.
    pub(crate) is_confirmed: bool,
    /// How the device is connected, if it is.
    pub(crate) session: Option<AppState>,
    /// The app is on the screen of another of the user's devices: he may be reading it there. Or it was on one until a
    /// moment ago, and may be on its way to another node.
    pub(crate) is_active_elsewhere: bool,
    /// The grace for confirming is over.
    pub(crate) has_waited: bool,
    /// There is a key for the device's provider and app.
    pub(crate) has_provider: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Notify it.
    Push,
    /// Look again when the grace is over: it is connected and may confirm, or the user may read it elsewhere.
    Wait,
    /// Do not.
    Suppress(Reason),
}

/// Why a device is not notified. As it stands in records and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// It is of who sent the message.
    Sender,
    /// The message is too old.
    Expired,
    /// The user wants nothing of this conversation, or only what names him.
    Level,
    /// The conversation, or everything, is muted.
    Muted,
    /// The user does not want to be disturbed.
    Dnd,
    /// It was read on one of the user's devices.
    Read,
    /// The device has it.
    Confirmed,
    /// The app is on the device's screen.
    Foreground,
    /// There is no key for the device's provider.
    NoProvider,
    /// The device is not registered any more, or its token has gone to another one.
    Unregistered,
    /// The user is no member any more.
    NoMember,
}

impl Reason {
    /// As in records.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Expired => "expired",
            Self::Level => "level",
            Self::Muted => "muted",
            Self::Dnd => "dnd",
            Self::Read => "read",
            Self::Confirmed => "confirmed",
            Self::Foreground => "foreground",
            Self::NoProvider => "no_provider",
            Self::Unregistered => "unregistered",
            Self::NoMember => "no_member",
        }
    }
}

/// The first reason against it counts.
pub(crate) fn decide(facts: &Facts) -> Verdict {
    let wanted = match facts.level {
        Level::All => true,
        Level::Mentions => facts.is_mention,
        Level::None => false,
    };
    let is_exception =
        (facts.is_mention && facts.mentions_override_mute) || (facts.is_direct && facts.direct_override_mute);
    let against = [
        (facts.is_sender, Reason::Sender),
        (facts.is_expired, Reason::Expired),
        (!wanted, Reason::Level),
        (facts.is_muted && !is_exception, Reason::Muted),
        (facts.is_dnd, Reason::Dnd),
        (facts.is_read, Reason::Read),
        (facts.is_confirmed, Reason::Confirmed),
        (facts.session == Some(AppState::Foreground), Reason::Foreground),
        (!facts.has_provider, Reason::NoProvider),
    ];
    if let Some((_, reason)) = against.into_iter().find(|(holds, _)| *holds) {
        return Verdict::Suppress(reason);
    }
    if (facts.session.is_some() || facts.is_active_elsewhere) && !facts.has_waited {
        return Verdict::Wait;
    }
    Verdict::Push
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;

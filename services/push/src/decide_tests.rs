//! The table of cases.

use protocol::client_frame::AppState;
use protocol::push::Level;

use super::{Facts, Reason, Verdict, decide};

/// A message of somebody else to a phone that is not connected, of a user who has set nothing.
const PHONE: Facts = Facts {
    is_sender: false,
    is_expired: false,
    level: Level::All,
    is_muted: false,
    is_dnd: false,
    is_direct: false,
    is_mention: false,
    mentions_override_mute: false,
    direct_override_mute: false,
    is_read: false,
    is_confirmed: false,
    session: None,
    is_active_elsewhere: false,
    has_waited: false,
    has_provider: true,
};

const BACKGROUND: Option<AppState> = Some(AppState::Background);
const FOREGROUND: Option<AppState> = Some(AppState::Foreground);

fn suppressed(reason: Reason) -> Verdict {
    Verdict::Suppress(reason)
}

#[test]
fn every_case_has_its_verdict() {
    let is = |change: fn(&mut Facts)| {
        let mut facts = PHONE;
        change(&mut facts);
        decide(&facts)
    };
    type Case = (&'static str, fn(&mut Facts), Verdict);
    let cases: [Case; 30] = [
        ("not connected", |_| {}, Verdict::Push),
        ("in the background", |it| it.session = BACKGROUND, Verdict::Wait),
        (
            "in the background, grace over",
            |it| (it.session, it.has_waited) = (BACKGROUND, true),
            Verdict::Push,
        ),
        (
            "in the background, has it",
            |it| (it.session, it.is_confirmed) = (BACKGROUND, true),
            suppressed(Reason::Confirmed),
        ),
        (
            "not connected, but the desktop is on screen",
            |it| it.is_active_elsewhere = true,
            Verdict::Wait,
        ),
        (
            "not connected, the desktop on screen, grace over",
            |it| (it.is_active_elsewhere, it.has_waited) = (true, true),
            Verdict::Push,
        ),
        (
            "not connected, read on the desktop within the grace",
            |it| (it.is_active_elsewhere, it.has_waited, it.is_read) = (true, true, true),
            suppressed(Reason::Read),
        ),
        (
            "on screen",
            |it| it.session = FOREGROUND,
            suppressed(Reason::Foreground),
        ),
        (
            "on screen, grace over",
            |it| (it.session, it.has_waited) = (FOREGROUND, true),
            suppressed(Reason::Foreground),
        ),
        (
            "has gone after confirming",
            |it| it.is_confirmed = true,
            suppressed(Reason::Confirmed),
        ),
        ("read elsewhere", |it| it.is_read = true, suppressed(Reason::Read)),
        (
            "read elsewhere within the grace",
            |it| (it.session, it.has_waited, it.is_read) = (BACKGROUND, true, true),
            suppressed(Reason::Read),
        ),
        ("of the sender", |it| it.is_sender = true, suppressed(Reason::Sender)),
        (
            "of the sender, who names himself",
            |it| (it.is_sender, it.is_mention, it.mentions_override_mute) = (true, true, true),
            suppressed(Reason::Sender),
        ),
        ("too old", |it| it.is_expired = true, suppressed(Reason::Expired)),
        ("muted", |it| it.is_muted = true, suppressed(Reason::Muted)),
        (
            "muted, named",
            |it| (it.is_muted, it.is_mention) = (true, true),
            suppressed(Reason::Muted),
        ),
        (
            "muted, named, mentions excepted",
            |it| (it.is_muted, it.is_mention, it.mentions_override_mute) = (true, true, true),
            Verdict::Push,
        ),
        (
            "muted, not named, mentions excepted",
            |it| (it.is_muted, it.mentions_override_mute) = (true, true),
            suppressed(Reason::Muted),
        ),
        (
            "muted, direct",
            |it| (it.is_muted, it.is_direct) = (true, true),
            suppressed(Reason::Muted),
        ),
        (
            "muted, direct, direct excepted",
            |it| (it.is_muted, it.is_direct, it.direct_override_mute) = (true, true, true),
            Verdict::Push,
        ),
        (
            "muted, a group, direct excepted",
            |it| (it.is_muted, it.direct_override_mute) = (true, true),
            suppressed(Reason::Muted),
        ),
        ("wants none", |it| it.level = Level::None, suppressed(Reason::Level)),
        (
            "wants none, named, mentions excepted of mute",
            |it| (it.level, it.is_mention, it.mentions_override_mute) = (Level::None, true, true),
            suppressed(Reason::Level),
        ),
        (
            "wants mentions, not named",
            |it| it.level = Level::Mentions,
            suppressed(Reason::Level),
        ),
        (
            "wants mentions, named",
            |it| (it.level, it.is_mention) = (Level::Mentions, true),
            Verdict::Push,
        ),
        ("do not disturb", |it| it.is_dnd = true, suppressed(Reason::Dnd)),
        (
            "do not disturb, named, mentions excepted of mute",
            |it| (it.is_dnd, it.is_mention, it.mentions_override_mute) = (true, true, true),
            suppressed(Reason::Dnd),
        ),
        ("no key", |it| it.has_provider = false, suppressed(Reason::NoProvider)),
        (
            "in the background, wants none",
            |it| (it.session, it.level) = (BACKGROUND, Level::None),
            suppressed(Reason::Level),
        ),
    ];
    for (name, change, verdict) in cases {
        assert_eq!(is(change), verdict, "{name}");
    }
}

/// Whatever else is so: who has it, has read it, or wrote it is never notified, and nobody waits twice.
#[test]
fn no_combination_notifies_who_has_it_or_waits_twice() {
    for bits in 0_u32..1 << 12 {
        let bit = |at: u32| bits >> at & 1 == 1;
        for session in [None, BACKGROUND, FOREGROUND] {
            for level in [Level::All, Level::Mentions, Level::None] {
                let facts = Facts {
                    is_sender: bit(0),
                    is_expired: bit(1),
                    level,
                    is_muted: bit(2),
                    is_dnd: bit(3),
                    is_direct: bit(4),
                    is_mention: bit(5),
                    mentions_override_mute: bit(6),
                    direct_override_mute: bit(7),
                    is_read: bit(8),
                    is_confirmed: bit(9),
                    session,
                    is_active_elsewhere: bit(11),
                    has_waited: bit(10),
                    has_provider: true,
                };
                let verdict = decide(&facts);
                if facts.is_read || facts.is_confirmed || facts.is_sender || session == FOREGROUND {
                    assert!(matches!(verdict, Verdict::Suppress(_)), "{facts:?}");
                }
                if facts.has_waited || (session.is_none() && !facts.is_active_elsewhere) {
                    assert_ne!(verdict, Verdict::Wait, "{facts:?}");
                }
            }
        }
    }
}

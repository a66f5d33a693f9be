//! What happens, in sentences. Pure; everything that comes out is harmless on a terminal.

use protocol::UserId;
use protocol::http::{HistoryAccess, Role};
use protocol::server_frame::{
    ConversationCreated, ConversationType, ConversationUpdated, MemberAdded, MemberRemoved, MessageIncoming,
};

use super::{escape, rooms};

/// Most people named in one sentence.
const NAMES: usize = 5;

/// Most people named as writing.
const WRITERS: usize = 2;

/// A message in a conversation that is not open.
pub(super) fn elsewhere(message: &MessageIncoming, title: Option<&str>) -> String {
    let sender = escape::line(message.sender_id.as_str());
    let id = message.conversation_id.as_str();
    let preview = rooms::preview(message);
    match (id.starts_with('d'), title) {
        (true, _) => format!("{sender} writes: {preview} (/open {sender})"),
        (false, Some(title)) => format!("{sender} writes in {title}: {preview} (/open {id})"),
        (false, None) => format!("{sender} writes in a group: {preview} (/open {id})"),
    }
}

/// A conversation that somebody made.
pub(super) fn created(created: &ConversationCreated) -> String {
    let by = escape::line(created.by.as_str());
    match created.conversation_type {
        ConversationType::Direct => format!("{by} has opened a conversation with you (/open {by})"),
        ConversationType::Group => invited(&by, created.name.as_deref(), created.conversation_id.as_str()),
    }
}

/// This user was added to a group.
pub(super) fn added_to(added: &MemberAdded) -> String {
    let by = escape::line(added.by.as_str());
    let name = added.conversation.as_ref().and_then(|it| it.name.as_deref());
    invited(&by, name, added.conversation_id.as_str())
}

fn invited(by: &str, name: Option<&str>, id: &str) -> String {
    let group = name.map_or_else(|| "a group".to_owned(), |it| format!("the group {}", escape::line(it)));
    format!("{by} has added you to {group} (/open {id})")
}

/// People were added.
pub(super) fn added(added: &MemberAdded, me: &UserId) -> String {
    format!("{} added {}", has(&added.by, me), names(&added.user_ids, me))
}

/// People were removed, or somebody left; and who owns the group then.
pub(super) fn removed(removed: &MemberRemoved, me: &UserId) -> String {
    let by = &removed.by;
    let heir = match &removed.owner {
        Some(owner) if owner == me => "; you own the group now".to_owned(),
        Some(owner) => format!("; {} owns the group now", escape::line(owner.as_str())),
        None => String::new(),
    };
    match removed.user_ids.as_slice() {
        [user] if user == by => format!("{} left{heir}", has(by, me)),
        users => format!("{} removed {}{heir}", has(by, me), names(users, me)),
    }
}

/// This user is in a group no more.
pub(super) fn removed_from(removed: &MemberRemoved, title: Option<&str>, me: &UserId) -> String {
    let group = title.unwrap_or("a group");
    match removed.by == *me {
        true => format!("you have left {group}"),
        false => format!("{} has removed you from {group}", escape::line(removed.by.as_str())),
    }
}

/// A name, a setting or roles have changed; a sentence for each.
pub(super) fn updated(updated: &ConversationUpdated, me: &UserId) -> Vec<String> {
    let by = has(&updated.by, me);
    let name = updated.name.as_deref();
    let name = name.map(|name| format!("{by} named the group {}", escape::line(name)));
    let history = updated.history.map(|history| match history {
        HistoryAccess::All => format!("{by} opened the history to members who come later"),
        HistoryAccess::Joined => format!("{by} closed the history to members who come later"),
    });
    let roles = updated.roles.iter().map(|it| {
        let user = if it.user_id == *me {
            "you".to_owned()
        } else {
            escape::line(it.user_id.as_str())
        };
        let role = match it.role {
            Role::Owner => "the owner",
            Role::Admin => "an admin",
            Role::Member => "a plain member",
        };
        format!("{by} made {user} {role}")
    });
    name.into_iter().chain(history).chain(roles).collect()
}

/// Who is writing; `None` if nobody is.
pub(super) fn writing<'a>(writers: impl Iterator<Item = &'a UserId>) -> Option<String> {
    let names: Vec<String> = writers.map(|it| escape::line(it.as_str())).collect();
    match names.as_slice() {
        [] => None,
        [one] => Some(format!("{one} is writing…")),
        [one, other] => Some(format!("{one} and {other} are writing…")),
        many => Some(format!(
            "{} and {} more are writing…",
            many[..WRITERS].join(", "),
            many.len() - WRITERS
        )),
    }
}

fn has(user: &UserId, me: &UserId) -> String {
    match user == me {
        true => "you have".to_owned(),
        false => format!("{} has", escape::line(user.as_str())),
    }
}

fn names(users: &[UserId], me: &UserId) -> String {
    let name = |user: &UserId| match user == me {
        true => "you".to_owned(),
        false => escape::line(user.as_str()),
    };
    let named: Vec<String> = users.iter().take(NAMES).map(name).collect();
    match users.len() {
        all if all > NAMES => format!("{} and {} more", named.join(", "), all - NAMES),
        _ => named.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn change(by: &str, users: &[&str]) -> Value {
        json!({"conversation_id": "g00000000000000000000000000000000", "seq": 2, "by": by, "user_ids": users,
            "timestamp": "2026-11-22T01:02:03.456Z"})
    }

    #[test]
    fn comings_and_goings_are_told_from_both_sides() {
        let me = user("ann");
        let added = |by, users: &[&str]| added(&serde_json::from_value(change(by, users)).unwrap(), &me);
        assert_eq!(added("b\u{1b}ob", &["carl", "ann"]), "b\\u{1b}ob has added carl, you");
        assert_eq!(
            added("ann", &["b", "c", "d", "e", "f", "g", "h"]),
            "you have added b, c, d, e, f and 2 more"
        );
        let removed = |by, users: &[&str]| removed(&serde_json::from_value(change(by, users)).unwrap(), &me);
        assert_eq!(removed("bob", &["bob"]), "bob has left");
        assert_eq!(removed("ann", &["bob"]), "you have removed bob");
    }

    #[test]
    fn an_owner_who_leaves_names_his_heir() {
        let mut value = change("bob", &["bob"]);
        value["owner"] = json!("ann");
        let leaving: MemberRemoved = serde_json::from_value(value).unwrap();
        assert_eq!(removed(&leaving, &user("ann")), "bob has left; you own the group now");
        assert_eq!(removed(&leaving, &user("carl")), "bob has left; ann owns the group now");
    }

    #[test]
    fn what_was_changed_is_told_one_by_one() {
        let mut value = change("bob", &[]);
        value["name"] = json!("T\neam");
        value["roles"] = json!([{"user_id": "ann", "role": "admin"}]);
        let update = serde_json::from_value(value).unwrap();
        assert_eq!(
            updated(&update, &user("ann")),
            ["bob has named the group T\\neam", "bob has made you an admin"]
        );
    }

    #[test]
    fn few_writers_are_named() {
        let users = ["bob", "carl", "dora"].map(user);
        assert_eq!(writing(users[..0].iter()), None);
        assert_eq!(writing(users[..1].iter()).as_deref(), Some("bob is writing…"));
        assert_eq!(writing(users[..2].iter()).as_deref(), Some("bob and carl are writing…"));
        assert_eq!(
            writing(users.iter()).as_deref(),
            Some("bob, carl and 1 more are writing…")
        );
    }
}

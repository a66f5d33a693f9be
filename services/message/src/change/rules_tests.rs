//! The table of who may do what, and what each change comes to.

use std::sync::Arc;

use protocol::http::{HistoryAccess, Role, UpdateConversation};
use protocol::rpc::Change;
use protocol::server_frame::{ConversationCreated, ConversationType};
use protocol::{Code, ConversationId, Timestamp, UserId, limits};

use super::rules::{Decision, decide, draft};
use crate::conversation::State;
use crate::conversation::state::tests::{ann_and_bob, user};
use crate::event::Event;

/// A group of an owner, the admins adam and amy, and the members bob and eve, which is called `n`.
fn group() -> State {
    let names = ["owner", "adam", "amy", "bob", "eve"];
    let created = ConversationCreated {
        conversation_id: ConversationId::parse("g00000000000000000000000000000000").unwrap(),
        seq: 1,
        conversation_type: ConversationType::Group,
        name: Some("n".into()),
        history: HistoryAccess::All,
        members: names.map(user).to_vec(),
        by: user("owner"),
        timestamp: Timestamp::from_millis(1_000),
    };
    let mut state = State::created(&created, 10);
    for admin in ["adam", "amy"] {
        Arc::make_mut(&mut state.members).set_role(&user(admin), Role::Admin);
    }
    state
}

fn rename(name: &str) -> Change {
    Change::Update(UpdateConversation {
        name: Some(name.into()),
        history: None,
    })
}

fn add(names: &[&str]) -> Change {
    Change::Add(names.iter().map(|it| user(it)).collect())
}

fn remove(name: &str) -> Change {
    Change::Remove(user(name))
}

fn promote(name: &str, role: Role) -> Change {
    Change::SetRole(user(name), role)
}

fn at(state: &State, caller: &str, change: &Change) -> Decision {
    decide(state, &user(caller), change, Timestamp::from_millis(5_000))
}

/// `ok` for an event, `same` for none, or the refusal's code.
fn outcome(state: &State, caller: &str, change: &Change) -> &'static str {
    match at(state, caller, change) {
        Decision::Append(_) => "ok",
        Decision::Nothing => "same",
        Decision::Refuse(refusal) => refusal.code.as_str(),
    }
}

#[test]
fn who_may_do_what() {
    let settings = Change::Update(UpdateConversation {
        name: None,
        history: Some(HistoryAccess::Joined),
    });
    // By the owner, by an admin, by a member, by a stranger.
    let table: &[(&str, Change, [&str; 4])] = &[
        ("rename", rename("new"), ["ok", "ok", "forbidden", "not_found"]),
        ("the same name", rename("n"), ["same", "same", "forbidden", "not_found"]),
        ("set the history", settings, ["ok", "ok", "forbidden", "not_found"]),
        ("add", add(&["new"]), ["ok", "ok", "forbidden", "not_found"]),
        (
            "add a member",
            add(&["eve"]),
            ["same", "same", "forbidden", "not_found"],
        ),
        ("remove a member", remove("eve"), ["ok", "ok", "forbidden", "not_found"]),
        ("remove an admin", remove("amy"), ["ok", "ok", "forbidden", "not_found"]),
        (
            "remove a stranger",
            remove("new"),
            ["not_found", "not_found", "forbidden", "not_found"],
        ),
        (
            "make an admin",
            promote("eve", Role::Admin),
            ["ok", "forbidden", "forbidden", "not_found"],
        ),
        (
            "unmake an admin",
            promote("amy", Role::Member),
            ["ok", "forbidden", "forbidden", "not_found"],
        ),
        (
            "the same role",
            promote("amy", Role::Admin),
            ["same", "forbidden", "forbidden", "not_found"],
        ),
        (
            "a stranger's role",
            promote("new", Role::Admin),
            ["not_found", "forbidden", "forbidden", "not_found"],
        ),
        (
            "unmake the owner",
            promote("owner", Role::Member),
            ["forbidden", "forbidden", "forbidden", "not_found"],
        ),
    ];
    for (what, change, expected) in table {
        let found = ["owner", "adam", "bob", "new"].map(|caller| outcome(&group(), caller, change));
        assert_eq!(found, *expected, "{what}");
    }
}

#[test]
fn only_the_owner_himself_removes_the_owner_and_everybody_may_leave() {
    for caller in ["adam", "bob"] {
        assert_eq!(outcome(&group(), caller, &remove("owner")), "forbidden");
    }
    for caller in ["owner", "adam", "bob"] {
        assert_eq!(outcome(&group(), caller, &remove(caller)), "ok");
    }
}

#[test]
fn in_a_direct_conversation_everything_is_forbidden() {
    let changes = [
        rename("x"),
        add(&["eve"]),
        remove("bob"),
        remove("ann"),
        promote("bob", Role::Admin),
    ];
    for change in changes {
        assert_eq!(outcome(&ann_and_bob(), "ann", &change), "forbidden");
    }
    assert_eq!(outcome(&ann_and_bob(), "eve", &remove("eve")), "not_found");
}

#[test]
fn when_the_owner_leaves_the_longest_standing_admin_owns_the_group_by_the_same_event() {
    let mut state = group();
    for (leaver, heir) in [
        ("owner", Some("adam")),
        ("adam", Some("amy")),
        ("amy", Some("bob")),
        ("eve", None),
        ("bob", None),
    ] {
        let Decision::Append(event) = at(&state, leaver, &remove(leaver)) else {
            panic!("{leaver} could not leave");
        };
        let Event::Removed(removed, size) = &event else {
            panic!("not a removal");
        };
        assert_eq!(removed.owner, heir.map(user), "after {leaver}");
        state.apply(&event);
        assert_eq!(*size, state.members.len() as u64);
        if let Some(heir) = heir {
            assert_eq!(state.members.get(&user(heir)).map(|it| it.role), Some(Role::Owner));
        }
    }
    assert_eq!(state.members.len(), 0);
}

#[test]
fn somebody_removed_before_the_retry_is_refused() {
    let mut state = group();
    let Decision::Append(removal) = at(&state, "owner", &remove("adam")) else {
        panic!("not removed");
    };
    assert_eq!(outcome(&state, "adam", &rename("new")), "ok");
    state.apply(&removal);
    assert_eq!(outcome(&state, "adam", &rename("new")), "not_found");
}

#[test]
fn only_who_is_new_is_added_and_never_above_the_limit() {
    let Decision::Append(Event::Added(added, size)) = at(&group(), "owner", &add(&["eve", "new", "bob"])) else {
        panic!("not added");
    };
    assert_eq!((added.user_ids, added.seq, size), (vec![user("new")], 2, 6));
    assert_eq!(added.timestamp, Timestamp::from_millis(5_000));
    let fitting: Vec<UserId> = (5..limits::MEMBERS).map(|n| user(&format!("u{n}"))).collect();
    let one_more: Vec<UserId> = fitting.iter().cloned().chain([user("last")]).collect();
    assert_eq!(outcome(&group(), "owner", &Change::Add(fitting)), "ok");
    assert_eq!(outcome(&group(), "owner", &Change::Add(one_more)), "invalid");
}

#[test]
fn only_what_changes_is_told() {
    let change = Change::Update(UpdateConversation {
        name: Some("n".into()),
        history: Some(HistoryAccess::Joined),
    });
    let Decision::Append(Event::Updated(updated)) = at(&group(), "adam", &change) else {
        panic!("not updated");
    };
    assert_eq!((updated.name, updated.history), (None, Some(HistoryAccess::Joined)));
}

#[test]
fn a_draft_is_checked_before_anything_is_read() {
    let code = |change| draft(change).map(drop).map_err(|it| it.code);
    let update = |name: Option<&str>| {
        Change::Update(UpdateConversation {
            name: name.map(str::to_owned),
            history: None,
        })
    };
    for wrong in [
        update(None),
        update(Some(" \n")),
        update(Some(&"ö".repeat(limits::NAME_CHARS + 1))),
        add(&[]),
        Change::Add((0..=limits::MEMBERS).map(|n| user(&n.to_string())).collect()),
        promote("eve", Role::Owner),
    ] {
        assert_eq!(code(wrong), Err(Code::Invalid));
    }
    let long = "ö".repeat(limits::NAME_CHARS);
    assert_eq!(draft(update(Some(&format!(" {long} ")))), Ok(update(Some(&long))));
    assert_eq!(draft(add(&["a", "b", "a"])), Ok(add(&["a", "b"])));
}

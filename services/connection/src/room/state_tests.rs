use protocol::client_frame::AppState;
use protocol::rpc::Sight;
use serde_json::Value;

use super::*;
use crate::session::start::Who;

fn room() -> ConversationId {
    ConversationId::parse("g00000000000000000000000000000000").unwrap()
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn session(name: &str) -> Arc<Session> {
    let who = Who {
        user_id: user(name),
        device_id: "d".into(),
        state: AppState::Foreground,
        is_present: true,
    };
    Session::new(who, &[0], 0)
}

/// What the session was told, as `type user`.
fn told(session: &Session) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let signal = session.queue().pop_signal();
        let Some(text) = signal else { return all };
        let frame: Value = serde_json::from_str(&text).unwrap();
        let status = frame["status"].as_str().map_or(String::new(), |it| format!(" {it}"));
        all.push(format!(
            "{} {}{status}",
            frame["type"].as_str().unwrap(),
            frame["user_id"].as_str().unwrap()
        ));
    }
}

fn appears(name: &str, status: Status, by: Option<&str>) -> Signal {
    Signal::Presence {
        presence: Presence {
            user_id: user(name),
            status,
            last_seen: None,
        },
        session_id: by.map(str::to_owned),
    }
}

fn joined(name: &str) -> Signal {
    Signal::Joined {
        conversation_id: room(),
        user_id: user(name),
    }
}

fn left(name: &str) -> Signal {
    Signal::Left {
        conversation_id: room(),
        user_id: user(name),
    }
}

/// A room of ann, bob and eve, with these sockets subscribed.
fn with(sessions: &[&Arc<Session>]) -> State {
    let mut state = State::default();
    state.begin_look(&room());
    assert!(state.set_members(&room(), 1, ["ann", "bob", "eve"].map(user).into()));
    for session in sessions {
        state.enter(&room(), session);
        state.settle(&room(), session);
    }
    state.end_look(&room());
    state
}

#[test]
fn a_status_that_was_told_before_is_not_told_again() {
    let ann = session("ann");
    let mut state = with(&[&ann]);
    let now = Instant::now();
    for status in [Status::Online, Status::Online, Status::Away] {
        state.on_signal(&appears("bob", status, None), now);
    }
    state.on_signal(&appears("stranger", Status::Online, None), now);
    assert_eq!(told(&ann), ["presence bob online", "presence bob away"]);
}

#[test]
fn who_set_a_status_is_not_told_of_it_but_his_other_sockets_are() {
    let (phone, desktop) = (session("ann"), session("ann"));
    let mut state = with(&[&phone, &desktop]);
    state.on_signal(&appears("ann", Status::Dnd, Some(&phone.id)), Instant::now());
    assert_eq!((told(&phone).len(), told(&desktop).len()), (0, 1));
}

#[test]
fn coming_and_going_is_told_once_to_everybody_else() {
    let (ann, bob) = (session("ann"), session("bob"));
    let mut state = with(&[&ann, &bob]);
    for signal in [joined("bob"), joined("bob"), left("bob"), left("bob")] {
        state.on_signal(&signal, Instant::now());
    }
    assert_eq!(told(&ann), ["user:joined bob", "user:left bob"]);
    assert!(told(&bob).is_empty());
}

#[test]
fn members_who_change_while_the_list_is_read_are_not_missed() {
    let ann = session("ann");
    let mut state = State::default();
    state.begin_look(&room());
    state.members_changed(&room(), 3, &[user("joe")], false);
    state.members_changed(&room(), 4, &[user("eve")], true);
    // As of 3: joe is in it, eve still too.
    assert!(state.set_members(&room(), 3, ["ann", "eve", "joe"].map(user).into()));
    state.enter(&room(), &ann);
    state.end_look(&room());
    let mut members = state.members(&room());
    members.sort();
    assert_eq!(members, ["ann", "joe"].map(user));
}

#[test]
fn a_removed_member_is_subscribed_no_more_and_hears_nothing() {
    let (ann, bob) = (session("ann"), session("bob"));
    let mut state = with(&[&ann, &bob]);
    state.on_signal(&joined("bob"), Instant::now());
    told(&ann);
    assert_eq!(state.members_changed(&room(), 5, &[user("bob")], true), [user("bob")]);
    state.on_signal(&joined("eve"), Instant::now());
    assert!(told(&bob).is_empty());
    assert_eq!(told(&ann), ["user:left bob", "user:joined eve"]);
}

#[test]
fn a_socket_without_its_answer_is_told_nothing_yet() {
    let (ann, bob) = (session("ann"), session("bob"));
    let mut state = with(&[&ann]);
    state.enter(&room(), &bob);
    state.on_signal(&joined("eve"), Instant::now());
    assert!(state.settle(&room(), &bob));
    state.on_signal(&left("eve"), Instant::now());
    assert_eq!(told(&ann), ["user:joined eve", "user:left eve"]);
    assert_eq!(told(&bob), ["user:left eve"]);
}

#[test]
fn a_room_without_sockets_is_forgotten_with_its_members() {
    let ann = session("ann");
    let mut state = with(&[&ann]);
    assert_eq!(state.leave(&ann, &room()), Some(true));
    assert!(state.rooms.is_empty() && state.people.is_empty());
}

#[test]
fn a_comparison_tells_what_was_missed_and_nothing_else() {
    let ann = session("ann");
    let mut state = with(&[&ann]);
    let members = ["ann", "bob", "eve"].map(user);
    let online = |name: &str| Presence {
        user_id: user(name),
        status: Status::Online,
        last_seen: None,
    };
    let sight = |present: &[&str], seen: &[&str]| Sight {
        present: present.iter().map(|it| user(it)).collect(),
        presence: seen.iter().map(|it| online(it)).collect(),
        ..Sight::default()
    };
    let mut compare = |sight: Sight| {
        let since = state.begin_look(&room());
        state.reconcile_people(&members, &sight, since);
        state.reconcile_present(&room(), &sight, since);
        state.end_look(&room());
    };
    compare(sight(&["ann", "bob"], &["ann", "bob"]));
    assert_eq!(
        told(&ann),
        ["user:joined bob"],
        "where it starts from is in the answer to subscribe"
    );
    compare(sight(&["ann", "eve"], &["ann", "eve"]));
    let mut heard = told(&ann);
    heard.sort();
    assert_eq!(
        heard,
        [
            "presence bob offline",
            "presence eve online",
            "user:joined eve",
            "user:left bob"
        ]
    );
}

#[test]
fn typing_is_told_to_all_but_the_socket_that_caused_it() {
    let (phone, desktop, bob) = (session("ann"), session("ann"), session("bob"));
    let mut state = with(&[&phone, &desktop, &bob]);
    let typing = |started| Signal::Typing {
        conversation_id: room(),
        user_id: user("ann"),
        started,
        session_id: phone.id.clone(),
        number: 0,
    };
    for started in [true, true, false] {
        state.on_signal(&typing(started), Instant::now());
    }
    assert!(told(&phone).is_empty());
    for session in [&desktop, &bob] {
        assert_eq!(told(session), ["typing:started ann", "typing:stopped ann"]);
    }
}

#[test]
fn a_look_that_began_before_a_signal_does_not_undo_it() {
    let ann = session("ann");
    let mut state = with(&[&ann]);
    let sight = |present: &[&str]| Sight {
        present: present.iter().map(|it| user(it)).collect(),
        ..Sight::default()
    };
    for signal in [joined("ann"), joined("bob")] {
        state.on_signal(&signal, Instant::now());
    }
    let since = state.begin_look(&room());
    for signal in [left("bob"), joined("eve"), appears("eve", Status::Online, None)] {
        state.on_signal(&signal, Instant::now());
    }
    told(&ann);
    state.reconcile_people(&["bob", "eve"].map(user), &sight(&[]), since);
    state.reconcile_present(&room(), &sight(&["ann", "bob"]), since);
    assert!(told(&ann).is_empty());
    state.end_look(&room());
    let since = state.begin_look(&room());
    state.reconcile_present(&room(), &sight(&["ann", "bob"]), since);
    assert_eq!(told(&ann), ["user:left eve", "user:joined bob"], "a later one is right");
}

#[test]
fn a_cut_list_says_nothing_of_those_who_are_not_on_it() {
    let ann = session("ann");
    let mut state = with(&[&ann]);
    state.on_signal(&joined("bob"), Instant::now());
    told(&ann);
    let since = state.begin_look(&room());
    let sight = Sight {
        present: vec![user("eve")],
        cut: true,
        ..Sight::default()
    };
    state.reconcile_present(&room(), &sight, since);
    assert_eq!(told(&ann), ["user:joined eve"]);
}

#[test]
fn an_answer_that_came_late_undoes_nothing() {
    let ann = session("ann");
    let mut state = with(&[&ann]);
    for signal in [joined("bob"), appears("bob", Status::Online, None)] {
        state.on_signal(&signal, Instant::now());
    }
    told(&ann);
    let since = state.begin_look(&room());
    let sight = Sight {
        late: true,
        ..Sight::default()
    };
    state.reconcile_people(&["ann", "bob", "eve"].map(user), &sight, since);
    state.reconcile_present(&room(), &sight, since);
    assert!(told(&ann).is_empty());
}

#[test]
fn a_room_that_only_a_comparison_keeps_is_read_by_the_next_socket() {
    let mut state = State::default();
    let since = state.begin_look(&room());
    state.reconcile_present(&room(), &Sight::default(), since);
    assert!(!state.is_known(&room()));
}

#[test]
fn who_is_no_member_is_not_shown_until_he_is() {
    let ann = session("ann");
    let mut state = with(&[&ann]);
    state.on_signal(&joined("joe"), Instant::now());
    assert!(told(&ann).is_empty());
    state.members_changed(&room(), 2, &[user("joe")], false);
    assert_eq!(told(&ann), ["user:joined joe"]);
}

#[test]
fn a_change_that_the_list_has_is_not_made_again() {
    let (ann, bob) = (session("ann"), session("bob"));
    let mut state = State::default();
    state.begin_look(&room());
    // As of 8, when bob was a member again.
    assert!(state.set_members(&room(), 8, ["ann", "bob"].map(user).into()));
    for session in [&ann, &bob] {
        state.enter(&room(), session);
        state.settle(&room(), session);
    }
    assert!(state.members_changed(&room(), 7, &[user("bob")], true).is_empty());
    assert_eq!(state.members(&room()).len(), 2);
    assert_eq!(state.members_changed(&room(), 9, &[user("bob")], true), [user("bob")]);
}

#[test]
fn nothing_of_a_room_comes_after_it_was_left() {
    let ann = session("ann");
    let mut state = with(&[&ann]);
    state.on_signal(&joined("bob"), Instant::now());
    state.leave(&ann, &room());
    assert!(told(&ann).is_empty());
}

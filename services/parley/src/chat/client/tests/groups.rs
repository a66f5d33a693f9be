//! Who comes, goes and leaves, and what the user does with a group.

use protocol::http::Role;
use protocol::limits;

use super::*;

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn id() -> ConversationId {
    conversation(ID).conversation_id
}

fn change(frame_type: &str, seq: u64, by: &str, users: &[&str]) -> Value {
    json!({"type": frame_type, "conversation_id": ID, "seq": seq, "by": by, "user_ids": users, "timestamp": TIME})
}

fn refused(words: &str) -> Failure {
    Failure {
        words: words.into(),
        is_passing: false,
        is_unreachable: false,
        is_gone: false,
    }
}

#[test]
fn changes_are_grey_lines_in_their_place_and_told_once() {
    let mut test = Test::loaded(&[from_bob(2)]);
    test.frame(change("member:added", 3, "bob", &["carl"]));
    test.frame(change("member:added", 3, "bob", &["carl"]));
    let mut renamed = change("conversation:updated", 4, "bob", &[]);
    renamed["name"] = json!("Team");
    test.frame(renamed);
    test.frame(change("member:removed", 5, "carl", &["carl"]));
    assert_eq!(
        test.said(),
        ["bob has added carl", "bob has named the group Team", "carl has left"]
    );
    let room = test.client.room().unwrap();
    let notes: Vec<_> = room.notes().map(|(seq, _)| seq).collect();
    assert_eq!(
        (notes, room.title(), room.members.count()),
        (vec![3, 4, 5], "Team".into(), 2)
    );
}

#[test]
fn who_is_removed_sees_the_room_close_and_what_he_writes_goes_nowhere() {
    let mut test = Test::loaded(&[from_bob(2)]);
    test.client.on_answer(
        Answer::Listed(
            false,
            Ok(serde_json::from_value(json!({"conversations": [conversation(ID)]})).unwrap()),
        ),
        test.now,
    );
    assert_eq!(test.sent_of("subscribe").len(), 1);
    test.frame(change("member:removed", 3, "bob", &["ann"]));
    assert_eq!(test.said()[0], "bob has removed you from bob");
    assert!(test.client.room().is_none() && test.client.rooms().listed().is_empty());
    assert!(!test.line("hello?"), "not taken for the name of somebody to talk to");
    assert_eq!(
        (
            test.client
                .take_requests()
                .contains(&Request::Open(Target::User(user("hello?")))),
            test.sent()
        ),
        (false, vec![])
    );
}

#[test]
fn being_added_is_news_and_the_conversation_is_in_the_list_at_once() {
    let mut test = Test::loaded(&[]);
    let other = "g00000000000000000000000000000001";
    let mut added = change("member:added", 9, "bob", &["ann"]);
    added["conversation_id"] = json!(other);
    added["conversation"] = json!(conversation(other));
    added["conversation"]["name"] = json!("Team");
    test.frame(added);
    assert_eq!(
        test.said(),
        [format!("bob has added you to the group Team (/open {other})")]
    );
    assert_eq!(test.client.rooms().listed()[0].title, "Team");
}

#[test]
fn what_the_user_wants_changed_is_asked_of_the_server() {
    let mut test = Test::loaded(&[]);
    for line in [
        "/invite carl dora",
        "/remove carl",
        "/role dora admin",
        "/name The Team",
        "/leave",
    ] {
        assert!(test.line(line), "{line}");
    }
    assert_eq!(
        test.client.take_requests(),
        [
            Change::Invite(id(), vec![user("carl"), user("dora")]),
            Change::Remove(id(), user("carl")),
            Change::Role(id(), user("dora"), Role::Admin),
            Change::Rename(id(), "The Team".into()),
            Change::Remove(id(), user("ann")),
        ]
        .map(Request::Change)
    );
    assert!(test.client.is_busy() && !test.client.is_settled());
    assert!(!test.line(&format!("/invite {}", "x".repeat(limits::ID_BYTES + 1))));
}

#[test]
fn a_refusal_is_a_problem_and_leaving_closes_the_room_before_its_event_comes() {
    let mut test = Test::loaded(&[]);
    test.line("/remove bob");
    let remove = Change::Remove(id(), user("bob"));
    test.client
        .on_answer(Answer::Changed(remove, Err(refused("only owners may"))), test.now);
    assert_eq!(
        (test.said(), test.client.has_failed()),
        (vec!["only owners may".to_owned()], true)
    );
    test.line("/leave");
    let leave = Change::Remove(id(), user("ann"));
    test.client.on_answer(Answer::Changed(leave, Ok(None)), test.now);
    assert_eq!(test.said()[0], "you are not in bob any more");
    assert!(test.client.room().is_none() && test.client.is_settled());
    test.frame(change("member:removed", 3, "ann", &["ann"]));
    assert_eq!(test.said(), [""; 0]);
}

#[test]
fn a_conversation_that_is_gone_when_everything_is_read_again_is_closed() {
    let mut test = Test::loaded(&[]);
    test.frame(json!({"type": "resync", "reason": "expired"}));
    let gone = Failure {
        is_gone: true,
        ..refused("no such conversation")
    };
    test.client
        .on_answer(Answer::Opened(Target::Conversation(id()), Err(gone)), test.now);
    assert!(test.client.room().is_none() && !test.client.has_failed());
    assert!(!test.line("hello?"));
}

#[test]
fn without_a_room_there_is_nothing_to_change() {
    let mut client = Client::new(user("ann"));
    for line in ["/leave", "/who", "/name Team", "/invite bob"] {
        assert!(!client.on_line(line, Instant::now()), "{line}");
    }
    assert_eq!(client.take_requests(), []);
}

#[test]
fn a_group_is_made_and_opened_under_one_id() {
    let mut test = Test::loaded(&[]);
    assert!(test.line("/group bob carl"));
    let requests = test.client.take_requests();
    let [Request::Open(Target::Group(users, _))] = requests.as_slice() else {
        panic!("{requests:?}");
    };
    assert_eq!(users, &[user("bob"), user("carl")]);
}

#[test]
fn members_are_listed_with_role_status_and_when_they_were_seen() {
    let mut test = Test::loaded(&[]);
    assert!(test.line("/who"));
    let who = Who {
        members: serde_json::from_value(json!([
            {"user_id": "ann", "role": "owner", "read_seq": 0, "delivered_seq": 0},
            {"user_id": "b\u{1b}ob", "role": "member", "read_seq": 0, "delivered_seq": 0}
        ]))
        .unwrap(),
        more: true,
        presence: serde_json::from_value(json!({"presence": [
            {"user_id": "ann", "status": "online"},
            {"user_id": "b\u{1b}ob", "status": "offline", "last_seen": TIME}
        ]}))
        .unwrap(),
        at: protocol::Timestamp::parse("2026-11-22T01:07:03.456Z").unwrap(),
    };
    test.client.on_answer(Answer::Who(id(), Ok(who)), test.now);
    assert_eq!(
        test.said(),
        [
            "● ann  owner · you · online",
            "○ b\\u{1b}ob  member · offline · last seen 5 min ago",
            "… and more"
        ]
    );
    assert!(!test.client.is_busy());
}

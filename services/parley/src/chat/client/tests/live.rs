//! Live signals: subscriptions, who is here, who is writing, how people appear.

use protocol::server_frame;

use super::*;

const OTHER: &str = "g00000000000000000000000000000001";

fn signal(frame_type: &str, user: &str) -> Value {
    json!({"type": frame_type, "conversation_id": ID, "user_id": user})
}

fn subscribed(present: &[&str], typing: &[&str]) -> Value {
    let present: Vec<_> = present
        .iter()
        .map(|it| json!({"user_id": it, "status": "online"}))
        .collect();
    json!({"type": "subscribed", "conversation_id": ID, "seq": 4, "present_count": present.len(), "present": present,
        "typing": typing})
}

fn open(test: &mut Test, id: &str) {
    let target = Target::parse(id).unwrap();
    test.client
        .on_answer(Answer::Opened(target, Ok(Box::new(conversation(id)))), test.now);
}

#[test]
fn the_room_on_screen_is_subscribed_to_and_no_other() {
    let mut test = Test::loaded(&[]);
    assert_eq!(test.sent_of("subscribe")[0]["conversation_id"], ID);
    open(&mut test, OTHER);
    let types: Vec<_> = test
        .all_sent()
        .iter()
        .map(|it| (it["type"].clone(), it["conversation_id"].clone()))
        .collect();
    assert_eq!(
        types,
        [(json!("unsubscribe"), json!(ID)), (json!("subscribe"), json!(OTHER))]
    );
    test.client.on_offline("gone".into(), test.now);
    test.online();
    assert_eq!(test.sent_of("subscribe")[0]["conversation_id"], OTHER);
}

#[test]
fn people_come_write_and_go() {
    let mut test = Test::loaded(&[]);
    test.frame(subscribed(&["ann", "bob"], &["bob"]));
    test.frame(signal("user:joined", "carl"));
    test.frame(signal("typing:started", "carl"));
    test.frame(signal("typing:started", "carl"));
    test.frame(signal("typing:started", "ann"));
    assert_eq!(
        test.said(),
        ["here: bob", "bob is writing…", "carl is here", "carl is writing…"]
    );
    test.frame(from_bob(2));
    let writing = |test: &Test| {
        test.client
            .live()
            .writing()
            .map(|it| it.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(writing(&test), ["carl"], "what bob wrote has come");
    test.frame(signal("user:left", "carl"));
    assert_eq!(
        (test.said(), writing(&test)),
        (vec!["carl has gone".to_owned()], vec![])
    );
    assert_eq!(test.client.live().count(), 2);
}

#[test]
fn a_stop_that_got_lost_does_not_stick() {
    let mut test = Test::loaded(&[]);
    test.frame(signal("typing:started", "bob"));
    let end = test.client.live().due().unwrap();
    test.client.tick(end);
    assert_eq!(test.client.live().writing().count(), 0);
}

#[test]
fn signals_of_a_room_that_was_left_change_nothing() {
    let mut test = Test::loaded(&[]);
    open(&mut test, OTHER);
    test.client.take_outputs();
    for it in ["user:joined", "typing:started", "user:left"] {
        test.frame(signal(it, "bob"));
    }
    test.frame(subscribed(&["bob"], &[]));
    assert_eq!((test.said(), test.client.live().is_known()), (vec![], false));
}

#[test]
fn a_status_is_news_when_it_changes() {
    let mut test = Test::loaded(&[]);
    let away = json!({"type": "presence", "user_id": "bob", "status": "away"});
    test.frame(away.clone());
    test.frame(away);
    assert_eq!(test.said(), ["bob is away"]);
    let bob = UserId::parse("bob").unwrap();
    assert_eq!(test.client.people().status(&bob), Some(server_frame::Status::Away));
    test.client.on_offline("gone".into(), test.now);
    assert_eq!(test.client.people().status(&bob), None);
}

#[test]
fn others_are_told_that_the_user_writes_until_he_sends() {
    let mut test = Test::loaded(&[]);
    test.sent();
    for text in ["h", "he"] {
        test.client.on_edit(text, test.now);
    }
    assert!(test.client.due(test.now) <= Some(test.now));
    assert_eq!(test.sent_of("typing:start").len(), 1);
    test.line("he");
    let types: Vec<_> = test.sent().iter().map(|it| it["type"].clone()).collect();
    assert_eq!(types, ["typing:stop", "message:send"]);
    test.client.on_offline("gone".into(), test.now);
    test.client.on_edit("h", test.now);
    assert_eq!(test.client.due(test.now), None);
}

#[test]
fn a_status_is_told_once_and_again_only_when_it_changes() {
    let mut test = Test::loaded(&[]);
    test.client.on_offline("gone".into(), test.now);
    test.line("/status dnd");
    assert!(!test.client.is_settled());
    test.online();
    assert_eq!(test.sent_of("presence:set")[0]["status"], "dnd");
    assert!(test.sent_of("presence:set").is_empty() && test.client.is_settled());
}

#[test]
fn how_people_appear_is_asked_now_and_then() {
    let mut test = Test::loaded(&[]);
    let list = serde_json::from_value(json!({"conversations": [conversation(ID)]})).unwrap();
    test.client.on_answer(Answer::Listed(false, Ok(list)), test.now);
    let bob = Request::Presence(vec![UserId::parse("bob").unwrap()]);
    for _ in 0..2 {
        test.now = test.client.due(test.now).unwrap();
        while !test.client.frames(test.now).is_empty() {}
        test.now = test.client.due(test.now).unwrap();
        test.client.tick(test.now);
        assert_eq!(test.client.take_requests(), std::slice::from_ref(&bob));
    }
}

#[test]
fn what_failed_of_a_signal_is_not_told() {
    let mut test = Test::loaded(&[]);
    test.sent();
    let error = |code: &str, reference: &str| json!({"type": "error", "code": code, "message": "no", "ref": reference});
    test.frame(error("rate_limited", "typing"));
    test.frame(error("not_found", "receipt"));
    test.frame(error("unavailable", "subscribe"));
    assert_eq!(test.said(), [""; 0]);
    test.now += READ_AGAIN;
    assert_eq!(test.sent_of("subscribe").len(), 1);
    test.frame(error("unavailable", "receipt"));
    assert_eq!(test.said(), ["the server says: no"]);
}

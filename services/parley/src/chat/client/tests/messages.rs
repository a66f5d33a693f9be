//! Messages, their acks and receipts, in order and out of order.

use super::*;

#[test]
fn what_comes_while_the_history_is_read_is_told_once_and_in_order() {
    let mut test = Test::new();
    test.frame(from_bob(4));
    assert_eq!(test.told(), [""; 0]);
    test.client
        .on_answer(history(&[from_bob(4), from_bob(3), from_bob(2)]), test.now);
    assert_eq!(test.told(), ["bob 2", "bob 3", "bob 4"]);
    test.frame(from_bob(4));
    test.frame(from_bob(5));
    assert_eq!(test.told(), ["bob 5"]);
}

#[test]
fn what_was_sent_from_here_is_not_told_whether_ack_event_or_history_comes_first() {
    let mut test = Test::new();
    test.line("hi");
    let first = test.sent().remove(0)["client_id"].clone();
    test.ack(&first, 2);
    test.line("again");
    let second = test.sent().remove(0)["client_id"].clone();
    let own = |seq, id: &Value| message(seq, "ann", id.as_str().unwrap());
    test.client
        .on_answer(history(&[from_bob(4), own(3, &second), own(2, &first)]), test.now);
    assert_eq!(
        (test.told(), test.client.outbox().waiting()),
        (vec!["bob 4".to_owned()], 0)
    );
}

#[test]
fn what_was_received_and_shown_is_confirmed_once() {
    let mut test = Test::loaded(&[from_bob(2)]);
    test.frame(from_bob(3));
    let marks: Vec<_> = test
        .sent()
        .iter()
        .map(|it| (it["type"].clone(), it["seq"].clone()))
        .collect();
    assert_eq!(
        marks,
        [
            (json!("message:delivered"), json!(3)),
            (json!("message:read"), json!(3))
        ]
    );
    assert_eq!(test.sent(), [Value::Null; 0]);
}

#[test]
fn what_is_not_before_the_eyes_is_delivered_and_read_later() {
    let mut test = Test::loaded(&[]);
    test.client.set_visible(false, test.now);
    test.frame(from_bob(3));
    assert_eq!(test.sent().len(), 1);
    test.client.set_visible(true, test.now);
    assert_eq!(test.sent()[0]["type"], "message:read");
}

#[test]
fn a_message_without_an_ack_goes_again_until_it_is_acked() {
    let mut test = Test::loaded(&[]);
    assert!(test.line("hi"));
    let first = test.sent().remove(0);
    test.client.on_offline("gone".into(), test.now);
    assert_eq!(test.sent(), [Value::Null; 0]);
    test.online();
    let again = test.sent().remove(0);
    assert_eq!(
        (&again["client_id"], &again["retry"]),
        (&first["client_id"], &json!(true))
    );
    test.ack(&first["client_id"], 2);
    test.ack(&first["client_id"], 2);
    let shown: Vec<_> = test
        .client
        .room()
        .unwrap()
        .messages()
        .map(|(seq, it)| (seq, it.body.clone()))
        .collect();
    assert_eq!((shown, test.client.outbox().waiting()), (vec![(2, "hi".to_owned())], 0));
}

#[test]
fn an_own_message_that_comes_back_on_resume_is_settled_by_it() {
    let mut test = Test::loaded(&[]);
    test.line("hi");
    let frame = test.sent().remove(0);
    test.frame(message(2, "ann", frame["client_id"].as_str().unwrap()));
    assert_eq!((test.client.outbox().waiting(), test.told()), (0, vec![]));
}

#[test]
fn a_resync_reads_everything_again_and_tells_only_what_is_new() {
    let mut test = Test::loaded(&[from_bob(2)]);
    test.frame(json!({"type": "resync", "reason": "expired"}));
    let id = conversation(ID).conversation_id;
    let open = Request::Open(Target::Conversation(id.clone()));
    assert_eq!(test.client.take_requests(), [Request::List(false), open]);
    test.client.on_answer(
        Answer::Opened(Target::Conversation(id.clone()), Ok(Box::new(conversation(ID)))),
        test.now,
    );
    assert_eq!(test.client.take_requests(), [Request::History(id, None)]);
    test.client.on_answer(history(&[from_bob(3), from_bob(2)]), test.now);
    assert_eq!(test.told(), ["bob 3"]);
}

#[test]
fn a_read_that_fails_for_now_is_tried_again() {
    let mut test = Test::new();
    test.sent();
    test.client.tick(test.now);
    test.client.take_requests();
    let id = conversation(ID).conversation_id;
    let failure = Failure {
        words: "away".into(),
        is_passing: true,
        is_unreachable: false,
        is_gone: false,
    };
    test.client
        .on_answer(Answer::Page(id.clone(), None, Err(failure)), test.now);
    assert_eq!(test.client.due(test.now), Some(test.now + READ_AGAIN));
    test.client.tick(test.now + READ_AGAIN);
    assert_eq!(test.client.take_requests(), [Request::History(id, None)]);
    assert!(!test.client.has_failed());
}

#[test]
fn a_line_that_cannot_be_sent_is_kept_and_remembered() {
    let mut test = Test::loaded(&[]);
    assert!(!test.line(&"x".repeat(4_001)));
    assert!(test.client.has_failed());
    assert!(matches!(test.client.take_outputs().as_slice(), [Output::Problem(_)]));
}

#[test]
fn a_message_for_another_room_is_news_and_confirmed_as_delivered_only() {
    let mut test = Test::loaded(&[]);
    let mut elsewhere = from_bob(7);
    elsewhere["conversation_id"] = json!("d00000000000000000000000000000009");
    test.frame(elsewhere);
    assert!(matches!(test.client.take_outputs().as_slice(), [Output::Notice(text)] if text.contains("bob writes")));
    let types: Vec<_> = test.sent().iter().map(|it| it["type"].clone()).collect();
    assert_eq!(types, ["message:delivered"]);
}

//! The checker itself: it must catch every kind of loss, or the storms prove nothing.

use serde_json::{Value, json};

use crate::harness::invariants::{SocketView, Stored, View, violations};

fn event(seq: u64) -> Value {
    json!({"type": "message:incoming", "conversation_id": "c", "seq": seq, "server_id": format!("c-{seq}"),
        "client_id": format!("id-{seq}"), "sender_id": "ann", "text": format!("text {seq}"), "timestamp": "t"})
}

fn ack(seq: u64) -> Value {
    json!({"type": "message:ack", "conversation_id": "c", "seq": seq, "server_id": format!("c-{seq}"),
        "client_id": format!("id-{seq}"), "timestamp": "t", "duplicate": false})
}

fn checkpoint(cursor: &str) -> Value {
    json!({"type": "checkpoint", "cursor": cursor})
}

fn socket(resume: Option<&str>, frames: Vec<Value>) -> SocketView {
    SocketView {
        resume: resume.map(Into::into),
        sent: Vec::new(),
        frames,
    }
}

fn view(user: &str, sockets: Vec<SocketView>) -> View {
    View {
        user: user.into(),
        sockets,
    }
}

/// Ann sends 2 to 6; Bob sees them over two sockets, the second from a checkpoint after 3.
fn honest() -> (Vec<View>, Vec<Stored>) {
    let ann = view("ann", vec![socket(None, (2..=6).map(ack).collect())]);
    let first = vec![event(2), event(3), checkpoint("after 3"), event(4)];
    let bob = view(
        "bob",
        vec![
            socket(None, first),
            socket(Some("after 3"), vec![event(4), event(5), event(6)]),
        ],
    );
    let messages: Vec<Value> = (2..=6).map(event).collect();
    let untyped = messages.iter().map(|it| {
        let mut plain = it.clone();
        plain.as_object_mut().unwrap().remove("type");
        plain
    });
    let forwards: Vec<Value> = untyped.collect();
    let backwards = forwards.iter().rev().cloned().collect();
    let members = vec!["ann".into(), "bob".into()];
    let conversation = "c".into();
    (
        vec![ann, bob],
        vec![Stored {
            conversation,
            members,
            from: 2,
            forwards,
            backwards,
            log: messages,
        }],
    )
}

/// Changes the honest history and expects a violation that says so.
#[track_caller]
fn assert_caught(words: &str, change: impl FnOnce(&mut Vec<View>, &mut Vec<Stored>)) {
    let (mut views, mut stored) = honest();
    change(&mut views, &mut stored);
    let found = violations(&views, &stored);
    assert!(found.iter().any(|it| it.contains(words)), "no {words:?} in {found:#?}");
}

#[test]
fn an_honest_history_passes() {
    let (views, stored) = honest();
    assert_eq!(violations(&views, &stored), Vec::<String>::new());
}

#[test]
fn a_lost_event_is_caught() {
    assert_caught("came before [5]", |views, _| drop(views[1].sockets[1].frames.remove(1)));
}

#[test]
fn a_lost_last_event_is_caught() {
    assert_caught("bob lacks [6]", |views, _| drop(views[1].sockets[1].frames.pop()));
}

#[test]
fn an_event_doubled_on_one_socket_is_caught() {
    assert_caught("5 came twice", |views, _| {
        views[1].sockets[1].frames.insert(2, event(5))
    });
}

#[test]
fn events_out_of_order_are_caught() {
    assert_caught("5 after 6", |views, _| views[1].sockets[1].frames.swap(1, 2));
}

#[test]
fn an_event_out_of_order_over_two_sockets_is_caught() {
    assert_caught("4 came before [3]", |views, _| {
        drop(views[1].sockets[0].frames.remove(1))
    });
}

#[test]
fn an_event_from_before_the_checkpoint_is_caught() {
    assert_caught("3 came again", |views, _| {
        views[1].sockets[1].frames.insert(0, event(3))
    });
}

#[test]
fn an_event_from_after_the_checkpoint_may_come_again() {
    let (views, stored) = honest();
    let again = views[1].sockets[1].frames.iter().any(|it| it["seq"] == 4);
    assert!(again && violations(&views, &stored).is_empty());
}

#[test]
fn what_came_after_a_checkpoint_may_come_a_third_time() {
    let (mut views, stored) = honest();
    let ready = json!({"type": "ready", "resumed": true, "cursor": "after 3"});
    views[1]
        .sockets
        .insert(1, socket(Some("after 3"), vec![ready, event(4)]));
    assert_eq!(violations(&views, &stored), Vec::<String>::new());
}

#[test]
fn a_lost_first_event_is_caught() {
    assert_caught("bob lacks [2]", |views, _| drop(views[1].sockets[0].frames.remove(0)));
}

#[test]
fn a_member_who_got_nothing_is_caught() {
    assert_caught("bob lacks [2, 3, 4, 5, 6]", |views, _| views[1].sockets.clear());
}

#[test]
fn a_changed_text_is_caught() {
    assert_caught("told differently", |views, _| {
        views[1].sockets[0].frames[0]["text"] = json!("other")
    });
}

#[test]
fn a_history_that_tells_another_text_is_caught() {
    assert_caught("told differently", |_, stored| {
        stored[0].backwards[2]["text"] = json!("other")
    });
}

#[test]
fn a_retry_that_became_a_second_message_is_caught() {
    assert_caught("in the log twice, at 4 and 7", |_, stored| {
        let mut again = event(4);
        again["seq"] = json!(7);
        stored[0].log.push(again);
    });
}

#[test]
fn a_retry_answered_with_another_time_is_caught() {
    assert_caught("the retry of id-4", |views, _| {
        let mut again = ack(4);
        again["timestamp"] = json!("later");
        views[0].sockets[0].frames.push(again);
    });
}

#[test]
fn an_acked_message_that_is_nowhere_is_caught() {
    assert_caught("nowhere to be found", |views, _| {
        views[0].sockets[0].frames.push(ack(9))
    });
}

#[test]
fn an_ack_of_somebody_elses_message_is_caught() {
    assert_caught("bob was acked", |views, _| views[1].sockets[1].frames.push(ack(6)));
}

fn send(number: u64, retry: bool) -> Value {
    json!({"conversation_id": "c", "client_id": format!("id-{number}"), "retry": retry})
}

#[test]
fn a_send_that_overtook_another_is_caught() {
    assert_caught("4 was sent after what became 5", |views, _| {
        views[0].sockets[0].sent = [2, 3, 5, 4, 6].map(|it| send(it, false)).into();
    });
}

#[test]
fn a_retry_may_be_overtaken() {
    let (mut views, stored) = honest();
    views[0].sockets[0].sent = [send(2, false), send(5, false), send(4, false), send(5, true)].into();
    assert_eq!(violations(&views, &stored), Vec::<String>::new());
}

#[test]
fn a_message_not_stored_is_caught() {
    assert_caught("history forwards of c lacks [4]", |_, stored| {
        drop(stored[0].forwards.remove(2))
    });
}

#[test]
fn a_message_stored_twice_is_caught() {
    assert_caught("history backwards of c has 4 before 4", |_, stored| {
        let again = stored[0].backwards[2].clone();
        stored[0].backwards.insert(2, again);
    });
}

#[test]
fn a_stored_message_that_was_never_logged_is_caught() {
    assert_caught("has [4], which are not in the log", |_, stored| {
        drop(stored[0].log.remove(2))
    });
}

#[test]
fn a_stranger_who_saw_something_is_caught() {
    assert_caught("eve is no member", |views, _| {
        views.push(view("eve", vec![socket(None, vec![event(6)])]))
    });
}

#[test]
fn a_refused_resume_is_caught() {
    assert_caught("the resume was refused", |views, _| {
        views[1].sockets[1]
            .frames
            .insert(0, json!({"type": "resync", "reason": "expired"}));
    });
}

fn member(seq: u64, kind: &str, user: &str) -> Value {
    json!({"type": kind, "conversation_id": "c", "seq": seq, "user_ids": [user], "by": "ann", "timestamp": "t"})
}

/// The honest history, in which 3 adds Eve and 5 removes her: she has exactly 3 to 5.
fn with_a_guest() -> (Vec<View>, Vec<Stored>) {
    let (mut views, mut stored) = honest();
    let (added, removed) = (member(3, "member:added", "eve"), member(5, "member:removed", "eve"));
    for frames in views.iter_mut().flat_map(|it| &mut it.sockets).map(|it| &mut it.frames) {
        frames.retain(|it| it["type"] != "message:ack" || (it["seq"] != 3 && it["seq"] != 5));
        for frame in frames.iter_mut().filter(|it| it["type"] == "message:incoming") {
            match frame["seq"].as_u64() {
                Some(3) => *frame = added.clone(),
                Some(5) => *frame = removed.clone(),
                _ => {}
            }
        }
    }
    views[0].sockets[0].frames.extend([added.clone(), removed.clone()]);
    (stored[0].log[1], stored[0].log[3]) = (added.clone(), removed.clone());
    stored[0].forwards.retain(|it| it["seq"] != 3 && it["seq"] != 5);
    stored[0].backwards.retain(|it| it["seq"] != 3 && it["seq"] != 5);
    let mut welcome = added;
    welcome["conversation"] = json!({"conversation_id": "c"});
    views.push(view("eve", vec![socket(None, vec![welcome, event(4), removed])]));
    (views, stored)
}

#[test]
fn a_guest_who_has_exactly_his_stay_passes() {
    let (views, stored) = with_a_guest();
    assert_eq!(violations(&views, &stored), Vec::<String>::new());
}

#[test]
fn a_guest_who_saw_more_than_his_stay_is_caught() {
    let (mut views, stored) = with_a_guest();
    views[2].sockets[0].frames.push(event(6));
    let found = violations(&views, &stored);
    assert!(
        found.contains(&"eve saw [6] of c while he was no member of it".into()),
        "{found:?}"
    );
}

#[test]
fn a_guest_who_never_heard_of_his_removal_is_caught() {
    let (mut views, stored) = with_a_guest();
    views[2].sockets[0].frames.pop();
    let found = violations(&views, &stored);
    assert!(found.contains(&"eve lacks [5] of c up to 6".into()), "{found:?}");
}

#[test]
fn a_log_with_a_gap_is_caught() {
    assert_caught("the log of c is not dense", |_, stored| drop(stored[0].log.remove(2)));
}

#[test]
fn a_read_mark_that_goes_back_is_caught() {
    let mark = |seq: u64| json!({"type": "message:read", "conversation_id": "c", "user_id": "ann", "seq": seq});
    assert_caught("after 5 came", |views, _| {
        views[1].sockets[1].frames.extend([mark(4), mark(5), mark(4)]);
    });
}

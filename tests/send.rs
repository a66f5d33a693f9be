//! Sending: the ack, the rules, and both ways to do it.

use serde_json::{Value, json};

use crate::harness::{Room, client_id, message, shared, tuned};

async fn room() -> Room<2> {
    shared().await.direct().await
}

/// A send with more fields.
fn send_with(conversation: &str, text: &str, more: Value) -> Value {
    let mut frame = message(&client_id(), conversation, text);
    for (name, value) in more.as_object().unwrap() {
        frame[name] = value.clone();
    }
    frame
}

fn id_of(frame: &Value) -> &str {
    frame["client_id"].as_str().unwrap()
}

#[tokio::test]
async fn an_ack_has_every_field_of_the_contract() {
    let room = room().await;
    let socket = room.users[0].connect().await;
    let frame = send_with(&room.id, "hello", json!({"ref": "r-9"}));
    socket.send(frame.clone()).await;
    let ack = socket.wait_ack(id_of(&frame)).await;
    assert_eq!(ack["conversation_id"], room.id.as_str());
    assert_eq!(ack["seq"], 2, "1 was the creation");
    assert_eq!(ack["duplicate"], false);
    assert_eq!(ack["ref"], "r-9");
    assert!(ack["server_id"].as_str().is_some_and(|it| !it.is_empty()), "{ack}");
    let timestamp = ack["timestamp"].as_str().unwrap();
    assert!(timestamp.len() == 24 && timestamp.ends_with('Z'), "{timestamp}");
}

#[tokio::test]
async fn sends_of_one_socket_take_their_seq_in_the_order_sent() {
    let room = room().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect_at(1).await);
    let mut ids = Vec::new();
    for number in 0..90 {
        ids.push(ann.send_message(&room.id, &number.to_string()).await);
    }
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(ann.wait_ack(id).await["seq"], number + 2);
        let event = bob.expect_text(&number.to_string()).await;
        assert_eq!(event["seq"], number + 2);
    }
}

#[tokio::test]
async fn the_socket_that_sent_gets_the_ack_and_the_users_other_devices_the_message() {
    let room = room().await;
    let (phone, desktop) = (room.users[0].connect().await, room.users[0].connect_at(1).await);
    let ack = phone.say(&room.id, "from the phone").await;
    let event = desktop.expect_text("from the phone").await;
    for field in ["client_id", "server_id", "seq", "conversation_id", "timestamp"] {
        assert_eq!(event[field], ack[field], "{field}");
    }
    // Two round trips through the log later it would have come.
    room.users[1].api.say(&room.id, "after").await;
    phone.expect_text("after").await;
    phone.assert_quiet().await;
}

#[tokio::test]
async fn text_is_trimmed() {
    let room = room().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    ann.say(&room.id, " \n\t hi there \r\n ").await;
    bob.expect_text("hi there").await;
}

#[tokio::test]
async fn text_of_4000_characters_after_trimming_is_taken() {
    let room = room().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    let longest = "\u{1F980}".repeat(4_000);
    ann.say(&room.id, &format!("  {longest}  ")).await;
    bob.expect_text(&longest).await;
}

#[tokio::test]
async fn text_of_4001_characters_or_of_none_is_invalid() {
    let room = room().await;
    let ann = room.users[0].connect().await;
    for text in [
        "ö".repeat(4_001),
        "a".repeat(4_001),
        String::new(),
        " \n\t ".into(),
        "\u{3000}".into(),
    ] {
        let frame = send_with(&room.id, &text, json!({"ref": 5}));
        ann.send(frame.clone()).await;
        assert_eq!(ann.wait_error(id_of(&frame), "invalid").await["ref"], 5);
    }
    assert_eq!(ann.say(&room.id, "fine").await["seq"], 2, "a refused send takes no seq");
}

#[tokio::test]
async fn every_kind_is_delivered_as_it_was_sent_and_text_is_the_default() {
    let room = room().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    for kind in ["text", "image", "file"] {
        ann.send(send_with(&room.id, "x", json!({"kind": kind}))).await;
        assert_eq!(bob.next_event().await["kind"], kind);
    }
    ann.send_message(&room.id, "x").await;
    assert_eq!(bob.next_event().await["kind"], "text");
}

#[tokio::test]
async fn an_unknown_kind_is_invalid() {
    let room = room().await;
    let ann = room.users[0].connect().await;
    let frame = send_with(&room.id, "x", json!({"kind": "hologram"}));
    ann.send(frame.clone()).await;
    ann.wait_error(id_of(&frame), "invalid").await;
}

#[tokio::test]
async fn a_message_with_attachments_needs_no_text() {
    let room = room().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    let files = json!([{"url": "https://files.example/1", "name": "cat.jpg", "bytes": 12345, "type": "image/jpeg"}]);
    let frame = send_with(&room.id, "", json!({"kind": "image", "attachments": files}));
    ann.send(frame.clone()).await;
    ann.wait_ack(id_of(&frame)).await;
    let event = bob.next_event().await;
    assert_eq!((&event["text"], &event["attachments"]), (&json!(""), &files));
}

#[tokio::test]
async fn a_reply_names_the_message_it_answers() {
    let room = room().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    let question = bob.say(&room.id, "really?").await;
    let frame = send_with(&room.id, "really", json!({"reply_to": question["server_id"]}));
    ann.send(frame.clone()).await;
    ann.wait_ack(id_of(&frame)).await;
    let event = bob.next_event().await;
    assert_eq!(event["reply_to"], question["server_id"]);
}

#[tokio::test]
async fn a_reply_to_what_is_not_in_this_conversation_is_refused() {
    let (here, elsewhere) = (room().await, room().await);
    let ann = here.users[0].connect().await;
    let foreign = elsewhere.users[0].api.say(&elsewhere.id, "elsewhere").await["server_id"].clone();
    let known = ann.say(&here.id, "here").await["server_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let absent = format!("{known}9");
    let mut told = Vec::new();
    for reply_to in [foreign, json!(absent), json!("nonsense"), json!("")] {
        let frame = send_with(&here.id, "to what?", json!({"reply_to": reply_to}));
        ann.send(frame.clone()).await;
        let error = ann.frames.frame("error", |it| it["client_id"] == id_of(&frame)).await;
        assert_eq!(error["type"], "error", "{error}");
        assert!(
            matches!(error["code"].as_str(), Some("invalid" | "not_found")),
            "{error}"
        );
        told.push((error["code"].clone(), error["message"].clone()));
    }
    assert_eq!(told[0], told[1], "absent and foreign are not told apart");
}

#[tokio::test]
async fn sending_over_http_answers_like_an_ack_with_201() {
    let room = room().await;
    let bob = room.users[1].connect().await;
    let id = client_id();
    let reply = room.users[0]
        .api
        .send(&room.id, &json!({"client_id": id, "text": "over http", "ref": "r"}))
        .await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let event = bob.expect_text("over http").await;
    for field in ["client_id", "server_id", "seq", "conversation_id", "timestamp"] {
        assert_eq!(reply.body[field], event[field], "{field}");
    }
    assert_eq!(reply.body["duplicate"], false);
}

#[tokio::test]
async fn what_was_sent_over_http_comes_to_all_sockets_of_the_sender() {
    let room = room().await;
    let (phone, desktop) = (room.users[0].connect().await, room.users[0].connect_at(1).await);
    room.users[0].api.say(&room.id, "over http").await;
    phone.expect_text("over http").await;
    desktop.expect_text("over http").await;
}

#[tokio::test]
async fn the_rules_are_the_same_over_http() {
    let room = room().await;
    let api = &room.users[0].api;
    let send = async |more: Value| {
        let mut body = json!({"client_id": client_id(), "text": "x"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        api.send(&room.id, &body).await
    };
    for wrong in [
        json!({"text": "ö".repeat(4_001)}),
        json!({"text": "  "}),
        json!({"text": {"a": 1}}),
        json!({"client_id": "no uuid"}),
        json!({"client_id": 7}),
        json!({"client_id": null}),
        json!({"kind": "hologram"}),
        json!({"retry": "yes"}),
        json!({"attachments": "none"}),
    ] {
        send(wrong).await.assert_problem(400, "invalid");
    }
    assert_eq!(send(json!({})).await.ok()["seq"], 2, "refused sends take no seq");
}

#[tokio::test]
async fn one_client_id_in_two_conversations_or_of_two_senders_is_two_messages() {
    let deployment = shared().await;
    let room = deployment.direct().await;
    let eve = deployment.user("eve").await;
    let other = room.users[0].api.direct(&eve.id).await;
    let body = json!({"client_id": client_id(), "text": "x"});
    let first = room.users[0].api.send(&room.id, &body).await;
    let second = room.users[1].api.send(&room.id, &body).await;
    let third = room.users[0].api.send(&other, &body).await;
    assert_eq!([first.status, second.status, third.status], [201, 201, 201]);
    assert_eq!((&second.body["seq"], &third.body["seq"]), (&json!(3), &json!(2)));
}

#[tokio::test]
async fn a_burst_of_a_thousand_waits_its_turn_and_is_not_refused() {
    let room = tuned().await.direct().await;
    let ann = room.users[0].connect().await;
    let mut ids = Vec::new();
    for number in 0..1_000 {
        ids.push(ann.send_message(&room.id, &number.to_string()).await);
    }
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(ann.wait_ack(id).await["seq"], number + 2);
    }
}

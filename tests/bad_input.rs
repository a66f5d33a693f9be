//! Whatever a client sends: a clear error, nothing lost, nobody else affected.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, RawSocket, Room, client_id, message, shared};

const PATIENCE: Duration = Duration::from_secs(5);

/// The socket that sends nonsense, and a neighbour that must not notice.
pub struct Scene {
    pub room: Room<2>,
    pub ann: Client,
    pub bob: Client,
}

impl Scene {
    pub async fn new() -> Self {
        let room = shared().await.direct().await;
        let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
        Self { room, ann, bob }
    }

    /// The socket still works, and the neighbour gets exactly what is sent now.
    pub async fn assert_unharmed(&self) {
        self.assert_neighbour_unharmed(&self.ann).await;
        self.ann.assert_quiet().await;
    }

    async fn assert_neighbour_unharmed(&self, sender: &Client) {
        let text = client_id();
        sender.say(&self.room.id, &text).await;
        self.bob.expect_text(&text).await;
        self.bob.assert_quiet().await;
    }

    /// A raw socket of the same user, to be ruined.
    pub async fn raw(&self) -> RawSocket {
        let ann = &self.room.users[0];
        let mut raw = RawSocket::connect(&ann.nodes()[0]).await;
        raw.upgrade(&ann.token).await;
        raw
    }
}

#[tokio::test]
async fn what_is_no_json_object_with_a_type_is_a_bad_frame() {
    let scene = Scene::new().await;
    let deep = "[".repeat(20_000);
    let deep_object = format!("{}1{}", r#"{"type":"ping","a":"#.repeat(3_000), "}".repeat(3_000));
    for text in [
        "",
        " ",
        "hello",
        "{",
        "[]",
        r#"["ping"]"#,
        "7",
        "null",
        "\"ping\"",
        "{}",
        r#"{"type":7}"#,
        r#"{"type":null}"#,
        &deep,
    ] {
        scene.ann.send_text(text).await;
        scene.ann.expect_error("bad_frame").await;
    }
    scene.ann.send_text(&deep_object).await;
    scene
        .ann
        .frames
        .frame("an answer to a deep frame", |it| {
            matches!(it["type"].as_str(), Some("error" | "pong"))
        })
        .await;
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn a_binary_frame_is_a_bad_frame() {
    let scene = Scene::new().await;
    scene
        .ann
        .send_raw(Message::binary(br#"{"type":"ping"}"#.to_vec()))
        .await;
    scene.ann.expect_error("bad_frame").await;
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn a_first_frame_that_is_no_json_object_closes_with_4400() {
    let scene = Scene::new().await;
    let first: [Message; 5] = [
        Message::text("hello"),
        Message::text(r#"["auth"]"#),
        Message::text("\"auth\""),
        Message::text(""),
        Message::binary(b"{}".to_vec()),
    ];
    for message in first {
        let socket = scene.room.users[0].socket().anonymous().open().await;
        socket.send_raw(message).await;
        socket.expect_close(4400, PATIENCE).await;
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn an_unknown_type_is_named_so_with_its_ref() {
    let scene = Scene::new().await;
    for kind in ["message:shout", "", "MESSAGE:SEND", "ready", "message:send ", "\u{0}"] {
        scene.ann.send(json!({"type": kind, "ref": "r"})).await;
        assert_eq!(scene.ann.expect_error("unknown_type").await["ref"], "r", "{kind:?}");
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_invalid_and_named_by_ref_and_client_id() {
    let scene = Scene::new().await;
    let strange = [
        json!({}),
        json!([]),
        json!({"$ne": null}),
        json!(7),
        json!(true),
        json!(null),
    ];
    for field in ["conversation_id", "text", "kind", "reply_to", "attachments", "retry"] {
        for value in &strange {
            let optional = matches!(field, "reply_to" | "attachments" | "kind" | "retry");
            let fits = matches!(
                (field, value),
                ("retry", Value::Bool(_)) | ("attachments", Value::Array(_))
            );
            if fits || (optional && value.is_null()) {
                continue;
            }
            let mut frame = message(&client_id(), &scene.room.id, "x");
            frame[field] = value.clone();
            frame["ref"] = json!("r");
            scene.ann.send(frame.clone()).await;
            let error = scene
                .ann
                .wait_error(frame["client_id"].as_str().unwrap(), "invalid")
                .await;
            assert_eq!(error["ref"], "r", "{field} {value}");
        }
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn a_client_id_that_is_no_uuid_is_invalid() {
    let scene = Scene::new().await;
    for id in [
        json!("x"),
        json!(""),
        json!("0190b6f0-7e2c-7c3a-8a50-0a0b0c0d0e0g"),
        json!(7),
        json!({}),
        json!(null),
    ] {
        let mut frame = message("", &scene.room.id, "x");
        frame["client_id"] = id.clone();
        frame["ref"] = json!("r");
        scene.ann.send(frame).await;
        let error = scene.ann.expect_error("invalid").await;
        assert_eq!(error["ref"], "r", "{id}");
        if id.is_string() {
            assert_eq!(error["client_id"], id);
        }
    }
    scene.ann.send(json!({"type": "message:send", "ref": "r"})).await;
    scene.ann.expect_error("invalid").await;
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn strange_text_arrives_as_it_was_sent() {
    let scene = Scene::new().await;
    for text in [
        "a\u{0}b",
        "{\"$gt\": \"\"}",
        "\u{202e}evil",
        "e\u{301} \u{1F469}\u{200D}\u{1F4BB}",
        "\u{feff}x",
        "</script>",
    ] {
        scene.ann.say(&scene.room.id, text).await;
        scene.bob.expect_text(text).await;
        let history = scene.room.users[1].api.history(&scene.room.id, "limit=1").await.ok();
        assert_eq!(history["messages"][0]["text"], text);
    }
    scene.ann.send_text(r#"{"type":"ping","a":"\ud800"}"#).await;
    scene
        .ann
        .frames
        .frame("any answer", |it| matches!(it["type"].as_str(), Some("error" | "pong")))
        .await;
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn broken_websocket_frames_end_only_their_own_socket() {
    let scene = Scene::new().await;
    let long_ping = [&b"\x89\xfe\x01\x00\0\0\0\0"[..], &[b'x'; 256]].concat();
    let broken: [&[u8]; 5] = [
        b"\x81\x85\0\0\0\0\xff\xfe\xfd\xfc\xfb",
        b"\x81\x05hello",
        b"\x83\x80\0\0\0\0",
        b"\xf1\x80\0\0\0\0",
        &long_ping,
    ];
    for bytes in broken {
        let mut raw = scene.raw().await;
        raw.write(bytes).await.unwrap();
        assert!(raw.ends_within(PATIENCE).await, "{bytes:x?}");
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn a_body_that_is_no_json_is_400() {
    let scene = Scene::new().await;
    let path = format!("/v1/conversations/{}/messages", scene.room.id);
    for body in [&b"hello"[..], b"", b"{", b"\xff\xfe", b"[]", b"null"] {
        scene.room.users[0]
            .api
            .post_bytes(&path, body.to_vec())
            .await
            .assert_problem(400, "invalid");
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn an_absent_a_foreign_and_an_impossible_conversation_are_not_found_alike() {
    let (scene, elsewhere) = (Scene::new().await, Scene::new().await);
    let mut told = Vec::new();
    let long = "g".repeat(10_000);
    for conversation in [
        &*elsewhere.room.id,
        "g00000000000000000000000000000000",
        "nonsense",
        "a.b.*.>",
        "",
        &long,
    ] {
        let frame = message(&client_id(), conversation, "x");
        scene.ann.send(frame.clone()).await;
        let code = if conversation.is_empty() {
            None
        } else {
            Some("not_found")
        };
        let error = scene
            .ann
            .frames
            .frame("an error", |it| it["client_id"] == frame["client_id"])
            .await;
        assert!(code.is_none_or(|it| error["code"] == it), "{conversation}: {error}");
        told.push(error["message"].clone());
    }
    assert_eq!((&told[0], &told[0]), (&told[1], &told[2]), "not told apart");
    elsewhere.assert_unharmed().await;
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn half_a_character_is_invalid_and_named_by_ref_and_client_id() {
    let scene = Scene::new().await;
    let id = client_id();
    let frame =
        json!({"type": "message:send", "client_id": id, "conversation_id": scene.room.id, "text": "cut", "ref": 7});
    scene
        .ann
        .send_text(&frame.to_string().replace("cut", r"cut \ud83d"))
        .await;
    let error = scene.ann.expect("error").await;
    assert_eq!(
        (&error["code"], &error["ref"], &error["client_id"]),
        (&json!("invalid"), &json!(7), &json!(id))
    );
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn a_path_that_is_no_text_and_a_request_that_is_no_upgrade_get_problem_documents() {
    let api = &shared().await.user("ann").await.api;
    for path in ["/v1/conversations/%ff", "/v1/conversations/%ff/messages"] {
        api.get(path).await.assert_problem(404, "not_found");
    }
    let reply = api.get("/v1/ws").await;
    reply.assert_problem(426, "invalid");
    assert_eq!(reply.body["status"], 426);
}

#[tokio::test]
async fn thousands_of_broken_frames_harm_nothing() {
    let scene = Scene::new().await;
    let socket = scene.room.users[0].connect().await;
    // To a conversation that is none: even what is still a proper send is answered by an error.
    let whole = message(&client_id(), "g00000000000000000000000000000000", "x").to_string();
    let mut sent = 0;
    for position in 0..whole.len() {
        for byte in [b'"', b'{', b'}', b'\\', b'9', b','] {
            let mut bytes = whole.clone().into_bytes();
            bytes[position] = byte;
            socket.send_text(&String::from_utf8(bytes).unwrap()).await;
        }
        socket.send_text(&whole[..position]).await;
        sent += 7;
    }
    assert!(sent > 900);
    for _ in 0..sent {
        socket.expect("error").await;
    }
    socket.assert_quiet().await;
    scene.assert_unharmed().await;
    let log = shared().await.stderr();
    assert!(!log.contains("panicked"), "{log}");
}

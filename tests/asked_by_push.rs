//! What the push service asks of the others, and what connection nodes write down for it.

use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Api, Broker, PATIENCE, User, message, shared, tuned, until};

/// What a user's lists of conversations say is unread, all together.
async fn listed_unread(api: &Api) -> u64 {
    let list = api.get_patiently("/v1/conversations?limit=200").await;
    let unread = |it: &Value| it["unread"].as_u64().unwrap();
    list["conversations"].as_array().unwrap().iter().map(unread).sum()
}

async fn counted_unread(broker: &Broker, users: &[&User], conversations: &[&str]) -> Vec<u64> {
    let users: Vec<&str> = users.iter().map(|it| it.id.as_str()).collect();
    let request = json!({"users": users, "conversations": conversations});
    let answer = broker.call("message.unread", &request).await;
    answer["counts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn unread_messages_of_many_users_are_counted_as_their_lists_show_them() {
    let room = tuned().await.group(["ann", "bob", "eve"]).await;
    let [ann, bob, eve] = &room.users;
    let stranger = tuned().await.user("joe").await;
    let aside = ann.api.direct(&bob.id).await;
    let (anns, bobs) = (ann.connect().await, bob.connect().await);
    anns.say(&aside, "between us").await;
    anns.say_all(&room.id, (0..150).map(|it| format!("ann {it}"))).await;
    bobs.say_all(&room.id, (0..250).map(|it| format!("bob {it}"))).await;
    // Bob has read the first 100; what he wrote after that hides what Ann had written from the last messages.
    bobs.send(json!({"type": "message:read", "conversation_id": room.id, "seq": 101}))
        .await;
    anns.frames
        .frame("bob's mark", |it| it["type"] == "message:read" && it["seq"] == 101)
        .await;
    let broker = Broker::of(tuned().await).await;
    let users = [eve, bob, &stranger, ann, bob];
    let counted = counted_unread(&broker, &users, &[&room.id, &aside]).await;
    assert_eq!(counted, [100, 51, 0, 100, 51]);
    for (user, counted) in users.into_iter().zip(counted) {
        assert_eq!(listed_unread(&user.api).await, counted);
    }
}

#[tokio::test]
async fn a_message_is_unread_as_soon_as_it_was_acked() {
    let room = shared().await.direct().await;
    let broker = Broker::of(shared().await).await;
    for sent in 1..=20 {
        room.users[0].api.say(&room.id, "hello").await;
        let counted = counted_unread(&broker, &[&room.users[1]], &[&room.id]).await;
        assert_eq!(counted, [sent]);
    }
}

#[tokio::test]
async fn an_audience_is_as_of_the_last_change_before_it_was_asked_for() {
    let room = shared().await.group(["ann", "bob"]).await;
    let broker = Broker::of(shared().await).await;
    let eve = shared().await.user("eve").await;
    let request = json!({"conversation_id": room.id});
    let before = broker.call("message.audience", &request).await;
    assert_eq!(before["conversation_type"], "group");
    assert_eq!(before["members"], json!([room.users[0].id, room.users[1].id]));
    let members = format!("/v1/conversations/{}/members", room.id);
    room.users[0]
        .api
        .post(&members, &json!({"members": [eve.id]}))
        .await
        .ok();
    let after = broker.call("message.audience", &request).await;
    assert_eq!(after["members"][2], eve.id.as_str());
    assert!(after["state_at"].as_u64() > before["state_at"].as_u64());
    room.users[0].api.say(&room.id, "hello").await;
    assert_eq!(broker.last_entry(&room.id).await["state_at"], after["state_at"]);
    let nothing = json!({"conversation_id": "g00000000000000000000000000000000"});
    let refused = broker.try_call("message.audience", &nothing).await;
    assert_eq!(refused["refused"]["code"], "not_found");
}

#[tokio::test]
async fn a_device_in_the_background_is_told_of_as_such() {
    let bob = shared().await.user("bob").await;
    let socket = bob.socket().device("phone-1").connect().await;
    let broker = Broker::of(shared().await).await;
    let request = json!({"users": [bob.id]});
    for state in ["foreground", "background"] {
        socket.send(json!({"type": "state", "state": state})).await;
        let expected = json!([["phone-1", state]]);
        until(state, PATIENCE, async || {
            let told = broker.call("presence.sessions", &request).await;
            (told["users"][0]["devices"] == expected).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_device_confirms_is_written_down_at_once_only_in_the_background() {
    let room = shared().await.direct().await;
    let [ann, bob] = &room.users;
    let broker = Broker::of(shared().await).await;
    let subject = |device: &str| format!("push.confirmed.{}.{device}.{}", bob.id, room.id);
    let mut phone = broker.hear(&subject("phone")).await;
    let mut web = broker.hear(&subject("web")).await;
    let anns = ann.connect().await;
    let (phones, webs) = (
        bob.socket().device("phone").connect().await,
        bob.socket().device("web").connect().await,
    );
    phones.send(json!({"type": "state", "state": "background"})).await;
    anns.say(&room.id, "hello").await;
    webs.send(json!({"type": "message:delivered", "conversation_id": room.id, "seq": 2}))
        .await;
    anns.expect("message:delivered").await;
    // "Everything" is what there is now, and not what will be written tomorrow.
    phones
        .send(json!({"type": "message:read", "conversation_id": room.id, "seq": 9_000}))
        .await;
    let written = tokio::time::timeout(PATIENCE, phone.next()).await.unwrap().unwrap();
    assert_eq!(&*written.payload, b"2");
    let headers = written.headers.unwrap();
    assert_eq!(headers.get("Nats-TTL").unwrap().as_str(), "86400");
    assert!(web.next().now_or_never().is_none());
    webs.kill().await;
    let written = tokio::time::timeout(PATIENCE, web.next()).await.unwrap().unwrap();
    assert_eq!(&*written.payload, b"2");
}

#[tokio::test]
async fn an_app_that_was_left_open_counts_as_one_in_the_background() {
    let room = tuned().await.direct().await;
    let [ann, bob] = &room.users;
    let broker = Broker::of(tuned().await).await;
    let mut written = broker.hear(&format!("push.confirmed.{}.web.{}", bob.id, room.id)).await;
    let socket = bob.socket().device("web").connect().await;
    until("nobody to have touched it for a while", PATIENCE, async || {
        let told = broker.call("presence.sessions", &json!({"users": [bob.id]})).await;
        (told["users"][0]["devices"] == json!([["web", "background"]])).then_some(())
    })
    .await;
    ann.api.say(&room.id, "hello").await;
    socket
        .send(json!({"type": "message:delivered", "conversation_id": room.id, "seq": 2}))
        .await;
    let written = tokio::time::timeout(PATIENCE, written.next()).await.unwrap().unwrap();
    assert_eq!(&*written.payload, b"2");
}

#[tokio::test]
async fn a_phone_that_confirms_and_goes_to_sleep_at_once_has_confirmed() {
    let room = shared().await.direct().await;
    let [ann, bob] = &room.users;
    let broker = Broker::of(shared().await).await;
    let mut written = broker
        .hear(&format!("push.confirmed.{}.phone.{}", bob.id, room.id))
        .await;
    for seq in 2..12 {
        ann.api.say(&room.id, "hello").await;
        let phone = bob.socket().device("phone").connect().await;
        let confirm = json!({"type": "message:delivered", "conversation_id": room.id, "seq": seq});
        phone
            .send_at_once([json!({"type": "state", "state": "background"}), confirm])
            .await;
        phone.send_raw(Message::Close(None)).await;
        let written = tokio::time::timeout(PATIENCE, written.next()).await.unwrap().unwrap();
        assert_eq!(written.payload, seq.to_string());
    }
}

#[tokio::test]
async fn name_and_trace_of_a_send_are_in_the_log_if_they_hold() {
    let room = shared().await.direct().await;
    let broker = Broker::of(shared().await).await;
    let [ann, _] = &room.users;
    let token = shared().await.token_with(&ann.id, &["--name", " Ann B. "]).await;
    let socket = ann.socket().token(&token).connect().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (given, kept) in [(trace, json!(trace)), ("00-nonsense", Value::Null)] {
        let id = crate::harness::client_id();
        let mut frame = message(&id, &room.id, "hello");
        frame["traceparent"] = given.into();
        socket.send(frame).await;
        socket.wait_ack(&id).await;
        let entry = broker.last_entry(&room.id).await;
        assert_eq!(
            (&entry["sender_name"], &entry["traceparent"]),
            (&json!("Ann B."), &kept)
        );
    }
    ann.api.with_token(&token).say(&room.id, "over HTTP").await;
    assert_eq!(broker.last_entry(&room.id).await["sender_name"], "Ann B.");
    ann.api.say(&room.id, "without a name").await;
    assert_eq!(broker.last_entry(&room.id).await.get("sender_name"), None);
}

//! Holds PROTOCOL.md against the types: every example is decoded, and every frame has one.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;

use protocol::{Claims, ServerFrame, client_frame, http, push};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const PAGE: &str = include_str!("../PROTOCOL.md");

/// The examples with a label: what follows "```json " on the fence.
fn examples() -> Vec<(&'static str, &'static str)> {
    let blocks = PAGE.split("```json ").skip(1);
    blocks
        .map(|block| {
            let (label, rest) = block.split_once('\n').unwrap();
            (label, rest.split("```").next().unwrap().trim())
        })
        .collect()
}

fn of(label: &str) -> Vec<&'static str> {
    examples()
        .into_iter()
        .filter(|(it, _)| *it == label)
        .map(|(_, text)| text)
        .collect()
}

fn frame_type(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap();
    value["type"].as_str().unwrap().to_owned()
}

/// Reading and writing it again changes nothing: no field is unknown, none is missing.
fn survives<T: DeserializeOwned + Serialize>(text: &str) {
    let value: T = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let again = serde_json::to_value(value).unwrap();
    assert_eq!(again, serde_json::from_str::<Value>(text).unwrap(), "{text}");
}

#[test]
fn every_client_example_is_a_frame_that_the_server_decodes() {
    for text in of("client") {
        assert!(
            client_frame::decode(text).is_ok(),
            "{text}: {:?}",
            client_frame::decode(text)
        );
    }
}

#[test]
fn every_server_example_is_a_frame_exactly_as_the_server_writes_it() {
    of("server").into_iter().for_each(survives::<ServerFrame>);
}

#[test]
fn every_http_example_is_what_the_server_reads_or_writes() {
    for (label, text) in examples() {
        match label {
            "client" | "server" => {}
            "Problem" => survives::<http::Problem>(text),
            "CreateConversation" => survives::<http::CreateConversation>(text),
            "UpdateConversation" => survives::<http::UpdateConversation>(text),
            "AddMembers" => survives::<http::AddMembers>(text),
            "SetRole" => survives::<http::SetRole>(text),
            "Members" => survives::<http::Members>(text),
            "PresenceList" => survives::<http::PresenceList>(text),
            "Conversation" => survives::<http::Conversation>(text),
            "Conversations" => survives::<http::Conversations>(text),
            "History" => survives::<http::History>(text),
            "Events" => survives::<http::Events>(text),
            "RegisterDevice" => survives::<push::RegisterDevice>(text),
            "Device" => survives::<push::Device>(text),
            "Devices" => survives::<push::Devices>(text),
            "PushInfo" => survives::<push::PushInfo>(text),
            "Notifications" => survives::<push::Notifications>(text),
            "UpdateNotifications" => survives::<push::UpdateNotifications>(text),
            "ConversationNotifications" => survives::<push::ConversationNotifications>(text),
            "UpdateConversationNotifications" => survives::<push::UpdateConversationNotifications>(text),
            "Claims" => survives::<Claims>(text),
            other => panic!("an example of an unknown kind: {other}"),
        }
    }
}

#[test]
fn every_client_frame_has_an_example() {
    let shown: BTreeSet<String> = of("client").into_iter().map(frame_type).collect();
    let known: BTreeSet<String> = client_frame::FRAME_TYPES.iter().map(|it| (*it).to_owned()).collect();
    assert_eq!(shown, known);
    for frame_type in client_frame::FRAME_TYPES {
        let bare = format!(r#"{{"type":"{frame_type}"}}"#);
        let code = client_frame::decode(&bare).err().map(|rejected| rejected.refusal.code);
        assert_ne!(
            code,
            Some(protocol::Code::UnknownType),
            "{frame_type} is listed and not decoded"
        );
    }
}

#[test]
fn every_server_frame_has_an_example() {
    let shown: BTreeSet<String> = of("server").into_iter().map(frame_type).collect();
    // serde's own list of the variants, from its words for an unknown one.
    let error = serde_json::from_str::<ServerFrame>(r#"{"type":"?"}"#)
        .unwrap_err()
        .to_string();
    let known: BTreeSet<String> = error.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(known.contains("ready"), "serde's words have changed: {error}");
    assert_eq!(shown, known);
}

#[test]
fn what_a_user_who_never_set_anything_is_notified_of_is_what_the_page_shows() {
    let [shown] = of("Notifications")[..] else {
        panic!("one example is the defaults");
    };
    let defaults = serde_json::to_value(push::Notifications::default()).unwrap();
    assert_eq!(serde_json::from_str::<Value>(shown).unwrap(), defaults);
}

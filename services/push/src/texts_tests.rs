use protocol::client_frame::Attachment;
use protocol::{ClientId, ConversationId, ServerId, Timestamp, UserId};

use super::*;

fn message(text: &str) -> MessageIncoming {
    let conversation_id = ConversationId::parse("g00000000000000000000000000000000").unwrap();
    MessageIncoming {
        server_id: ServerId {
            conversation_id: conversation_id.clone(),
            seq: 7,
        },
        client_id: ClientId::generate(),
        conversation_id,
        seq: 7,
        sender_id: UserId::parse("ann").unwrap(),
        text: text.to_owned(),
        kind: MessageKind::Text,
        reply_to: None,
        attachments: Vec::new(),
        timestamp: Timestamp::from_millis(0),
    }
}

fn audience(conversation_type: ConversationType, name: Option<&str>) -> Audience {
    Audience {
        state_at: 1,
        conversation_type,
        name: name.map(str::to_owned),
        members: Vec::new(),
    }
}

fn shown(message: &MessageIncoming, audience: &Audience, previews: bool, locale: Option<&str>) -> (String, String) {
    let Texts { title, body } = texts(message, Some("Ann A."), audience, previews, locale);
    (title, body)
}

#[test]
fn every_locale_has_all_words() {
    for (name, text) in FILES {
        toml::from_str::<Words>(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert_eq!(LOCALES.len(), FILES.len());
}

#[test]
fn a_direct_message_is_from_its_sender_and_a_groups_from_the_group() {
    let direct = audience(ConversationType::Direct, None);
    let group = audience(ConversationType::Group, Some("Lunch"));
    let unnamed = audience(ConversationType::Group, None);
    let hello = message("hello {sender}");
    let pair = |title: &str, body: &str| (title.to_owned(), body.to_owned());
    assert_eq!(shown(&hello, &direct, true, None), pair("Ann A.", "hello {sender}"));
    assert_eq!(
        shown(&hello, &group, true, None),
        pair("Lunch", "Ann A.: hello {sender}")
    );
    assert_eq!(
        shown(&hello, &unnamed, true, Some("de-AT")),
        pair("Gruppe", "Ann A.: hello {sender}")
    );
    assert_eq!(texts(&hello, None, &direct, true, None).title, "ann");
}

#[test]
fn hidden_previews_show_who_and_not_what_in_the_devices_language() {
    let direct = audience(ConversationType::Direct, None);
    let secret = message("the secret");
    for (locale, body) in [
        (None, "New message"),
        (Some("de"), "Neue Nachricht"),
        (Some("fr_CA"), "Nouveau message"),
        (Some("xx"), "New message"),
    ] {
        assert_eq!(
            shown(&secret, &direct, false, locale),
            ("Ann A.".to_owned(), body.to_owned())
        );
    }
}

#[test]
fn a_message_without_text_says_what_it_is() {
    let direct = audience(ConversationType::Direct, None);
    let mut picture = message("");
    picture.attachments = vec![Attachment {
        url: "https://x".to_owned(),
        name: "plan.pdf".to_owned(),
        bytes: 1,
        media_type: "application/pdf".to_owned(),
    }];
    picture.kind = MessageKind::Image;
    assert_eq!(shown(&picture, &direct, true, Some("de")).1, "📷 Foto");
    picture.kind = MessageKind::File;
    assert_eq!(shown(&picture, &direct, true, None).1, "📎 plan.pdf");
}

#[test]
fn the_first_hundred_characters_are_shown_none_of_them_cut() {
    let direct = audience(ConversationType::Direct, None);
    let exact = "ä".repeat(100);
    assert_eq!(shown(&message(&exact), &direct, true, None).1, exact);
    assert_eq!(
        shown(&message(&"ä".repeat(101)), &direct, true, None).1,
        format!("{exact}…")
    );
    let family = "👨‍👩‍👧‍👦";
    let body = shown(&message(&family.repeat(150)), &direct, true, None).1;
    let whole = body.trim_end_matches('…');
    assert!(body.ends_with('…') && whole.len() <= BODY_BYTES && whole.len().is_multiple_of(family.len()));
    // One character of thousands of code points is no way round the bound.
    let stacked = format!("a{}", "\u{301}".repeat(5_000));
    assert_eq!(shown(&message(&stacked), &direct, true, None).1, "…");
}

#[test]
fn nothing_in_a_text_meddles_with_what_is_around_it() {
    let direct = audience(ConversationType::Direct, None);
    let text = message("one\ntwo\u{0}\u{1b}[2J \u{202e}three");
    assert_eq!(shown(&text, &direct, true, None).1, "one\ntwo[2J three");
}

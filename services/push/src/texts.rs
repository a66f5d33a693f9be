//! What a notification says: a title and the beginning of the message, in the device's language where the words are ours.
//!
//! The words are in `services/push/locales`, a file per language. To add one: its file, and its line below.

use std::sync::LazyLock;

use protocol::client_frame::MessageKind;
use protocol::rpc::Audience;
use protocol::server_frame::{ConversationType, MessageIncoming};
use serde::Deserialize;
use unicode_segmentation::UnicodeSegmentation;

/// Characters of a message that are shown, as its reader counts them. One may be of many code points: bounded by bytes too.
const BODY_CHARACTERS: usize = 100;
const BODY_BYTES: usize = 2_000;
/// The same of names.
const TITLE_CHARACTERS: usize = 100;
const TITLE_BYTES: usize = 400;

const FILES: [(&str, &str); 3] = [
    ("en", include_str!("../locales/en.toml")),
    ("de", include_str!("../locales/de.toml")),
    ("fr", include_str!("../locales/fr.toml")),
];

/// The words of one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    group_text: String,
    hidden: String,
    image: String,
    file: String,
    unnamed_group: String,
}

static LOCALES: LazyLock<Vec<(&str, Words)>> = LazyLock::new(|| {
    let parse = |(name, text): (&'static str, &str)| Some((name, toml::from_str(text).ok()?));
    FILES.into_iter().filter_map(parse).collect()
});

/// The words of a locale such as `de-AT`: of its language, else English.
fn words(locale: Option<&str>) -> Option<&'static Words> {
    let language = locale.and_then(|it| it.split(['-', '_']).next()).unwrap_or("en");
    let of = |name: &str| {
        LOCALES
            .iter()
            .find(|it| it.0.eq_ignore_ascii_case(name))
            .map(|it| &it.1)
    };
    of(language).or_else(|| of("en"))
}

/// Title and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Texts {
    pub(crate) title: String,
    pub(crate) body: String,
}

/// What stands for a text that is not shown.
pub(crate) fn hidden(locale: Option<&str>) -> String {
    words(locale).map_or_else(String::new, |it| it.hidden.clone())
}

/// What a device in `locale` shows of a message.
pub(crate) fn texts(
    message: &MessageIncoming,
    sender_name: Option<&str>,
    audience: &Audience,
    previews: bool,
    locale: Option<&str>,
) -> Texts {
    let Some(words) = words(locale) else {
        // The tests read all files: this is never so.
        return Texts {
            title: String::new(),
            body: String::new(),
        };
    };
    let sender = sender_name.unwrap_or(message.sender_id.as_str());
    let is_group = audience.conversation_type == ConversationType::Group;
    let title = match (&audience.name, is_group) {
        (Some(name), true) => name,
        (None, true) => &words.unnamed_group,
        (_, false) => sender,
    };
    let body = match (previews, is_group) {
        (false, _) => words.hidden.clone(),
        (true, false) => what(message, words),
        (true, true) => fill(
            &words.group_text,
            &[
                ("sender", &cut(sender, TITLE_CHARACTERS, TITLE_BYTES)),
                ("text", &what(message, words)),
            ],
        ),
    };
    Texts {
        title: cut(title, TITLE_CHARACTERS, TITLE_BYTES),
        body,
    }
}

fn what(message: &MessageIncoming, words: &Words) -> String {
    if !message.text.is_empty() {
        return cut(&message.text, BODY_CHARACTERS, BODY_BYTES);
    }
    let name = message.attachments.first().map_or("", |it| it.name.as_str());
    match message.kind {
        MessageKind::Image => words.image.clone(),
        MessageKind::File | MessageKind::Text => {
            fill(&words.file, &[("name", &cut(name, BODY_CHARACTERS, BODY_BYTES))])
        }
    }
}

/// Replaces `{key}`s, each once: a name that looks like one stays as it is.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((key, after)) = after.split_once('}') else {
            filled.push('{');
            rest = after;
            continue;
        };
        let value = values.iter().find(|it| it.0 == key).map_or("", |it| it.1);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// What changes how the texts around it are shown: control characters but for line breaks, and marks that turn the direction
/// of writing for all that follows.
fn is_meddling(character: char) -> bool {
    let is_turn = matches!(character, '\u{202a}'..='\u{202e}');
    is_turn || (character.is_control() && character != '\n' && character != '\t')
}

/// The first characters of a text; `…` says that there is more.
fn cut(text: &str, characters_most: usize, bytes_most: usize) -> String {
    let mut shown = String::new();
    let text = text.replace(is_meddling, "");
    for (count, character) in text.graphemes(true).enumerate() {
        if count == characters_most || shown.len() + character.len() > bytes_most {
            shown.push('…');
            break;
        }
        shown.push_str(character);
    }
    shown
}

#[cfg(test)]
#[path = "texts_tests.rs"]
mod tests;

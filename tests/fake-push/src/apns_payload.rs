//! The payload of a push to Apple: its size, that it fits the push type, and what of it is shown.

use serde_json::{Map, Value};

use crate::apns::{Refusal, refusal, string};
use crate::shown::Shown;

/// Bytes.
const MOST: usize = 4_096;
/// Of calls, bytes.
const VOIP_MOST: usize = 5_120;
/// What a user notices.
const INTERACTIONS: [&str; 3] = ["alert", "sound", "badge"];

/// A payload that fits its push type.
#[derive(Debug)]
pub(crate) struct Payload {
    aps: Map<String, Value>,
    rest: Map<String, Value>,
    background: bool,
}

/// Takes a payload apart.
///
/// Apple documents no reason for a body that is no JSON dictionary with `aps`; here it counts as empty.
pub(crate) fn check(body: &[u8], push_type: &str) -> Result<Payload, Refusal> {
    let most = if push_type == "voip" { VOIP_MOST } else { MOST };
    if body.len() > most {
        return Err(refusal(413, "PayloadTooLarge"));
    }
    let mut rest: Map<String, Value> = serde_json::from_slice(body).map_err(|_| refusal(400, "PayloadEmpty"))?;
    let aps = match rest.remove("aps") {
        Some(Value::Object(aps)) => aps,
        // Only alerts and background pushes are read by the system rather than by the app.
        _ if !matches!(push_type, "alert" | "background") => Map::new(),
        _ => return Err(refusal(400, "PayloadEmpty")),
    };
    let interacts = INTERACTIONS.iter().any(|it| aps.contains_key(*it));
    let fits = match push_type {
        "background" => aps.get("content-available").and_then(Value::as_u64) == Some(1) && !interacts,
        "alert" => interacts,
        _ => true,
    };
    if !fits {
        return Err(refusal(400, "InvalidPushType"));
    }
    Ok(Payload {
        aps,
        rest,
        background: push_type == "background",
    })
}

impl Payload {
    /// Writes what a phone makes of it.
    pub(crate) fn show(mut self, shown: &mut Shown) {
        let field = |name: &str| self.aps.get(name).unwrap_or(&Value::Null);
        match field("alert") {
            Value::String(text) => shown.body = Some(text.clone()),
            alert => {
                shown.title = string(&alert["title"]);
                shown.body = string(&alert["body"]);
            }
        }
        shown.badge = field("badge").as_u64();
        let sound = field("sound");
        shown.sound = string(sound).or_else(|| string(&sound["name"]));
        shown.category = string(field("category"));
        shown.thread = string(field("thread-id"));
        shown.silent = self.background || (field("alert").is_null() && sound.is_null());
        shown.data = std::mem::take(&mut self.rest).into_iter().collect();
    }
}

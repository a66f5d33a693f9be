//! The body of a message to FCM: that Google would understand it, and what a phone makes of it.
//!
//! Blocks for Apple and browsers are taken as they are.

use std::time::Duration;

use protocol::Timestamp;
use serde_json::Value;

use crate::proto_json::{Fields, Wrong, fields, malformed, texts, wrong};
use crate::shown::Shown;

/// Bytes of a notification and data together.
const MOST: usize = 4_096;
/// Four weeks.
const TTL_MOST: Duration = Duration::from_secs(28 * 24 * 60 * 60);

const MESSAGE: &[&str] = &[
    "name",
    "data",
    "notification",
    "android",
    "webpush",
    "apns",
    "fcm_options",
    "token",
    "topic",
    "condition",
];
const NOTIFICATION: &[&str] = &["title", "body", "image"];
const ANDROID: &[&str] = &[
    "collapse_key",
    "priority",
    "ttl",
    "restricted_package_name",
    "data",
    "notification",
    "fcm_options",
    "direct_boot_ok",
    "bandwidth_constrained_ok",
    "restricted_satellite_ok",
];
const ANDROID_TEXTS: &[&str] = &[
    "title",
    "body",
    "icon",
    "color",
    "sound",
    "tag",
    "click_action",
    "body_loc_key",
    "title_loc_key",
    "channel_id",
    "ticker",
    "image",
];
const ANDROID_OTHERS: &[&str] = &[
    "body_loc_args",
    "title_loc_args",
    "sticky",
    "event_time",
    "local_only",
    "notification_priority",
    "default_sound",
    "default_vibrate_timings",
    "default_light_settings",
    "vibrate_timings",
    "visibility",
    "notification_count",
    "light_settings",
    "bypass_proxy_notification",
    "proxy",
];

/// A message that Google would take.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) token: String,
    /// Whether it is only to be checked.
    pub(crate) validate_only: bool,
    data: Fields,
    notification: Fields,
    android: Fields,
    android_notification: Fields,
    ttl: Option<Duration>,
}

/// Takes a body apart.
pub(crate) fn check(body: &[u8]) -> Result<Message, Wrong> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return Err(malformed("", "Invalid JSON payload received."));
    };
    let mut body = fields(Some(body), "", &["message", "validate_only"])?;
    let mut message = fields(body.remove("message"), "message", MESSAGE)?;
    let mut android = fields(message.remove("android"), "message.android", ANDROID)?;
    let notification = fields(message.remove("notification"), "message.notification", NOTIFICATION)?;
    texts(&notification, "message.notification", NOTIFICATION)?;
    let place = "message.android.notification";
    let known = [ANDROID_TEXTS, ANDROID_OTHERS].concat();
    let android_notification = fields(android.remove("notification"), place, &known)?;
    texts(&android_notification, place, ANDROID_TEXTS)?;
    texts(
        &android,
        "message.android",
        &["collapse_key", "restricted_package_name"],
    )?;
    let mut data = data(message.remove("data"), "message.data")?;
    // That of Android, where there is any, stands in for the other.
    let android_data = self::data(android.remove("data"), "message.android.data")?;
    if !android_data.is_empty() {
        data = android_data;
    }
    let token = token(&message)?;
    priority(&android)?;
    let ttl = ttl(&android)?;
    count(&android_notification)?;
    let size = size(&data) + size(&notification) + size(&android_notification);
    if size > MOST {
        return Err(wrong("message", "Android message is too big"));
    }
    Ok(Message {
        token,
        validate_only: body.get("validate_only").and_then(Value::as_bool) == Some(true),
        data,
        notification,
        android,
        android_notification,
        ttl,
    })
}

fn data(value: Option<Value>, place: &str) -> Result<Fields, Wrong> {
    let fields = match value {
        None | Some(Value::Null) => return Ok(Fields::new()),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(malformed(place, format!("Invalid value at '{place}' (map)"))),
    };
    for (at, (name, value)) in fields.iter().enumerate() {
        if !value.is_string() {
            let field = format!("{place}[{at}].value");
            let description = format!("Invalid value at '{field}' (TYPE_STRING), {value}");
            return Err(malformed(&field, description));
        }
        let reserved = ["from", "message_type"].contains(&name.as_str())
            || ["google.", "gcm."].iter().any(|it| name.starts_with(it));
        if reserved {
            return Err(wrong(
                &format!("{place}[{at}]"),
                &format!("Invalid data payload key: {name}"),
            ));
        }
    }
    Ok(fields)
}

fn token(message: &Fields) -> Result<String, Wrong> {
    if message.contains_key("topic") || message.contains_key("condition") {
        return Err(wrong("message", "The fake knows no recipients but tokens."));
    }
    match message.get("token") {
        Some(Value::String(token)) if !token.is_empty() => {
            if token.bytes().all(|it| it.is_ascii_graphic()) {
                return Ok(token.clone());
            }
            let description = "The registration token is not a valid FCM registration token";
            Err(wrong("message.token", description))
        }
        None | Some(Value::String(_)) => Err(wrong("message", "Recipient of the message is not set.")),
        Some(_) => Err(malformed(
            "message.token",
            "Invalid value at 'message.token' (TYPE_STRING)",
        )),
    }
}

fn priority(android: &Fields) -> Result<(), Wrong> {
    match android.get("priority").map(Value::as_str) {
        None => Ok(()),
        // Google's parser of names in enumerations minds no case.
        Some(Some(name)) if ["HIGH", "NORMAL"].contains(&name.to_ascii_uppercase().as_str()) => Ok(()),
        Some(_) => Err(malformed(
            "message.android.priority",
            "Invalid value at 'message.android.priority' (AndroidMessagePriority)",
        )),
    }
}

fn ttl(android: &Fields) -> Result<Option<Duration>, Wrong> {
    let Some(value) = android.get("ttl") else {
        return Ok(None);
    };
    let place = "message.android.ttl";
    let Some(ttl) = value.as_str().and_then(seconds) else {
        let description = format!("Invalid value at '{place}' (type.googleapis.com/google.protobuf.Duration), {value}");
        return Err(malformed(place, description));
    };
    if ttl > TTL_MOST {
        return Err(wrong(place, "Invalid TTL: must be from 0s to 2419200s"));
    }
    Ok(Some(ttl))
}

/// `3.5s`, with nine decimals at most.
fn seconds(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 || number.ends_with('.') {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(whole.parse().ok()?, nanos))
}

fn count(notification: &Fields) -> Result<(), Wrong> {
    let place = "message.android.notification.notification_count";
    let count = notification.get("notification_count");
    if count.is_none_or(|it| it.as_i64().is_some_and(|it| i32::try_from(it).is_ok())) {
        return Ok(());
    }
    Err(malformed(place, format!("Invalid value at '{place}' (TYPE_INT32)")))
}

/// Names and texts; other values hardly weigh.
fn size(fields: &Fields) -> usize {
    fields
        .iter()
        .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len))
        .sum()
}

impl Message {
    /// Writes what a phone makes of it.
    pub(crate) fn show(self, shown: &mut Shown) {
        let own = |name: &str| self.android_notification.get(name).and_then(Value::as_str);
        let both = |name: &str| own(name).or_else(|| self.notification.get(name).and_then(Value::as_str));
        let android = |name: &str| self.android.get(name).and_then(Value::as_str);
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let notifies = !self.notification.is_empty() || !self.android_notification.is_empty();
        shown.title = owned(both("title"));
        shown.body = owned(both("body"));
        shown.badge = self
            .android_notification
            .get("notification_count")
            .and_then(Value::as_u64);
        shown.sound = owned(own("sound"));
        shown.category = owned(own("click_action"));
        shown.thread = owned(own("channel_id"));
        shown.collapse_id = owned(own("tag").or_else(|| android("collapse_key")));
        shown.priority = android("priority").map(str::to_ascii_uppercase);
        shown.push_type = Some(if notifies { "notification" } else { "data" }.to_owned());
        shown.expires_at = self.ttl.map(|ttl| {
            let millis = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
            Timestamp::from_millis(shown.at.as_millis().saturating_add(millis))
        });
        shown.silent = !notifies;
        shown.token = self.token;
        shown.data = self.data.into_iter().collect();
    }
}

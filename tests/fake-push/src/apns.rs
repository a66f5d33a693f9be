//! Apple's `POST /3/device/{token}`: checks in the order below, and answers with Apple's reasons.
//!
//! The reasons are those of "Handling notification responses from APNs". Left out: certificates instead of tokens,
//! broadcast channels, and the single stream that Apple allows on a connection until its first valid token.

use http::{Method, StatusCode};
use protocol::Timestamp;
use serde_json::{Value, json};

use crate::answer::{self, Arrived, Outcome, Response, Verdict};
use crate::apns_payload::{self, Payload};
use crate::apns_token;
use crate::devices::Home;
use crate::link::Link;
use crate::options::{APPS, Listener, Provider};
use crate::shown::Shown;
use crate::world::World;

const PATH: &str = "/3/device/";
/// Bytes.
const COLLAPSE_ID_MOST: usize = 64;
/// Headers that may stand only once.
const SINGLE: [&str; 7] = [
    "authorization",
    "apns-id",
    "apns-topic",
    "apns-push-type",
    "apns-priority",
    "apns-expiration",
    "apns-collapse-id",
];
/// Push types with what they add to the bundle id in the topic.
const PUSH_TYPES: [(&str, &str); 10] = [
    ("alert", ""),
    ("background", ""),
    ("controls", ""),
    ("complication", ".complication"),
    ("fileprovider", ".pushkit.fileprovider"),
    ("liveactivity", ".push-type.liveactivity"),
    ("location", ".location-query"),
    ("pushtotalk", ".voip-ptt"),
    ("voip", ".voip"),
    ("widgets", ".push-type.widgets"),
];

/// Why Apple does not take a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    /// Of 410: since when.
    pub(crate) since: Option<Timestamp>,
}

/// A refusal without a time.
pub(crate) fn refusal(status: u16, reason: &'static str) -> Refusal {
    Refusal {
        status,
        reason,
        since: None,
    }
}

/// The device token that the path names.
pub(crate) fn target(request: &Arrived) -> &str {
    request.uri.path().strip_prefix(PATH).unwrap_or_default()
}

/// Judges a whole request.
pub(crate) fn judge(world: &World, link: &Link, request: &Arrived) -> Verdict {
    let id = match request.header("apns-id") {
        Some(id) => id.to_owned(),
        None => uuid::Uuid::new_v4().to_string(),
    };
    match check(world, link, request) {
        Ok(push) => accepted(world, request, push, &id),
        Err(refusal) => {
            let response = refused(StatusCode::from_u16(refusal.status), refusal.reason, refusal.since, &id);
            if refusal.since.is_some() {
                return Verdict::gone(response, refusal.reason);
            }
            Verdict::refused(response, refusal.reason)
        }
    }
}

/// An answer in Apple's shape.
pub(crate) fn refused(
    status: Result<StatusCode, http::status::InvalidStatusCode>,
    reason: &str,
    since: Option<Timestamp>,
    id: &str,
) -> Response {
    let mut body = json!({ "reason": reason });
    if let Some(since) = since {
        body["timestamp"] = since.as_millis().into();
    }
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer::with(answer::json(status, &body), "apns-id", id)
}

struct Push<'a> {
    token: &'a str,
    app: &'static str,
    push_type: &'static str,
    priority: &'a str,
    expiration: Option<i64>,
    payload: Payload,
}

fn check<'a>(world: &World, link: &Link, request: &'a Arrived) -> Result<Push<'a>, Refusal> {
    if request.method != Method::POST {
        return Err(refusal(405, "MethodNotAllowed"));
    }
    let Some(token) = request.uri.path().strip_prefix(PATH) else {
        return Err(refusal(404, "BadPath"));
    };
    if SINGLE
        .iter()
        .any(|it| request.headers.get_all(*it).iter().nth(1).is_some())
    {
        return Err(refusal(400, "DuplicateHeaders"));
    }
    apns_token::check(world, link, request)?;
    check_id(request)?;
    let (push_type, suffix) = push_type(request)?;
    let app = topic(request, suffix)?;
    let priority = priority(request, push_type)?;
    let expiration = match request.headers.get("apns-expiration") {
        None => None,
        Some(it) => Some(seconds(it).ok_or(refusal(400, "BadExpirationDate"))?),
    };
    if request
        .headers
        .get("apns-collapse-id")
        .is_some_and(|it| it.len() > COLLAPSE_ID_MOST)
    {
        return Err(refusal(400, "BadCollapseId"));
    }
    let payload = apns_payload::check(&request.body, push_type)?;
    check_device(world, token, app, request.listener == Listener::ApnsSandbox)?;
    Ok(Push {
        token,
        app,
        push_type,
        priority,
        expiration,
        payload,
    })
}

fn check_id(request: &Arrived) -> Result<(), Refusal> {
    let Some(id) = request.headers.get("apns-id") else {
        return Ok(());
    };
    // Of the forms that the parser knows only the canonical one has this length.
    let canonical = |it: &&str| it.len() == 36 && uuid::Uuid::try_parse(it).is_ok();
    match id.to_str().ok().filter(canonical) {
        Some(_) => Ok(()),
        None => Err(refusal(400, "BadMessageId")),
    }
}

fn push_type(request: &Arrived) -> Result<(&'static str, &'static str), Refusal> {
    let named = request.header("apns-push-type");
    let known = PUSH_TYPES.iter().find(|(name, _)| Some(*name) == named);
    known.copied().ok_or(refusal(400, "InvalidPushType"))
}

fn topic(request: &Arrived, suffix: &str) -> Result<&'static str, Refusal> {
    let Some(topic) = request.headers.get("apns-topic") else {
        return Err(refusal(400, "MissingTopic"));
    };
    let Ok(topic) = topic.to_str() else {
        return Err(refusal(400, "BadTopic"));
    };
    let app = topic.strip_suffix(suffix).unwrap_or_default();
    APPS.into_iter()
        .find(|it| *it == app)
        .ok_or(refusal(400, "TopicDisallowed"))
}

fn priority<'a>(request: &'a Arrived, push_type: &str) -> Result<&'a str, Refusal> {
    let named = match request.headers.get("apns-priority") {
        Some(it) => it.to_str().unwrap_or_default(),
        // Left out it is 10, and 10 is an error in the background.
        None => "10",
    };
    match (named, push_type) {
        ("10", "background") => Err(refusal(400, "BadPriority")),
        ("1" | "5" | "10", _) => Ok(named),
        _ => Err(refusal(400, "BadPriority")),
    }
}

fn seconds(value: &http::HeaderValue) -> Option<i64> {
    let text = value.to_str().ok()?;
    (text.bytes().all(|it| it.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn check_device(world: &World, token: &str, app: &str, sandbox: bool) -> Result<(), Refusal> {
    if token.is_empty() {
        return Err(refusal(400, "MissingDeviceToken"));
    }
    if !(64..=200).contains(&token.len()) || !token.bytes().all(|it| it.is_ascii_hexdigit()) {
        return Err(refusal(400, "BadDeviceToken"));
    }
    if let Some(since) = world.devices.gone_since(token) {
        return Err(Refusal {
            status: 410,
            reason: "Unregistered",
            since: Some(since),
        });
    }
    let at_home = world.devices.with_home(token, |home| {
        if home.sandbox != sandbox {
            return Err(refusal(400, "BadDeviceToken"));
        }
        if home.app != app {
            return Err(refusal(400, "DeviceTokenNotForTopic"));
        }
        Ok(())
    });
    match at_home {
        Some(known) => known,
        None => {
            if world.records.is_kept() {
                let app = app.to_owned();
                world.devices.settle(token, Home { app, sandbox });
            }
            Ok(())
        }
    }
}

fn accepted(world: &World, request: &Arrived, push: Push<'_>, id: &str) -> Verdict {
    let sandbox = request.listener == Listener::ApnsSandbox;
    let mut response = answer::with(answer::empty(StatusCode::OK), "apns-id", id);
    if sandbox {
        response = answer::with(response, "apns-unique-id", &uuid::Uuid::new_v4().to_string());
    }
    let shown = world.records.is_kept().then(|| {
        let mut shown = Shown::new(Provider::Apns, request.at);
        shown.app = push.app.to_owned();
        shown.sandbox = sandbox;
        shown.token = push.token.to_owned();
        shown.collapse_id = request.header("apns-collapse-id").map(str::to_owned);
        shown.priority = Some(push.priority.to_owned());
        shown.push_type = Some(push.push_type.to_owned());
        // 0: one attempt, nothing is kept.
        shown.expires_at = push.expiration.map(|it| match it {
            0 => request.at,
            it => Timestamp::from_millis(it.saturating_mul(1_000)),
        });
        shown.id = id.to_owned();
        push.payload.show(&mut shown);
        Box::new(shown)
    });
    Verdict {
        response,
        outcome: Outcome::Accepted(shown),
    }
}

/// The text of a JSON string.
pub(crate) fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

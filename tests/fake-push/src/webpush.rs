//! A browser's push service (RFC 8030), and the browser: `POST /push/{id}` is checked, decrypted and shown.
//!
//! A real push service cannot decrypt and would take what no browser can read; here that is a 400.

use http::{Method, StatusCode};
use protocol::Timestamp;
use serde_json::{Map, Value};

use crate::answer::{self, Arrived, Outcome, Verdict};
use crate::apns::string;
use crate::ece;
use crate::options::Provider;
use crate::shown::Shown;
use crate::vapid::{self, Refused};
use crate::world::World;

const PATH: &str = "/push/";
/// Bytes.
const BODY_MOST: usize = 4_096;
/// Letters of a topic.
const TOPIC_MOST: usize = 32;
const URGENCIES: [&str; 4] = ["very-low", "low", "normal", "high"];

/// The subscription that the path names.
pub(crate) fn target(request: &Arrived) -> &str {
    request.uri.path().strip_prefix(PATH).unwrap_or_default()
}

/// Judges a whole request.
pub(crate) fn judge(world: &World, request: &Arrived) -> Verdict {
    match check(world, request) {
        Ok(push) => accepted(world, request, push),
        Err(Wrong { status, reason, gone }) => {
            let mut response = answer::text(status, reason);
            if status == StatusCode::UNAUTHORIZED {
                response = answer::with(response, "www-authenticate", "vapid");
            }
            if gone {
                return Verdict::gone(response, reason);
            }
            Verdict::refused(response, reason)
        }
    }
}

struct Push<'a> {
    id: &'a str,
    ttl: u32,
    text: Vec<u8>,
}

struct Wrong {
    status: StatusCode,
    reason: &'static str,
    gone: bool,
}

fn wrong(status: StatusCode, reason: &'static str) -> Wrong {
    Wrong {
        status,
        reason,
        gone: false,
    }
}

fn bad(reason: &'static str) -> Wrong {
    wrong(StatusCode::BAD_REQUEST, reason)
}

fn check<'a>(world: &World, request: &'a Arrived) -> Result<Push<'a>, Wrong> {
    let id = match request.uri.path().strip_prefix(PATH) {
        Some(id) if !id.is_empty() && !id.contains('/') => id,
        _ => return Err(wrong(StatusCode::NOT_FOUND, "path")),
    };
    if request.method != Method::POST {
        return Err(wrong(StatusCode::METHOD_NOT_ALLOWED, "method"));
    }
    let absent = |status, reason| Wrong {
        status,
        reason,
        gone: true,
    };
    let subscription = world.subscriptions.get(id);
    let subscription = subscription.ok_or(absent(StatusCode::NOT_FOUND, "no such subscription"))?;
    if subscription.is_gone() || world.devices.gone_since(id).is_some() {
        return Err(absent(StatusCode::GONE, "unsubscribed"));
    }
    vapid::check(world, request).map_err(|refused| match refused {
        Refused::Absent => wrong(StatusCode::UNAUTHORIZED, "no vapid authorization"),
        Refused::Invalid(reason) => wrong(StatusCode::FORBIDDEN, reason),
    })?;
    let ttl = headers(request)?;
    if request.body.len() > BODY_MOST {
        return Err(wrong(StatusCode::PAYLOAD_TOO_LARGE, "body over 4096 bytes"));
    }
    // A push may come without a text.
    if request.body.is_empty() {
        let text = Vec::new();
        return Ok(Push { id, ttl, text });
    }
    if request.header("content-encoding") != Some("aes128gcm") {
        return Err(bad("Content-Encoding is not aes128gcm"));
    }
    let text = ece::decrypt(&subscription.receiver, &request.body);
    let text = text.ok_or(bad("body cannot be decrypted"))?;
    Ok(Push { id, ttl, text })
}

/// Checks the headers of RFC 8030 and returns the TTL in seconds.
fn headers(request: &Arrived) -> Result<u32, Wrong> {
    let ttl = request.header("ttl").ok_or(bad("TTL is missing"))?;
    let digits = !ttl.is_empty() && ttl.bytes().all(|it| it.is_ascii_digit());
    let ttl = Some(ttl).filter(|_| digits).and_then(|it| it.parse::<u32>().ok());
    let ttl = ttl.ok_or(bad("TTL is not a number of seconds"))?;
    let urgency = request.headers.get("urgency");
    if urgency.is_some_and(|it| !URGENCIES.iter().any(|known| it == known)) {
        return Err(bad("Urgency is unknown"));
    }
    let is_topic = |it: &[u8]| {
        let letter = |it: &u8| it.is_ascii_alphanumeric() || *it == b'-' || *it == b'_';
        (1..=TOPIC_MOST).contains(&it.len()) && it.iter().all(letter)
    };
    if request.headers.get("topic").is_some_and(|it| !is_topic(it.as_bytes())) {
        return Err(bad("Topic is not 1 to 32 letters of base64url"));
    }
    Ok(ttl)
}

fn accepted(world: &World, request: &Arrived, push: Push<'_>) -> Verdict {
    let location = format!("{}/message/{}", world.webpush_origin(), uuid::Uuid::new_v4().simple());
    let response = answer::with(answer::empty(StatusCode::CREATED), "location", &location);
    let response = answer::with(response, "ttl", &push.ttl.to_string());
    let shown = world.records.is_kept().then(|| {
        let mut shown = Shown::new(Provider::Webpush, request.at);
        shown.app = world.webpush_origin().to_owned();
        shown.token = push.id.to_owned();
        shown.collapse_id = request.header("topic").map(str::to_owned);
        shown.priority = request.header("urgency").map(str::to_owned);
        let expires_at = request.at.as_millis() + i64::from(push.ttl) * 1_000;
        shown.expires_at = Some(Timestamp::from_millis(expires_at));
        shown.id = location;
        show(&push.text, &mut shown);
        Box::new(shown)
    });
    Verdict {
        response,
        outcome: Outcome::Accepted(shown),
    }
}

/// What a page's worker would do: the text is JSON of the options of `showNotification`, at the top or under
/// `notification`. Any other text is the body.
fn show(text: &[u8], shown: &mut Shown) {
    let Ok(mut rest) = serde_json::from_slice::<Map<String, Value>>(text) else {
        shown.body = (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned());
        shown.silent = text.is_empty();
        return;
    };
    let mut inner = match rest.remove("notification") {
        Some(Value::Object(inner)) => inner,
        _ => Map::new(),
    };
    let mut take = |name: &str| inner.remove(name).or_else(|| rest.remove(name)).unwrap_or_default();
    shown.title = string(&take("title"));
    shown.body = string(&take("body"));
    shown.badge = take("badge").as_u64();
    shown.sound = string(&take("sound"));
    shown.category = string(&take("category"));
    shown.thread = string(&take("thread"));
    if let Some(tag) = string(&take("tag")) {
        // Within the browser the tag replaces; the topic does so only on the way.
        shown.collapse_id = Some(tag);
    }
    shown.silent = shown.title.is_none() && shown.body.is_none();
    shown.data = inner.into_iter().chain(rest).collect();
}

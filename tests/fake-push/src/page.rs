//! The page for people, and the same as JSON and as events: what phones show, and outages to play.
//!
//! Plain HTTP on loopback. Whatever names another host is refused, and rules are taken as JSON only: a web page that
//! happens to be open in the same browser can neither read notifications nor play outages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};

use crate::answer::{self, Arrived, Response};
use crate::form;
use crate::script::Rule;
use crate::shown::Shown;
use crate::world::World;

/// Pushes in one answer, at most.
const MOST: usize = 1_000;
/// How long an answer may be waited for, milliseconds.
const WAIT_MOST: u64 = 60_000;
/// Between signs of life, so that a dead connection is noticed.
const ALIVE: Duration = Duration::from_secs(15);
const HTML: &str = include_str!("page.html");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";

/// Answers a request to the page's listener.
pub(crate) async fn answer(world: &Arc<World>, request: &Arrived) -> Response {
    if !is_ours(request.header("host"), &world.options.name) {
        return answer::text(StatusCode::FORBIDDEN, "only at localhost, 127.0.0.1 and its own name");
    }
    let mut response = match (&request.method, request.uri.path()) {
        (&Method::GET, "/") => html(),
        (&Method::GET, "/shown") => shown(world, request).await,
        (&Method::GET, "/events") => events(world, request),
        (&Method::GET, "/counters") => json_of(StatusCode::OK, &world.records.tallies.read()),
        (&Method::POST, "/webpush/subscriptions") => subscribe(world),
        (&Method::GET, "/script") => json_of(StatusCode::OK, &world.script.rules()),
        (&Method::POST, "/script") => script(world, request),
        (&Method::DELETE, "/script") => {
            world.script.clear();
            answer::empty(StatusCode::NO_CONTENT)
        }
        (_, "/" | "/shown" | "/events" | "/counters" | "/webpush/subscriptions" | "/script") => {
            answer::empty(StatusCode::METHOD_NOT_ALLOWED)
        }
        _ => answer::empty(StatusCode::NOT_FOUND),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn is_ours(host: Option<&str>, own: &str) -> bool {
    let name = host.map(|it| it.rsplit_once(':').map_or(it, |(name, _)| name));
    name.is_some_and(|name| ["localhost", "127.0.0.1", own].contains(&name))
}

fn html() -> Response {
    let mut response = answer::whole(
        StatusCode::OK,
        Some("text/html; charset=utf-8"),
        Bytes::from_static(HTML.as_bytes()),
    );
    let policy = HeaderValue::from_static(POLICY);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

fn json_of(status: StatusCode, value: &impl serde::Serialize) -> Response {
    match serde_json::to_value(value) {
        Ok(value) => answer::json(status, &value),
        Err(error) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn number(request: &Arrived, name: &str) -> Option<u64> {
    let query = request.uri.query().unwrap_or_default();
    form::field(query.as_bytes(), name)?.parse().ok()
}

/// After a restart numbers begin anew: who comes with a number of before begins anew too.
fn known(world: &World, after: u64) -> u64 {
    if after > world.records.last_shown() { 0 } else { after }
}

/// `GET /shown?after=N&wait_ms=M`: those after number N; where there are none, waits for one.
async fn shown(world: &World, request: &Arrived) -> Response {
    let after = known(world, number(request, "after").unwrap_or(0));
    let wait = number(request, "wait_ms").unwrap_or(0).min(WAIT_MOST);
    let deadline = tokio::time::Instant::now() + Duration::from_millis(wait);
    let mut changes = world.records.changes();
    loop {
        changes.borrow_and_update();
        let shown = world.records.shown_after(after, MOST);
        let over = tokio::time::Instant::now() >= deadline;
        if !shown.is_empty() || over {
            let next = shown.last().map_or(after, |it| it.number);
            return json_of(StatusCode::OK, &json!({"shown": shown, "next": next}));
        }
        // The next round tells whether something came or the time is over.
        let _ = tokio::time::timeout_at(deadline, changes.changed()).await;
    }
}

/// `GET /events`: an event per push, from the number in `Last-Event-ID` or `after`, or from the `newest` few.
fn events(world: &Arc<World>, request: &Arrived) -> Response {
    let resumed = request.header("last-event-id").and_then(|it| it.parse().ok());
    let newest = number(request, "newest").map(|it| world.records.last_shown().saturating_sub(it));
    let after = resumed.or_else(|| number(request, "after")).or(newest).unwrap_or(0);
    let after = known(world, after);
    let changes = world.records.changes();
    let start = (world.clone(), changes, after);
    let frames = stream::unfold(start, |(world, mut changes, after)| async move {
        loop {
            changes.borrow_and_update();
            let shown = world.records.shown_after(after, MOST);
            if let Some(last) = shown.last().map(|it| it.number) {
                let text: String = shown.iter().map(event).collect();
                return Some((Ok(Frame::data(Bytes::from(text))), (world, changes, last)));
            }
            if tokio::time::timeout(ALIVE, changes.changed()).await.is_err() {
                let text = Bytes::from_static(b": alive\n\n");
                return Some((Ok(Frame::data(text)), (world, changes, after)));
            }
        }
    });
    let body = UnsyncBoxBody::new(StreamBody::new(frames));
    let mut response = answer::whole(StatusCode::OK, Some("text/event-stream"), Bytes::new());
    *response.body_mut() = Either::Right(body);
    response
}

fn event(shown: &Shown) -> String {
    let data = serde_json::to_string(shown).unwrap_or_default();
    format!("id: {}\ndata: {data}\n\n", shown.number)
}

fn subscribe(world: &World) -> Response {
    match world.subscriptions.mint(world.webpush_origin()) {
        Ok(subscription) => answer::json(StatusCode::CREATED, &subscription),
        Err(error) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn script(world: &World, request: &Arrived) -> Response {
    if !request
        .header("content-type")
        .is_some_and(|it| it.starts_with("application/json"))
    {
        return answer::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a rule is application/json");
    }
    match serde_json::from_slice::<Rule>(&request.body) {
        Ok(rule) => {
            let answered = json_of(StatusCode::CREATED, &rule);
            world.script.add(rule);
            answered
        }
        Err(error) => {
            let problem: Value = json!({"error": error.to_string()});
            answer::json(StatusCode::BAD_REQUEST, &problem)
        }
    }
}

//! The way of one request: read whole, met by the script or judged by its provider, counted and recorded.

use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use protocol::Timestamp;

use crate::answer::{self, Arrived, Outcome, Response, Verdict};
use crate::link::{Ending, Link};
use crate::options::{Listener, Provider};
use crate::script::{self, Act};
use crate::shown::Seen;
use crate::world::World;
use crate::{apns, fcm, oauth, page, webpush};

/// Bodies are read up to here, far over what any provider takes, bytes.
const BODY_MOST: usize = 1 << 20;

/// Answers one request, or never.
pub(crate) async fn answer(world: std::sync::Arc<World>, link: &Link, request: http::Request<Incoming>) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MOST).collect().await else {
        return answer::empty(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let request = Arrived {
        at: Timestamp::now(),
        listener: link.listener,
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        body: body.to_bytes(),
    };
    let is_token = request.uri.path() == oauth::PATH;
    let provider = match link.listener {
        Listener::Apns | Listener::ApnsSandbox => Provider::Apns,
        Listener::Webpush => Provider::Webpush,
        Listener::Fcm | Listener::Page if is_token => Provider::Oauth,
        Listener::Fcm => Provider::Fcm,
        Listener::Page => return page::answer(&world, &request).await,
    };
    provided(&world, link, provider, &request).await
}

async fn provided(world: &World, link: &Link, provider: Provider, request: &Arrived) -> Response {
    let tally = world.records.tallies.of(provider);
    count(&tally.requests);
    let Some((delay, act)) = world.script.meet(provider, || target(provider, request)) else {
        let (response, reason, shown) = judged(world, link, provider, request);
        if world.records.is_kept() {
            let mut seen = seen(link, provider, request);
            seen.status = Some(response.status().as_u16());
            seen.reason = reason;
            world.records.see(seen);
        }
        show(world, shown);
        return response;
    };
    let number = world.records.see(Seen {
        scripted: true,
        ..seen(link, provider, request)
    });
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let (response, reason, shown) = match act {
        Act::Usual => judged(world, link, provider, request),
        Act::GoAway => {
            link.end(Ending::GoAway);
            judged(world, link, provider, request)
        }
        Act::Answer(answer) => {
            count(&tally.scripted);
            if provider == Provider::Apns && answer.status == 403 {
                // Whoever is told that a token is bad may come with another at once.
                *link.provider_token.lock() = None;
            }
            (script::response(provider, request, &answer), answer.reason, None)
        }
        Act::Silence | Act::Close | Act::Reset => {
            count(&tally.scripted);
            match act {
                Act::Close => link.end(Ending::Close),
                Act::Reset => link.end(Ending::Reset),
                _ => {}
            }
            std::future::pending().await
        }
    };
    world.records.answered(number, response.status().as_u16(), reason);
    show(world, shown);
    response
}

fn count(counter: &std::sync::atomic::AtomicU64) {
    counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

type Judged = (Response, Option<String>, Option<Box<crate::Shown>>);

/// The provider's usual behaviour, counted: the answer, why it is no acceptance, and what is shown.
fn judged(world: &World, link: &Link, provider: Provider, request: &Arrived) -> Judged {
    let Verdict { response, outcome } = match provider {
        Provider::Apns => apns::judge(world, link, request),
        Provider::Fcm => fcm::judge(world, request),
        Provider::Webpush => webpush::judge(world, request),
        Provider::Oauth => oauth::judge(world, request),
    };
    let tally = world.records.tallies.of(provider);
    match outcome {
        Outcome::Accepted(shown) => {
            count(&tally.accepted);
            (response, None, shown)
        }
        Outcome::Refused(reason) => {
            tally.refuse(&reason);
            (response, Some(reason), None)
        }
        Outcome::Gone(reason) => {
            count(&tally.gone);
            (response, Some(reason), None)
        }
    }
}

fn show(world: &World, shown: Option<Box<crate::Shown>>) {
    if let Some(shown) = shown {
        world.records.show(*shown);
    }
}

fn target(provider: Provider, request: &Arrived) -> String {
    match provider {
        Provider::Apns => apns::target(request).to_owned(),
        Provider::Fcm => fcm::target(request),
        Provider::Webpush => webpush::target(request).to_owned(),
        Provider::Oauth => String::new(),
    }
}

fn seen(link: &Link, provider: Provider, request: &Arrived) -> Seen {
    let collapse_id = match provider {
        Provider::Apns => request.header("apns-collapse-id"),
        Provider::Webpush => request.header("topic"),
        Provider::Fcm | Provider::Oauth => None,
    };
    Seen {
        number: 0,
        at: request.at,
        provider,
        sandbox: link.listener == Listener::ApnsSandbox,
        token: target(provider, request),
        id: request.header("apns-id").map(str::to_owned),
        collapse_id: collapse_id.map(str::to_owned),
        connection: link.number,
        status: None,
        reason: None,
        scripted: false,
    }
}

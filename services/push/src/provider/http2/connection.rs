//! One open connection: its load, a request on it, and what hyper's errors say of that request.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::uri::{Authority, Scheme, Uri};
use http::{HeaderValue, Method, Request, header};
use http_body_util::Full;
use hyper::client::conn::{TrySendError, http1, http2};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{IN_FLIGHT_FULL, Outgoing, Reply};

/// After so many requests in a row that were given up a connection gets no more.
const GIVEN_UP_MOST: usize = 2;

/// What hyper takes requests by.
#[derive(Debug)]
pub(super) enum Sender {
    Http2(http2::SendRequest<Full<Bytes>>),
    /// One request after the other; the next ones wait here.
    Http1(tokio::sync::Mutex<http1::SendRequest<Full<Bytes>>>),
}

/// What became of a request without a response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server has not acted on it and will not: it may be sent again.
    Untouched(String),
    /// It may have.
    Lost(String),
}

#[derive(Debug)]
pub(super) struct Connection {
    /// Younger connections have larger ones.
    id: u64,
    sender: Sender,
    /// How many requests the server lets be in flight.
    limit: Arc<AtomicUsize>,
    in_flight: AtomicUsize,
    /// When it was last without any.
    idle_since: Mutex<Instant>,
    /// Requests in a row that were given up before a response came.
    given_up: AtomicUsize,
}

impl Connection {
    pub(super) fn new(id: u64, sender: Sender, limit: Arc<AtomicUsize>) -> Self {
        Self {
            id,
            sender,
            limit,
            in_flight: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
            given_up: AtomicUsize::new(0),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether the next request had better go elsewhere.
    pub(super) fn is_full(&self) -> bool {
        let limit = match (&self.sender, self.limit.load(Ordering::Relaxed)) {
            (Sender::Http1(_), _) => 1,
            // Apple lets one request through until a token is accepted, and then a thousand: no reason for a second
            // connection.
            (Sender::Http2(_), 0 | 1) => IN_FLIGHT_FULL,
            (Sender::Http2(_), limit) => limit.min(IN_FLIGHT_FULL),
        };
        self.in_flight() >= limit
    }

    /// Whether it takes no further requests: it is closed, or nobody seems to be at the other end. Without this a connection
    /// that is half open would be given every request, since it has the fewest.
    pub(super) fn is_closed(&self) -> bool {
        if self.given_up.load(Ordering::Relaxed) >= GIVEN_UP_MOST {
            return true;
        }
        match &self.sender {
            Sender::Http2(sender) => sender.is_closed(),
            Sender::Http1(sender) => sender.try_lock().is_ok_and(|it| it.is_closed()),
        }
    }

    /// Since when there has been no request; `None` while there is one.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.in_flight() == 0).then(|| *self.idle_since.lock())
    }
}

/// A place for one request on a connection.
#[derive(Debug)]
pub(super) struct Lease {
    connection: Arc<Connection>,
    authority: Authority,
    /// A request is on its way and has no response.
    is_waiting: AtomicBool,
}

impl Lease {
    pub(super) fn new(connection: Arc<Connection>, authority: Authority) -> Self {
        connection.in_flight.fetch_add(1, Ordering::Relaxed);
        Self {
            connection,
            authority,
            is_waiting: AtomicBool::new(false),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.connection.id
    }

    pub(super) async fn send(&self, request: &Outgoing) -> Result<Reply, Failure> {
        self.is_waiting.store(true, Ordering::Relaxed);
        let result = self.exchange(request).await;
        self.is_waiting.store(false, Ordering::Relaxed);
        if result.is_ok() {
            self.connection.given_up.store(0, Ordering::Relaxed);
        }
        result
    }

    async fn exchange(&self, request: &Outgoing) -> Result<Reply, Failure> {
        match &self.connection.sender {
            Sender::Http2(sender) => {
                let request = self.request(request, true)?;
                let response = sender.clone().try_send_request(request).await;
                Ok(Reply::read(response.map_err(|it| failure(&it))?).await)
            }
            Sender::Http1(sender) => {
                let request = self.request(request, false)?;
                let mut sender = sender.lock().await;
                sender.ready().await.map_err(|it| Failure::Untouched(it.to_string()))?;
                let response = sender.try_send_request(request).await;
                // The next request must wait until this one's response is read.
                Ok(Reply::read(response.map_err(|it| failure(&it))?).await)
            }
        }
    }

    fn request(&self, outgoing: &Outgoing, http2: bool) -> Result<Request<Full<Bytes>>, Failure> {
        let mut uri = http::uri::Parts::default();
        uri.path_and_query = Some(outgoing.path.clone());
        if http2 {
            uri.scheme = Some(Scheme::HTTPS);
            uri.authority = Some(self.authority.clone());
        }
        let never = |it: &dyn std::fmt::Display| Failure::Untouched(it.to_string());
        let mut request = Request::new(Full::new(outgoing.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_parts(uri).map_err(|it| never(&it))?;
        *request.headers_mut() = outgoing.headers.clone();
        if !http2 {
            let host = HeaderValue::from_str(self.authority.as_str()).map_err(|it| never(&it))?;
            request.headers_mut().insert(header::HOST, host);
        }
        Ok(request)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_waiting.load(Ordering::Relaxed) {
            self.connection.given_up.fetch_add(1, Ordering::Relaxed);
        }
        if self.connection.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.connection.idle_since.lock() = Instant::now();
        }
    }
}

/// A server that says GOAWAY names the last stream it looks at: h2 ends only those above it with that error, and lets
/// the others finish.
fn failure(failed: &TrySendError<Request<Full<Bytes>>>) -> Failure {
    let error = failed.error();
    let reason = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let refused = error
        .source()
        .and_then(|it| it.downcast_ref::<h2::Error>())
        .is_some_and(|it| {
            it.is_remote() && (it.is_go_away() || (it.is_reset() && it.reason() == Some(h2::Reason::REFUSED_STREAM)))
        });
    // hyper's dispatch ended ("user") while the request waited for a stream: its body was not sent, so that the server
    // has at most a request without an end.
    if failed.message().is_some() || refused || error.is_user() {
        Failure::Untouched(reason)
    } else {
        Failure::Lost(reason)
    }
}

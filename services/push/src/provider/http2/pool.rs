//! The open connections of one authority: which one takes a request, and when there is another. One is opened at a
//! time, for all who wait; it is opened by a task of its own, so that a request that is given up does not stop it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::Shared;
use http::uri::Authority;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, interval, timeout};
use tokio_rustls::client::TlsStream;

use super::connection::{Connection, Lease, Sender};
use super::{CONNECTIONS_MOST, ConnectError, IN_FLIGHT_FULL, Target, Timeouts};

type Io = TokioIo<TlsStream<TcpStream>>;
type Http2 = http2::Connection<Io, Full<Bytes>, TokioExecutor>;
type Opened = Result<Arc<Connection>, ConnectError>;

#[derive(Debug)]
pub(super) struct Pool {
    target: Target,
    timeouts: Timeouts,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Vec<Arc<Connection>>,
    opening: Option<Shared<oneshot::Receiver<Opened>>>,
    last_id: u64,
}

impl Pool {
    pub(super) fn new(target: Target, timeouts: Timeouts) -> Self {
        Self {
            target,
            timeouts,
            state: Mutex::default(),
        }
    }

    pub(super) fn authority(&self) -> &Authority {
        self.target.authority()
    }

    pub(super) fn provider(&self) -> &'static str {
        self.target.provider()
    }

    /// A place on the connection with the fewest requests of those with an id above `after`, on a new one where there
    /// is none, and on any where there may be no new one.
    pub(super) async fn connection(self: &Arc<Self>, after: u64) -> Result<Lease, ConnectError> {
        let opening = {
            let mut state = self.state.lock();
            state.open.retain(|it| !it.is_closed());
            let room = state.open.len() < CONNECTIONS_MOST;
            let best = state.best(after).or_else(|| if room { None } else { state.best(0) });
            if room && best.is_none_or(|it| it.is_full()) {
                let best = best.map(|it| self.lease(it));
                let opening = self.open(&mut state);
                if let Some(best) = best {
                    return Ok(best);
                }
                opening
            } else if let Some(best) = best {
                return Ok(self.lease(best));
            } else {
                self.open(&mut state)
            }
        };
        match opening.await {
            Ok(Ok(connection)) => Ok(self.lease(&connection)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.target.failed("given up")),
        }
    }

    fn lease(&self, connection: &Arc<Connection>) -> Lease {
        Lease::new(connection.clone(), self.target.authority().clone())
    }

    /// Opens a connection unless one is being opened.
    fn open(self: &Arc<Self>, state: &mut State) -> Shared<oneshot::Receiver<Opened>> {
        if let Some(opening) = state.opening.as_ref().filter(|it| it.peek().is_none()) {
            return opening.clone();
        }
        let (done, opened) = oneshot::channel();
        let opened = opened.shared();
        state.opening = Some(opened.clone());
        let pool = self.clone();
        tokio::spawn(async move {
            let result = match timeout(pool.timeouts.connect, pool.handshake()).await {
                Ok(result) => result,
                Err(_) => Err(pool.target.failed("timed out")),
            };
            let outcome = if result.is_ok() { "ok" } else { "failed" };
            metrics::counter!("parley_push_connects_total", "provider" => pool.provider(), "outcome" => outcome)
                .increment(1);
            if let Err(error) = &result {
                tracing::debug!(provider = pool.provider(), %error, "no connection to a push provider");
            }
            pool.state.lock().opening = None;
            // Nobody may be left who waits for it.
            let _ = done.send(result);
        });
        opened
    }

    async fn handshake(self: &Arc<Self>) -> Opened {
        let stream = self.target.dial().await?;
        let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let io = TokioIo::new(stream);
        match protocol.as_deref() {
            Some(b"h2") => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder
                    .timer(TokioTimer::new())
                    .keep_alive_interval(self.timeouts.ping)
                    .keep_alive_timeout(self.timeouts.ping)
                    .keep_alive_while_idle(true)
                    // Until the server has said how many it takes.
                    .initial_max_send_streams(1);
                let (sender, driver) = builder.handshake(io).await.map_err(|it| self.target.failed(it))?;
                let limit = Arc::new(AtomicUsize::new(IN_FLIGHT_FULL));
                let connection = self.add(Sender::Http2(sender), limit.clone());
                tokio::spawn(drive_http2(driver, limit, self.watch(&connection)));
                Ok(connection)
            }
            _ => {
                let (sender, driver) = http1::handshake(io).await.map_err(|it| self.target.failed(it))?;
                let connection = self.add(Sender::Http1(sender.into()), Arc::new(AtomicUsize::new(1)));
                tokio::spawn(drive_http1(driver, self.watch(&connection)));
                Ok(connection)
            }
        }
    }

    fn add(&self, sender: Sender, limit: Arc<AtomicUsize>) -> Arc<Connection> {
        let mut state = self.state.lock();
        state.last_id += 1;
        let connection = Arc::new(Connection::new(state.last_id, sender, limit));
        state.open.push(connection.clone());
        connection
    }

    fn watch(self: &Arc<Self>, connection: &Connection) -> Watch {
        metrics::gauge!("parley_push_connections", "provider" => self.provider()).increment(1.0);
        Watch {
            pool: Arc::downgrade(self),
            id: connection.id(),
            provider: self.provider(),
            timeouts: self.timeouts,
        }
    }
}

impl State {
    fn best(&self, after: u64) -> Option<&Arc<Connection>> {
        let younger = self.open.iter().filter(|it| it.id() > after);
        younger.min_by_key(|it| it.in_flight())
    }
}

/// The end of a connection: it leaves the pool when its task ends, and its task ends when it was idle for long or the
/// pool is gone.
struct Watch {
    pool: Weak<Pool>,
    id: u64,
    provider: &'static str,
    timeouts: Timeouts,
}

impl Watch {
    /// Takes the connection out of the pool if it has had no requests for long. Under the pool's lock, so that none is
    /// given to it meanwhile.
    async fn idle(&self) {
        let mut tick = interval(self.timeouts.idle / 2);
        loop {
            tick.tick().await;
            let Some(pool) = self.pool.upgrade() else {
                return;
            };
            let mut state = pool.state.lock();
            let long = |since: Instant| since.elapsed() >= self.timeouts.idle;
            let before = state.open.len();
            state
                .open
                .retain(|it| it.id() != self.id || !it.idle_since().is_some_and(long));
            if state.open.len() < before {
                return;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        metrics::gauge!("parley_push_connections", "provider" => self.provider).decrement(1.0);
        if let Some(pool) = self.pool.upgrade() {
            pool.state.lock().open.retain(|it| it.id() != self.id);
        }
    }
}

async fn drive_http2(driver: Http2, limit: Arc<AtomicUsize>, watch: Watch) {
    let mut driver = pin!(driver);
    let ended = std::future::poll_fn(|cx| {
        let result = driver.as_mut().poll(cx);
        limit.store(driver.current_max_send_streams(), Ordering::Relaxed);
        match result {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => Poll::Pending,
        }
    });
    tokio::select! {
        result = ended => ended_with(watch.provider, result),
        () = watch.idle() => {}
    }
}

async fn drive_http1(driver: http1::Connection<Io, Full<Bytes>>, watch: Watch) {
    tokio::select! {
        result = driver => ended_with(watch.provider, result),
        () = watch.idle() => {}
    }
}

fn ended_with(provider: &'static str, result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(provider, %error, "connection to a push provider ended");
    }
}

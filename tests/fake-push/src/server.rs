//! A listener: accepts connections, with TLS but for the page, and serves HTTP on each until it or the listener ends.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use hyper::service::service_fn;
use hyper::{Request, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::handle;
use crate::link::{Ending, Link, Socket, Stream};
use crate::options::{Listener, Provider};
use crate::world::World;

/// As many as Apple allows.
const STREAMS_MOST: u32 = 1_000;
const HANDSHAKE_MOST: Duration = Duration::from_secs(10);
/// How long a port may still be held by a listener that is ending.
const BIND_MOST: Duration = Duration::from_secs(5);
const BIND_RETRY: Duration = Duration::from_millis(10);
/// After accepting failed, mostly for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A running listener. Dropping it ends it and its connections.
#[derive(Debug)]
pub(crate) struct Server {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Listens there; 0 is any free port.
pub(crate) async fn bind(address: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let deadline = tokio::time::Instant::now() + BIND_MOST;
    loop {
        match TcpListener::bind((address, port)).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(BIND_RETRY).await;
            }
            bound => return bound.with_context(|| format!("listening on {address}, port {port}")),
        }
    }
}

impl Server {
    /// Serves a bound listener; without `tls` in plain HTTP/1.1.
    pub(crate) fn start(
        world: Arc<World>,
        which: Listener,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let tls = tls.map(TlsAcceptor::from);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            tokio::select! {
                () = accept(&world, which, &listener, tls, &mut connections) => {}
                _ = stopped => {}
            }
            drop(listener);
            connections.shutdown().await;
        });
        Self { stop, task }
    }

    /// Ends the listener and its connections; the port is free afterwards.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

async fn accept(
    world: &Arc<World>,
    which: Listener,
    listener: &TcpListener,
    tls: Option<TlsAcceptor>,
    connections: &mut JoinSet<()>,
) {
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        connections.spawn(connection(world.clone(), which, tcp, tls.clone()));
    }
}

async fn connection(world: Arc<World>, which: Listener, tcp: TcpStream, tls: Option<TlsAcceptor>) {
    // Small answers shall not wait for each other.
    let _ = tcp.set_nodelay(true);
    let (stream, http2) = match tls {
        None => (Stream::Plain(tcp), false),
        Some(tls) => {
            let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_MOST, tls.accept(tcp)).await else {
                world.records.tallies.handshakes_failed.fetch_add(1, Ordering::Relaxed);
                return;
            };
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            (Stream::Tls(Box::new(stream)), http2)
        }
    };
    if !http2 && matches!(which, Listener::Apns | Listener::ApnsSandbox) {
        world.records.tallies.handshakes_failed.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let _open = Open::count(&world, which);
    let reset = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Socket {
        stream,
        reset: reset.clone(),
    });
    let (endings, ending) = mpsc::channel(1);
    let link = Arc::new(Link {
        number: world.connections.fetch_add(1, Ordering::Relaxed) + 1,
        listener: which,
        provider_token: Mutex::default(),
        endings,
    });
    let service = service_fn(move |request: Request<Incoming>| {
        let (world, link) = (world.clone(), link.clone());
        async move { Ok::<_, Infallible>(handle::answer(world, &link, request).await) }
    });
    if http2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.max_concurrent_streams(STREAMS_MOST).timer(TokioTimer::new());
        let mut served = std::pin::pin!(builder.serve_connection(io, service));
        drive(served.as_mut(), ending, &reset, |it| it.graceful_shutdown()).await;
    } else {
        let mut builder = hyper::server::conn::http1::Builder::new();
        let mut served = std::pin::pin!(builder.timer(TokioTimer::new()).serve_connection(io, service));
        drive(served.as_mut(), ending, &reset, |it| it.graceful_shutdown()).await;
    }
}

/// Serves the connection until it ends or is made to.
async fn drive<C: Future>(
    mut served: std::pin::Pin<&mut C>,
    mut endings: mpsc::Receiver<Ending>,
    reset: &AtomicBool,
    go_away: impl Fn(std::pin::Pin<&mut C>),
) {
    loop {
        tokio::select! {
            _ = served.as_mut() => return,
            Some(ending) = endings.recv() => match ending {
                Ending::GoAway => go_away(served.as_mut()),
                Ending::Close => return,
                Ending::Reset => {
                    reset.store(true, Ordering::Release);
                    return;
                }
            },
        }
    }
}

/// Counts an open connection as long as it lives.
struct Open {
    world: Arc<World>,
    provider: Provider,
}

impl Open {
    fn count(world: &Arc<World>, which: Listener) -> Option<Self> {
        let provider = match which {
            Listener::Apns | Listener::ApnsSandbox => Provider::Apns,
            Listener::Fcm => Provider::Fcm,
            Listener::Webpush => Provider::Webpush,
            Listener::Page => return None,
        };
        let tally = world.records.tallies.of(provider);
        tally.connections.fetch_add(1, Ordering::Relaxed);
        tally.open.fetch_add(1, Ordering::Relaxed);
        let world = world.clone();
        Some(Self { world, provider })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let tally = self.world.records.tallies.of(self.provider);
        tally.open.fetch_sub(1, Ordering::Relaxed);
    }
}

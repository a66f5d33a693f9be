//! For tests: a certificate authority, and TLS servers in this process.

mod samples;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::http2::{Client, Target, Timeouts};
use super::tls::{self, Versions};
pub(crate) use samples::{Browser, EcKey, alert, file, push, rsa_pem};

/// Short enough to wait for, long enough for a machine that stalls.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A self-signed certificate of `localhost`, which is its own root.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        Self {
            pem: made.cert.pem(),
            certificate: made.cert.der().clone(),
            key: made.signing_key.serialize_der(),
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.pem.clone()
    }

    pub(crate) fn client(&self, versions: Versions) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        tls::config(roots, versions).unwrap()
    }

    fn acceptor(&self, alpn: &[&[u8]]) -> TlsAcceptor {
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let mut config = ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Accepts TLS connections one by one.
pub(crate) struct Listener {
    pub(crate) authority: Authority,
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener {
    pub(crate) async fn new(alpn: &[&[u8]]) -> Self {
        let authority = Authority::new();
        Self {
            tls: authority.acceptor(alpn),
            authority,
            tcp: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.tcp.local_addr().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address().port())
    }

    pub(crate) async fn accept(&self) -> TlsStream<TcpStream> {
        loop {
            let (tcp, _) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.tls.accept(tcp).await {
                return stream;
            }
        }
    }

    /// A client of this server, for HTTP/2 or what it speaks.
    pub(crate) fn client(&self, timeouts: Timeouts) -> Client {
        Client::new(self.target(), timeouts)
    }

    pub(crate) fn target(&self) -> Target {
        let tls = self.authority.client(Versions::Http2OrHttp1);
        Target::new("test", &self.url(), tls).unwrap()
    }
}

/// What a test's server was sent.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What it answers.
#[derive(Debug, Clone)]
pub(crate) struct Says {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

pub(crate) fn says(status: u16, body: impl ToString) -> Says {
    Says {
        status,
        headers: Vec::new(),
        body: body.to_string(),
    }
}

impl Says {
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// A server that answers every request by a function, and counts its connections.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) authority: Authority,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) async fn new<F, R>(answer: F) -> Self
    where
        F: Fn(Seen) -> R + Send + Sync + 'static,
        R: Future<Output = Says> + Send + 'static,
    {
        Self::speaking(&[b"h2"], 1_000, answer).await
    }

    pub(crate) async fn speaking<F, R>(alpn: &[&[u8]], streams: u32, answer: F) -> Self
    where
        F: Fn(Seen) -> R + Send + Sync + 'static,
        R: Future<Output = Says> + Send + 'static,
    {
        let listener = Listener::new(alpn).await;
        let answer = Arc::new(answer);
        let server = Self {
            url: listener.url(),
            authority: Authority {
                certificate: listener.authority.certificate.clone(),
                key: Vec::new(),
                pem: listener.authority.pem(),
            },
            connections: Arc::default(),
            open: Arc::default(),
        };
        let (connections, open) = (server.connections.clone(), server.open.clone());
        tokio::spawn(async move {
            loop {
                let stream = listener.accept().await;
                connections.fetch_add(1, Ordering::SeqCst);
                open.fetch_add(1, Ordering::SeqCst);
                let (answer, open) = (answer.clone(), open.clone());
                let service = hyper::service::service_fn(move |request| serve(answer.clone(), request));
                tokio::spawn(async move {
                    let mut builder = auto::Builder::new(TokioExecutor::new());
                    builder.http2().max_concurrent_streams(streams);
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    pub(crate) fn client(&self, timeouts: Timeouts) -> Client {
        let tls = self.authority.client(Versions::Http2OrHttp1);
        Client::new(Target::new("test", &self.url, tls).unwrap(), timeouts)
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Connections now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn serve<F, R>(
    answer: Arc<F>,
    request: http::Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible>
where
    F: Fn(Seen) -> R,
    R: Future<Output = Says>,
{
    let (head, body) = request.into_parts();
    let said = answer(Seen {
        path: head.uri.path().to_owned(),
        headers: head.headers,
        body: body.collect().await.map(|it| it.to_bytes()).unwrap_or_default(),
    })
    .await;
    let mut response = Response::new(Full::new(Bytes::from(said.body)));
    *response.status_mut() = StatusCode::from_u16(said.status).unwrap();
    for (name, value) in said.headers {
        response.headers_mut().append(name, value.parse().unwrap());
    }
    Ok(response)
}

/// Waits until it is so.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    let started = tokio::time::Instant::now();
    while !so() {
        assert!(started.elapsed() < DEADLINE, "not in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

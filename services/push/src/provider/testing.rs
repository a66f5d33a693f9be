//! For tests: a certificate authority, a TLS server in this process, and files that settings name.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use protocol::{ConversationId, Timestamp};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::http2::{Client, Target, Timeouts};
use super::tls::{self, Versions};
use super::{Address, Alert, Content, Push};

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

/// A file with that text, of this process.
pub(crate) fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("parley-push-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

/// Waits until it is so.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    let started = tokio::time::Instant::now();
    while !so() {
        assert!(started.elapsed() < DEADLINE, "not in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A private key on P-256.
pub(crate) struct EcKey(rcgen::KeyPair);

impl EcKey {
    pub(crate) fn new() -> Self {
        Self(rcgen::KeyPair::generate().unwrap())
    }

    /// Its file, of this test alone.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::SeqCst);
        file(&format!("{name}-{number}.p8"), &self.0.serialize_pem())
    }

    /// Uncompressed, 65 bytes.
    pub(crate) fn public_point(&self) -> Vec<u8> {
        self.0.public_key_raw().to_vec()
    }
}

/// A private key of RSA, PKCS #8.
pub(crate) fn rsa_pem() -> String {
    let key = openssl::rsa::Rsa::generate(2048).unwrap();
    let key = openssl::pkey::PKey::from_rsa(key).unwrap();
    String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap()
}

pub(crate) fn alert() -> Alert {
    Alert {
        title: "Ann".to_owned(),
        body: "Hello".to_owned(),
        badge: Some(3),
        sound: "default",
        category: "message",
        conversation_id: ConversationId::parse("d0123456789abcdef0123456789abcdef").unwrap(),
        server_id: "0190a1b2".to_owned(),
        seq: 7,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    }
}

/// A push without an address, until January 2027.
pub(crate) fn push(content: Content) -> Push {
    Push {
        address: Address {
            token: String::new(),
            app: String::new(),
            sandbox: false,
        },
        id: uuid::Uuid::from_u128(0x0190_a1b2_c3d4_7000_8000_0000_0000_0001),
        collapse_id: "collapse".to_owned(),
        expires_at: Timestamp::from_millis(1_800_000_000_000),
        content,
    }
}

/// What a browser has for one subscription.
pub(crate) struct Browser {
    key: ece::EcKeyComponents,
    secret: Vec<u8>,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let (key, secret) = ece::generate_keypair_and_auth_secret().unwrap();
        Self {
            key: key.raw_components().unwrap(),
            secret: secret.to_vec(),
        }
    }

    pub(crate) fn subscription(&self, endpoint: &str) -> String {
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let keys = json!({ "p256dh": base64(self.key.public_key()), "auth": base64(&self.secret) });
        json!({ "endpoint": endpoint, "keys": keys }).to_string()
    }

    pub(crate) fn open(&self, body: &[u8]) -> Value {
        let plain = ece::decrypt(&self.key, &self.secret, body).unwrap();
        serde_json::from_slice(&plain).unwrap()
    }
}

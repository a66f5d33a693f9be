//! What the tests of this crate stand on: a fake in a folder of its own, clients that trust it, and signed tokens.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use openssl::pkey::PKey;
use protocol::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use web_push::{ContentEncoding, SubscriptionInfo, WebPushMessageBuilder};

use crate::{APPS, FakePush, KEY_ID, Listener, Options, TEAM_ID};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// A device token of the right shape.
pub(crate) const TOKEN: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A fake with a folder that goes with it.
pub(crate) struct Lab {
    pub(crate) fake: FakePush,
    pub(crate) folder: Folder,
    /// The token of all pushes that bring no other: APNs wants no new one all the time.
    usual_token: OnceLock<String>,
}

pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join("fake-push-tests").join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let folder = Folder::new();
        let fake = FakePush::start(folder.path(), options).await.unwrap();
        Self::of(fake, folder)
    }

    pub(crate) fn of(fake: FakePush, folder: Folder) -> Self {
        let usual_token = OnceLock::new();
        Self {
            fake,
            folder,
            usual_token,
        }
    }

    pub(crate) async fn client(&self, listener: Listener) -> Client {
        Client::connect(&self.fake, listener).await.unwrap()
    }

    /// A provider token as Apple wants it.
    pub(crate) fn provider_token(&self, age_seconds: i64) -> String {
        let claims = json!({"iss": TEAM_ID, "iat": now() - age_seconds});
        self.signed("apns.p8", Some(KEY_ID), &claims)
    }

    /// A JWT signed by ES256 with a key of the folder.
    pub(crate) fn signed(&self, file: &str, key_id: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = key_id.map(str::to_owned);
        let key = PKey::private_key_from_pem(self.folder.read(file).as_bytes()).unwrap();
        let key = EncodingKey::from_ec_der(&key.private_key_to_pkcs8().unwrap());
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }

    /// An assertion of the service account.
    pub(crate) fn assertion(&self, claims: &Value) -> String {
        let account: Value = serde_json::from_str(&self.folder.read("fcm.json")).unwrap();
        let pem = account["private_key"].as_str().unwrap();
        let key = PKey::private_key_from_pem(pem.as_bytes()).unwrap().rsa().unwrap();
        let key = EncodingKey::from_rsa_der(&key.private_key_to_der().unwrap());
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, &key).unwrap()
    }

    /// `vapid t=…, k=…` with claims that are changed.
    pub(crate) fn vapid(&self, change: Value) -> String {
        let origin = format!("https://localhost:{}", self.fake.ports().webpush);
        let mut claims = json!({"aud": origin, "exp": now() + 3_600, "sub": "mailto:a@b.example"});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = self.signed("vapid.pem", None, &claims);
        format!("vapid t={token}, k={}", self.fake.vapid_public_key())
    }
}

/// What services are told to call the machine of the fakes.
fn named(fake: &FakePush) -> String {
    let settings = fake.settings();
    let url = settings.iter().find(|(name, _)| name == "PARLEY_PUSH__APNS__URL");
    let host = url.and_then(|(_, url)| url.strip_prefix("https://")?.split(':').next());
    host.unwrap().to_owned()
}

/// Seconds since the epoch.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_millis() / 1_000
}

/// A text for a subscription, encrypted by the library that the services use.
pub(crate) fn encrypted(subscription: &Value, text: &[u8]) -> Vec<u8> {
    let of = |value: &Value| value.as_str().unwrap().to_owned();
    let keys = &subscription["keys"];
    let info = SubscriptionInfo::new(of(&subscription["endpoint"]), of(&keys["p256dh"]), of(&keys["auth"]));
    let mut builder = WebPushMessageBuilder::new(&info);
    builder.set_payload(ContentEncoding::Aes128Gcm, text);
    builder.build().unwrap().payload.unwrap().content
}

/// The path of a subscription's endpoint.
pub(crate) fn path_of(subscription: &Value) -> String {
    let endpoint: http::Uri = subscription["endpoint"].as_str().unwrap().parse().unwrap();
    endpoint.path().to_owned()
}

/// One HTTP/2 connection over TLS.
#[derive(Clone)]
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    port: u16,
    open: watch::Receiver<()>,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }
}

impl Client {
    pub(crate) async fn connect(fake: &FakePush, listener: Listener) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(fake.ca_file())?)?;
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let port = fake.ports().of(listener);
        let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(named(fake))?;
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        let http = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls));
        let (sender, connection) = http.await?;
        let (ended, open) = watch::channel(());
        tokio::spawn(async move {
            let _ = connection.await;
            drop(ended);
        });
        Ok(Self { sender, port, open })
    }

    pub(crate) async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, hyper::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://localhost:{}{path}", self.port));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        self.sender.ready().await?;
        let (parts, body) = self.sender.send_request(request).await?.into_parts();
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    pub(crate) async fn post(&mut self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        self.request("POST", path, headers, body).await.unwrap()
    }

    /// Waits until the connection has ended.
    pub(crate) async fn end(&mut self) {
        let closed = self.open.changed();
        assert!(tokio::time::timeout(PATIENCE, closed).await.unwrap().is_err());
    }

    /// An access token, got as a service account does.
    pub(crate) async fn access_token(&mut self, lab: &Lab) -> String {
        let reply = self.exchange(&lab.assertion(&assertion_claims(lab))).await;
        reply.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn exchange(&mut self, assertion: &str) -> Reply {
        let form = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.post("/token", &headers, form).await
    }

    /// A push to Apple that is right but for what is changed; a value that is empty leaves the header out.
    pub(crate) async fn apns(&mut self, lab: &Lab, change: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let token = lab.usual_token.get_or_init(|| lab.provider_token(0));
        let authorization = format!("bearer {token}");
        let usual = [
            ("authorization", authorization.as_str()),
            ("apns-topic", APPS[0]),
            ("apns-push-type", "alert"),
        ];
        let changed = |name: &str| change.iter().any(|(it, _)| *it == name);
        let kept = usual.into_iter().filter(|(name, _)| !changed(name));
        let added = change.iter().copied().filter(|(_, value)| !value.is_empty());
        let headers: Vec<(&str, &str)> = kept.chain(added).collect();
        self.post(&format!("/3/device/{TOKEN}"), &headers, body).await
    }
}

pub(crate) fn assertion_claims(lab: &Lab) -> Value {
    json!({
        "iss": "push@parley-fake.iam.gserviceaccount.com",
        "aud": format!("http://127.0.0.1:{}/token", lab.fake.ports().page),
        "scope": "https://www.googleapis.com/auth/firebase.messaging",
        "iat": now(),
        "exp": now() + 3_595,
    })
}

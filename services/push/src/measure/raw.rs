//! What a push costs at least: hyper's HTTP/2 client on one connection, with requests that were made beforehand.
//!
//! The same TLS, headers, and bytes on the wire as of the service's own requests; no time-outs, no second connection, no
//! new token.

use std::fmt::{self, Debug};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use protocol::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::sample::DIFFERENT;
use super::{Made, Sample, keep};
use crate::provider::{Content, Push};

/// An open connection and the requests for it.
#[derive(Clone)]
pub struct Raw {
    sender: SendRequest<Full<Bytes>>,
    prepared: Arc<[Prepared]>,
}

struct Prepared {
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raw").finish_non_exhaustive()
    }
}

impl Raw {
    /// Connects to Apple's URL of the settings, and prepares the requests.
    ///
    /// # Errors
    /// Nobody listens there, or a file of the settings cannot be used.
    pub async fn connect(config: &config::Push, sample: &Sample) -> anyhow::Result<Self> {
        let token = provider_token(&config.apns)?;
        let prepare = |number| Prepared::new(&config.apns.url, &token, &sample.push(number));
        let prepared = (0..DIFFERENT).map(prepare).collect::<anyhow::Result<_>>()?;
        let uri: Uri = config.apns.url.parse()?;
        let host = uri.host().context("a URL without a host")?.to_owned();
        let tcp = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await?;
        tcp.set_nodelay(true)?;
        let tls = TlsConnector::from(tls(config.ca_file.as_deref().context("no ca_file")?)?);
        let stream = tls.connect(ServerName::try_from(host)?, tcp).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // Its end is the end of the requests on it, which say so.
        tokio::spawn(connection);
        Ok(Self { sender, prepared })
    }

    /// Keeps so many requests in flight for so long.
    pub async fn load(&self, in_flight: usize, length: Duration) -> Made {
        let raw = self.clone();
        let one = move |number| {
            let raw = raw.clone();
            async move { raw.one(number).await.map_err(|error| error.to_string()) }
        };
        keep(in_flight, length, one).await
    }

    /// Bytes of a payload.
    pub fn payload_bytes(&self) -> usize {
        self.prepared.first().map_or(0, |it| it.body.len())
    }

    pub(super) async fn one(&self, number: u64) -> anyhow::Result<()> {
        let prepared = &self.prepared[(number % DIFFERENT) as usize];
        let mut request = Request::new(Full::new(prepared.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = prepared.uri.clone();
        *request.headers_mut() = prepared.headers.clone();
        let response = self.sender.clone().send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status != StatusCode::OK {
            bail!("{status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(())
    }
}

impl Prepared {
    fn new(url: &str, token: &str, push: &Push) -> anyhow::Result<Self> {
        let Content::Alert(alert) = &push.content else {
            bail!("not an alert");
        };
        let expires_at = push.expires_at.as_millis() / 1_000;
        // What the service keeps out of HTTP/2's table of headers is kept out here, too.
        let headers = [
            ("apns-topic", push.address.app.clone(), false),
            ("apns-push-type", "alert".to_owned(), false),
            ("apns-priority", "10".to_owned(), false),
            ("apns-expiration", expires_at.to_string(), true),
            ("apns-collapse-id", push.collapse_id.clone(), true),
            ("apns-id", push.id.to_string(), true),
            ("authorization", format!("bearer {token}"), true),
        ];
        let mut map = HeaderMap::with_capacity(8);
        for (name, value, is_sensitive) in headers {
            let mut value = HeaderValue::try_from(value)?;
            value.set_sensitive(is_sensitive);
            map.insert(name, value);
        }
        let body = json!({
            "aps": {
                "alert": { "title": alert.title, "body": alert.body },
                "badge": alert.badge,
                "sound": alert.sound,
                "category": alert.category,
                "thread-id": alert.conversation_id.as_str(),
            },
            "conversation_id": alert.conversation_id.as_str(),
            "server_id": alert.server_id,
            "seq": alert.seq,
            "traceparent": alert.traceparent,
        });
        Ok(Self {
            uri: format!("{url}/3/device/{}", push.address.token).parse()?,
            headers: map,
            body: serde_json::to_vec(&body)?.into(),
        })
    }
}

fn provider_token(config: &config::Apns) -> anyhow::Result<String> {
    let pem = std::fs::read(config.key_file.as_ref().context("there is no key for Apple")?)?;
    let der = PrivatePkcs8KeyDer::from_pem_slice(&pem)?;
    let key = EncodingKey::from_ec_der(der.secret_pkcs8_der());
    let mut header = Header::new(Algorithm::ES256);
    header.typ = None;
    header.kid.clone_from(&config.key_id);
    let claims = json!({ "iss": config.team_id, "iat": Timestamp::now().as_millis() / 1_000 });
    Ok(jsonwebtoken::encode(&header, &claims, &key)?)
}

fn tls(ca_file: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file)? {
        roots.add(certificate?)?;
    }
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

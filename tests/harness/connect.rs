//! How a socket is opened: where, as whom, and authenticated which way.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};
use tokio_tungstenite::tungstenite::{Error, Result};

use super::client::Client;

/// A socket still to be opened.
#[derive(Clone)]
pub struct Connect {
    nodes: Vec<String>,
    node: usize,
    token: String,
    way: Way,
    device: Option<String>,
    resume: Option<String>,
    origin: Option<String>,
    receive_buffer: Option<u32>,
    headers: Vec<(&'static str, String)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Header,
    FirstFrame,
    Query,
    Nothing,
}

impl Connect {
    pub fn new(nodes: &[String], token: &str) -> Self {
        Self {
            nodes: nodes.to_vec(),
            node: 0,
            token: token.into(),
            way: Way::Header,
            device: None,
            resume: None,
            origin: None,
            receive_buffer: None,
            headers: Vec::new(),
        }
    }

    /// At the node of that index.
    pub fn node(mut self, node: usize) -> Self {
        self.node = node;
        self
    }

    /// With another token.
    pub fn token(mut self, token: &str) -> Self {
        self.token = token.into();
        self
    }

    /// Authenticates with a first frame `auth`.
    pub fn first_frame(mut self) -> Self {
        self.way = Way::FirstFrame;
        self
    }

    /// Authenticates with `?token=`.
    pub fn query_token(mut self) -> Self {
        self.way = Way::Query;
        self
    }

    /// Does not authenticate.
    pub fn anonymous(mut self) -> Self {
        self.way = Way::Nothing;
        self
    }

    pub fn device(mut self, device: &str) -> Self {
        self.device = Some(device.into());
        self
    }

    /// Goes on from a cursor.
    pub fn resume(mut self, cursor: &str) -> Self {
        self.resume = Some(cursor.into());
        self
    }

    /// What a browser on that page would say.
    pub fn origin(mut self, origin: &str) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// With one more header of the upgrade.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// A small receive buffer: the server notices soon that nobody reads.
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Opens the socket and waits for `ready`.
    pub async fn connect(self) -> Client {
        let mut client = self.open().await;
        client.ready = client.expect("ready").await;
        client
    }

    /// Opens the socket; what the server says to it is in its log.
    pub async fn open(self) -> Client {
        let stream = self
            .upgrade()
            .await
            .unwrap_or_else(|error| panic!("the upgrade failed: {error}"));
        let client = Client::new(stream, format!("the socket of {}", self.describe()));
        if self.way == Way::FirstFrame {
            client.send(self.auth_frame()).await;
        }
        client
    }

    /// The HTTP status with which the upgrade is refused.
    pub async fn refused(self) -> u16 {
        match self.upgrade().await {
            Err(Error::Http(answer)) => answer.status().as_u16(),
            Err(error) => panic!("expected an HTTP answer, not: {error}"),
            Ok(_) => panic!("the upgrade should have been refused"),
        }
    }

    /// The first frame that authenticates this way.
    pub fn auth_frame(&self) -> serde_json::Value {
        let mut frame = json!({"type": "auth", "token": self.token});
        for (name, value) in [("device_id", &self.device), ("resume", &self.resume)] {
            if let Some(value) = value {
                frame[name] = json!(value);
            }
        }
        frame
    }

    /// TCP connection and HTTP upgrade.
    pub async fn upgrade(&self) -> Result<WebSocketStream<TcpStream>> {
        let stream = self.tcp().await?;
        stream.set_nodelay(true)?;
        let upgraded = tokio_tungstenite::client_async(self.request()?, stream);
        let timeout = || Error::Io(std::io::ErrorKind::TimedOut.into());
        Ok(tokio::time::timeout(Duration::from_secs(10), upgraded)
            .await
            .map_err(|_| timeout())??
            .0)
    }

    /// The TCP connection alone.
    pub async fn tcp(&self) -> std::io::Result<TcpStream> {
        let address: SocketAddr = self.host().parse().expect("a node is HOST:PORT");
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect(address).await
    }

    fn host(&self) -> &str {
        self.nodes[self.node]
            .strip_prefix("http://")
            .expect("a node is http://HOST:PORT")
    }

    fn request(&self) -> Result<Request<()>> {
        let mut query = Vec::new();
        if self.way != Way::FirstFrame {
            let given = [("device_id", &self.device), ("resume", &self.resume)];
            query.extend(
                given
                    .iter()
                    .filter_map(|(name, it)| Some(format!("{name}={}", it.as_deref()?))),
            );
        }
        if self.way == Way::Query {
            query.push(format!("token={}", self.token));
        }
        let mut request = format!("ws://{}/v1/ws?{}", self.host(), query.join("&")).into_client_request()?;
        if self.way == Way::Header {
            request.headers_mut().insert(
                "authorization",
                HeaderValue::try_from(format!("Bearer {}", self.token))?,
            );
        }
        if let Some(origin) = &self.origin {
            request.headers_mut().insert("origin", HeaderValue::try_from(origin)?);
        }
        for (name, value) in &self.headers {
            request.headers_mut().insert(*name, HeaderValue::try_from(value)?);
        }
        Ok(request)
    }

    fn describe(&self) -> String {
        let payload = self.token.split('.').nth(1).unwrap_or_default();
        let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload);
        let claims: serde_json::Value = serde_json::from_slice(&claims.unwrap_or_default()).unwrap_or_default();
        format!("{} at node {}", claims["sub"], self.node)
    }
}

//! A TCP connection without manners, for what a WebSocket library would never do: half an upgrade, no pongs, frames
//! that are too large or broken.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The connection.
pub struct RawSocket {
    stream: TcpStream,
    host: String,
}

/// A WebSocket frame as it came.
#[derive(Debug, PartialEq)]
pub struct RawFrame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl RawFrame {
    /// The code of a close frame.
    pub fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk::<2>().copied().map(u16::from_be_bytes);
        code.filter(|_| self.opcode == 8)
    }
}

impl RawSocket {
    /// Connects to a node's `http://HOST:PORT`.
    pub async fn connect(node: &str) -> Self {
        let host = node
            .strip_prefix("http://")
            .expect("a node is http://HOST:PORT")
            .to_owned();
        let stream = TcpStream::connect(&host).await.expect("the node listens");
        Self { stream, host }
    }

    /// Connects with a small receive buffer, so that the server feels how slowly one reads.
    pub async fn connect_small(node: &str) -> Self {
        let host = node
            .strip_prefix("http://")
            .expect("a node is http://HOST:PORT")
            .to_owned();
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(8_192).expect("a small buffer");
        let stream = socket
            .connect(host.parse().expect("an address"))
            .await
            .expect("the node listens");
        Self { stream, host }
    }

    /// Writes any bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Writes an upgrade request with more header lines, each ended by `\r\n`.
    pub async fn request_upgrade(&mut self, headers: &str) {
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n",
            self.host
        );
        self.write(request.as_bytes()).await.expect("the node takes a request");
    }

    /// Reads the head of an HTTP answer; its status, or `None` if the connection ended instead.
    pub async fn status(&mut self) -> Option<u16> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.ok()?);
        }
        String::from_utf8_lossy(&head).split(' ').nth(1)?.parse().ok()
    }

    /// Upgrades with a token and expects success.
    pub async fn upgrade(&mut self, token: &str) {
        self.request_upgrade(&format!("Authorization: Bearer {token}\r\n"))
            .await;
        assert_eq!(self.status().await, Some(101), "the upgrade");
    }

    /// Sends one whole message as one masked frame.
    pub async fn send(&mut self, opcode: u8, payload: &[u8]) -> std::io::Result<()> {
        self.send_fragment(opcode, true, payload).await
    }

    /// Sends one masked frame; `last` is its FIN bit.
    pub async fn send_fragment(&mut self, opcode: u8, last: bool, payload: &[u8]) -> std::io::Result<()> {
        let mut bytes = vec![if last { 0x80 } else { 0 } | opcode];
        match payload.len() {
            short @ 0..126 => bytes.push(0x80 | short as u8),
            middle @ 126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(middle as u16).to_be_bytes());
            }
            long => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        // A mask of zeros is a mask.
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(payload);
        self.write(&bytes).await
    }

    /// The next frame, or `None` at the connection's end.
    ///
    /// # Panics
    /// If nothing comes in time.
    pub async fn next(&mut self, patience: Duration) -> Option<RawFrame> {
        match tokio::time::timeout(patience, self.read_frame()).await {
            Ok(Ok(frame)) => Some(frame),
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => None,
            Ok(Err(error)) => panic!("reading a frame: {error}"),
            Err(_) => panic!("no frame within {patience:?}"),
        }
    }

    /// Reads until a close frame, whose code it returns, or the connection's end.
    pub async fn close_code(&mut self, patience: Duration) -> Option<u16> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let frame = self.next(deadline - tokio::time::Instant::now()).await?;
            if frame.opcode == 8 {
                return frame.close_code();
            }
        }
    }

    /// Reads until the connection's end; whether that came in time.
    pub async fn ends_within(&mut self, patience: Duration) -> bool {
        let mut rest = Vec::new();
        tokio::time::timeout(patience, self.stream.read_to_end(&mut rest))
            .await
            .is_ok()
    }

    async fn read_frame(&mut self) -> std::io::Result<RawFrame> {
        let first = self.stream.read_u8().await?;
        let length = match self.stream.read_u8().await? & 0x7f {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).expect("a frame fits into memory")];
        self.stream.read_exact(&mut payload).await?;
        Ok(RawFrame {
            opcode: first & 0x0f,
            payload,
        })
    }
}

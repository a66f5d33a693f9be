//! For tests: one connection of an HTTP/2 server, frame by frame, so that a test decides when it says GOAWAY and of
//! which stream. Reads no header.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub(super) struct RawConnection {
    stream: TlsStream<TcpStream>,
}

/// A request that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) stream: u32,
    pub(super) body: String,
}

impl RawConnection {
    /// Reads the preface and sends settings.
    pub(super) async fn new(stream: TlsStream<TcpStream>) -> Self {
        Self::with_settings(stream, &[]).await
    }

    /// One that lets so many requests be in flight.
    pub(super) async fn with_streams(stream: TlsStream<TcpStream>, most: u32) -> Self {
        let settings = [&MAX_CONCURRENT_STREAMS.to_be_bytes()[..], &most.to_be_bytes()].concat();
        Self::with_settings(stream, &settings).await
    }

    async fn with_settings(mut stream: TlsStream<TcpStream>, settings: &[u8]) -> Self {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        let mut this = Self { stream };
        this.frame(SETTINGS, 0, 0, settings).await;
        this
    }

    /// The next request with a body; `None` at the end of the connection.
    pub(super) async fn request(&mut self) -> Option<Request> {
        let mut bodies = std::collections::HashMap::<u32, String>::new();
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await.ok()?;
            match kind {
                SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]).await,
                PING if flags & ACK == 0 => self.frame(PING, ACK, 0, &payload).await,
                DATA => {
                    let body = bodies.entry(stream).or_default();
                    body.push_str(std::str::from_utf8(&payload).unwrap());
                    if flags & END_STREAM != 0 {
                        let body = bodies.remove(&stream).unwrap();
                        return Some(Request { stream, body });
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) async fn respond(&mut self, stream: u32) {
        // `:status: 200` of HPACK's static table.
        self.frame(HEADERS, END_STREAM | END_HEADERS, stream, &[0x88]).await;
    }

    /// Streams above `last` are not looked at.
    pub(super) async fn go_away(&mut self, last: u32) {
        let payload = [last.to_be_bytes(), 0_u32.to_be_bytes()].concat();
        self.frame(GOAWAY, 0, 0, &payload).await;
    }

    pub(super) async fn refuse(&mut self, stream: u32) {
        self.frame(RST_STREAM, 0, stream, &7_u32.to_be_bytes()).await;
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        let _ = self.stream.write_all(&frame).await;
        let _ = self.stream.flush().await;
    }
}

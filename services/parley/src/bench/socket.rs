//! One client socket, opened and authenticated. Buffers are small: there are thousands of them.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::frame::Incoming;

/// A socket after its `ready`.
pub(super) type Socket = WebSocketStream<TcpStream>;

const READ_BUFFER: usize = 4 * 1024;
/// From the connect to `ready`, on a machine that may be busy with thousands of others.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects to `server` (`http://HOST:PORT`) and waits for `ready`.
///
/// # Errors
/// Nobody listens, or the server did not let this token in.
pub(super) async fn open(server: &str, token: &str) -> anyhow::Result<Socket> {
    timeout(PATIENCE, open_unbounded(server, token))
        .await
        .with_context(|| format!("{server} did not open a socket within {} s", PATIENCE.as_secs()))?
        .with_context(|| format!("cannot open a socket at {server}"))
}

async fn open_unbounded(server: &str, token: &str) -> anyhow::Result<Socket> {
    let authority = authority(server)?;
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let mut request = format!("ws://{authority}/v1/ws").into_client_request()?;
    let bearer = HeaderValue::from_str(&format!("Bearer {token}"))?;
    request.headers_mut().insert(AUTHORIZATION, bearer);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(READ_BUFFER);
    let (mut socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        match Incoming::parse(&text) {
            Some(frame) if frame.frame_type == "ready" => return Ok(socket),
            Some(frame) if frame.frame_type == "error" => bail!("the server said {text}"),
            _ => {}
        }
    }
    bail!("it was closed before `ready`")
}

fn authority(server: &str) -> anyhow::Result<&str> {
    let rest = server.strip_prefix("http://").context("a server is http://HOST:PORT")?;
    Ok(rest.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_http_address() {
        assert_eq!(authority("http://127.0.0.1:8080/").unwrap(), "127.0.0.1:8080");
        assert!(authority("127.0.0.1:8080").is_err());
    }
}

//! Asks a running service on this machine whether it is ready: the health check of a container, whose image has neither
//! a shell nor `curl`.
//!
//! Blocking and without a runtime: it is a process of its own that lives for milliseconds. It speaks just the HTTP/1.0
//! that one question needs.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

/// How long connecting, asking and each read of the answer may take.
const WAIT: Duration = Duration::from_secs(2);

/// Bytes of an answer that are read: what is missing, in words, is far shorter.
const ANSWER_MOST: u64 = 4_096;

/// Asks for `path` at the address that a server of this machine listens at; 0.0.0.0 means loopback.
///
/// # Errors
/// Nobody answers there, or anything but 200; the text holds the answer's first line of words.
pub fn check(listen: SocketAddr, path: &str) -> anyhow::Result<()> {
    let address = reachable(listen);
    let stream = TcpStream::connect_timeout(&address, WAIT);
    let mut stream = stream.with_context(|| format!("nobody listens at {address}"))?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_MOST).read_to_end(&mut answer);
    read.with_context(|| format!("no answer from {address}"))?;
    let answer = String::from_utf8_lossy(&answer);
    if answer.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    let words = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    bail!(
        "{path} at {address} is not well: {}",
        words.lines().next().unwrap_or("no answer")
    )
}

/// Where to reach what listens at every address of this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::{Readiness, Shutdown, admin};

    /// The check beside a running private server, as a container's engine starts it.
    async fn checked(listen: SocketAddr) -> Result<(), String> {
        let check = tokio::task::spawn_blocking(move || check(listen, "/readyz"));
        check.await.unwrap().map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn it_is_well_exactly_while_the_service_is_ready() {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let listen = listener.local_addr().unwrap();
        let (ready, shutdown) = (Readiness::new(&["nats"]), Shutdown::new());
        let server = tokio::spawn(admin::serve(listener, ready.clone(), shutdown.clone()));
        let missing = checked(listen).await.unwrap_err();
        assert!(missing.ends_with("is not well: not ready: nats"), "{missing}");
        ready.set("nats", true);
        assert_eq!(checked(listen).await, Ok(()));
        shutdown.trigger();
        server.await.unwrap().unwrap();
        let gone = checked(listen).await.unwrap_err();
        assert!(gone.starts_with("nobody listens at 127.0.0.1:"), "{gone}");
    }

    #[test]
    fn what_listens_everywhere_is_asked_on_loopback() {
        let asked = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:9090"), "127.0.0.1:9090");
        assert_eq!(asked("[::]:9090"), "[::1]:9090");
        assert_eq!(asked("10.1.2.3:9090"), "10.1.2.3:9090");
    }

    #[test]
    fn a_server_that_says_nothing_does_not_hold_the_check() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = check(silent.local_addr().unwrap(), "/readyz").unwrap_err().to_string();
        assert!(error.starts_with("no answer from 127.0.0.1:"), "{error}");
    }
}

//! Free ports on the loopback, for servers that keep theirs over a restart.

use std::collections::HashSet;
use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use rand::Rng;

/// Lowest port handed out.
const LOWEST: u16 = 10_000;
const TRIES: usize = 1_000;

/// A port that nobody listens on and that this process has not handed out before.
///
/// It lies below the range from which the kernel takes ports of outgoing connections: otherwise, while a server is
/// away for its second between death and restart, a client that keeps connecting to it could be given that very port,
/// be connected to itself, and keep the server from coming back.
///
/// # Errors
/// There is none left.
pub fn free() -> std::io::Result<u16> {
    static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = taken.get_or_insert_default();
    let highest = ephemeral_start().max(LOWEST + 1_000);
    let mut candidates = std::iter::repeat_with(|| rand::rng().random_range(LOWEST..highest)).take(TRIES);
    let port = candidates.find(|port| !taken.contains(port) && is_free(*port));
    let port = port.ok_or_else(|| Error::new(ErrorKind::AddrInUse, "no free port on 127.0.0.1"))?;
    taken.insert(port);
    Ok(port)
}

/// Whether one can listen on the port of 127.0.0.1 now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn ephemeral_start() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range
        .split_whitespace()
        .next()
        .and_then(|start| start.parse().ok())
        .unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_and_none_may_be_an_outgoing_one() {
        let ports: Vec<_> = std::iter::repeat_with(|| free().unwrap()).take(50).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), 50);
        assert!(ports.iter().all(|port| *port < ephemeral_start().max(LOWEST + 1_000)));
    }

    #[test]
    fn a_port_somebody_listens_on_is_not_free() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
    }
}

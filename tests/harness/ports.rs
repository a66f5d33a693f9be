//! Free ports: `parley up --listen` counts up from one, so that a deployment needs several in a row.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

use rand::Rng;

/// Below those that `parley up` chooses from for its servers, at random and so perhaps one that was just given here; and below
/// the kernel's ephemeral range, where any client connection might sit.
const FIRST: u16 = 3_000;
const LAST: u16 = 9_999;

static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// The first of `count` neighbouring ports that nobody held a moment ago and that no other caller here is given.
pub fn free(count: u16) -> u16 {
    let mut next = NEXT.lock().unwrap();
    let mut port = next.unwrap_or_else(|| rand::rng().random_range(FIRST..LAST));
    for _ in 0..2_000 {
        if port + count > LAST {
            port = FIRST;
        }
        let all_free = (port..port + count).all(|it| TcpListener::bind((Ipv4Addr::LOCALHOST, it)).is_ok());
        if all_free {
            *next = Some(port + count);
            return port;
        }
        port += count;
    }
    panic!("no {count} free ports in a row between {FIRST} and {LAST}");
}

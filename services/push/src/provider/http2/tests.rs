//! Against hyper's servers in this process: how many connections there are, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::HeaderMap;
use http::uri::PathAndQuery;

use super::*;
use crate::provider::testing::{Listener, Server, says, until};

pub(super) fn request(body: impl ToString) -> Outgoing {
    Outgoing {
        path: PathAndQuery::from_static("/push"),
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_string()),
    }
}

pub(super) fn timeouts() -> Timeouts {
    Timeouts::default()
}

/// Sends these numbers at the same time.
pub(super) async fn send_all(client: &Client, numbers: std::ops::Range<usize>) -> Vec<Result<Reply, SendError>> {
    join_all(numbers.map(|it| async move { client.send(&request(it)).await })).await
}

#[tokio::test]
async fn hundreds_of_requests_are_in_flight_on_one_connection() {
    let in_flight = Arc::new(tokio::sync::Barrier::new(300));
    let server = Server::new(move |_| {
        let in_flight = in_flight.clone();
        async move {
            in_flight.wait().await;
            says(200, "")
        }
    })
    .await;
    let replies = send_all(&server.client(timeouts()), 0..300).await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn full_connections_get_company_up_to_four() {
    let most = Arc::new(AtomicUsize::new(0));
    let now = Arc::new(AtomicUsize::new(0));
    let server = Server::speaking(&[b"h2"], 5, {
        let most = most.clone();
        move |_| {
            let (now, most) = (now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                says(200, "")
            }
        }
    })
    .await;
    let client = server.client(timeouts());
    // The first connection learns of the limit.
    assert!(client.send(&request(0)).await.is_ok());
    let replies = join_all((0..50).map(|_| async {
        for n in 0..20 {
            client.send(&request(n)).await?;
        }
        Ok::<_, SendError>(())
    }))
    .await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    assert_eq!(server.connections(), CONNECTIONS_MOST);
    assert!(most.load(Ordering::SeqCst) > 5);
}

#[tokio::test]
async fn a_server_that_lets_one_request_through_is_not_stormed() {
    // Apple does so until it has seen a token.
    let server = Server::speaking(&[b"h2"], 1, |_| async { says(200, "") }).await;
    let replies = send_all(&server.client(timeouts()), 0..100).await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let server = Server::new(|seen| async move {
        if seen.body == "slow" {
            std::future::pending::<()>().await;
        }
        says(200, "")
    })
    .await;
    let request_timeout = Duration::from_millis(300);
    let client = server.client(Timeouts {
        request: request_timeout,
        ..timeouts()
    });
    client.send(&request("quick")).await.unwrap();
    assert_eq!(
        client.send(&request("slow")).await.map(|it| it.status),
        Err(SendError::TimedOut)
    );
    // The connection is kept.
    client.send(&request("quick")).await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Server::new(|_| async { says(200, "") }).await;
    let client = server.client(Timeouts {
        idle: Duration::from_millis(50),
        ..timeouts()
    });
    client.send(&request("it")).await.unwrap();
    until(|| server.open() == 0).await;
    client.send(&request("it")).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn connections_end_with_their_client() {
    let server = Server::new(|_| async { says(200, "") }).await;
    let client = server.client(timeouts());
    client.send(&request("it")).await.unwrap();
    drop(client);
    until(|| server.open() == 0).await;
}

#[tokio::test]
async fn a_server_with_http1_alone_is_spoken_to() {
    let server = Server::speaking(&[b"http/1.1"], 1, |seen| async move {
        says(
            200,
            format!("{} {}", seen.path, seen.header("host").split(':').next().unwrap()),
        )
    })
    .await;
    let client = server.client(timeouts());
    for reply in send_all(&client, 0..30).await {
        assert_eq!(reply.unwrap().body, "/push localhost");
    }
    assert!(server.connections() <= CONNECTIONS_MOST);
}

#[tokio::test]
async fn a_long_response_is_cut() {
    let server = Server::new(|_| async { says(200, "x".repeat(1_000_000)) }).await;
    let reply = server.client(timeouts()).send(&request("it")).await.unwrap();
    assert_eq!(reply.body.len(), 64 * 1024);
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_permitted() {
    let listener = Listener::new(&[b"h2"]).await;
    let client = Client::new(listener.target().permitting(|_| false), timeouts());
    let error = client.send(&request("it")).await.unwrap_err();
    assert!(
        matches!(error, SendError::Connect(ConnectError::Forbidden(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn who_cannot_be_connected_to_has_seen_nothing() {
    let listener = Listener::new(&[b"h2"]).await;
    let client = listener.client(timeouts());
    drop(listener);
    for reply in send_all(&client, 0..3).await {
        let error = reply.unwrap_err();
        assert!(
            matches!(error, SendError::Connect(ConnectError::Failed { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn only_https_urls_with_a_host_are_targets() {
    let tls = crate::provider::testing::Authority::new().client(crate::provider::tls::Versions::Http2);
    for (url, good) in [
        ("https://api.push.apple.com", true),
        ("https://localhost:8443", true),
        ("https://[::1]:8443", true),
        ("http://api.push.apple.com", false),
        ("api.push.apple.com", false),
        ("", false),
    ] {
        assert_eq!(Target::new("test", url, tls.clone()).is_ok(), good, "{url}");
    }
}

//! Against a server that a test leads frame by frame: what is sent again, and what is not.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::raw_server::{RawConnection, Request};
use super::tests::{request, send_all, timeouts};
use super::*;
use crate::provider::testing::Listener;

#[tokio::test]
async fn go_away_with_requests_in_flight_loses_none_and_doubles_none() {
    let listener = Listener::new(&[b"h2"]).await;
    let client = listener.client(timeouts());
    let done = Arc::new(Mutex::new(Vec::new()));
    let server = tokio::spawn({
        let done = done.clone();
        async move {
            let mut first = RawConnection::new(listener.accept().await).await;
            let mut came = Vec::new();
            while came.len() < 20 {
                came.push(first.request().await.unwrap());
            }
            came.sort_by_key(|it| it.stream);
            let (looked_at, refused) = came.split_at(7);
            first.go_away(looked_at[6].stream).await;
            // While those are in flight, the others come again.
            let mut second = RawConnection::new(listener.accept().await).await;
            for _ in refused {
                let Request { stream, body } = second.request().await.unwrap();
                done.lock().push(body);
                second.respond(stream).await;
            }
            for it in looked_at {
                done.lock().push(it.body.clone());
                first.respond(it.stream).await;
            }
            // Later ones do not go to the first connection.
            let Request { stream, body } = second.request().await.unwrap();
            done.lock().push(body);
            second.respond(stream).await;
            second
        }
    });
    let replies = send_all(&client, 0..20).await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    client.send(&request(20)).await.unwrap();
    let mut done: Vec<usize> = done.lock().iter().map(|it| it.parse().unwrap()).collect();
    done.sort_unstable();
    assert_eq!(done, (0..=20).collect::<Vec<_>>());
    server.await.unwrap();
}

#[tokio::test]
async fn go_away_loses_no_request_that_waits_for_its_turn() {
    let listener = Listener::new(&[b"h2"]).await;
    let client = listener.client(timeouts());
    let server = tokio::spawn(async move {
        let mut first = RawConnection::with_streams(listener.accept().await, 1).await;
        let Request { stream, body } = first.request().await.unwrap();
        let mut done = vec![body];
        first.go_away(stream).await;
        first.respond(stream).await;
        let mut second = RawConnection::new(listener.accept().await).await;
        while done.len() < 10 {
            let Request { stream, body } = second.request().await.unwrap();
            done.push(body);
            second.respond(stream).await;
        }
        (done, second)
    });
    let replies = send_all(&client, 0..10).await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    let mut done: Vec<usize> = server.await.unwrap().0.iter().map(|it| it.parse().unwrap()).collect();
    done.sort_unstable();
    assert_eq!(done, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_refused_stream_is_sent_once_more_on_a_new_connection() {
    let listener = Listener::new(&[b"h2"]).await;
    let client = listener.client(timeouts());
    let server = tokio::spawn(async move {
        let mut first = RawConnection::new(listener.accept().await).await;
        let refused = first.request().await.unwrap();
        first.refuse(refused.stream).await;
        let mut second = RawConnection::new(listener.accept().await).await;
        let again = second.request().await.unwrap();
        second.respond(again.stream).await;
        (refused.body, again.body, first, second)
    });
    client.send(&request("it")).await.unwrap();
    let (refused, again, ..) = server.await.unwrap();
    assert_eq!((refused.as_str(), again.as_str()), ("it", "it"));
}

#[tokio::test]
async fn what_every_connection_refuses_was_not_sent() {
    let listener = Listener::new(&[b"h2"]).await;
    let client = listener.client(timeouts());
    let server = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let mut connection = RawConnection::new(listener.accept().await).await;
            open.push(tokio::spawn(async move {
                while let Some(request) = connection.request().await {
                    connection.refuse(request.stream).await;
                }
            }));
        }
    });
    let error = client.send(&request("it")).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent(_)), "{error:?}");
    server.abort();
}

#[tokio::test]
async fn a_lost_connection_leaves_it_open_what_became_of_the_request() {
    let listener = Listener::new(&[b"h2"]).await;
    let client = listener.client(timeouts());
    let server = tokio::spawn(async move {
        let mut first = RawConnection::new(listener.accept().await).await;
        first.request().await.unwrap();
        drop(first);
        let mut second = RawConnection::new(listener.accept().await).await;
        let next = second.request().await.unwrap();
        second.respond(next.stream).await;
        (next.body, second)
    });
    let error = client.send(&request("first")).await.unwrap_err();
    assert!(matches!(error, SendError::Lost(_)), "{error:?}");
    client.send(&request("second")).await.unwrap();
    assert_eq!(server.await.unwrap().0, "second");
}

#[tokio::test]
async fn a_peer_that_is_gone_without_a_word_is_noticed_by_pings() {
    let listener = Listener::new(&[b"h2"]).await;
    let client = listener.client(Timeouts {
        ping: Duration::from_millis(50),
        ..timeouts()
    });
    let server = tokio::spawn(async move {
        let mut silent = RawConnection::new(listener.accept().await).await;
        silent.request().await.unwrap();
        // It stays open, and nobody reads.
        std::future::pending::<()>().await;
    });
    let error = client.send(&request("it")).await.unwrap_err();
    assert!(matches!(error, SendError::Lost(_)), "{error:?}");
    server.abort();
}

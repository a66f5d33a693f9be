//! Requests as servers in this process get them: Google's messages over TLS, its tokens without, since `fcm_v1` trusts
//! the machine's certificates alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::provider::Content;
use crate::provider::testing::{self, Says, Seen, Server, alert, push, says};
use crate::provider::tls::Versions;

fn minutes(minutes: i64) -> Timestamp {
    Timestamp::from_millis(Timestamp::now().as_millis() + minutes * 60_000)
}

/// Google's token endpoint: gives out `t1`, `t2`, …, or refuses.
struct Google {
    url: String,
    given: Arc<AtomicUsize>,
}

impl Google {
    async fn new(refuses: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let given = Arc::new(AtomicUsize::new(0));
        let count = given.clone();
        tokio::spawn(async move {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let mut request = Vec::new();
                // The assertion is the last part of the body.
                while !String::from_utf8_lossy(&request).contains("assertion=") {
                    let mut part = [0; 4096];
                    let length = tcp.read(&mut part).await.unwrap();
                    request.extend_from_slice(&part[..length]);
                }
                let (status, body) = match refuses {
                    true => ("400 Bad Request", json!({ "error": "invalid_grant" })),
                    false => (
                        "200 OK",
                        json!({ "access_token": format!("t{number}"), "expires_in": 3600, "token_type": "Bearer" }),
                    ),
                };
                let body = body.to_string();
                let response = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                tcp.write_all(response.as_bytes()).await.unwrap();
            }
        });
        Self { url, given }
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::SeqCst)
    }
}

fn credentials(name: &str, project: &str, token_uri: &str) -> String {
    let text = json!({
        "type": "service_account",
        "project_id": project,
        "private_key_id": "1",
        "private_key": testing::rsa_pem(),
        "client_email": "push@example.org",
        "token_uri": token_uri,
    });
    let path = testing::file(&format!("fcm-{name}.json"), &text.to_string());
    path.display().to_string()
}

async fn server(answer: impl Fn(&Seen) -> Says + Send + Sync + 'static) -> (Server, Arc<Mutex<Vec<Seen>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = Server::new({
        let seen = seen.clone();
        move |it| {
            let said = answer(&it);
            seen.lock().push(it);
            async move { said }
        }
    })
    .await;
    (server, seen)
}

fn fcm(server: &Server, credentials: Vec<String>) -> Fcm {
    let config = config::Fcm {
        url: server.url.clone(),
        credentials,
    };
    let tls = server.authority.client(Versions::Http2);
    Fcm::new(&config, &tls).unwrap().unwrap()
}

fn to_device(project: &str) -> Push {
    let mut push = push(Content::Alert(alert()));
    push.address.token = "device".to_owned();
    push.address.app = project.to_owned();
    push
}

#[tokio::test]
async fn a_push_is_one_request_to_its_project() {
    let google = Google::new(false).await;
    let (server, seen) = server(|_| says(200, json!({ "name": "projects/two/messages/1" }))).await;
    let fcm = fcm(
        &server,
        vec![
            credentials("one", "one", "http://127.0.0.1:1/"),
            credentials("two", "two", &google.url),
        ],
    );
    assert_eq!(fcm.apps(), ["one", "two"]);
    assert_eq!(fcm.attempt(&to_device("two"), minutes(0)).await, Answer::Accepted);
    let seen = seen.lock().pop().unwrap();
    assert_eq!(seen.path, "/v1/projects/two/messages:send");
    assert_eq!(seen.header("authorization"), "Bearer t1");
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(seen.json()["message"]["token"], "device");
}

#[tokio::test]
async fn a_token_is_fetched_once_for_all_who_wait() {
    let google = Google::new(false).await;
    let (server, _) = server(|_| says(200, "{}")).await;
    let fcm = fcm(&server, vec![credentials("shared", "p", &google.url)]);
    let push = to_device("p");
    let answers = futures_util::future::join_all((0..50).map(|_| fcm.attempt(&push, minutes(0)))).await;
    assert!(answers.iter().all(|it| *it == Answer::Accepted), "{answers:?}");
    assert_eq!(google.given(), 1);
}

#[tokio::test]
async fn a_token_that_google_does_not_take_is_renewed_once_and_the_push_repeated() {
    let google = Google::new(false).await;
    let (server, seen) = server(|it| match it.header("authorization") {
        "Bearer t1" => says(401, json!({ "error": { "status": "UNAUTHENTICATED" } })),
        _ => says(200, "{}"),
    })
    .await;
    let fcm = fcm(&server, vec![credentials("renewed", "p", &google.url)]);
    let push = to_device("p");
    let answers = futures_util::future::join_all((0..20).map(|_| fcm.attempt(&push, minutes(0)))).await;
    assert!(answers.iter().all(|it| *it == Answer::Accepted), "{answers:?}");
    assert!(seen.lock().len() <= 40);
    assert_eq!(google.given(), 2);
}

#[tokio::test]
async fn a_token_that_google_never_takes_is_our_fault() {
    let google = Google::new(false).await;
    let (server, seen) = server(|_| says(401, json!({ "error": { "status": "UNAUTHENTICATED" } }))).await;
    let fcm = fcm(&server, vec![credentials("never", "p", &google.url)]);
    // The second within the same minute asks Google for nothing.
    for (minute, requests, tokens) in [(0, 2, 2), (0, 3, 2), (1, 5, 3)] {
        let answer = fcm.attempt(&to_device("p"), minutes(minute)).await;
        assert!(matches!(answer, Answer::OurFault { .. }), "{answer:?}");
        assert_eq!((seen.lock().len(), google.given()), (requests, tokens));
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_google_is_left_alone_for_a_while() {
    let google = Google::new(true).await;
    let (server, seen) = server(|_| says(200, "{}")).await;
    let fcm = fcm(&server, vec![credentials("refused", "p", &google.url)]);
    let now = Timestamp::now().as_millis();
    for (seconds, asked) in [(0, 1), (4, 1), (5, 2)] {
        let now = Timestamp::from_millis(now + seconds * 1_000);
        let answer = fcm.attempt(&to_device("p"), now).await;
        assert!(matches!(answer, Answer::Later { scope: Scope::App, .. }), "{answer:?}");
        assert_eq!(google.given(), asked);
    }
    assert!(seen.lock().is_empty());
}

#[tokio::test]
async fn other_projects_are_not_pushed_to() {
    let (server, seen) = server(|_| says(200, "{}")).await;
    let fcm = fcm(&server, vec![credentials("other", "p", "http://127.0.0.1:1/")]);
    let answer = fcm.attempt(&to_device("q"), minutes(0)).await;
    assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
    assert!(seen.lock().is_empty());
}

#[tokio::test]
async fn credentials_that_cannot_be_used_are_an_error_of_their_setting() {
    let (server, _) = server(|_| says(200, "{}")).await;
    let good = credentials("good", "p", "https://localhost/");
    let bad = |name: &str, text: serde_json::Value| {
        let path = testing::file(&format!("fcm-bad-{name}.json"), &text.to_string());
        vec![path.display().to_string()]
    };
    let key = json!({ "client_email": "e", "token_uri": "https://localhost/", "private_key": testing::rsa_pem() });
    let mut no_key = key.clone();
    no_key["project_id"] = "p".into();
    no_key["private_key"] = "-----BEGIN SECRET".into();
    for credentials in [
        vec!["/nonexistent/key.json".to_owned()],
        bad("json", json!({ "private_key": "SECRET" })),
        bad("project", key),
        bad("key", no_key),
        vec![good.clone(), good],
    ] {
        let config = config::Fcm {
            url: server.url.clone(),
            credentials,
        };
        let tls = server.authority.client(Versions::Http2);
        let error = Fcm::new(&config, &tls).unwrap_err();
        let error = error.downcast::<ConfigError>().unwrap();
        assert_eq!(error.setting(), "PARLEY_PUSH__FCM__CREDENTIALS");
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }
}

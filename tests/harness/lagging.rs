//! A copy of a stream that lags, played: it answers direct gets from what the stream held when it was frozen, as a follower of
//! a cluster does that has not caught up. Real ones lag for milliseconds, and when they like.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use futures_util::stream::select;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::deployment::Deployment;

/// See the module. It answers until it is dropped; the server's own copies are silent then, too.
pub struct Lagging {
    nats: async_nats::Client,
    stream: String,
    held: Arc<Mutex<Vec<Entry>>>,
    answers: JoinHandle<()>,
}

/// What a stream held at some time.
#[derive(Clone)]
pub struct Held(Vec<Entry>);

#[derive(Clone)]
struct Entry {
    position: u64,
    subject: String,
    payload: Vec<u8>,
}

impl Lagging {
    /// What a stream holds now.
    pub async fn held(deployment: &Deployment, stream: &str) -> Held {
        Held(read(&connect(deployment).await.1, stream).await)
    }

    /// Freezes a stream as it is, for all who read it by direct gets. A service that starts afterwards ends that.
    pub async fn freeze(deployment: &Deployment, stream: &str) -> Self {
        Self::freeze_at(deployment, stream, Self::held(deployment, stream).await).await
    }

    /// The same, as it was.
    pub async fn freeze_at(deployment: &Deployment, stream: &str, held: Held) -> Self {
        let (address, nats) = connect(deployment).await;
        let info = ask(&nats, &format!("STREAM.INFO.{stream}"), &json!({})).await;
        let mut config = info["config"].clone();
        config["allow_direct"] = json!(false);
        let updated = ask(&nats, &format!("STREAM.UPDATE.{stream}"), &config).await;
        assert!(updated.get("error").is_none(), "{updated}");
        let held = Arc::new(Mutex::new(held.0));
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let (all, last) = (
            nats.subscribe(subject.clone()).await.expect("a subscription"),
            nats.subscribe(format!("{subject}.>")).await.expect("a subscription"),
        );
        nats.flush().await.expect("the server knows of it");
        let mut replies = Replies::connect(&address).await;
        let copy = Arc::clone(&held);
        let answers = tokio::spawn(async move {
            let mut questions = select(all, last);
            while let Some(question) = questions.next().await {
                let reply = question.reply.expect("somebody waits").to_string();
                let of_one = question.subject.strip_prefix(&format!("{subject}.")).map(str::to_owned);
                let query = match of_one {
                    Some(one) => json!({ "last_by_subj": one }),
                    None => serde_json::from_slice(&question.payload).expect("JSON"),
                };
                let held = copy.lock().await.clone();
                replies.answer(&reply, &held, &query).await;
            }
        });
        Self {
            nats,
            stream: stream.into(),
            held,
            answers,
        }
    }

    /// The copy catches up with what the stream holds now.
    pub async fn catch_up(&self) {
        *self.held.lock().await = read(&self.nats, &self.stream).await;
    }
}

impl Drop for Lagging {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

async fn connect(deployment: &Deployment) -> (String, async_nats::Client) {
    let address = format!("127.0.0.1:{}", deployment.port("nats"));
    let nats = async_nats::connect(&address).await.expect("the NATS server listens");
    (address, nats)
}

async fn ask(nats: &async_nats::Client, subject: &str, body: &Value) -> Value {
    let answer = nats
        .request(format!("$JS.API.{subject}"), body.to_string().into())
        .await;
    serde_json::from_slice(&answer.expect("JetStream answers").payload).expect("JSON")
}

/// All that a stream holds.
async fn read(nats: &async_nats::Client, stream: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let from = entries.last().map_or(1, |it| it.position + 1);
        let query = json!({ "seq": from, "next_by_subj": ">" });
        let answer = ask(nats, &format!("STREAM.MSG.GET.{stream}"), &query).await;
        let Some(message) = answer.get("message") else {
            return entries;
        };
        let payload = message["data"].as_str().unwrap_or_default();
        entries.push(Entry {
            position: message["seq"].as_u64().expect("a sequence"),
            subject: message["subject"].as_str().expect("a subject").to_owned(),
            payload: STANDARD.decode(payload).expect("base64"),
        });
    }
}

/// A connection of its own: clients' libraries do not send a status.
struct Replies(OwnedWriteHalf);

impl Replies {
    async fn connect(address: &str) -> Self {
        let (mut input, mut output) = TcpStream::connect(address).await.expect("it listens").into_split();
        tokio::spawn(async move {
            let mut ignored = [0; 1024];
            while matches!(input.read(&mut ignored).await, Ok(1..)) {}
        });
        let hello =
            "CONNECT {\"verbose\":false,\"headers\":true,\"lang\":\"test\",\"version\":\"1\",\"protocol\":1}\r\n";
        output.write_all(hello.as_bytes()).await.expect("an open connection");
        Self(output)
    }

    async fn send(&mut self, to: &str, status: &str, headers: &[(&str, String)], payload: &[u8]) {
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let head = format!("NATS/1.0{status}\r\n{headers}\r\n");
        let line = format!("HPUB {to} {} {}\r\n", head.len(), head.len() + payload.len());
        let bytes = [line.as_bytes(), head.as_bytes(), payload, b"\r\n"].concat();
        let sent = tokio::time::timeout(Duration::from_secs(5), self.0.write_all(&bytes)).await;
        sent.expect("the server reads").expect("an open connection");
    }

    async fn send_entry(&mut self, to: &str, entry: &Entry) {
        let headers = [
            ("Nats-Sequence", entry.position.to_string()),
            ("Nats-Subject", entry.subject.clone()),
        ];
        self.send(to, "", &headers, &entry.payload).await;
    }

    /// As nats-server answers (`getDirectRequest`, `getDirectMulti`).
    async fn answer(&mut self, to: &str, held: &[Entry], query: &Value) {
        let (seq, batch) = (query["seq"].as_u64(), query["batch"].as_u64());
        let (mut found, mut up_to): (Vec<&Entry>, Option<u64>) = (Vec::new(), None);
        if let Some(patterns) = query["multi_last"].as_array() {
            up_to = held.last().map(|it| it.position);
            let wanted = |it: &Entry| {
                patterns
                    .iter()
                    .any(|pattern| matches(pattern.as_str().expect("text"), &it.subject))
            };
            found.extend(
                held.iter()
                    .enumerate()
                    .filter(|(at, it)| wanted(it) && !held[at + 1..].iter().any(|later| later.subject == it.subject))
                    .map(|it| it.1),
            );
        } else if let Some(pattern) = query["next_by_subj"].as_str() {
            let from = held.iter().filter(|it| it.position >= seq.unwrap_or(1));
            found.extend(from.filter(|it| matches(pattern, &it.subject)));
        } else if let Some(subject) = query["last_by_subj"].as_str() {
            found.extend(held.iter().rev().find(|it| it.subject == subject));
        } else {
            found.extend(held.iter().find(|it| Some(it.position) == seq));
        }
        if found.is_empty() {
            return self.send(to, " 404 Message Not Found", &[], b"").await;
        }
        let count = batch.unwrap_or(1).min(found.len() as u64) as usize;
        for entry in &found[..count] {
            self.send_entry(to, entry).await;
        }
        if batch.is_some() {
            let mut headers = vec![("Nats-Num-Pending", (found.len() - count).to_string())];
            headers.extend(up_to.map(|it| ("Nats-UpTo-Sequence", it.to_string())));
            self.send(to, " 204 EOB", &headers, b"").await;
        }
    }
}

fn matches(pattern: &str, subject: &str) -> bool {
    let (pattern, subject): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), subject.split('.').collect());
    let open = pattern.last() == Some(&">");
    let fixed = pattern.len() - usize::from(open);
    let fits = if open {
        subject.len() > fixed
    } else {
        subject.len() == fixed
    };
    fits && pattern[..fixed]
        .iter()
        .zip(&subject)
        .all(|(wanted, it)| *wanted == "*" || wanted == it)
}

//! The NATS server behind a deployment, through its own administration interface.

use std::time::Duration;

use serde_json::{Value, json};

use super::deployment::Deployment;
use super::wait::until;

/// A connection to it.
pub struct Broker {
    nats: async_nats::Client,
}

impl Broker {
    pub async fn of(deployment: &Deployment) -> Self {
        let address = format!("nats://127.0.0.1:{}", deployment.port("nats"));
        Self {
            nats: async_nats::connect(&address).await.expect("the NATS server listens"),
        }
    }

    /// Publishes any bytes.
    pub async fn publish_bytes(&self, subject: String, payload: Vec<u8>) {
        self.nats.publish(subject, payload.into()).await.expect("it is taken");
        self.nats.flush().await.expect("it is sent");
    }

    /// Everything that is published on a subject from now on, whoever else hears it.
    pub async fn overhear(&self, subject: &str) -> async_nats::Subscriber {
        let heard = self.nats.subscribe(subject.to_owned()).await.expect("it is taken");
        self.nats.flush().await.expect("it is sent");
        heard
    }

    /// A connection to the server at `HOST:PORT`; `None` while it is not there, or has no JetStream yet.
    pub async fn at(address: &str) -> Option<Self> {
        let nats = async_nats::connect(format!("nats://{address}")).await.ok()?;
        let streams = nats.request("$JS.API.STREAM.NAMES", "".into()).await.ok()?;
        streams.status.is_none().then_some(Self { nats })
    }

    async fn ask(&self, subject: &str, body: &Value) -> Value {
        let answer = self
            .nats
            .request(format!("$JS.API.{subject}"), body.to_string().into())
            .await;
        let answer: Value = serde_json::from_slice(&answer.expect("JetStream answers").payload).expect("JSON");
        assert!(answer.get("error").is_none(), "{subject}: {answer}");
        answer
    }

    /// The names of all streams.
    pub async fn streams(&self) -> Vec<String> {
        let answer = self.ask("STREAM.NAMES", &json!({})).await;
        let names = answer["streams"].as_array().expect("there are streams");
        names
            .iter()
            .map(|it| it.as_str().expect("a name is a string").to_owned())
            .collect()
    }

    /// The streams of the log.
    pub async fn log_streams(&self) -> Vec<String> {
        let mut streams = self.streams().await;
        streams.retain(|it| it.starts_with("CHAT_"));
        streams.sort();
        streams
    }

    /// Configuration and state of a stream.
    pub async fn info(&self, stream: &str) -> Value {
        self.ask(&format!("STREAM.INFO.{stream}"), &json!({})).await
    }

    /// State of the projector's consumer of a stream.
    pub async fn projector(&self, stream: &str) -> Value {
        self.ask(&format!("CONSUMER.INFO.{stream}.projector"), &json!({})).await
    }

    /// How many receipts were ever written.
    pub async fn receipts(&self) -> u64 {
        self.info("RECEIPTS").await["state"]["last_seq"]
            .as_u64()
            .expect("a number")
    }

    /// Waits until the log holds no entry of a conversation any more, which may take its maximum age and the server's
    /// own rhythm of removing.
    pub async fn forgets(&self, conversation: &str) {
        let filter = json!({"subjects_filter": format!("chat.log.*.{conversation}")});
        until("the log to forget", Duration::from_secs(25), async || {
            for stream in self.log_streams().await {
                let info = self.ask(&format!("STREAM.INFO.{stream}"), &filter).await;
                if info["state"]["subjects"].as_object().is_some_and(|it| !it.is_empty()) {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// The stream that holds a conversation's entries.
    pub async fn stream_of(&self, conversation: &str) -> String {
        let filter = json!({"subjects_filter": format!("chat.log.*.{conversation}")});
        for stream in self.log_streams().await {
            let info = self.ask(&format!("STREAM.INFO.{stream}"), &filter).await;
            if info["state"]["subjects"].as_object().is_some_and(|it| !it.is_empty()) {
                return stream;
            }
        }
        panic!("the log does not know the conversation");
    }

    /// Appends an entry to a conversation's log, as a service of any version might.
    pub async fn append(&self, conversation: &str, entry: &Value) {
        let filter = json!({"subjects_filter": format!("chat.log.*.{conversation}")});
        let mut subject = None;
        for stream in self.log_streams().await {
            let info = self.ask(&format!("STREAM.INFO.{stream}"), &filter).await;
            let subjects = info["state"]["subjects"].as_object();
            subject = subject.or(subjects.and_then(|it| it.keys().next().cloned()));
        }
        let subject = subject.expect("the log knows the conversation");
        let stored = self.nats.request(subject, entry.to_string().into()).await;
        let stored: Value = serde_json::from_slice(&stored.expect("an ack").payload).expect("JSON");
        assert!(stored["seq"].is_u64(), "{stored}");
    }

    /// Asks an endpoint of a service, as another service does: what it answers, which is no refusal.
    pub async fn call(&self, endpoint: &str, body: &Value) -> Value {
        let answer = self.try_call(endpoint, body).await;
        assert!(answer.get("ok").is_some(), "{endpoint}: {answer}");
        answer["ok"].clone()
    }

    /// The same, whatever it answers.
    pub async fn try_call(&self, endpoint: &str, body: &Value) -> Value {
        let payload = body.to_string().into();
        let answer = self.nats.request(format!("chat.rpc.{endpoint}"), payload).await;
        serde_json::from_slice(&answer.expect("the service answers").payload).expect("JSON")
    }

    /// Publishes something on a subject, as a service of any version might.
    pub async fn publish(&self, subject: &str, body: &Value) {
        let published = self.nats.publish(subject.to_owned(), body.to_string().into()).await;
        published.expect("the connection is open");
    }

    /// What is published from now on.
    pub async fn hear(&self, subject: &str) -> async_nats::Subscriber {
        let heard = self.nats.subscribe(subject.to_owned()).await.expect("a subscription");
        self.nats.flush().await.expect("the server knows of it");
        heard
    }

    /// The last entry of a conversation's log.
    pub async fn last_entry(&self, conversation: &str) -> Value {
        for stream in self.log_streams().await {
            let partition = stream.trim_start_matches("CHAT_");
            let subject = format!("$JS.API.DIRECT.GET.{stream}.chat.log.{partition}.{conversation}");
            let found = self.nats.request(subject, "".into()).await.expect("an answer");
            if found.status.is_none() {
                return serde_json::from_slice(&found.payload).expect("JSON");
            }
        }
        panic!("the log does not know the conversation");
    }

    /// How many consumers all streams have together.
    pub async fn consumers(&self) -> u64 {
        let mut sum = 0;
        for stream in self.streams().await {
            sum += self.info(&stream).await["state"]["consumer_count"]
                .as_u64()
                .expect("a number");
        }
        sum
    }

    /// Deletes a stream and makes it anew with the same configuration, empty.
    pub async fn make_anew(&self, stream: &str) {
        let config = self.info(stream).await["config"].clone();
        self.ask(&format!("STREAM.DELETE.{stream}"), &json!({})).await;
        self.ask(&format!("STREAM.CREATE.{stream}"), &config).await;
    }

    /// Deletes a stream.
    pub async fn delete(&self, stream: &str) {
        self.ask(&format!("STREAM.DELETE.{stream}"), &json!({})).await;
    }

    /// Removes all entries of a subject.
    pub async fn purge_subject(&self, stream: &str, subject: &str) {
        self.ask(&format!("STREAM.PURGE.{stream}"), &json!({"filter": subject}))
            .await;
    }

    /// Removes all entries of a stream.
    pub async fn purge(&self, stream: &str) {
        self.ask(&format!("STREAM.PURGE.{stream}"), &json!({})).await;
    }
}

//! Server-Sent Events as a browser's `EventSource` reads them, on its own.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::api::Api;
use super::frames::{Frames, What, is_durable};

/// An open stream. A background task reads it; dropping it cuts the connection.
pub struct Sse {
    pub status: u16,
    pub frames: Arc<Frames>,
    /// From when on it must have everything: of an event from just before it may be told or not.
    since: Option<String>,
    headers: reqwest::header::HeaderMap,
    ids: Arc<Mutex<Ids>>,
    reading: watch::Sender<bool>,
    reader: JoinHandle<()>,
}

/// Every id that came, and the frame that it came with.
type Ids = Vec<(String, Value)>;

/// What one blank line ends.
#[derive(Default)]
struct Event {
    name: String,
    data: Vec<String>,
    id: Option<String>,
}

impl Sse {
    /// Opens `GET /v1/events`, from now on or from a `Last-Event-ID`, and waits for the head of the answer.
    pub async fn open(api: &Api, last_event_id: Option<&str>) -> Self {
        Self::open_path(api, "/v1/events", last_event_id).await
    }

    /// The same with another path or query.
    pub async fn open_path(api: &Api, path: &str, last_event_id: Option<&str>) -> Self {
        let opened = Self::try_open_path(api, path, last_event_id).await;
        opened.unwrap_or_else(|error| panic!("GET {path}: {error:?}"))
    }

    /// Opens it at a node that may not be there.
    pub async fn try_open(api: &Api, last_event_id: Option<&str>) -> reqwest::Result<Self> {
        Self::try_open_path(api, "/v1/events", last_event_id).await
    }

    async fn try_open_path(api: &Api, path: &str, last_event_id: Option<&str>) -> reqwest::Result<Self> {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last_event_id.map(|it| ("last-event-id", it)));
        let since = last_event_id.is_none().then(now);
        let answer = api.stream(path, &headers).await?;
        let frames = Arc::new(Frames::new("the event stream".into()));
        let ids = Arc::default();
        let (reading, gate) = watch::channel(true);
        Ok(Self {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            reader: tokio::spawn(read(answer, Arc::clone(&frames), Arc::clone(&ids), gate)),
            frames,
            since,
            ids,
            reading,
        })
    }

    /// A header of the answer, empty if absent.
    pub fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).and_then(|it| it.to_str().ok());
        value.unwrap_or_default().to_owned()
    }

    /// The id that a browser would send as `Last-Event-ID` now.
    pub fn last_id(&self) -> String {
        self.id_of(|_| true).expect("no event had an id")
    }

    /// The last id that came with a frame that passes.
    pub fn id_of(&self, passes: impl Fn(&Value) -> bool) -> Option<String> {
        let ids = self.ids.lock().unwrap();
        let found = ids.iter().rfind(|(_, frame)| passes(frame));
        found.map(|(id, _)| id.clone())
    }

    /// Waits for the next event of a type.
    pub async fn expect(&self, kind: &str) -> Value {
        self.frames.frame(kind, |it| it["type"] == kind).await
    }

    /// Waits for the next durable event.
    pub async fn next_event(&self) -> Value {
        self.frames.frame("a durable event", |it| self.is_news(it)).await
    }

    fn is_news(&self, frame: &Value) -> bool {
        let before = self
            .since
            .as_deref()
            .is_some_and(|since| frame["timestamp"].as_str() < Some(since));
        is_durable(frame) && !before
    }

    /// Waits for the next durable event, which must be a message of that text.
    pub async fn expect_text(&self, text: &str) -> Value {
        let event = self.next_event().await;
        assert_eq!(event["text"], text, "{event}");
        event
    }

    /// All durable events so far.
    pub fn events(&self) -> Vec<Value> {
        let mut all = self.frames.all();
        all.retain(|it| self.is_news(it));
        all
    }

    /// Stops or goes on reading.
    pub fn read(&self, on: bool) {
        self.reading.send_replace(on);
    }
}

impl Drop for Sse {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// As the server writes times: RFC 3339, UTC, milliseconds.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

async fn read(
    mut answer: reqwest::Response,
    frames: Arc<Frames>,
    ids: Arc<Mutex<Ids>>,
    mut gate: watch::Receiver<bool>,
) {
    let (mut bytes, mut event) = (Vec::new(), Event::default());
    loop {
        if gate.wait_for(|&open| open).await.is_err() {
            return;
        }
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return frames.push(What::End("the stream ended".into())),
            Err(error) => return frames.push(What::End(format!("{error:?}"))),
        }
        while let Some(end) = bytes.iter().position(|&it| it == b'\n') {
            let line: Vec<u8> = bytes.drain(..=end).collect();
            let line = String::from_utf8(line).expect("an event stream is UTF-8");
            on_line(line.trim_end_matches(['\r', '\n']), &mut event, &frames, &ids);
        }
    }
}

fn on_line(line: &str, event: &mut Event, frames: &Frames, ids: &Mutex<Ids>) {
    if line.starts_with(':') {
        return frames.push(What::Ping);
    }
    if line.is_empty() {
        let event = std::mem::take(event);
        let data = event.data.join("\n");
        let frame = serde_json::from_str(&data).unwrap_or_default();
        // The id is known before the event is: who waits for the event may ask for its id.
        ids.lock().unwrap().extend(event.id.map(|id| (id, frame)));
        if !event.data.is_empty() {
            frames.push(seen(&event.name, &data));
        }
        return;
    }
    let (field, value) = line.split_once(':').unwrap_or((line, ""));
    let value = value.strip_prefix(' ').unwrap_or(value);
    match field {
        "event" => value.clone_into(&mut event.name),
        "data" => event.data.push(value.into()),
        "id" => event.id = Some(value.into()),
        "retry" => {}
        _ => frames.push(What::Strange(line.into())),
    }
}

/// An event is named as its frame is.
fn seen(name: &str, data: &str) -> What {
    match serde_json::from_str::<Value>(data) {
        Ok(frame) if frame["type"] == name => What::Frame(frame),
        _ => What::Strange(format!("event {name:?} with {data}")),
    }
}

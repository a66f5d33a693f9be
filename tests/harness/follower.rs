//! What a browser's `EventSource` does: it keeps an event stream open, anywhere, and resumes with the last id.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::frames::What;
use super::invariants::{SocketView, View};
use super::people::User;
use super::sse::Sse;
use super::wait::{PATIENCE, until};

/// Between two looks at what came.
const LOOK: Duration = Duration::from_millis(20);
/// Before a stream that ended is opened again.
const PAUSE: Duration = Duration::from_millis(100);

/// A stream that is opened again whenever it ends.
pub struct Follower {
    view: Arc<Mutex<View>>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Opens it, and waits until it is open.
    pub async fn start(user: &User, first_node: usize) -> Self {
        let view = Arc::new(Mutex::new(View {
            user: user.id.clone(),
            sockets: Vec::new(),
        }));
        let apis: Vec<_> = (0..user.nodes().len()).map(|it| user.api_at(it)).collect();
        let shared = Arc::clone(&view);
        let task = tokio::spawn(async move {
            let mut last = None;
            for attempt in first_node.. {
                let api = &apis[attempt % apis.len()];
                if let Ok(stream) = Sse::try_open(api, last.as_deref()).await {
                    follow(&stream, &mut last, &shared).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        let open = async || view.lock().unwrap().sockets.first().map(|_| ());
        until("the event stream to open", PATIENCE, open).await;
        Self { view, task }
    }

    /// Waits until an event up to `seq` has come.
    pub async fn caught_up(&self, conversation: &str, seq: u64, patience: Duration) {
        let reached = async || {
            let view = self.view.lock().unwrap();
            let mut frames = view.sockets.iter().flat_map(|it| &it.frames);
            frames
                .any(|it| it["conversation_id"] == conversation && it["seq"].as_u64() >= Some(seq))
                .then_some(())
        };
        until(&format!("the event stream to tell seq {seq}"), patience, reached).await;
    }

    /// Ends it; what it saw.
    pub fn finish(self) -> View {
        self.task.abort();
        std::mem::take(&mut self.view.lock().unwrap())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Records a stream to its end.
async fn follow(stream: &Sse, last: &mut Option<String>, view: &Mutex<View>) {
    if stream.status != 200 {
        return;
    }
    // The first id is that of where the stream starts.
    while stream.id_of(|_| true).is_none() && !stream.frames.closed() {
        tokio::time::sleep(LOOK).await;
    }
    let socket = SocketView {
        resume: last.clone(),
        ..SocketView::default()
    };
    view.lock().unwrap().sockets.push(socket);
    loop {
        let ended = stream.frames.closed();
        while let Some((frame, _)) = stream.frames.take(|it| match it {
            What::Frame(frame) => Some(frame.clone()),
            _ => None,
        }) {
            let mut view = view.lock().unwrap();
            view.sockets.last_mut().expect("just pushed").frames.push(frame);
        }
        if ended {
            *last = stream.id_of(|_| true).or(last.take());
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

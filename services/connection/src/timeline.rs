//! Answering what this node has handed to sockets of a message: see [`crate::session::handed`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bus::subjects::TIMELINE_HANDED;
use futures_util::StreamExt;
use lifecycle::Shutdown;
use protocol::UserId;
use protocol::timeline::{AskHanded, Handed, HandedSession, HandedState};
use tokio::time::timeout;

use crate::app::App;
use crate::session::Session;

/// Bytes of sessions in one answer: far below what NATS takes.
const ANSWER_BYTES: usize = 256 * 1024;
const PUBLISH: Duration = Duration::from_secs(1);

/// Answers until `last` fires, one question after the other. `name`: see [`Handed::name`].
pub async fn run(app: Arc<App>, name: String, last: Shutdown) -> anyhow::Result<()> {
    let bus = app.hub.log.bus().clone();
    let mut asked = bus.client.subscribe(TIMELINE_HANDED).await?;
    loop {
        let message = tokio::select! {
            () = last.triggered() => return Ok(()),
            Some(message) = asked.next() => message,
            else => return Ok(()),
        };
        let ask = serde_json::from_slice::<AskHanded>(&message.payload);
        let (Some(reply), Ok(ask)) = (message.reply, ask) else {
            metrics::counter!("parley_unreadable_total", "what" => "question").increment(1);
            continue;
        };
        let answer = serde_json::to_vec(&answer(&app, &name, &ask)).unwrap_or_default();
        // Who asks waits for a moment only.
        let _ = timeout(PUBLISH, bus.client.publish(reply, answer.into())).await;
    }
}

fn answer(app: &App, name: &str, ask: &AskHanded) -> Handed {
    let mut handed = Handed {
        node: app.reporter.node().to_owned(),
        name: name.to_owned(),
        sessions: Vec::new(),
        left_out: 0,
        others: (0, 0),
    };
    let lane = app.hub.lane_of(&ask.conversation_id);
    if app.hub.lanes[lane].identity() != ask.stream {
        // Positions of another stream: nothing here is about that message.
        return handed;
    }
    // Before the queues are looked at: what they are said to have passed was dispatched.
    let dispatched = app.hub.dispatched();
    let state = |session: &Session| session.queue().handed(lane, ask.position, &dispatched);
    let mut bytes = 0;
    for user in &ask.users {
        for session in devices(app.hub.sessions_of(user)) {
            let session = HandedSession {
                user_id: user.clone(),
                device_id: session.device_id.clone(),
                state: state(&session),
            };
            bytes += serde_json::to_vec(&session).map_or(0, |it| it.len());
            if bytes > ANSWER_BYTES {
                handed.left_out += 1;
            } else {
                handed.sessions.push(session);
            }
        }
    }
    if ask.others {
        let listed: HashSet<&UserId> = ask.users.iter().collect();
        let parties = app.hub.parties(&ask.conversation_id, ask.seq).into_iter();
        for user in parties.filter(|user| !listed.contains(&user.id)) {
            for session in devices(user.sessions.read().clone()) {
                match state(&session) {
                    HandedState::At(_) | HandedState::By(_) => handed.others.0 += 1,
                    HandedState::Waiting => handed.others.1 += 1,
                    HandedState::Passed => {}
                }
            }
        }
    }
    handed
}

/// Without polls: they live for a request and are of no device.
fn devices(sessions: Vec<Arc<Session>>) -> impl Iterator<Item = Arc<Session>> {
    sessions.into_iter().filter(|session| !session.device_id.is_empty())
}

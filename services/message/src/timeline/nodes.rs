//! Asking all connection nodes what they have handed to sockets.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bus::direct;
use bus::subjects::TIMELINE_HANDED;
use futures_util::StreamExt;
use protocol::timeline::{AskHanded, Handed, HandedSession, HandedState, Step, StepKind};
use protocol::{ServerId, UserId};
use tokio::time::{Instant, timeout_at};

use super::found::Found;
use super::{Part, missing, step};
use crate::service::Service;

/// For the nodes to answer; those that have not by then are named.
const ANSWERS: Duration = Duration::from_millis(300);
/// After the answers of all that are known, for another one.
const QUIET: Duration = Duration::from_millis(50);
/// Nodes that are gone for less than a lease are still taken to be alive, and have nobody connected.
const GONE: &str = "it hangs, or has just gone: the deliveries of its live sessions";

impl Service {
    pub(super) async fn handed_of(&self, id: &ServerId, found: &Found, users: &[UserId], others: bool) -> Part {
        let Some(logged) = &found.logged else {
            // Said already: without a position no node knows what is meant.
            return Part::default();
        };
        let (living, state) = tokio::join!(direct::living_nodes(self.log.bus()), self.log.state(logged.lane));
        let Ok(Some(state)) = state else {
            return Part::missing("delivery", "the stream's state cannot be read");
        };
        let ask = AskHanded {
            conversation_id: id.conversation_id.clone(),
            seq: id.seq,
            position: logged.position,
            stream: state.identity,
            users: users.to_vec(),
            others,
        };
        let Ok(answers) = self.ask_nodes(&ask, living.as_ref().ok()).await else {
            return Part::missing("delivery", "the connection nodes cannot be asked: NATS is away");
        };
        let mut part = Part::default();
        match living {
            Err(_) => part.missing.push(missing(
                "delivery",
                "which nodes there are cannot be read: some may not have answered",
            )),
            Ok(living) => {
                let answered: HashSet<&str> = answers.iter().map(|it| &*it.node).collect();
                for node in living.iter().filter(|it| !answered.contains(it.as_str())) {
                    let why = format!("node {node} did not answer within {} ms; {GONE}", ANSWERS.as_millis());
                    part.missing.push(missing("delivery", why));
                }
            }
        }
        take_in(&mut part, answers, others);
        part
    }

    /// Until all nodes that are known to live have answered, or time is up.
    async fn ask_nodes(&self, ask: &AskHanded, living: Option<&Vec<String>>) -> Result<Vec<Handed>, ()> {
        let client = &self.log.bus().client;
        let inbox = client.new_inbox();
        let mut replies = client.subscribe(inbox.clone()).await.map_err(drop)?;
        let payload = serde_json::to_vec(ask).unwrap_or_default();
        let sent = client.publish_with_reply(TIMELINE_HANDED, inbox, payload.into()).await;
        sent.map_err(drop)?;
        let until = Instant::now() + ANSWERS;
        let mut answers: Vec<Handed> = Vec::new();
        loop {
            // One that has just started is not known to live yet: whoever is quick is heard in any case.
            let until = match all_answered(&answers, living) {
                true => until.min(Instant::now() + QUIET),
                false => until,
            };
            match timeout_at(until, replies.next()).await {
                // Not even one node: the server itself says so.
                Ok(Some(reply)) if reply.status.is_some() => break,
                Ok(Some(reply)) => answers.extend(serde_json::from_slice::<Handed>(&reply.payload)),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(answers)
    }
}

/// Whether those that are known to live have answered; false where none is known.
fn all_answered(answers: &[Handed], living: Option<&Vec<String>>) -> bool {
    let answered: HashSet<&str> = answers.iter().map(|it| &*it.node).collect();
    let all = |living: &Vec<String>| living.iter().all(|it| answered.contains(it.as_str()));
    living.is_some_and(|living| !living.is_empty() && all(living))
}

fn take_in(part: &mut Part, answers: Vec<Handed>, others: bool) {
    let mut counted = BTreeMap::from([(StepKind::Delivered, 0), (StepKind::Waiting, 0)]);
    for answer in answers {
        for (step, count) in [
            (StepKind::Delivered, answer.others.0),
            (StepKind::Waiting, answer.others.1),
        ] {
            *counted.entry(step).or_default() += count;
        }
        if answer.left_out > 0 {
            let why = format!(
                "{} sessions of {} did not fit: ask for one user",
                answer.left_out, answer.name
            );
            part.missing.push(missing("delivery", why));
        }
        let name = answer.name;
        part.steps
            .extend(answer.sessions.into_iter().map(|it| handed(it, &name)));
    }
    if others {
        let counted = counted.into_iter().filter(|(_, count)| *count > 0);
        part.others
            .extend(counted.map(|(step, count)| (step.as_str().to_owned(), count)));
    }
}

fn handed(session: HandedSession, node: &str) -> Step {
    let (kind, at) = match session.state {
        HandedState::At(at) | HandedState::By(at) => (StepKind::Delivered, Some(at)),
        HandedState::Waiting => (StepKind::Waiting, None),
        HandedState::Passed => (StepKind::Passed, None),
    };
    Step {
        not_later_than: matches!(session.state, HandedState::By(_)),
        user_id: Some(session.user_id),
        device_id: Some(session.device_id),
        detail: Some(format!("node {node}")),
        ..step(kind, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_answered_when_each_that_is_known_has_and_any_is_known() {
        let answer = |node: &str| Handed {
            node: node.to_owned(),
            name: node.to_owned(),
            sessions: Vec::new(),
            left_out: 0,
            others: (0, 0),
        };
        let living = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let (a, ab) = ([answer("a")], [answer("a"), answer("b")]);
        assert!(all_answered(&a, Some(&living(&["a"]))));
        assert!(all_answered(&ab, Some(&living(&["a"]))));
        assert!(!all_answered(&a, Some(&living(&["a", "b"]))));
        assert!(
            !all_answered(&[], Some(&living(&[]))),
            "just started: nobody is known yet"
        );
        assert!(!all_answered(&a, None));
    }
}

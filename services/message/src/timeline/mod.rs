//! A message's timeline: put together from the log, MongoDB, the receipts, the connection nodes and the push service, each
//! asked for what it knows. For operators: nobody's membership is checked, and no text of a message is read out.
//!
//! What stands in the log or MongoDB is found or the whole is refused; everything else may be missing, and is named then.

mod found;
pub(crate) mod http;
mod nodes;
mod watermarks;

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::rpc::Request;
use protocol::timeline::{Missing, ReadFates, ReadTimeline, Step, StepKind, Timeline, Totals, USERS_MOST};
use protocol::{Code, Refusal, ServerId, Timestamp, UserId};
use tokio::time::timeout;

use self::found::Found;
use crate::service::Service;

/// For each part, which is asked for while the others are.
const PART: Duration = Duration::from_millis(2_500);

/// Bytes of an answer beside its steps: the ids of those who are listed, mostly.
const BESIDE_STEPS: usize = 256 * 1024;

/// Steps, those of others in numbers, and what is missing.
#[derive(Debug, Default)]
struct Part {
    steps: Vec<Step>,
    others: BTreeMap<String, u64>,
    missing: Vec<Missing>,
}

impl Part {
    fn missing(part: &str, why: impl Into<String>) -> Self {
        Self {
            missing: vec![missing(part, why)],
            ..Self::default()
        }
    }
}

fn missing(part: &str, why: impl Into<String>) -> Missing {
    Missing {
        part: part.to_owned(),
        why: why.into(),
    }
}

/// A step without a place.
fn step(step: StepKind, at: Option<Timestamp>) -> Step {
    Step {
        step,
        at,
        offset_ms: None,
        not_later_than: false,
        user_id: None,
        device_id: None,
        detail: None,
    }
}

impl Service {
    /// Puts it together.
    ///
    /// # Errors
    /// `invalid` for what is no id, `not_found`, `unavailable` where it cannot be said whether there is such a message.
    pub(crate) async fn timeline(&self, request: ReadTimeline) -> Result<Timeline, Refusal> {
        let Some(id) = ServerId::parse(&request.server_id) else {
            return Err(Refusal::invalid(
                "not a message's id: expected the server_id of its frame, CONVERSATION-SEQ",
            ));
        };
        let found = self.find_message(&id).await?;
        let (users, others, no_members) = self.users_of(&id, &found, request.user_id).await;
        let (watermarks, nodes, push) = tokio::join!(
            self.part("receipts", self.watermarks_of(&id, &users, others)),
            self.part("delivery", self.handed_of(&id, &found, &users, others.is_some())),
            self.part("push", self.fates_of(&id, &users, others.is_some())),
        );
        let mut timeline = found.into_timeline(id);
        timeline.missing.extend(no_members);
        let mut counted = BTreeMap::new();
        for part in [watermarks, nodes, push] {
            timeline.steps.extend(part.steps);
            timeline.missing.extend(part.missing);
            counted.extend(part.others);
        }
        timeline.others = others.map(|members| Totals {
            members,
            steps: counted,
        });
        timeline.users = users;
        let bytes_most = self.log.bus().payload_bytes_most().saturating_sub(BESIDE_STEPS);
        Ok(fitting(in_order(timeline), bytes_most))
    }

    async fn part(&self, name: &str, part: impl Future<Output = Part>) -> Part {
        let late = || Part::missing(name, format!("no whole answer within {} ms", PART.as_millis()));
        timeout(PART, part).await.unwrap_or_else(|_| late())
    }

    /// Whose steps are listed, how many members there are beside them, and what is wrong if that is not known.
    async fn users_of(
        &self,
        id: &ServerId,
        found: &Found,
        only: Option<UserId>,
    ) -> (Vec<UserId>, Option<u64>, Option<Missing>) {
        if let Some(user) = only {
            return (vec![user], None, None);
        }
        let conversation = self.conversations.open(&id.conversation_id);
        let state = timeout(PART, self.state_now(&conversation)).await;
        let sender = found.sender_id.clone();
        let Ok(Ok(state)) = state else {
            let why = "who takes part in the conversation cannot be read now: only the sender's steps are listed";
            return (vec![sender], None, Some(missing("members", why)));
        };
        let members = state.members.iter().map(|it| &it.user_id);
        let users = members.filter(|it| **it != sender).take(USERS_MOST - 1).cloned();
        let users: Vec<UserId> = std::iter::once(sender.clone()).chain(users).collect();
        let listed = users.len() - usize::from(!state.members.contains(&sender));
        let others = state.members.len().saturating_sub(listed) as u64;
        (users, (others > 0).then_some(others), None)
    }

    async fn fates_of(&self, id: &ServerId, users: &[UserId], others: bool) -> Part {
        let request = ReadFates {
            conversation_id: id.conversation_id.clone(),
            seq: id.seq,
            users: users.to_vec(),
        };
        let within = Duration::from_millis(ReadFates::ATTEMPT_MS.min(2_000));
        let fates = match bus::rpc::call(self.log.bus(), &request, within).await {
            Ok(fates) => fates,
            Err(_) => {
                let why = "the push service did not answer: what was pushed, suppressed and confirmed by devices";
                return Part::missing("push", why);
            }
        };
        let left_out = (fates.left_out > 0).then(|| {
            let why = format!("{} steps of devices did not fit: ask for one user", fates.left_out);
            missing("push", why)
        });
        Part {
            steps: fates.steps,
            others: if others { fates.others } else { BTreeMap::new() },
            missing: left_out.into_iter().collect(),
        }
    }
}

/// There is none under this id, or it is no message.
fn no_message() -> Refusal {
    Refusal::new(Code::NotFound, "no such message")
}

/// By time, what has none at the end; with the time since the message was accepted.
fn in_order(mut timeline: Timeline) -> Timeline {
    let accepted = timeline.steps.iter().find(|it| it.step == StepKind::Accepted);
    let accepted = accepted.and_then(|it| it.at).unwrap_or(Timestamp::EPOCH);
    for step in &mut timeline.steps {
        step.offset_ms = step.at.map(|at| at.as_millis() - accepted.as_millis());
    }
    // The first three by what they are: clocks of several machines may put them in another order.
    let first = |step: &Step| match step.step {
        StepKind::Accepted => 0,
        StepKind::Logged => 1,
        _ => 2,
    };
    timeline
        .steps
        .sort_by_key(|step| (first(step), step.at.is_none(), step.at, step.step));
    timeline
}

/// As many steps as one answer holds.
fn fitting(mut timeline: Timeline, bytes_most: usize) -> Timeline {
    let mut bytes = 0;
    let fits = |step: &&Step| {
        bytes += serde_json::to_vec(step).map_or(0, |text| text.len() + 1);
        bytes <= bytes_most
    };
    let count = timeline.steps.iter().take_while(fits).count();
    let left_out = timeline.steps.len() - count;
    if left_out > 0 {
        timeline.steps.truncate(count);
        let why = format!("the last {left_out} do not fit into an answer: ask for one user");
        timeline.missing.push(missing("steps", why));
    }
    timeline
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(steps: &[Step]) -> Timeline {
        Timeline {
            server_id: ServerId::parse("g00000000000000000000000000000000-7").unwrap(),
            sender_id: UserId::parse("ann").unwrap(),
            trace_id: None,
            sampled: None,
            steps: steps.to_vec(),
            users: Vec::new(),
            others: None,
            missing: Vec::new(),
        }
    }

    #[test]
    fn steps_that_do_not_fit_are_said_to_be_missing() {
        let steps: Vec<Step> = (0..100).map(|_| step(StepKind::Read, None)).collect();
        let cut = fitting(of(&steps), 1_000);
        assert!((1..100).contains(&cut.steps.len()), "{}", cut.steps.len());
        assert_eq!(cut.missing.len(), 1);
        assert_eq!(fitting(of(&steps), 100_000), of(&steps));
    }

    #[test]
    fn steps_are_in_the_order_of_time_after_acceptance_and_log() {
        let at = |ms| Some(Timestamp::from_millis(ms));
        let steps = [
            step(StepKind::Waiting, None),
            step(StepKind::Read, at(900)),
            step(StepKind::Logged, at(103)),
            step(StepKind::Delivered, at(101)),
            step(StepKind::Accepted, at(100)),
        ];
        let timeline = in_order(of(&steps));
        let order: Vec<_> = timeline.steps.iter().map(|it| (it.step, it.offset_ms)).collect();
        assert_eq!(
            order,
            [
                (StepKind::Accepted, Some(0)),
                (StepKind::Logged, Some(3)),
                (StepKind::Delivered, Some(1)),
                (StepKind::Read, Some(800)),
                (StepKind::Waiting, None),
            ]
        );
    }
}

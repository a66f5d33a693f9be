//! What is known of a message's devices, for its timeline: what was decided, what came of it, and what they confirmed.

use std::collections::HashSet;

use bus::direct::{self, Query, SUBJECTS_MOST};
use bus::subjects::{self, DEVICES_STREAM};
use bus::{Bus, LogError};
use protocol::timeline::{Fates, ReadFates, Step, StepKind};
use protocol::{ConversationId, Refusal, Timestamp, UserId};

use crate::records::{self, Fate, Step as Recorded};
use crate::service::{Service, unavailable};

/// Users of one question for confirmations: each has a handful of devices.
const USERS_TOGETHER: usize = 100;
/// Bytes of an answer's steps: far below what NATS takes.
const ANSWER_BYTES: usize = 512 * 1024;

impl Service {
    /// Reads it.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn fates(&self, request: ReadFates) -> Result<Fates, Refusal> {
        let (id, seq) = (&request.conversation_id, request.seq);
        let (records, confirmed) = tokio::join!(
            records::read(&self.bus, id, seq),
            confirmed(&self.bus, id, seq, &request.users)
        );
        let records = records.map_err(|error| unavailable(&error))?;
        let confirmed = confirmed.map_err(|error| unavailable(&error))?;
        let listed: HashSet<&UserId> = request.users.iter().collect();
        let mut fates = Fates::default();
        let mut bytes = 0;
        let mut list = |fates: &mut Fates, step: Step| {
            bytes += serde_json::to_vec(&step).map_or(0, |it| it.len());
            if bytes > ANSWER_BYTES {
                fates.left_out += 1;
            } else {
                fates.steps.push(step);
            }
        };
        for record in records {
            for fate in record.devices {
                if listed.contains(&fate.user_id) {
                    list(&mut fates, step(record.at, fate));
                } else {
                    *fates.others.entry(label(&fate.step)).or_default() += 1;
                }
            }
        }
        confirmed.into_iter().for_each(|step| list(&mut fates, step));
        Ok(fates)
    }
}

fn step(at: Timestamp, fate: Fate) -> Step {
    let provider = fate.platform.as_str();
    let (step, detail) = match fate.step {
        Recorded::Queued => (StepKind::Queued, provider.to_owned()),
        Recorded::Suppressed { reason } => (StepKind::Suppressed, format!("{} ({provider})", reason.as_str())),
        Recorded::Sent { attempt } => (StepKind::Pushed, format!("{provider}, attempt {attempt}")),
        Recorded::Gone { reason } => (StepKind::Gone, format!("{reason} ({provider})")),
        Recorded::Dead { reason, attempt } => (StepKind::Dead, format!("{reason} ({provider}, attempt {attempt})")),
    };
    Step {
        step,
        at: Some(at),
        offset_ms: None,
        not_later_than: false,
        user_id: Some(fate.user_id),
        device_id: Some(fate.device_id),
        detail: Some(detail),
    }
}

/// As counted. Providers' own reasons are not told apart: nobody knows how many there are.
fn label(step: &Recorded) -> String {
    match step {
        Recorded::Queued => StepKind::Queued.as_str().to_owned(),
        Recorded::Suppressed { reason } => format!("{}: {}", StepKind::Suppressed.as_str(), reason.as_str()),
        Recorded::Sent { .. } => StepKind::Pushed.as_str().to_owned(),
        Recorded::Gone { .. } => StepKind::Gone.as_str().to_owned(),
        Recorded::Dead { .. } => StepKind::Dead.as_str().to_owned(),
    }
}

/// The devices whose last confirmation in the conversation was of this message or a later one. Each confirmation takes the
/// place of the one before: the time is that of the last.
async fn confirmed(bus: &Bus, id: &ConversationId, seq: u64, users: &[UserId]) -> Result<Vec<Step>, LogError> {
    let mut steps = Vec::new();
    let mut waiting: Vec<&[UserId]> = users.chunks(USERS_TOGETHER).collect();
    while let Some(users) = waiting.pop() {
        let query = Query {
            multi_last: users.iter().map(|user| subjects::confirmed_of(user, id)).collect(),
            batch: Some(SUBJECTS_MOST),
            ..Query::default()
        };
        let records = match direct::timed(bus, DEVICES_STREAM, &query).await {
            Err(LogError::TooManySubjects) if users.len() > 1 => {
                let (left, right) = users.split_at(users.len() / 2);
                waiting.extend([left, right]);
                continue;
            }
            records => records?,
        };
        for (record, at) in records {
            let mark = std::str::from_utf8(&record.payload).ok().and_then(|it| it.parse().ok());
            let (Some(mark), Some((user_id, device_id))) = (mark, subjects::confirmed_by(&record.subject)) else {
                continue;
            };
            if seq <= mark {
                steps.push(Step {
                    step: StepKind::Confirmed,
                    at: Some(at),
                    offset_ms: None,
                    // Also of this very message: while somebody looks at the app it is written down when that ends.
                    not_later_than: true,
                    user_id: Some(user_id),
                    device_id: Some(device_id),
                    detail: None,
                });
            }
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use protocol::push::Platform;

    use super::*;
    use crate::decide::Reason;

    #[test]
    fn a_suppression_says_why_and_of_which_provider() {
        let fate = Fate {
            user_id: UserId::parse("ann").unwrap(),
            device_id: "phone".to_owned(),
            platform: Platform::Apns,
            step: Recorded::Suppressed { reason: Reason::Muted },
        };
        assert_eq!(label(&fate.step), "suppressed: muted");
        let step = step(Timestamp::EPOCH, fate);
        assert_eq!(
            (step.step, step.detail.as_deref()),
            (StepKind::Suppressed, Some("muted (apns)"))
        );
    }
}

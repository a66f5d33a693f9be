//! What users have received and read of a message, by their watermarks: each is one entry that the next one replaces, so
//! that only the time of the last step is known.

use std::collections::{BTreeMap, HashSet};

use bus::subjects::{self, Lane};
use bus::{LogError, Record, direct};
use protocol::rpc::ReceiptKind;
use protocol::timeline::{Step, StepKind};
use protocol::{ServerId, Timestamp, UserId, envelope};

use super::{Part, missing, step};
use crate::service::Service;

/// One watermark at or past the message.
struct Mark {
    user: UserId,
    kind: StepKind,
    seq: u64,
    at: Timestamp,
}

impl Service {
    pub(super) async fn watermarks_of(&self, id: &ServerId, users: &[UserId], others: Option<u64>) -> Part {
        match self.marks_of(id, users, others.is_some()).await {
            Err(error) => {
                tracing::debug!(%error, "no receipts for a timeline");
                Part {
                    missing: vec![missing("receipts", "the stream of receipts cannot be read now")],
                    ..Part::default()
                }
            }
            Ok(marks) => sorted(marks, id.seq, users),
        }
    }

    async fn marks_of(&self, id: &ServerId, users: &[UserId], all: bool) -> Result<Vec<Mark>, LogError> {
        let subjects = if all {
            vec![subjects::receipts(&id.conversation_id)]
        } else {
            let kinds = [ReceiptKind::Delivered, ReceiptKind::Read];
            let of = |user| kinds.map(|kind| subjects::receipt(&id.conversation_id, user, kind));
            users.iter().flat_map(of).collect()
        };
        let records = direct::last_of_each(self.log.bus(), &Lane::Receipts.stream(), &subjects).await?;
        let marks = records.iter().filter_map(mark);
        Ok(marks.filter(|it| it.seq >= id.seq).collect())
    }
}

fn mark(record: &Record) -> Option<Mark> {
    let (user, kind) = subjects::receipt_of(&record.subject)?;
    let (_, head) = envelope::decode(&record.payload).ok()?;
    Some(Mark {
        user,
        kind: match kind {
            ReceiptKind::Delivered => StepKind::Received,
            ReceiptKind::Read => StepKind::Read,
        },
        seq: head.seq,
        at: head.timestamp,
    })
}

/// Those of listed users one by one, of the others how many.
fn sorted(marks: Vec<Mark>, seq: u64, users: &[UserId]) -> Part {
    let listed: HashSet<&UserId> = users.iter().collect();
    let (mut steps, mut others) = (Vec::new(), BTreeMap::new());
    for mark in marks {
        if listed.contains(&mark.user) {
            steps.push(Step {
                not_later_than: mark.seq > seq,
                user_id: Some(mark.user),
                detail: (mark.seq > seq).then(|| format!("all up to seq {}", mark.seq)),
                ..step(mark.kind, Some(mark.at))
            });
        } else {
            *others.entry(mark.kind.as_str().to_owned()).or_default() += 1;
        }
    }
    Part {
        steps,
        others,
        missing: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watermark_at_the_message_is_exact_and_one_past_it_says_not_later_than() {
        let user = |name| UserId::parse(name).unwrap();
        let mark = |name, seq| Mark {
            user: user(name),
            kind: StepKind::Read,
            seq,
            at: Timestamp::EPOCH,
        };
        let marks = vec![mark("ann", 7), mark("bob", 9), mark("cat", 7), mark("dan", 8)];
        let part = sorted(marks, 7, &[user("ann"), user("bob")]);
        let exact: Vec<bool> = part.steps.iter().map(|it| !it.not_later_than).collect();
        assert_eq!(exact, [true, false]);
        assert_eq!(part.others, BTreeMap::from([("read".to_owned(), 2)]));
    }
}

//! Reads of many entries that lack none, whichever copy of a stream answers.
//!
//! An answer proves how far its copy was by what is in it: an entry that is known to exist, or the end of the copy, which the
//! server tells with the answer. Where neither is so the leader is asked for what would come next. An answer that proves too
//! little is counted and asked for again, for a third of a second; then the read is away, and whoever asked waits.

use std::time::Duration;

use crate::direct::{Batch, Query, SUBJECTS_MOST, batch};
use crate::log::{LogError, Record};
use crate::{Bus, leader, streams};

/// Waits between repetitions of a read that a copy answered which is behind. A healthy one is behind by milliseconds.
const STALE_PAUSES_MS: [u64; 7] = [2, 5, 10, 20, 40, 80, 160];

/// Waits until the copy may have caught up.
async fn pause_stale(what: &'static str, pause_ms: u64) {
    metrics::counter!("parley_stale_reads_total", "what" => what).increment(1);
    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
}

fn stays_stale(stream: &str) -> LogError {
    LogError::Away(format!("the copy of {stream} that answers reads is behind"))
}

/// Where a read of [`entries`] is to reach.
#[derive(Debug, Clone, Copy)]
pub enum Reach {
    /// An entry of these at or past this position is known to exist.
    Entry(u64),
    /// Whether there are entries up to this position that did not come, the leader is asked.
    Position(u64),
}

/// Entries that match a query with `seq` and `next_by_subj`. Where `pending` is 0, they are all up to `reach`.
///
/// # Errors
/// NATS did not answer, or only a copy that stays behind.
pub async fn entries(bus: &Bus, stream: &str, query: &Query, reach: Reach) -> Result<Batch, LogError> {
    for pause_ms in STALE_PAUSES_MS {
        let batch = batch(bus, stream, query).await?;
        if batch.pending > 0 {
            return Ok(batch);
        }
        let last = batch.records.last().map(|it| it.position);
        let whole = match reach {
            Reach::Entry(position) => last >= Some(position),
            Reach::Position(position) if last >= Some(position) => true,
            Reach::Position(position) => {
                let from = last.map_or(query.seq.unwrap_or(1), |it| it + 1);
                let subject = query.next_by_subj.as_deref().unwrap_or(">");
                let next = leader::next(bus, stream, subject, from).await?;
                next.is_none_or(|it| it.position > position)
            }
        };
        if whole {
            return Ok(batch);
        }
        pause_stale("entries", pause_ms).await;
    }
    Err(stays_stale(stream))
}

/// The last entry of every subject that matches one of at most [`SUBJECTS_MOST`] `subjects`, as of `least` or later.
///
/// # Errors
/// NATS did not answer, or only a copy that stays behind; [`LogError::TooManySubjects`].
pub async fn lasts(bus: &Bus, stream: &str, subjects: &[String], least: u64) -> Result<Vec<Record>, LogError> {
    let mut query = Query {
        multi_last: subjects.to_vec(),
        batch: Some(SUBJECTS_MOST + 1),
        ..Query::default()
    };
    for pause_ms in STALE_PAUSES_MS {
        let mut answer = batch(bus, stream, &query).await?;
        if answer.pending > 0 {
            return Err(LogError::TooManySubjects);
        }
        match answer.up_to {
            Some(up_to) if up_to >= least => {
                let is_wanted = |it: &Record| subjects.iter().any(|pattern| matches(pattern, &it.subject));
                if query.multi_last.len() > subjects.len() {
                    answer.records.retain(is_wanted);
                }
                return Ok(answer.records);
            }
            None if least == 0 => return Ok(answer.records),
            Some(_) => pause_stale("lasts", pause_ms).await,
            None => {
                // Whoever finds nothing does not say how far it looked: it is asked for something that is there, too.
                let Some(there) = leader::last(bus, stream, ">").await? else {
                    return Ok(Vec::new());
                };
                if query.multi_last.last() == Some(&there.subject) {
                    pause_stale("lasts", pause_ms).await;
                }
                query.multi_last.truncate(subjects.len());
                query.multi_last.push(there.subject);
            }
        }
    }
    Err(stays_stale(stream))
}

/// Whether a subject matches one that may hold wildcards.
fn matches(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// Subjects of one request of [`last_of_each`]: those without wildcards match one entry each at most.
const SUBJECTS_AT_ONCE: usize = 500;
/// Entries of a page, where one subject matches too many.
const PAGE: usize = 500;

/// The last entry of every subject that matches one of `subjects`, which may hold wildcards; in no order. As of a moment
/// ago: see [`streams::recent_end`].
///
/// # Errors
/// NATS did not answer, or only a copy that stays behind.
pub async fn last_of_each(bus: &Bus, stream: &str, subjects: &[String]) -> Result<Vec<Record>, LogError> {
    let least = streams::recent_end(bus, stream).await?;
    let mut records = Vec::new();
    let mut waiting: Vec<&[String]> = subjects.chunks(SUBJECTS_AT_ONCE).collect();
    while let Some(part) = waiting.pop() {
        match lasts(bus, stream, part, least).await {
            Ok(found) => records.extend(found),
            Err(LogError::TooManySubjects) => match part {
                [one] => records.extend(pages(bus, stream, one, least).await?),
                part => {
                    let (left, right) = part.split_at(part.len() / 2);
                    waiting.extend([left, right]);
                }
            },
            Err(error) => return Err(error),
        }
    }
    Ok(records)
}

/// All entries that match up to `end`, and perhaps later ones, in pages: of a stream that keeps one entry a subject.
async fn pages(bus: &Bus, stream: &str, subject: &str, end: u64) -> Result<Vec<Record>, LogError> {
    let (mut all, mut from) = (Vec::new(), 1);
    loop {
        let query = Query {
            seq: Some(from),
            next_by_subj: Some(subject.to_owned()),
            batch: Some(PAGE),
            ..Query::default()
        };
        let page = entries(bus, stream, &query, Reach::Position(end)).await?;
        let Some(last) = page.records.last() else {
            return Ok(all);
        };
        from = last.position + 1;
        all.extend(page.records);
        if page.pending == 0 {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_the_server_matches_them() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("a.b", "a.c", false),
            ("*.c", "a.c", true),
            ("a.b.c", "a.b", false),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern} {subject}");
        }
    }
}

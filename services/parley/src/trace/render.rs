//! A timeline for people: first the message's own way, then each device's, whoever it reached first at the top; and at the
//! end what could not be found out, so that nobody takes silence for an answer.

use std::fmt::Write;

use protocol::timeline::{Step, StepKind, Timeline};
use protocol::{Timestamp, UserId};

/// Columns of the time since acceptance, and of the step's name.
const OFFSET: usize = 13;
const NAME: usize = 12;
/// Users of whom nothing is known, by their ids alone.
const SILENT_IN_A_ROW: usize = 8;

/// The whole, with a line break at its end.
pub(super) fn text(timeline: &Timeline) -> String {
    let mut text = String::new();
    head(&mut text, timeline);
    for step in timeline.steps.iter().filter(|it| is_own(it)) {
        line(&mut text, step, name(step.step));
    }
    let (silent, told): (Vec<&UserId>, Vec<&UserId>) = timeline
        .users
        .iter()
        .partition(|user| steps_of(timeline, user).next().is_none());
    for user in told {
        person(&mut text, timeline, user);
    }
    nothing_of(&mut text, &silent);
    others(&mut text, timeline);
    if timeline.steps.iter().any(|it| it.not_later_than) {
        text += "\n≤  it had happened by then, and may have happened before\n";
    }
    if !timeline.missing.is_empty() {
        text += "\nNOT KNOWN\n";
        for gap in &timeline.missing {
            let _ = writeln!(text, "  {}: {}", shown(&gap.part), shown(&gap.why));
        }
    }
    text
}

/// Ids come from outside: nothing in them moves the terminal's cursor.
fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}

/// Of the message itself, not of a user.
fn is_own(step: &Step) -> bool {
    use StepKind::{Accepted, Logged, Projected, Unprojected};
    matches!(step.step, Accepted | Logged | Projected | Unprojected)
}

fn head(text: &mut String, timeline: &Timeline) {
    let _ = writeln!(text, "message  {}", timeline.server_id);
    let _ = writeln!(text, "from     {}", shown(timeline.sender_id.as_str()));
    let trace = match (&timeline.trace_id, timeline.sampled) {
        (Some(id), Some(true)) => format!("{id}  (sampled)"),
        (Some(id), _) => format!("{id}  (not sampled)"),
        (None, _) => "none came with it".to_owned(),
    };
    let _ = writeln!(text, "trace    {trace}\n");
}

/// `10:15:30.123       +8 ms  projected   …`; where it was accepted, the day stands in place of the offset.
fn line(text: &mut String, step: &Step, name: &str) {
    let time = step.at.map_or_else(|| " ".repeat(12), clock);
    let offset = match (step.offset_ms, step.step) {
        (_, StepKind::Accepted) => step.at.map(date).unwrap_or_default(),
        (Some(ms), _) => since(ms, step.not_later_than),
        (None, _) => String::new(),
    };
    let row = match step.detail.as_deref().map(shown) {
        Some(detail) => format!("  {time}  {offset:>OFFSET$}  {name:NAME$}  {detail}"),
        None => format!("  {time}  {offset:>OFFSET$}  {name}"),
    };
    let _ = writeln!(text, "{}", row.trim_end());
}

fn since(ms: i64, not_later_than: bool) -> String {
    let bound = if not_later_than { "≤ " } else { "" };
    match ms {
        -99_999..=99_999 => format!("{bound}{ms:+} ms"),
        _ if ms.abs() < 7_200_000 => format!("{bound}{:+} s", ms / 1_000),
        _ => format!("{bound}{:+.1} h", ms as f64 / 3_600_000.0),
    }
}

fn clock(at: Timestamp) -> String {
    at.to_string().get(11..23).unwrap_or_default().to_owned()
}

fn date(at: Timestamp) -> String {
    at.to_string().get(..10).unwrap_or_default().to_owned()
}

fn name(step: StepKind) -> &'static str {
    match step {
        StepKind::Unprojected => "NOT PROJECTED yet",
        StepKind::Waiting => "WAITING",
        StepKind::Passed => "connected",
        StepKind::Queued => "push queued",
        StepKind::Gone => "TOKEN DEAD",
        StepKind::Dead => "GIVEN UP",
        other => other.as_str(),
    }
}

/// A user's steps, his devices' among them.
fn steps_of<'a>(timeline: &'a Timeline, user: &'a UserId) -> impl Iterator<Item = &'a Step> {
    let steps = timeline.steps.iter().filter(|it| !is_own(it));
    steps.filter(move |it| it.user_id.as_ref() == Some(user))
}

/// Users without any step, in as few lines as they take.
fn nothing_of(text: &mut String, users: &[&UserId]) {
    if users.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\nnothing is known of: not connected, no device decided on, nothing confirmed"
    );
    for row in users.chunks(SILENT_IN_A_ROW) {
        let names: Vec<String> = row.iter().map(|it| shown(it.as_str())).collect();
        let _ = writeln!(text, "  {}", names.join(", "));
    }
}

/// A user: his own steps, and below them those of his devices.
fn person(text: &mut String, timeline: &Timeline, user: &UserId) {
    let steps: Vec<&Step> = steps_of(timeline, user).collect();
    let sender = if *user == timeline.sender_id { "  (sender)" } else { "" };
    let _ = writeln!(text, "\n{}{sender}", shown(user.as_str()));
    let mut devices: Vec<&str> = Vec::new();
    for device in steps.iter().filter_map(|it| it.device_id.as_deref()) {
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    // Which of the sender's devices sent it is not known: that one got the ack.
    let name = |step: &Step| match step.step {
        StepKind::Delivered if *user == timeline.sender_id => "acked or delivered",
        kind => name(kind),
    };
    for step in steps.iter().filter(|it| it.device_id.is_none()) {
        line(text, step, name(step));
    }
    for device in devices {
        let _ = writeln!(text, "  ── {}", shown(device));
        for step in steps.iter().filter(|it| it.device_id.as_deref() == Some(device)) {
            line(text, step, name(step));
        }
    }
}

fn others(text: &mut String, timeline: &Timeline) {
    let Some(others) = &timeline.others else { return };
    let _ = writeln!(
        text,
        "\n{} other members, in numbers (--user ID shows one)",
        others.members
    );
    for (step, count) in &others.steps {
        let _ = writeln!(text, "  {count:>8}  {}", shown(step));
    }
}

#[cfg(test)]
mod tests {
    use protocol::ServerId;
    use protocol::timeline::{Missing, Totals};

    use super::*;

    fn step(kind: StepKind, ms: Option<i64>, who: Option<(&str, Option<&str>)>, detail: Option<&str>) -> Step {
        Step {
            step: kind,
            at: ms.map(|ms| Timestamp::from_millis(1_795_000_000_123 + ms)),
            offset_ms: ms,
            not_later_than: kind == StepKind::Confirmed,
            user_id: who.map(|it| UserId::parse(it.0).unwrap()),
            device_id: who.and_then(|it| it.1).map(str::to_owned),
            detail: detail.map(str::to_owned),
        }
    }

    #[test]
    fn it_reads_from_top_to_bottom() {
        let (laptop, phone) = (Some(("bob", Some("laptop"))), Some(("bob", Some("a\nphone"))));
        let timeline = Timeline {
            server_id: ServerId::parse("g00000000000000000000000000000000-7").unwrap(),
            sender_id: UserId::parse("ann").unwrap(),
            trace_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
            sampled: Some(true),
            steps: vec![
                step(StepKind::Accepted, Some(0), Some(("ann", None)), None),
                step(StepKind::Logged, Some(1), None, Some("CHAT_2 position 41")),
                step(StepKind::Delivered, Some(2), laptop, Some("node 127.0.0.1:8080")),
                step(StepKind::Projected, Some(9), None, None),
                step(StepKind::Suppressed, Some(3_040), phone, Some("muted (apns)")),
                step(StepKind::Confirmed, Some(3_100), phone, None),
                step(StepKind::Read, Some(9_000_000), Some(("bob", None)), None),
                step(
                    StepKind::Waiting,
                    None,
                    Some(("ann", Some("tablet"))),
                    Some("node 127.0.0.1:8081"),
                ),
            ],
            users: ["ann", "bob", "cat"].map(|it| UserId::parse(it).unwrap()).to_vec(),
            others: Some(Totals {
                members: 9_800,
                steps: [("read".to_owned(), 17)].into(),
            }),
            missing: vec![Missing {
                part: "push".to_owned(),
                why: "the push service did not answer".to_owned(),
            }],
        };
        let expected = "\
message  g00000000000000000000000000000000-7
from     ann
trace    0af7651916cd43dd8448eb211c80319c  (sampled)

  11:06:40.123     2026-11-18  accepted
  11:06:40.124          +1 ms  logged        CHAT_2 position 41
  11:06:40.132          +9 ms  projected

ann  (sender)
  ── tablet
                               WAITING       node 127.0.0.1:8081

bob
  13:36:40.123         +2.5 h  read
  ── laptop
  11:06:40.125          +2 ms  delivered     node 127.0.0.1:8080
  ── a\\nphone
  11:06:43.163       +3040 ms  suppressed    muted (apns)
  11:06:43.223     ≤ +3100 ms  confirmed

nothing is known of: not connected, no device decided on, nothing confirmed
  cat

9800 other members, in numbers (--user ID shows one)
        17  read

≤  it had happened by then, and may have happened before

NOT KNOWN
  push: the push service did not answer
";
        assert_eq!(text(&timeline), expected);
    }
}

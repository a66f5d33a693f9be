//! The conversation as rows: messages with their marks, and what happened between them. Pure.

use jiff::tz::TimeZone;
use protocol::{Timestamp, UserId};

use super::client::Client;
use super::members::Mark;
use super::room::{Message, Note, Room};
use super::view::{NAME_COLOURS, Row, Span, Tone};
use super::{escape, wrap};

/// Cells for a name; a longer one is cut.
const NAME: usize = 14;

/// One event of the room.
enum Item<'a> {
    Message(&'a Message),
    Note(&'a Note),
}

/// All of the open room, messages on their way last.
pub(super) fn feed(client: &Client, zone: &TimeZone, width: usize) -> Vec<Row> {
    let Some(room) = client.room() else {
        return Vec::new();
    };
    let columns = Columns::new(client, room, width);
    let mut rows = Vec::new();
    if room.is_loaded() && room.older().is_none() {
        rows.push(vec![("  the beginning of the conversation".to_owned(), Tone::Dim)]);
    }
    let mut day = String::new();
    for (seq, item) in items(room) {
        let time = match &item {
            Item::Message(message) => message.at,
            Item::Note(note) => note.at,
        };
        let date = at(time, zone, "%A, %-d %B %Y");
        if date != day {
            rows.push(vec![(format!("── {date} ──"), Tone::Dim)]);
            day = date;
        }
        let clock = at(time, zone, "%H:%M");
        let message = match item {
            Item::Message(message) => message,
            Item::Note(note) => {
                rows.extend(columns.note(&clock, &note.text));
                continue;
            }
        };
        let mark = (message.sender == *client.me()).then(|| match room.members.mark(seq) {
            Mark::Sent => ("✓".to_owned(), Tone::Dim),
            Mark::Delivered => ("✓✓".to_owned(), Tone::Dim),
            Mark::Read => ("✓✓".to_owned(), Tone::Read),
        });
        rows.extend(columns.message(&clock, message, mark));
    }
    let nowhere = Timestamp::from_millis(0);
    for pending in client.outbox().of(room.id()) {
        let (sender, body) = (client.me().clone(), pending.text.clone());
        let message = Message {
            sender,
            body,
            at: nowhere,
            is_from_here: true,
        };
        let mark = match &pending.refused {
            None => ("…".to_owned(), Tone::Dim),
            Some(why) => (format!("✗ {}", escape::line(why)), Tone::Bad),
        };
        rows.extend(columns.message("     ", &message, Some(mark)));
    }
    rows
}

/// Messages and notes in the order of `seq`; no notes older than the oldest message that is loaded.
fn items(room: &Room) -> Vec<(u64, Item<'_>)> {
    let first = room.older().unwrap_or_default();
    let messages = room.messages().map(|(seq, it)| (seq, Item::Message(it)));
    let notes = room.notes().filter(|(seq, _)| *seq >= first);
    let mut items: Vec<_> = messages.chain(notes.map(|(seq, it)| (seq, Item::Note(it)))).collect();
    items.sort_by_key(|(seq, _)| *seq);
    items
}

/// Time, name and text beside each other.
struct Columns<'a> {
    me: &'a UserId,
    name: usize,
    text: usize,
}

impl<'a> Columns<'a> {
    fn new(client: &'a Client, room: &Room, width: usize) -> Self {
        let me = client.me();
        let senders = room.messages().map(|(_, message)| &message.sender).chain([me]);
        let widest = senders.map(|it| wrap::width(&escape::line(it.as_str()))).max();
        let name = widest.unwrap_or(0).min(NAME).min(width / 4);
        Self {
            me,
            name,
            text: width.saturating_sub(name + 8).max(8),
        }
    }

    fn note(&self, time: &str, text: &str) -> Vec<Row> {
        let lines = wrap::wrap(text, self.name + 2 + self.text).into_iter().enumerate();
        lines
            .map(|(index, line)| {
                let before = if index == 0 { time } else { "     " };
                vec![(format!("{before} {line}"), Tone::Dim)]
            })
            .collect()
    }

    fn message(&self, time: &str, message: &Message, mark: Option<Span>) -> Vec<Row> {
        let name = wrap::cut(&escape::line(message.sender.as_str()), self.name);
        let gap = " ".repeat(self.name.saturating_sub(wrap::width(&name)) + 2);
        let tone = if message.sender == *self.me {
            Tone::Own
        } else {
            Tone::Name(colour(&message.sender))
        };
        let indent = " ".repeat(self.name + 8);
        let mut rows: Vec<Row> = Vec::new();
        for (index, line) in wrap::wrap(&escape::lines(&message.body), self.text)
            .into_iter()
            .enumerate()
        {
            rows.push(match index {
                0 => vec![
                    (format!("{time} "), Tone::Dim),
                    (format!("{name}{gap}"), tone),
                    (line, Tone::Plain),
                ],
                _ => vec![(indent.clone(), Tone::Plain), (line, Tone::Plain)],
            });
        }
        let Some((mark, tone)) = mark else {
            return rows;
        };
        let used = rows
            .last()
            .and_then(|row| row.last())
            .map_or(0, |(line, _)| wrap::width(line));
        match rows.last_mut() {
            Some(last) if used + 1 + wrap::width(&mark) <= self.text => last.push((format!(" {mark}"), tone)),
            _ => {
                let lines = wrap::wrap(&mark, self.text).into_iter();
                rows.extend(lines.map(|line| vec![(indent.clone(), Tone::Plain), (line, tone)]));
            }
        }
        rows
    }
}

fn at(time: Timestamp, zone: &TimeZone, format: &str) -> String {
    let time = jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or_default();
    time.to_zoned(zone.clone()).strftime(format).to_string()
}

/// The same user has the same colour, always and everywhere.
fn colour(user: &UserId) -> u8 {
    let sum = user
        .as_str()
        .bytes()
        .fold(5_381_u32, |sum, byte| sum.wrapping_mul(33) ^ u32::from(byte));
    u8::try_from(sum % u32::from(NAME_COLOURS)).unwrap_or(0)
}

//! What the screen shows, as rows of coloured text. Pure: size, time and time zone are passed in.

use std::time::Instant;

use jiff::tz::TimeZone;
use protocol::{Timestamp, UserId};

use super::client::{Client, Status};
use super::editor::Editor;
use super::room::{Mark, Message, Room};
use super::{escape, wrap};

/// Cells for a name; a longer one is cut.
const NAME: usize = 14;

/// How many colours names have.
pub(super) const NAME_COLOURS: u8 = 6;

/// Rows around the messages: title, status, input.
const FRAME_ROWS: usize = 3;

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Words.
    Plain,
    /// Less important.
    Dim,
    /// The name of somebody else, in his colour.
    Name(u8),
    /// The own name.
    Own,
    /// The marks of a message that was read.
    Read,
    /// Trouble.
    Bad,
    /// The bar on top.
    Bar,
}

/// Text in one tone, harmless on a terminal.
pub(super) type Span = (String, Tone);

/// One row of the screen.
pub(super) type Row = Vec<Span>;

/// What there is to show beside the client.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    /// The line being written.
    pub(super) input: &'a Editor,
    /// An answer of several lines.
    pub(super) page: &'a [String],
    /// Something to know, and whether it is trouble.
    pub(super) notice: Option<(&'a str, bool)>,
    /// How many rows the user has gone back.
    pub(super) scroll: usize,
    /// For the times.
    pub(super) zone: &'a TimeZone,
    /// Now.
    pub(super) now: Instant,
}

/// A whole screen.
#[derive(Debug)]
pub(super) struct Picture {
    /// From top to bottom.
    pub(super) rows: Vec<Row>,
    /// Where the cursor is in the last row.
    pub(super) cursor: usize,
    /// How many rows of messages there are in all.
    pub(super) total: usize,
    /// How many rows back can be gone.
    pub(super) most_scroll: usize,
}

/// Draws everything for a terminal of that size.
pub(super) fn picture(client: &Client, scene: &Scene<'_>, width: usize, height: usize) -> Picture {
    let body = height.saturating_sub(FRAME_ROWS);
    let page: Vec<Row> = scene
        .page
        .iter()
        .flat_map(|it| wrap::wrap(it, width))
        .map(|it| vec![(it, Tone::Plain)])
        .collect();
    let feed_rows = body.saturating_sub(page.len());
    let feed = feed(client, scene.zone, width);
    let most_scroll = feed.len().saturating_sub(feed_rows);
    let scroll = scene.scroll.min(most_scroll);
    let end = feed.len() - scroll;
    let seen = &feed[end.saturating_sub(feed_rows)..end];
    let mut rows = vec![title(client, width)];
    rows.extend(std::iter::repeat_n(Row::new(), feed_rows.saturating_sub(seen.len())));
    rows.extend_from_slice(seen);
    rows.extend(page.into_iter().take(body));
    rows.push(status(client, scene, scroll > 0, width));
    let (input, cursor) = input(scene.input, width);
    rows.push(input);
    Picture {
        rows,
        cursor,
        total: feed.len(),
        most_scroll,
    }
}

fn title(client: &Client, width: usize) -> Row {
    let state = match client.status() {
        Status::Connecting => "connecting",
        Status::Online => "online",
        Status::Offline(..) => "offline",
    };
    let right = wrap::cut(&format!("{} · {state} ", escape::line(client.me().as_str())), width);
    let left = match client.room() {
        Some(room) => escape::line(&room.title()),
        None => "Parley".to_owned(),
    };
    let left = wrap::cut(&format!(" {left}"), width.saturating_sub(wrap::width(&right) + 1));
    let gap = width.saturating_sub(wrap::width(&left) + wrap::width(&right));
    vec![(format!("{left}{}{right}", " ".repeat(gap)), Tone::Bar)]
}

fn status(client: &Client, scene: &Scene<'_>, is_back: bool, width: usize) -> Row {
    let (text, tone) = match (client.status(), scene.notice) {
        (Status::Offline(why, at), _) => {
            let wait = at.saturating_duration_since(scene.now).as_secs_f64().ceil();
            let waiting = match client.outbox().waiting() {
                0 => String::new(),
                1 => " · 1 message waits".to_owned(),
                many => format!(" · {many} messages wait"),
            };
            match wait > 0.0 {
                true => (format!("offline: {why} · trying again in {wait} s{waiting}"), Tone::Bad),
                false => (format!("offline: {why} · connecting{waiting}"), Tone::Bad),
            }
        }
        (_, Some((notice, is_bad))) => (notice.to_owned(), if is_bad { Tone::Bad } else { Tone::Dim }),
        _ if client.is_loading() => ("loading older messages".to_owned(), Tone::Dim),
        _ if is_back => ("older messages · End goes to the newest".to_owned(), Tone::Dim),
        _ => (String::new(), Tone::Dim),
    };
    let text = wrap::cut(&text, width.saturating_sub(4));
    let rule = "─".repeat(width.saturating_sub(wrap::width(&text) + if text.is_empty() { 0 } else { 3 }));
    match text.is_empty() {
        true => vec![(rule, Tone::Dim)],
        false => vec![("─ ".into(), Tone::Dim), (text, tone), (format!(" {rule}"), Tone::Dim)],
    }
}

/// The input row and the column of the cursor. A long line is seen around its cursor.
fn input(editor: &Editor, width: usize) -> (Row, usize) {
    let shown = |text: &str| escape::lines(text).replace('\n', "↵");
    let room = width.saturating_sub(3);
    let before = shown(editor.before_cursor());
    let before = wrap::tail(&before, room);
    let after = shown(&editor.text()[editor.before_cursor().len()..]);
    let after = wrap::cut(&after, room.saturating_sub(wrap::width(before)));
    (
        vec![("> ".into(), Tone::Dim), (format!("{before}{after}"), Tone::Plain)],
        2 + wrap::width(before),
    )
}

/// All messages of the open room, those on their way last.
fn feed(client: &Client, zone: &TimeZone, width: usize) -> Vec<Row> {
    let Some(room) = client.room() else {
        return Vec::new();
    };
    let columns = Columns::new(client, room, width);
    let mut rows = Vec::new();
    if room.is_loaded() && room.older().is_none() {
        rows.push(vec![("  the beginning of the conversation".to_owned(), Tone::Dim)]);
    }
    let mut day = String::new();
    for (seq, message) in room.messages() {
        let date = at(message.at, zone, "%A, %-d %B %Y");
        if date != day {
            rows.push(vec![(format!("── {date} ──"), Tone::Dim)]);
            day = date;
        }
        let mark = (message.sender == *client.me()).then(|| match room.mark(seq) {
            Mark::Sent => ("✓".to_owned(), Tone::Dim),
            Mark::Delivered => ("✓✓".to_owned(), Tone::Dim),
            Mark::Read => ("✓✓".to_owned(), Tone::Read),
        });
        rows.extend(columns.message(&at(message.at, zone, "%H:%M"), message, mark));
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

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;

//! What the screen shows, as rows of coloured text. Pure: size, time and time zone are passed in.

use std::time::Instant;

use jiff::tz::TimeZone;
use protocol::server_frame;
use protocol::{ConversationId, Timestamp, UserId};

use super::client::{Client, Status};
use super::editor::Editor;
use super::feed::feed;
use super::room::Room;
use super::{escape, news, people, side, wrap};

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
    /// The dot of a status.
    Dot(server_frame::Status),
    /// The marks of a message that was read.
    Read,
    /// Trouble.
    Bad,
    /// The bar on top, and what is chosen.
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
    /// The conversation that stands to be opened, while the user chooses one.
    pub(super) chosen: Option<&'a ConversationId>,
    /// How many rows the user has gone back.
    pub(super) scroll: usize,
    /// For the times.
    pub(super) zone: &'a TimeZone,
    /// Now.
    pub(super) now: Instant,
    /// The same as a time of day.
    pub(super) clock: Timestamp,
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
    let side_width = side::width(width);
    let wide = width - side_width;
    let page: Vec<Row> = match scene.chosen {
        // Beside the conversation there is no room for the list.
        Some(_) if side_width == 0 => side::rooms(client, scene.chosen, width, body),
        _ => scene
            .page
            .iter()
            .flat_map(|it| wrap::wrap(it, wide))
            .map(|it| vec![(it, Tone::Plain)])
            .collect(),
    };
    let feed_rows = body.saturating_sub(page.len());
    let feed = feed(client, scene.zone, wide);
    let most_scroll = feed.len().saturating_sub(feed_rows);
    let scroll = scene.scroll.min(most_scroll);
    let end = feed.len() - scroll;
    let seen = &feed[end.saturating_sub(feed_rows)..end];
    let mut main: Vec<Row> = vec![Row::new(); feed_rows.saturating_sub(seen.len())];
    main.extend_from_slice(seen);
    main.extend(page.into_iter().take(body));
    let mut rows = vec![title(client, scene, width)];
    match side_width {
        0 => rows.extend(main),
        _ => {
            let side = side::rows(client, scene.chosen, side_width, body);
            rows.extend(side.into_iter().zip(main).map(|(side, main)| [side, main].concat()));
        }
    }
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

fn title(client: &Client, scene: &Scene<'_>, width: usize) -> Row {
    let state = match (client.status(), client.people().status(client.me())) {
        (Status::Connecting, _) => "connecting",
        (Status::Offline(..), _) => "offline",
        (Status::Online, None) => "online",
        // To others.
        (Status::Online, Some(server_frame::Status::Offline)) => "invisible",
        (Status::Online, Some(status)) => people::words(status),
    };
    let right = wrap::cut(&format!("{} · {state} ", escape::line(client.me().as_str())), width);
    let left = client
        .room()
        .map_or_else(|| "Parley".to_owned(), |room| heading(client, room, scene.clock));
    let left = wrap::cut(&format!(" {left}"), width.saturating_sub(wrap::width(&right) + 1));
    let gap = width.saturating_sub(wrap::width(&left) + wrap::width(&right));
    vec![(format!("{left}{}{right}", " ".repeat(gap)), Tone::Bar)]
}

/// The open room in one line: whom it is with and how he appears, or how many are in it.
fn heading(client: &Client, room: &Room, clock: Timestamp) -> String {
    let title = room.title();
    let Some(peer) = room.peer() else {
        let members = match room.members.count() {
            1 => "1 member".to_owned(),
            many => format!("{many} members"),
        };
        return match client.live().is_known() {
            true => format!("{title} · {members}, {} here", client.live().count()),
            false => format!("{title} · {members}"),
        };
    };
    match client.people().status(peer) {
        None => title,
        Some(status) => format!(
            "{} {title} · {}",
            people::dot(status),
            appears(client, peer, status, clock)
        ),
    }
}

fn appears(client: &Client, user: &UserId, status: server_frame::Status, clock: Timestamp) -> String {
    let seen = client.people().last_seen(user);
    match (status, seen) {
        (server_frame::Status::Offline, Some(seen)) => format!("last seen {}", people::ago(seen, clock)),
        _ if client.live().is_present(user) => format!("{}, here", people::words(status)),
        _ => people::words(status).to_owned(),
    }
}

/// What there is to know at the left, who is writing at the right.
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
        _ if scene.chosen.is_some() => ("Tab goes on · Enter opens · Esc stays here".to_owned(), Tone::Dim),
        (_, Some((notice, is_bad))) => (notice.to_owned(), if is_bad { Tone::Bad } else { Tone::Dim }),
        _ if client.is_loading() => ("loading older messages".to_owned(), Tone::Dim),
        _ if is_back => ("older messages · End goes to the newest".to_owned(), Tone::Dim),
        _ => (String::new(), Tone::Dim),
    };
    let writers = client.live().writing().filter(|it| *it != client.me());
    let writing = news::writing(writers).unwrap_or_default();
    let writing = wrap::cut(&writing, width.saturating_sub(4));
    let taken = if writing.is_empty() {
        0
    } else {
        wrap::width(&writing) + 3
    };
    let text = wrap::cut(&text, width.saturating_sub(4 + taken));
    let mut row = Row::new();
    if !text.is_empty() {
        row.extend([("─ ".into(), Tone::Dim), (text, tone), (" ".into(), Tone::Dim)]);
    }
    let used: usize = row.iter().map(|(text, _)| wrap::width(text)).sum();
    row.push(("─".repeat(width.saturating_sub(used + taken)), Tone::Dim));
    if !writing.is_empty() {
        row.extend([
            (" ".into(), Tone::Dim),
            (writing, Tone::Plain),
            (" ─".into(), Tone::Dim),
        ]);
    }
    row
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

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;

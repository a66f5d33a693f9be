//! What stands beside the conversation on a wide terminal: the other conversations, and who is in this one. Pure.

use protocol::http::Role;
use protocol::server_frame::Status;
use protocol::{ConversationId, UserId};

use super::client::Client;
use super::room::Room;
use super::rooms::{self, Listed};
use super::view::{Row, Span, Tone};
use super::{escape, people, wrap};

/// Cells of the column, its rule included.
const WIDTH: usize = 26;

/// Terminals narrower than this have no column.
const WIDE: usize = 80;

/// Most members that are looked at beyond those who are here.
const LOOKED_AT: usize = 200;

/// Cells of the column on a terminal of that width.
pub(super) fn width(terminal: usize) -> usize {
    if terminal >= WIDE { WIDTH } else { 0 }
}

/// The column: as many rows as it is high, each exactly as wide as it is.
pub(super) fn rows(client: &Client, chosen: Option<&ConversationId>, width: usize, height: usize) -> Vec<Row> {
    let text = width.saturating_sub(2);
    let people = people_here(client, text);
    let rooms_most = height.saturating_sub(people.len().min(height / 2));
    let mut rows = rooms(client, chosen, text, rooms_most);
    rows.extend(people);
    rows.resize(height, Row::new());
    rows.into_iter().map(|row| filled(row, text)).collect()
}

/// The conversations; the chosen one is always among those seen.
pub(super) fn rooms(client: &Client, chosen: Option<&ConversationId>, width: usize, height: usize) -> Vec<Row> {
    let listed = client.rooms().listed();
    let place = listed.iter().position(|it| Some(&it.id) == chosen).unwrap_or_default();
    let most = height.saturating_sub(1).max(1);
    let first = (place + 1).saturating_sub(most);
    let mut rows = vec![vec![("Conversations".to_owned(), Tone::Dim)]];
    rows.extend(
        listed
            .iter()
            .skip(first)
            .take(most)
            .map(|it| room(client, it, Some(&it.id) == chosen, width)),
    );
    rows.truncate(height);
    rows
}

fn room(client: &Client, listed: &Listed, is_chosen: bool, width: usize) -> Row {
    let is_open = client.room().is_some_and(|it| *it.id() == listed.id);
    let (dot, dot_tone) = match &listed.peer {
        Some(peer) => dot(client, peer),
        None => ("#".to_owned(), Tone::Dim),
    };
    let unread = match listed.unread {
        0 => String::new(),
        some => format!(" {} ", rooms::count(some)),
    };
    let title = wrap::cut(&listed.title, width.saturating_sub(2 + wrap::width(&unread)));
    let gap = width.saturating_sub(2 + wrap::width(&title) + wrap::width(&unread));
    if is_chosen {
        return vec![(format!("{dot} {title}{}{unread}", " ".repeat(gap)), Tone::Bar)];
    }
    let tone = if is_open || listed.unread > 0 {
        Tone::Own
    } else {
        Tone::Plain
    };
    vec![
        (format!("{dot} "), dot_tone),
        (format!("{title}{}", " ".repeat(gap)), tone),
        (unread, Tone::Read),
    ]
}

/// The members of the open room, those who are here first.
fn people_here(client: &Client, width: usize) -> Vec<Row> {
    let Some(room) = client.room() else {
        return Vec::new();
    };
    let live = client.live();
    let heading = match live.is_known() {
        true => format!("Members · {} of {} here", live.count(), room.members.count()),
        false => format!("Members · {}", room.members.count()),
    };
    let mut rows = vec![Row::new(), vec![(wrap::cut(&heading, width), Tone::Dim)]];
    let here = live.present().filter(|it| *it != client.me());
    let away = room.members.others();
    let mut away: Vec<&UserId> = away.filter(|it| !live.is_present(it)).take(LOOKED_AT).collect();
    away.sort_by_key(|user| rank(client.people().status(user)));
    rows.extend(here.map(|user| person(client, room, user, width)));
    rows.extend(away.into_iter().map(|user| person(client, room, user, width)));
    rows
}

/// Name, what is special about his role, and whether he is writing.
fn person(client: &Client, room: &Room, user: &UserId, width: usize) -> Row {
    let live = client.live();
    let writes = if live.writing().any(|it| it == user) {
        " …"
    } else {
        ""
    };
    let role = match room.members.role(user) {
        Some(Role::Owner) => " owner",
        Some(Role::Admin) => " admin",
        Some(Role::Member) | None => "",
    };
    let name = escape::line(user.as_str());
    let name = wrap::cut(&name, width.saturating_sub(2 + wrap::width(writes) + wrap::width(role)));
    let (dot, tone) = dot(client, user);
    let name_tone = if live.is_present(user) { Tone::Plain } else { Tone::Dim };
    vec![
        (format!("{dot} "), tone),
        (name, name_tone),
        (format!("{role}{writes}"), Tone::Dim),
    ]
}

fn dot(client: &Client, user: &UserId) -> Span {
    match client.people().status(user) {
        Some(status) => (people::dot(status).to_owned(), Tone::Dot(status)),
        None => (" ".to_owned(), Tone::Dim),
    }
}

/// Who is likely to answer stands first.
fn rank(status: Option<Status>) -> u8 {
    match status {
        Some(Status::Online) => 0,
        Some(Status::Away) => 1,
        Some(Status::Dnd) => 2,
        Some(Status::Offline) | None => 3,
    }
}

/// The row up to the rule at its end.
fn filled(mut row: Row, width: usize) -> Row {
    let used: usize = row.iter().map(|(text, _)| wrap::width(text)).sum();
    row.push((" ".repeat(width.saturating_sub(used)), Tone::Plain));
    row.push(("│ ".to_owned(), Tone::Dim));
    row
}

#[cfg(test)]
#[path = "side_tests.rs"]
mod tests;

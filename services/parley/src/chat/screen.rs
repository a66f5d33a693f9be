//! The face on a terminal: what keys do, and when a picture is drawn.

use std::time::{Duration, Instant};

use anyhow::Context;
use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal;
use futures_util::StreamExt;
use jiff::tz::TimeZone;
use lifecycle::Shutdown;
use protocol::{ConversationId, Timestamp};

use super::api::Target;
use super::client::{Output, Status};
use super::editor::Editor;
use super::keys;
use super::paint::Taken;
use super::session::Session;
use super::view::{self, Picture, Scene};

/// So long a notice is seen.
const NOTICE: Duration = Duration::from_secs(8);

/// Pictures are at least so far apart, however much happens.
const FRAME: Duration = Duration::from_millis(20);

/// The countdown while offline.
const SECOND: Duration = Duration::from_secs(1);

/// On leaving, for an ack that is on its way.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the user sees beside the conversation.
struct Screen {
    taken: Taken,
    editor: Editor,
    page: Vec<String>,
    notice: Option<(String, bool, Instant)>,
    /// The conversation that stands to be opened, while the user chooses one.
    chosen: Option<ConversationId>,
    scroll: usize,
    /// Rows of messages, and the oldest message, at the last picture.
    total: usize,
    oldest: Option<u64>,
    most_scroll: usize,
    zone: TimeZone,
}

/// Runs until the user leaves.
///
/// # Errors
/// The terminal cannot be used, the server refuses this client, or messages were not acked.
pub(super) async fn run(mut session: Session) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("cannot catch signals")?;
    let mut screen = Screen {
        taken: Taken::take()?,
        editor: Editor::default(),
        page: Vec::new(),
        notice: None,
        chosen: None,
        scroll: 0,
        total: 0,
        oldest: None,
        most_scroll: 0,
        zone: TimeZone::system(),
    };
    let lived = screen.live(&mut session, &shutdown).await;
    let settled = match lived {
        Ok(()) => session.settle(PATIENCE, drop).await,
        error => error,
    };
    drop(screen);
    let left = session.leave().await;
    settled.and(left)
}

impl Screen {
    async fn live(&mut self, session: &mut Session, shutdown: &Shutdown) -> anyhow::Result<()> {
        let mut keys = EventStream::new();
        session.perform();
        let mut drawn_at: Option<Instant> = None;
        let mut is_stale = true;
        while !session.client.wants_quit() {
            self.hear(session);
            let now = Instant::now();
            if is_stale && drawn_at.is_none_or(|at| now >= at + FRAME) {
                self.draw(session, now)?;
                (drawn_at, is_stale) = (Some(now), false);
            }
            let wake = if is_stale { FRAME } else { SECOND };
            tokio::select! {
                event = keys.next() => match event {
                    Some(event) => {
                        is_stale = true;
                        if !self.on_event(event.context("cannot read the terminal")?, session) {
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                },
                step = session.step() => {
                    step?;
                    is_stale = true;
                }
                () = tokio::time::sleep(wake) => {
                    let is_counting = matches!(session.client.status(), Status::Offline(..));
                    is_stale |= is_counting || self.notice.is_some();
                }
                () = shutdown.triggered() => return Ok(()),
            }
        }
        Ok(())
    }

    /// Takes what the client has to tell; messages and what else happened are in the picture already.
    fn hear(&mut self, session: &mut Session) {
        for output in session.client.take_outputs() {
            match output {
                Output::Message(..) | Output::Happened(_) | Output::Detail(_) => {}
                Output::Notice(text) => self.notice = Some((text, false, Instant::now())),
                Output::Problem(text) => self.notice = Some((text, true, Instant::now())),
                Output::Page(lines) => self.page = lines,
            }
        }
    }

    /// False to leave.
    fn on_event(&mut self, event: Event, session: &mut Session) -> bool {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => return self.on_key(key, session),
            Event::Paste(text) => {
                self.editor.insert(&text);
                self.on_edit(session);
            }
            _ => {}
        }
        true
    }

    fn on_key(&mut self, key: KeyEvent, session: &mut Session) -> bool {
        let has = |modifier| key.modifiers.contains(modifier);
        if self.on_choosing(key.code, session) {
            return true;
        }
        let before = self.editor.text().to_owned();
        match key.code {
            KeyCode::Char('c') if has(KeyModifiers::CONTROL) => return false,
            KeyCode::Char('d') if has(KeyModifiers::CONTROL) && self.editor.text().is_empty() => return false,
            KeyCode::Char('j') if has(KeyModifiers::CONTROL) => self.editor.insert("\n"),
            KeyCode::Enter if has(KeyModifiers::ALT) || has(KeyModifiers::SHIFT) => self.editor.insert("\n"),
            KeyCode::Enter => self.enter(session),
            KeyCode::Esc => self.page.clear(),
            KeyCode::Up => self.go(session, 1),
            KeyCode::Down => self.go(session, -1),
            KeyCode::PageUp => self.go(session, 10),
            KeyCode::PageDown => self.go(session, -10),
            KeyCode::End if self.scroll > 0 => self.go(session, isize::MIN),
            _ => keys::edit(&mut self.editor, key),
        }
        if self.editor.text() != before {
            self.on_edit(session);
        }
        true
    }

    /// Tab begins to choose another conversation and goes on choosing. False if the key has another meaning.
    fn on_choosing(&mut self, key: KeyCode, session: &mut Session) -> bool {
        match key {
            KeyCode::Tab => self.choose(session, 1),
            KeyCode::BackTab => self.choose(session, -1),
            KeyCode::Down if self.chosen.is_some() => self.choose(session, 1),
            KeyCode::Up if self.chosen.is_some() => self.choose(session, -1),
            KeyCode::Esc if self.chosen.is_some() => self.chosen = None,
            KeyCode::Enter if self.chosen.is_some() => {
                if let Some(id) = self.chosen.take() {
                    self.page.clear();
                    self.go(session, isize::MIN);
                    session.open(Target::Conversation(id));
                }
            }
            _ => {
                self.chosen = None;
                return false;
            }
        }
        true
    }

    fn choose(&mut self, session: &Session, step: isize) {
        let listed = session.client.rooms().listed();
        let from = self.chosen.as_ref().or(session.client.room().map(|it| it.id()));
        let place = from.and_then(|from| listed.iter().position(|it| it.id == *from));
        let next = match place {
            Some(place) => place.checked_add_signed(step).unwrap_or(listed.len().saturating_sub(1)),
            None => 0,
        };
        self.chosen = listed.get(next).or(listed.first()).map(|it| it.id.clone());
        if self.chosen.is_none() {
            let words = "you have no conversations yet: /open USER".to_owned();
            self.notice = Some((words, false, Instant::now()));
        }
    }

    /// What stands in the line may be something that the others are to know of.
    fn on_edit(&mut self, session: &mut Session) {
        session.client.on_edit(self.editor.text(), Instant::now());
        session.perform();
    }

    fn enter(&mut self, session: &mut Session) {
        let line = self.editor.take();
        if line.trim().is_empty() {
            return;
        }
        self.page.clear();
        self.notice = None;
        self.go(session, isize::MIN);
        if !session.on_line(&line) {
            self.editor.insert(&line);
        }
    }

    /// Goes back in the conversation; at its beginning, the page before is loaded.
    fn go(&mut self, session: &mut Session, rows: isize) {
        if rows > 0 && self.scroll >= self.most_scroll {
            session.client.load_older(false);
        }
        self.scroll = self.scroll.saturating_add_signed(rows).min(self.most_scroll);
        session.client.set_visible(self.scroll == 0, Instant::now());
        session.perform();
    }

    fn draw(&mut self, session: &Session, now: Instant) -> anyhow::Result<()> {
        let (width, height) = terminal::size().context("cannot use this terminal")?;
        let (width, height) = (usize::from(width).max(10), usize::from(height).max(4));
        if self.notice.as_ref().is_some_and(|(_, _, at)| now >= *at + NOTICE) {
            self.notice = None;
        }
        let mut picture = self.picture(session, now, width, height);
        let oldest = session
            .client
            .room()
            .and_then(|room| room.messages().next())
            .map(|(seq, _)| seq);
        if self.scroll > 0 && oldest == self.oldest && picture.total > self.total {
            // What the user reads stays where it is when something comes below it.
            self.scroll += picture.total - self.total;
            picture = self.picture(session, now, width, height);
        }
        (self.total, self.oldest, self.most_scroll) = (picture.total, oldest, picture.most_scroll);
        self.scroll = self.scroll.min(self.most_scroll);
        self.taken.show(&picture, width).context("cannot draw")
    }

    fn picture(&self, session: &Session, now: Instant, width: usize, height: usize) -> Picture {
        let scene = Scene {
            input: &self.editor,
            page: &self.page,
            notice: self.notice.as_ref().map(|(text, is_bad, _)| (text.as_str(), *is_bad)),
            chosen: self.chosen.as_ref(),
            scroll: self.scroll,
            zone: &self.zone,
            now,
            clock: Timestamp::now(),
        };
        view::picture(&session.client, &scene, width, height)
    }
}

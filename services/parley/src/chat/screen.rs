//! The terminal: takes it over, draws pictures, reads keys, and gives it back as it was.

use std::io::{Stdout, Write};
use std::time::{Duration, Instant};

use anyhow::Context;
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste, Event, EventStream};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Color, Print, SetAttribute, SetForegroundColor};
use crossterm::terminal::{self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute, queue};
use futures_util::StreamExt;
use jiff::tz::TimeZone;
use lifecycle::Shutdown;

use super::client::{Output, Status};
use super::editor::Editor;
use super::keys;
use super::session::Session;
use super::view::{self, Picture, Scene, Tone};
use super::wrap;

/// So long a notice is seen.
const NOTICE: Duration = Duration::from_secs(8);

/// Pictures are at least so far apart, however much happens.
const FRAME: Duration = Duration::from_millis(20);

/// The countdown while offline.
const SECOND: Duration = Duration::from_secs(1);

/// On leaving, for an ack that is on its way.
const PATIENCE: Duration = Duration::from_secs(1);

/// The terminal while it is ours.
struct Taken(Stdout);

impl Taken {
    fn take() -> anyhow::Result<Self> {
        terminal::enable_raw_mode().context("cannot use this terminal")?;
        let mut taken = Self(std::io::stdout());
        execute!(taken.0, EnterAlternateScreen, EnableBracketedPaste).context("cannot use this terminal")?;
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let _ = execute!(self.0, DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
        let _ = terminal::disable_raw_mode();
    }
}

/// What the user sees beside the conversation.
struct Screen {
    taken: Taken,
    editor: Editor,
    page: Vec<String>,
    notice: Option<(String, bool, Instant)>,
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

    /// Takes what the client has to tell; messages are in the room already.
    fn hear(&mut self, session: &mut Session) {
        for output in session.client.take_outputs() {
            match output {
                Output::Message(..) | Output::Detail(_) => {}
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
            Event::Paste(text) => self.editor.insert(&text),
            _ => {}
        }
        true
    }

    fn on_key(&mut self, key: KeyEvent, session: &mut Session) -> bool {
        let has = |modifier| key.modifiers.contains(modifier);
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
        true
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
        self.show(&picture, width).context("cannot draw")
    }

    fn picture(&self, session: &Session, now: Instant, width: usize, height: usize) -> Picture {
        let scene = Scene {
            input: &self.editor,
            page: &self.page,
            notice: self.notice.as_ref().map(|(text, is_bad, _)| (text.as_str(), *is_bad)),
            scroll: self.scroll,
            zone: &self.zone,
            now,
        };
        view::picture(&session.client, &scene, width, height)
    }

    fn show(&mut self, picture: &Picture, width: usize) -> std::io::Result<()> {
        let out = &mut self.taken.0;
        queue!(out, BeginSynchronizedUpdate, cursor::Hide)?;
        for (y, row) in (0..).zip(&picture.rows) {
            queue!(out, cursor::MoveTo(0, y))?;
            for (text, tone) in row {
                paint(out, *tone)?;
                queue!(
                    out,
                    Print(text),
                    SetAttribute(Attribute::Reset),
                    SetForegroundColor(Color::Reset)
                )?;
            }
            if row.iter().map(|(text, _)| wrap::width(text)).sum::<usize>() < width {
                queue!(out, Clear(ClearType::UntilNewLine))?;
            }
        }
        let (x, y) = (
            u16::try_from(picture.cursor),
            u16::try_from(picture.rows.len().saturating_sub(1)),
        );
        queue!(
            out,
            cursor::MoveTo(x.unwrap_or(0), y.unwrap_or(0)),
            cursor::Show,
            EndSynchronizedUpdate
        )?;
        out.flush()
    }
}

fn paint(out: &mut Stdout, tone: Tone) -> std::io::Result<()> {
    const NAMES: [Color; view::NAME_COLOURS as usize] = [
        Color::Green,
        Color::Yellow,
        Color::Magenta,
        Color::Blue,
        Color::DarkYellow,
        Color::DarkGreen,
    ];
    match tone {
        Tone::Plain => Ok(()),
        Tone::Dim => queue!(out, SetAttribute(Attribute::Dim)),
        Tone::Name(number) => {
            let colour = NAMES.get(usize::from(number)).copied().unwrap_or(Color::Green);
            queue!(out, SetForegroundColor(colour), SetAttribute(Attribute::Bold))
        }
        Tone::Own => queue!(out, SetAttribute(Attribute::Bold)),
        Tone::Read => queue!(out, SetForegroundColor(Color::Cyan)),
        Tone::Bad => queue!(out, SetForegroundColor(Color::Red)),
        Tone::Bar => queue!(out, SetAttribute(Attribute::Reverse)),
    }
}

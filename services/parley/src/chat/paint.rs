//! The terminal itself: taken over, painted with pictures, and given back as it was.

use std::io::{Stdout, Write};

use anyhow::Context;
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::style::{Attribute, Color, Print, SetAttribute, SetForegroundColor};
use crossterm::terminal::{self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute, queue};
use protocol::server_frame::Status;

use super::view::{self, Picture, Tone};
use super::wrap;

/// The terminal while it is ours.
#[derive(Debug)]
pub(super) struct Taken(Stdout);

impl Taken {
    /// # Errors
    /// There is none, or it cannot be used.
    pub(super) fn take() -> anyhow::Result<Self> {
        terminal::enable_raw_mode().context("cannot use this terminal")?;
        let mut taken = Self(std::io::stdout());
        execute!(taken.0, EnterAlternateScreen, EnableBracketedPaste).context("cannot use this terminal")?;
        Ok(taken)
    }

    /// Shows a picture on a terminal of that width.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn show(&mut self, picture: &Picture, width: usize) -> std::io::Result<()> {
        let out = &mut self.0;
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

impl Drop for Taken {
    fn drop(&mut self) {
        let _ = execute!(self.0, DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
        let _ = terminal::disable_raw_mode();
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
        Tone::Read => queue!(out, SetForegroundColor(Color::Cyan), SetAttribute(Attribute::Bold)),
        Tone::Dot(Status::Online) => queue!(out, SetForegroundColor(Color::Green)),
        Tone::Dot(Status::Away) => queue!(out, SetForegroundColor(Color::Yellow)),
        Tone::Dot(Status::Offline) => queue!(out, SetAttribute(Attribute::Dim)),
        Tone::Bad | Tone::Dot(Status::Dnd) => queue!(out, SetForegroundColor(Color::Red)),
        Tone::Bar => queue!(out, SetAttribute(Attribute::Reverse)),
    }
}

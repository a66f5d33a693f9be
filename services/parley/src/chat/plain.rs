//! Talking by lines, for scripts and pipes.
//!
//! Each line of stdin is sent (or is a command). On stdout stand messages and nothing else, one a line, as
//! `SENDER: TEXT`, with control characters written as `\n` or `\u{1b}`. Everything else goes to stderr: what happens in
//! the room (who comes, goes, writes, appears as what; new members and names) as lines that begin with `*`, the client's
//! own words after `parley:`. With `--verbose` the marks, too: `sent SEQ`, `delivered SEQ to USER`, `read SEQ by USER`.

use std::io::{BufRead, ErrorKind, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use lifecycle::Shutdown;
use tokio::sync::mpsc;

use super::client::Output;
use super::escape;
use super::session::Session;

/// After the end of stdin, for the acks.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lines read ahead.
const LINES: usize = 16;

/// Runs until the end of stdin, `/quit` or a signal.
///
/// # Errors
/// Something could not be sent, or the server refuses this client.
pub(super) async fn run(mut session: Session, is_verbose: bool) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("cannot catch signals")?;
    let mut lines = stdin()?;
    session.perform();
    loop {
        print(&mut session, is_verbose)?;
        if session.client.wants_quit() {
            break;
        }
        let is_busy = session.client.is_busy() || session.client.outbox().is_full();
        tokio::select! {
            line = lines.recv(), if !is_busy => match line {
                Some(line) => drop(session.on_line(&line)),
                None => break,
            },
            step = session.step() => step?,
            () = shutdown.triggered() => break,
        }
    }
    let mut failed_to_print = None;
    let settled = session.settle(PATIENCE, |output| {
        if let Err(error) = tell(output, is_verbose) {
            failed_to_print = Some(error);
        }
    });
    tokio::select! {
        settled = settled => settled?,
        () = shutdown.triggered() => {}
    }
    let has_failed = session.client.has_failed();
    session.leave().await?;
    match failed_to_print {
        Some(error) => Err(error),
        None if has_failed => bail!("not everything could be done, see above"),
        None => Ok(()),
    }
}

/// Reads stdin in a thread of its own: a read cannot be cut short.
fn stdin() -> anyhow::Result<mpsc::Receiver<String>> {
    let (sender, lines) = mpsc::channel(LINES);
    let read = move || {
        let mut stdin = std::io::stdin().lock();
        let mut line = Vec::new();
        loop {
            line.clear();
            match stdin.read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return,
            }
            if sender
                .blocking_send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(read)
        .context("cannot read stdin")?;
    Ok(lines)
}

fn print(session: &mut Session, is_verbose: bool) -> anyhow::Result<()> {
    session
        .client
        .take_outputs()
        .into_iter()
        .try_for_each(|output| tell(output, is_verbose))
}

fn tell(output: Output, is_verbose: bool) -> anyhow::Result<()> {
    match output {
        Output::Message(sender, text) => {
            let mut stdout = std::io::stdout().lock();
            let line = format!("{}: {}\n", escape::line(&sender), escape::line(&text));
            stdout
                .write_all(line.as_bytes())
                .and_then(|()| stdout.flush())
                .context("cannot print")?;
        }
        Output::Detail(text) if !is_verbose => drop(text),
        Output::Detail(text) => eprintln!("{text}"),
        Output::Happened(text) => eprintln!("* {text}"),
        Output::Notice(text) | Output::Problem(text) => eprintln!("parley: {text}"),
        Output::Page(lines) => eprintln!("{}", lines.join("\n")),
    }
    Ok(())
}

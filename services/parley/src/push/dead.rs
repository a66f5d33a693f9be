//! `parley push dead`: lists the pushes that were given up, and queues them again.

use anyhow::bail;
use bus::Bus;
use clap::{Args, Subcommand};
use protocol::Timestamp;
use push::dead::{self, DeadLetter, Replayed};

use crate::running::Server;

/// Dead letters of one page.
const PAGE: usize = 500;

/// What `parley push dead` takes.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print them, oldest first: number, time, provider, user, device, what, attempts, reason
    List(List),
    /// Queue them again, but for those that have expired
    Replay(Replay),
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    server: Server,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    server: Server,
    /// All there are
    #[arg(long, conflicts_with = "numbers", required_unless_present = "numbers")]
    all: bool,
    /// Those with these numbers
    #[arg(value_name = "NUMBER")]
    numbers: Vec<u64>,
}

pub(super) async fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::List(options) => list(options).await,
        Command::Replay(options) => replay(options).await,
    }
}

/// Calls `on` with every dead letter there is now.
async fn each(bus: &Bus, mut on: impl AsyncFnMut(DeadLetter) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut after = 0;
    loop {
        let page = dead::list(bus, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.number;
        for letter in page {
            on(letter).await?;
        }
    }
}

async fn list(options: &List) -> anyhow::Result<()> {
    let bus = options.server.connect().await?;
    let mut count = 0;
    each(&bus, async |letter| {
        count += 1;
        if options.json {
            println!("{}", serde_json::to_string(&letter)?);
        } else {
            println!("{}", line(&letter, Timestamp::now()));
        }
        Ok(())
    })
    .await?;
    eprintln!("{count} dead letters");
    Ok(())
}

/// User and device ids come from outside: nothing in them moves the terminal's cursor.
fn line(letter: &DeadLetter, now: Timestamp) -> String {
    let expired = if now >= letter.expires_at { " (expired)" } else { "" };
    format!(
        "{}  {}  {}  {}  {}  {}  {} attempts{expired}: {}",
        letter.number,
        letter.at,
        letter.provider,
        letter.user_id.as_str().escape_debug(),
        letter.device_id.escape_debug(),
        letter.what,
        letter.attempts,
        letter.reason.escape_debug()
    )
}

async fn replay(options: &Replay) -> anyhow::Result<()> {
    let bus = options.server.connect().await?;
    let mut numbers = options.numbers.clone();
    if options.all {
        each(&bus, async |letter| {
            numbers.push(letter.number);
            Ok(())
        })
        .await?;
    }
    let (mut queued, mut expired, mut missing) = (0, 0, 0);
    for number in numbers {
        match dead::replay(&bus, number).await? {
            Replayed::Queued => queued += 1,
            Replayed::Expired => expired += 1,
            Replayed::Missing => missing += 1,
        }
    }
    println!("{queued} queued again, {expired} expired and left, {missing} not there");
    if queued == 0 && !options.numbers.is_empty() {
        bail!("nothing was queued again");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::UserId;

    use super::*;

    #[test]
    fn a_line_tells_all_and_moves_no_cursor() {
        let letter = DeadLetter {
            number: 7,
            at: Timestamp::from_millis(0),
            reason: "PayloadTooLarge".to_owned(),
            attempts: 3,
            provider: "apns",
            user_id: UserId::parse("ann\u{1b}[2J").unwrap(),
            device_id: "phone".to_owned(),
            what: "badge".to_owned(),
            expires_at: Timestamp::from_millis(10),
        };
        assert_eq!(
            line(&letter, Timestamp::from_millis(10)),
            "7  1970-01-01T00:00:00.000Z  apns  ann\\u{1b}[2J  phone  badge  3 attempts (expired): PayloadTooLarge"
        );
    }
}

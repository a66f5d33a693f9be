//! `parley push decisions`: why a message was pushed to a device, or was not.

use anyhow::bail;
use clap::Args;
use protocol::ServerId;
use push::decisions::{Decision, decisions};

use crate::running::Server;

/// What `parley push decisions` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The message's id
    #[arg(value_name = "SERVER_ID")]
    message: String,
    #[command(flatten)]
    server: Server,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let Some(id) = ServerId::parse(&options.message) else {
        bail!("{:?} is no id of a message", options.message);
    };
    let bus = options.server.connect().await?;
    let steps = decisions(&bus, &id.conversation_id, id.seq).await?;
    for step in &steps {
        println!(
            "{}",
            if options.json {
                serde_json::to_string(step)?
            } else {
                line(step)
            }
        );
    }
    if steps.is_empty() {
        eprintln!("nothing was decided: no member has a device, or the message is younger or older than is known");
    }
    Ok(())
}

/// User and device ids come from outside: nothing in them moves the terminal's cursor.
fn line(step: &Decision) -> String {
    let user = step.user_id.as_str().escape_debug();
    let device = step.device_id.escape_debug();
    let mut line = format!("{}  {}  {user}  {device}  {}", step.at, step.provider, step.step);
    if let Some(reason) = &step.reason {
        line += &format!(": {}", reason.escape_debug());
    }
    if let Some(attempt) = step.attempt {
        line += &format!(" (attempt {attempt})");
    }
    line
}

#[cfg(test)]
mod tests {
    use protocol::{Timestamp, UserId};

    use super::*;

    #[test]
    fn a_line_tells_what_and_why() {
        let step = Decision {
            at: Timestamp::from_millis(0),
            user_id: UserId::parse("ann").unwrap(),
            device_id: "my\nphone".to_owned(),
            provider: "apns",
            step: "suppressed",
            reason: Some("muted".to_owned()),
            attempt: None,
        };
        assert_eq!(
            line(&step),
            "1970-01-01T00:00:00.000Z  apns  ann  my\\nphone  suppressed: muted"
        );
    }
}

//! `parley trace`: what became of a message, for whoever is on call. The message service puts it together; this asks for it
//! and prints it.

mod render;

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use protocol::timeline::ReadTimeline;
use protocol::{ServerId, UserId};

use crate::running::Server;

/// The service gives itself less.
const WITHIN: Duration = Duration::from_secs(10);

/// What `parley trace` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Times are those of the machines that saw it. A time with ≤ says that it had happened by then. A delivery \
                  is known while the device stays connected, and its last ones exactly, within 50 ms; afterwards what it \
                  confirmed is. No text of a message is shown.\n\nThe same as JSON is on every message service's private \
                  port: GET /v1/admin/messages/SERVER_ID/timeline"
)]
pub(crate) struct Options {
    /// The message's server_id, CONVERSATION-SEQ
    #[arg(value_name = "SERVER_ID")]
    message: String,
    /// Only this user's devices, also where a group has more members than are listed
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    #[command(flatten)]
    server: Server,
    /// The timeline as one JSON object
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
///
/// # Errors
/// What is no id, no message, a deployment that does not answer.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if ServerId::parse(&options.message).is_none() {
        bail!("{:?} is no id of a message", options.message);
    }
    let user_id = options.user.as_deref().map(|user| match UserId::parse(user) {
        Some(user) => Ok(user),
        None => bail!("a user's id has 1 to 128 bytes"),
    });
    let request = ReadTimeline {
        server_id: options.message.clone(),
        user_id: user_id.transpose()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let timeline = runtime.block_on(async {
        let bus = options.server.connect().await?;
        let timeline = bus::rpc::call(&bus, &request, WITHIN).await;
        anyhow::Ok(timeline.context("the message service has no timeline for it")?)
    })?;
    if options.json {
        println!("{}", serde_json::to_string(&timeline)?);
    } else {
        print!("{}", render::text(&timeline));
    }
    Ok(())
}

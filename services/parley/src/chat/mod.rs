//! `parley chat`: a terminal client.
//!
//! [`client`] decides everything and touches nothing; [`session`] performs it over [`link`] (WebSocket) and [`api`]
//! (HTTP); [`screen`] and [`plain`] are its two faces. What it leaves out: TLS, attachments of one's own, and groups'
//! settings other than name, members and roles.

mod api;
mod backoff;
mod client;
mod command;
mod editor;
mod escape;
mod feed;
mod keys;
mod link;
mod live;
mod members;
mod news;
mod outbox;
mod paint;
mod people;
mod plain;
mod receipts;
mod room;
mod rooms;
mod screen;
mod server;
mod session;
mod side;
mod subscription;
mod typist;
mod view;
mod wrap;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use lifecycle::Unavailable;
use protocol::{UserId, limits};
use tokio::sync::mpsc;

use crate::data_dir;
use api::{Api, Failure, Target};
use client::{Answer, Client};
use link::Link;
use server::{Server, Tokens};
use session::Session;

/// At the start, for a server whose parts are still coming up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `parley chat` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  parley chat --user ann bob       ann talks to bob; in another terminal:\n  \
                        parley chat --user bob ann\n  parley chat --user ann           choose from ann's \
                        conversations\n\nWithout a terminal each line of stdin is sent, and each message is printed as \
                        one line `SENDER: TEXT`; everything else goes to stderr, what happens in the room after a `*`. \
                        At the end of stdin it waits up to 10 s for the acks; the exit code is 1 if something was not \
                        sent."
)]
pub struct Options {
    /// Who you are
    #[arg(long, value_name = "ID", value_parser = user_id)]
    user: UserId,
    /// The server's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: Server,
    /// The deployment's folder, for its key
    #[arg(long, value_name = "DIR", default_value = data_dir::DEFAULT)]
    data: PathBuf,
    /// A token for a server elsewhere, instead of one made with the deployment's key
    #[arg(long)]
    token: Option<String>,
    /// How many messages to load at a time
    #[arg(long, value_name = "N", default_value_t = limits::HISTORY_DEFAULT,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::HISTORY_MOST)))]
    history: u32,
    /// Without a terminal: print marks (sent, delivered, read) to stderr, too
    #[arg(long, short)]
    verbose: bool,
    /// A user to talk to, or a conversation's id; without it, choose from a list
    #[arg(value_name = "CONVERSATION or USER", value_parser = target)]
    target: Option<Target>,
}

fn user_id(text: &str) -> Result<UserId, String> {
    UserId::parse(text).ok_or_else(|| format!("a user id has 1 to {} bytes", limits::ID_BYTES))
}

fn target(text: &str) -> Result<Target, String> {
    Target::parse(text).ok_or_else(|| format!("a user id has 1 to {} bytes", limits::ID_BYTES))
}

/// Runs until the user leaves.
///
/// # Errors
/// The server is not there or refuses, or something could not be sent.
pub fn run(options: Options) -> anyhow::Result<()> {
    let given = options.token.clone().or_else(|| std::env::var("PARLEY_TOKEN").ok());
    let tokens = match given.filter(|it| !it.is_empty()) {
        Some(token) => Tokens::Given(token),
        None => Tokens::make(options.user.clone(), &options.data)?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let result = runtime.block_on(chat(options, tokens));
    // A read of stdin that nobody waits for must not hold the process.
    runtime.shutdown_background();
    result
}

async fn chat(options: Options, tokens: Tokens) -> anyhow::Result<()> {
    let api = Api::new(options.server.clone(), tokens.clone())?;
    let mut client = Client::new(options.user.clone());
    client.on_answer(first(&api, options.target).await?, Instant::now());
    let (sender, events) = mpsc::channel(session::EVENTS);
    let link = Link::new(options.server, tokens, options.user, sender);
    let session = Session::start(client, api, link, events, options.history);
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        screen::run(session).await
    } else {
        plain::run(session, options.verbose).await
    }
}

/// What the first screen shows. A server that is not there is told at once, one that is coming up is waited for.
async fn first(api: &Api, target: Option<Target>) -> anyhow::Result<Answer> {
    let start = Instant::now();
    loop {
        let answer = match &target {
            Some(target) => api
                .open(target)
                .await
                .map(|it| Answer::Opened(target.clone(), Ok(Box::new(it)))),
            None => api.list().await.map(|it| Answer::Listed(true, Ok(it))),
        };
        match answer {
            Ok(answer) => return Ok(answer),
            Err(Failure {
                words,
                is_unreachable: true,
                ..
            }) => {
                let problem = format!("{words}: start one with `parley up`, or name another");
                return Err(Unavailable::new("--server", problem).into());
            }
            Err(failure) if failure.is_passing && start.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            Err(failure) => return Err(anyhow::Error::msg(failure.words)),
        }
    }
}

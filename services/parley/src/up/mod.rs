//! `parley up`: a whole deployment on this machine, in the foreground.
//!
//! Options and the order of events are here; [`deployment`] holds what runs, [`nats`] and [`mongod`] know the servers.

mod deployment;
mod fake_push;
mod mongod;
mod nats;
mod nats_users;
mod plan;
mod ready;
mod replicas;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use lifecycle::Shutdown;

use crate::data_dir::{self, DataDir};
use crate::processes::leftovers;
use deployment::Deployment;
use plan::Plan;

pub use replicas::Replicas;

/// What `parley up` takes.
#[derive(Debug, Args)]
#[command(
    long_about = "Start everything on this machine and stay in the foreground: NATS and MongoDB as child processes, \
                  unless you name running ones, and the services in this process. Ctrl-C ends it all; the data stays \
                  for the next time.\n\nPrints one line `ready http://HOST:PORT` per connection replica on stdout \
                  when all is ready; everything else goes to stderr.",
    after_help = "The services take their settings from the environment, PARLEY_<SECTION>__<KEY>; what is given here \
                  beats it."
)]
pub struct Options {
    /// Public address of connection-0; further replicas count the port up [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Where all data is, kept over restarts
    #[arg(long, value_name = "DIR", default_value = data_dir::DEFAULT)]
    pub data: PathBuf,
    /// Use these NATS servers (2.15 or newer, with JetStream) and start none
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// Passwords of those NATS servers' users, one for each service: a file as deploy/nats/passwords.conf.example
    #[arg(long, value_name = "FILE", requires = "nats")]
    pub nats_passwords: Option<PathBuf>,
    /// Use this MongoDB replica set and start none
    #[arg(long, value_name = "URI")]
    pub mongodb: Option<String>,
    /// One process per service instead of all in this one
    #[arg(long)]
    pub separate: bool,
    /// How many of each service, such as connection=2,message=2
    #[arg(long, value_name = "SERVICE=N,…", default_value = "", hide_default_value = true)]
    pub replicas: Replicas,
    /// Play Apple, Google and a browser's push service on this machine: `parley push tail` shows what phones would
    #[arg(long)]
    pub fake_push: bool,
    /// Leave a child process that dies dead; by default it is started again after 1 s
    #[arg(long)]
    pub no_restart: bool,
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// Something could not be started, or a service in this process failed; nothing is left running then either.
pub fn run(options: Options) -> anyhow::Result<()> {
    let data = DataDir::create(&options.data)?;
    let _lock = data.lock()?;
    let plan = Plan::new(&options, data)?;
    let _telemetry = telemetry::init(&plan.config.log, "parley")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async { up(plan, Shutdown::on_signals()?).await });
    // Blocking work that was cut short, such as a name look-up, must not hold the process.
    runtime.shutdown_background();
    result
}

async fn up(plan: Plan, shutdown: Shutdown) -> anyhow::Result<()> {
    leftovers::end(&plan.data).await;
    let mut deployment = Deployment::new(plan);
    let started = tokio::select! {
        started = deployment.start() => started,
        () = shutdown.triggered() => Ok(false),
    };
    let lived = match started {
        Ok(true) => live(&deployment, &shutdown).await,
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    let drained = deployment.stop().await;
    lived.and(drained)
}

/// Tells the world, and waits for the end.
async fn live(deployment: &Deployment, shutdown: &Shutdown) -> anyhow::Result<()> {
    deployment.settle();
    let plan = deployment.plan();
    let mut stdout = std::io::stdout().lock();
    for address in &plan.public {
        writeln!(stdout, "ready http://{address}").context("cannot print")?;
    }
    stdout.flush().context("cannot print")?;
    drop(stdout);
    eprintln!("{}", hints(plan));
    tokio::select! {
        () = shutdown.triggered() => {}
        // Why, the drain tells.
        () = deployment.failed() => {}
    }
    eprintln!("parley: ending");
    Ok(())
}

/// What to do next, in words that can be copied.
fn hints(plan: &Plan) -> String {
    let folder = plan.data.path();
    let is_default = std::env::current_dir().is_ok_and(|here| here.join(data_dir::DEFAULT) == folder);
    let data = if is_default {
        String::new()
    } else {
        format!(" --data {}", folder.display())
    };
    let first = plan.public.first().map(SocketAddr::to_string).unwrap_or_default();
    let server = if first == plan::LISTEN.to_string() {
        String::new()
    } else {
        format!(" --server http://{first}")
    };
    let parley = program();
    let phones = deployment_phones(plan, &parley, &data);
    format!(
        "parley: data and logs are in {}; Ctrl-C ends everything, the data stays\n\
         parley: talk from two other terminals:\n\
         \x20   {parley} chat --user ann{server}{data} bob\n\
         \x20   {parley} chat --user bob{server}{data} ann\n\
         parley: a token for a program of yours:\n\
         \x20   {parley} token --user ann{data}{phones}",
        folder.display()
    )
}

/// Where to see what phones would show, if that is played here.
fn deployment_phones(plan: &Plan, parley: &str, data: &str) -> String {
    let page = plan.data.port(fake_push::NAME).filter(|_| plan.fake_push);
    page.map_or_else(String::new, |port| {
        format!(
            "\nparley: what phones would show is on http://127.0.0.1:{port}/ and in\n\
             \x20   {parley} push tail{data}"
        )
    })
}

/// How this program is called from here: by its name where it is on the PATH, else by its path.
fn program() -> String {
    let Ok(here) = std::env::current_exe() else {
        return "parley".to_owned();
    };
    let on_path = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join("parley").canonicalize().is_ok_and(|it| it == here))
    });
    if on_path {
        return "parley".to_owned();
    }
    let inside = std::env::current_dir()
        .ok()
        .and_then(|folder| here.strip_prefix(folder).ok().map(PathBuf::from));
    inside.unwrap_or(here).display().to_string()
}

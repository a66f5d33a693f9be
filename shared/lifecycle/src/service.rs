//! The `main` that all services share: read the configuration, start telemetry, run, exit with a code that says why.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, Command, value_parser};
use config::{Config, ConfigError};
use tokio::net::TcpListener;

use crate::{Shutdown, check, report};

/// For threads that block, when all else has ended.
const THREADS: Duration = Duration::from_millis(500);

/// A service's whole `main`: takes `--config FILE`, once or several times, and hands over to [`run_service`]; with
/// `--check-ready` it asks the service that runs already, and ends.
///
/// ```no_run
/// # mod connection { pub async fn run(_: config::Config, _: tokio::net::TcpListener, _: tokio::net::TcpListener,
/// #     _: lifecycle::Shutdown) -> anyhow::Result<()> { Ok(()) } }
/// fn main() -> std::process::ExitCode {
///     lifecycle::main("connection", "Holds the sockets of clients.", |config, shutdown| async move {
///         let listener = lifecycle::bind("PARLEY_HTTP__LISTEN", config.http.listen).await?;
///         let admin = lifecycle::bind("PARLEY_ADMIN__LISTEN", config.admin.listen).await?;
///         connection::run(config, listener, admin, shutdown).await
///     })
/// }
/// ```
pub fn main<F, R>(name: &'static str, about: &'static str, run: F) -> ExitCode
where
    F: FnOnce(Config, Shutdown) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .action(ArgAction::Append)
        .help(
            "Settings in TOML; of several files a later one beats an earlier one, and environment variables \
             PARLEY_<SECTION>__<KEY> beat them all",
        );
    let check = Arg::new("check-ready")
        .long("check-ready")
        .action(ArgAction::SetTrue)
        .help("Ask the one that runs here, with the same settings, whether it is ready; exit 0 if it is");
    let arguments = Command::new(name).about(about).args([file, check]).get_matches();
    let files = arguments.get_many::<PathBuf>("config").unwrap_or_default();
    let files = files.map(PathBuf::as_path);
    match arguments.get_flag("check-ready") {
        true => check_ready(name, files),
        false => run_service(name, files, run),
    }
}

/// Asks the private port that the settings name. Nothing is started, and no telemetry.
fn check_ready<'a>(name: &str, files: impl IntoIterator<Item = &'a Path>) -> ExitCode {
    let ready = Config::load(files, |_| {})
        .map_err(anyhow::Error::from)
        .and_then(|config| check(config.admin.listen, "/readyz"));
    match ready {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(report(name, &error)),
    }
}

/// Runs a service in this process until it ends or SIGINT or SIGTERM has drained it.
///
/// The whole configuration is read and checked before `run` binds or connects to anything. A failure is one line on
/// stderr and exit code 64, 69 or 1.
pub fn run_service<'a, F, R>(name: &'static str, files: impl IntoIterator<Item = &'a Path>, run: F) -> ExitCode
where
    F: FnOnce(Config, Shutdown) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    let result = Config::load(files, |_| {})
        .map_err(anyhow::Error::from)
        .and_then(|config| {
            let _telemetry = telemetry::init(&config.log, &format!("parley-{name}"))?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let result = runtime.block_on(async { run(config, Shutdown::on_signals()?).await });
            // A thread that waits for a name server is not waited for.
            runtime.shutdown_timeout(THREADS);
            result
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(report(name, &error)),
    }
}

/// Listens on a configured address.
///
/// # Errors
/// A [`ConfigError`] naming `setting` and the address if it is taken or not this machine's.
pub async fn bind(setting: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| ConfigError::new(setting, format!("cannot listen on {address}: {error}")).into())
}

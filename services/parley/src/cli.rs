//! The command line: which subcommands there are. What each takes is declared in its own file.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{bench, chat, fake_push, push, service, setup, token, trace, up, verify};

#[derive(Debug, Parser)]
#[command(
    name = "parley",
    version,
    about = "Runs and uses Parley, a chat backend",
    after_help = "Start here:\n  parley up                    everything on this machine, until Ctrl-C\n  parley token --user ann      \
                  a token for ann, in a second terminal\n  parley chat --user ann bob   ann talks to bob, in a second \
                  terminal\n\nSettings: environment variables PARLEY_<SECTION>__<KEY>, such as PARLEY_LOG__LEVEL=info."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything on this machine and stay in the foreground
    Up(up::Options),
    /// Print a development token for a deployment that `parley up` started, and nothing else
    Token(token::Options),
    /// Talk to another user in this terminal
    Chat(chat::Options),
    /// Compare the log of a running deployment with MongoDB
    Verify(verify::Options),
    /// Tell what became of a message: accepted, logged, projected, delivered, confirmed, read, pushed or not and why
    Trace(trace::Options),
    /// Look after push notifications: decisions, dead letters, what phones would show
    Push(push::Options),
    /// Prepare a deployment in containers: keys, MongoDB's replica set
    Setup(setup::Options),
    /// Play Apple, Google and a browser's push service, and nothing else
    FakePush(fake_push::Options),
    /// Put load on a deployment and measure it
    Bench(bench::Options),
    /// One service as a process of its own, as `parley up --separate` starts it
    #[command(hide = true)]
    Service(service::Options),
}

/// Runs the process's command line to its end.
///
/// A failure is one line on stderr; the exit code is 2 for a wrong command line, 64 for a wrong setting, 69 for a
/// server that did not answer, else 1.
pub fn run() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Up(options) => up::run(options),
        Command::Token(options) => token::run(&options),
        Command::Chat(options) => chat::run(options),
        Command::Verify(options) => match verify::run(&options) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Trace(options) => trace::run(&options),
        Command::Push(options) => push::run(&options),
        Command::Setup(options) => setup::run(&options),
        Command::FakePush(options) => return fake_push::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Service(options) => return service::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(lifecycle::report("parley", &error)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}

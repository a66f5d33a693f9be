//! The tool `parley`: reads the command line, hands over to the subcommand, exits with a code that says why.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    parley::run()
}

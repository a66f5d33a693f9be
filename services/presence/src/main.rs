//! The presence service as a process of its own.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lifecycle::main(
        "presence",
        "Knows who is online, and who is in which room.",
        |config, shutdown| async move {
            let admin = lifecycle::bind("PARLEY_ADMIN__LISTEN", config.admin.listen).await?;
            presence::run(config, admin, shutdown).await
        },
    )
}

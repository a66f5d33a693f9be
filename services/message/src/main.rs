//! The message service as a process of its own.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lifecycle::main(
        "message",
        "Orders, stores and finds the messages of conversations.",
        |config, shutdown| async move {
            let admin = lifecycle::bind("PARLEY_ADMIN__LISTEN", config.admin.listen).await?;
            message::run(config, admin, shutdown).await
        },
    )
}

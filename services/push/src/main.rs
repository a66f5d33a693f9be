//! The push service as a process of its own.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lifecycle::main(
        "push",
        "Notifies the devices that did not get a message.",
        |config, shutdown| async move {
            let admin = lifecycle::bind("PARLEY_ADMIN__LISTEN", config.admin.listen).await?;
            push::run(config, admin, shutdown).await
        },
    )
}

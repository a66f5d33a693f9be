//! The connection service as a process of its own.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    lifecycle::main(
        "connection",
        "Holds the sockets of Parley's clients.",
        |config, shutdown| async move {
            let listener = lifecycle::bind("PARLEY_HTTP__LISTEN", config.http.listen).await?;
            let admin = lifecycle::bind("PARLEY_ADMIN__LISTEN", config.admin.listen).await?;
            connection::run(config, listener, admin, shutdown).await
        },
    )
}

//! The wish that a process, or a part of it, comes to its end.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Told once, heard by all clones. Whoever hears it stops taking new work, finishes what it has, and returns.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// One that only [`Shutdown::trigger`] fires.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that SIGINT or SIGTERM fires too. Both stay caught: a second signal does not kill.
    ///
    /// # Errors
    /// The signals cannot be caught. Must be called within a tokio runtime.
    pub fn on_signals() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = Self::new();
        let told = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => tracing::info!("SIGINT: shutting down"),
                _ = terminate.recv() => tracing::info!("SIGTERM: shutting down"),
                () = told.triggered() => {}
            }
            told.trigger();
        });
        Ok(shutdown)
    }

    /// Fires; again is nothing more.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether it has fired.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it fires. Dropping the future loses nothing.
    pub async fn triggered(&self) {
        self.0.cancelled().await;
    }

    /// One that fires with this one, or by itself without firing this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }
}

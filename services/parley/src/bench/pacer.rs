//! Waits until an instant, finer than the runtime's timer, whose millisecond would be most of a latency measured.

use std::time::Instant;

#[cfg(target_os = "linux")]
pub(super) use linux::Pacer;

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::Pacer;

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{AsFd, AsRawFd, RawFd};

    use nix::sys::time::TimeSpec;
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
    use tokio::io::unix::AsyncFd;

    use super::Instant;

    struct Timer(TimerFd);

    impl AsRawFd for Timer {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }
    }

    /// A kernel timer that the runtime waits for like for a socket.
    pub(in crate::bench) struct Pacer(AsyncFd<Timer>);

    impl Pacer {
        /// # Errors
        /// No file descriptor is left.
        pub(in crate::bench) fn new() -> std::io::Result<Self> {
            let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
            let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
            // SAFETY: the descriptor is the timer's own, always the same one, and closed only with it.
            let registered = unsafe { AsyncFd::register(Timer(timer)) };
            Ok(Self(registered?))
        }

        /// # Errors
        /// None that a kernel with timers gives.
        pub(in crate::bench) async fn until(&self, due: Instant) -> std::io::Result<()> {
            let wait = due.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Ok(());
            }
            let expiration = Expiration::OneShot(TimeSpec::from_duration(wait));
            self.0.get_ref().0.set(expiration, TimerSetTimeFlags::empty())?;
            loop {
                let mut ready = self.0.readable().await?;
                // Reading says whether it has fired, and makes it silent again.
                if ready.try_io(|timer| Ok(timer.get_ref().0.wait()?)).is_ok() {
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use super::Instant;

    /// The runtime's own timer: latencies read up to a millisecond too high.
    pub(in crate::bench) struct Pacer;

    impl Pacer {
        /// # Errors
        /// None.
        pub(in crate::bench) fn new() -> std::io::Result<Self> {
            Ok(Self)
        }

        /// # Errors
        /// None.
        pub(in crate::bench) async fn until(&self, due: Instant) -> std::io::Result<()> {
            tokio::time::sleep_until(due.into()).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_never_wakes_early_and_can_be_used_again() {
        let pacer = Pacer::new().unwrap();
        for _ in 0..3 {
            let due = Instant::now() + Duration::from_micros(700);
            pacer.until(due).await.unwrap();
            assert!(Instant::now() >= due);
        }
        pacer.until(Instant::now()).await.unwrap();
    }
}

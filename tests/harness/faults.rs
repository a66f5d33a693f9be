//! Breaking things that come back later.

use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use super::deployment::Deployment;
use super::process;

/// A server of a deployment that was killed, and can be started again as it was.
pub struct Killed {
    line: Vec<String>,
    mark: std::path::PathBuf,
}

/// The same server, started again by the test; ends with this value.
pub struct Revived(Child);

impl Deployment {
    /// kill -9 of a server that `up` will not start again (`--no-restart`).
    pub fn kill_for_good(&self, name: &str) -> Killed {
        let line = process::command_line(self.pid(name));
        self.kill(name);
        Killed {
            line,
            mark: self.mark().into(),
        }
    }
}

impl Killed {
    /// Starts it as it was: same program, arguments, ports and data.
    pub fn revive(&self) -> Revived {
        let mut command = Command::new(&self.line[0]);
        command.args(&self.line[1..]).env("TEST_DEPLOYMENT", &self.mark);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Revived(process::spawn(command).expect("it started before"))
    }
}

impl Drop for Revived {
    fn drop(&mut self) {
        process::signal(self.0.id() as i32, Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

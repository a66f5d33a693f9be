//! Ends what a former `parley up` left running. Rare: children die with their parent, see [`super::spawn`].

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::data_dir::DataDir;

/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills the processes named in `pids` that still run and are this deployment's own; forgets them all.
///
/// Process ids are used again: one whose command line does not name the deployment's folder is left alone.
pub async fn end(data: &DataDir) {
    for name in data.children() {
        if let Some(pid) = data.pid(&name).filter(|pid| is_ours(*pid, data.path())) {
            eprintln!("parley: ending {name} (process {pid}), left over from an earlier run");
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            let deadline = Instant::now() + PATIENCE;
            while is_ours(pid, data.path()) && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        data.remove_child(&name);
    }
}

/// Whether one of the process's arguments is the folder or lies in it. A process that has ended has no arguments.
fn is_ours(pid: i32, folder: &Path) -> bool {
    if pid <= 1 {
        return false;
    }
    let command_line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    names(&command_line, folder)
}

fn names(command_line: &[u8], folder: &Path) -> bool {
    let mut arguments = command_line
        .split(|byte| *byte == 0)
        .skip(1)
        .filter_map(|bytes| std::str::from_utf8(bytes).ok());
    arguments.any(|argument| Path::new(argument).starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_names_the_folder_is_ours() {
        let folder = Path::new("/srv/chat/.parley");
        assert!(names(
            b"/bin/nats-server\0-c\0/srv/chat/.parley/nats/nats.conf\0",
            folder
        ));
        assert!(names(b"parley\0service\0message\0--data\0/srv/chat/.parley\0", folder));
        assert!(!names(
            b"/bin/nats-server\0-c\0/srv/chat/.parley2/nats/nats.conf\0",
            folder
        ));
        assert!(!names(b"/srv/chat/.parley/editor\0", folder));
        assert!(!names(b"", folder));
        assert!(!is_ours(1, Path::new("/")));
    }

    #[tokio::test]
    async fn an_innocent_process_with_a_used_pid_lives_on() {
        let path = std::env::temp_dir().join(format!("parley-left-{}", std::process::id()));
        let data = DataDir::create(&path).unwrap();
        drop(data.lock().unwrap());
        let mut innocent = tokio::process::Command::new("sleep")
            .arg("30")
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        data.write_child("nats", innocent.id().unwrap(), 1).unwrap();
        let mut script = tokio::process::Command::new("sh");
        script
            .args(["-c", "sleep 30; :", &data.join("mongod").display().to_string()])
            .kill_on_drop(true);
        let mut ours = script.spawn().unwrap();
        // Right after its start a process has no arguments to be seen yet.
        while !is_ours(ours.id().unwrap().cast_signed(), data.path()) {
            tokio::task::yield_now().await;
        }
        data.write_child("mongod", ours.id().unwrap(), 1).unwrap();
        tokio::join!(end(&data), ours.wait()).1.unwrap();
        assert!(innocent.try_wait().unwrap().is_none());
        assert!(data.children().is_empty());
        std::fs::remove_dir_all(path).unwrap();
    }
}

//! Operating system processes: started so that they end with this test process, found by a mark, ended by their id.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{LazyLock, Mutex, mpsc};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

/// The thread that starts all processes. The kernel's parent-death signal follows the *thread* that forked, and the
/// thread of a test ends with it: a shared deployment would die with the first test that used it.
static SPAWNER: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    std::thread::Builder::new()
        .name("spawner".into())
        .spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        })
        .expect("a thread for starting processes");
    Mutex::new(orders)
});

/// Starts a process that is killed when this test process ends, however it ends.
pub fn spawn(mut command: Command) -> std::io::Result<Child> {
    // SAFETY: prctl is a plain system call, safe between fork and exec.
    unsafe {
        command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(Into::into));
    }
    let (answer, outcome) = mpsc::channel();
    SPAWNER
        .lock()
        .unwrap()
        .send((command, answer))
        .expect("the spawner lives as long as the tests");
    outcome.recv().expect("the spawner answers")
}

/// Sends a signal; a process that is gone already is not an error.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Whether the process exists and is no zombie.
pub fn is_alive(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    !matches!(state(&stat), Some('Z' | 'X') | None)
}

/// Whether each thread of a process is stopped.
pub fn stands_still(pid: i32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let mut stats = threads
        .flatten()
        .filter_map(|it| std::fs::read_to_string(it.path().join("stat")).ok());
    stats.all(|it| matches!(state(&it), Some('T' | 'Z' | 'X')))
}

/// The letter in a `stat` of /proc.
fn state(stat: &str) -> Option<char> {
    stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next())
}

/// The command line of a running process, to start the same again.
pub fn command_line(pid: i32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).expect("a running process has a command line");
    bytes
        .split(|&b| b == 0)
        .filter(|it| !it.is_empty())
        .map(|it| String::from_utf8_lossy(it).into_owned())
        .collect()
}

/// Every process, this one excepted, whose environment or command line names `mark`.
pub fn marked(mark: &Path) -> Vec<(i32, String)> {
    let mark = mark.to_str().expect("paths of tests are text");
    let own = std::process::id() as i32;
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|&pid| pid != own && is_alive(pid))
        .filter_map(|pid| {
            let read = |what| std::fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
            let (line, environment) = (read("cmdline"), read("environ"));
            let holds = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(mark);
            let words = || String::from_utf8_lossy(&line).replace('\0', " ");
            (holds(&line) || holds(&environment)).then(|| (pid, words()))
        })
        .collect()
}

/// Waits until nothing carries the mark any more; what is left after the deadline otherwise.
pub fn wait_until_none_marked(mark: &Path, patience: Duration) -> Vec<(i32, String)> {
    let deadline = Instant::now() + patience;
    loop {
        let left = marked(mark);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

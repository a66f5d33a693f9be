//! Starts a process that dies with this one, however this one dies.

use std::io::{Error, ErrorKind};
use std::process::{Output, Stdio};
use std::sync::{OnceLock, mpsc};

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

struct Job {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<std::io::Result<Child>>,
}

/// Starts `command`. The child is killed when this process ends, even by kill -9, and when the [`Child`] is dropped.
///
/// # Errors
/// The program cannot be started.
pub async fn spawn(mut command: Command) -> std::io::Result<Child> {
    die_with_parent(&mut command);
    command.kill_on_drop(true);
    let (reply, answer) = oneshot::channel();
    let job = Job {
        command,
        runtime: Handle::current(),
        reply,
    };
    let gone = || Error::new(ErrorKind::BrokenPipe, "the thread that starts processes is gone");
    spawner()?.send(job).map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

/// Runs `command` to its end and gives what it said; its standard input is empty.
///
/// # Errors
/// The program cannot be started.
pub async fn output(mut command: Command) -> std::io::Result<Output> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    spawn(command).await?.wait_with_output().await
}

/// The kernel's parent-death signal comes when the *thread* that started the child ends, and the runtime's threads
/// come and go: so all children are started by one thread that lives as long as the process.
fn spawner() -> std::io::Result<&'static mpsc::Sender<Job>> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    if let Some(spawner) = SPAWNER.get() {
        return Ok(spawner);
    }
    let (jobs, queue) = mpsc::channel::<Job>();
    std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
        for mut job in queue {
            let _runtime = job.runtime.enter();
            // Nobody waits any more: dropping the child ends it.
            let _ = job.reply.send(job.command.spawn());
        }
    })?;
    // Two first calls at once make two threads; the loser's ends with its queue, having started nothing.
    Ok(SPAWNER.get_or_init(|| jobs))
}

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    let parent = nix::unistd::Pid::this();
    let in_child = move || {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        // It may have died before the call above: then no signal will come.
        if nix::unistd::getppid() == parent {
            Ok(())
        } else {
            Err(Error::from(ErrorKind::NotFound))
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(in_child);
    }
}

/// Elsewhere nothing of the kind exists; leftovers are ended at the next start.
#[cfg(not(target_os = "linux"))]
fn die_with_parent(_command: &mut Command) {}

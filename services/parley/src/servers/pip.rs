//! Gets one Python package and unpacks it, with whatever this machine has for that: pip, uv, or Debian's own copy of pip.
//!
//! All of them read the machine's own configuration, so nothing here knows where packages come from.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

use super::on_path;
use crate::processes::spawn;

enum Tool {
    /// `python3 -m pip`, with PYTHONPATH where pip is not installed but a copy lies there.
    Module(Option<PathBuf>),
    Pip3,
    Uv,
}

/// Downloads `requirement` (`name==version`) into `work` and gives the folder of its unpacked files. What the tools
/// print goes to stderr: it is the progress.
pub(super) async fn download(requirement: &str, work: &Path) -> anyhow::Result<PathBuf> {
    let tool = find_tool(work).await?;
    let (wheels, unpacked) = (work.join("wheels"), work.join("unpacked"));
    let mut command = match &tool {
        Tool::Module(path) => {
            let mut command = Command::new("python3");
            command.args(["-m", "pip"]);
            if let Some(path) = path {
                command.env("PYTHONPATH", path);
            }
            command
        }
        Tool::Pip3 => Command::new("pip3"),
        Tool::Uv => Command::new("uv"),
    };
    match tool {
        Tool::Uv => {
            // uv cannot download only; installing into a folder unpacks as well.
            command.args(["pip", "install", "--no-deps", "--only-binary", ":all:", "--target"]);
            command.arg(&unpacked).arg(requirement);
            run(command).await?;
        }
        Tool::Module(_) | Tool::Pip3 => {
            command.args([
                "download",
                "--disable-pip-version-check",
                "--no-deps",
                "--only-binary",
                ":all:",
                "-d",
            ]);
            command.arg(&wheels).arg(requirement);
            run(command).await?;
            unpack(&wheels, &unpacked).await?;
        }
    }
    Ok(unpacked)
}

async fn unpack(wheels: &Path, target: &Path) -> anyhow::Result<()> {
    let files = std::fs::read_dir(wheels)?.flatten().map(|entry| entry.path());
    for wheel in files.filter(|path| path.extension() == Some(OsStr::new("whl"))) {
        let mut command = Command::new("python3");
        command.args(["-m", "zipfile", "-e"]).arg(wheel).arg(target);
        run(command).await?;
    }
    Ok(())
}

async fn find_tool(work: &Path) -> anyhow::Result<Tool> {
    let python = on_path("python3").is_some();
    if python && succeeds("python3", &["-m", "pip", "--version"]).await {
        return Ok(Tool::Module(None));
    }
    if python && succeeds("pip3", &["--version"]).await {
        return Ok(Tool::Pip3);
    }
    if succeeds("uv", &["--version"]).await {
        return Ok(Tool::Uv);
    }
    if python && on_path("apt-get").is_some() && on_path("dpkg-deb").is_some() {
        return debian(&work.join("pip")).await.map(|wheel| Tool::Module(Some(wheel)));
    }
    bail!("that takes python3 with pip, or uv: on Debian or Ubuntu `apt-get install python3-pip`")
}

/// Debian keeps pip as a wheel in a package of its own; a wheel runs from where it lies. Nothing is installed.
async fn debian(folder: &Path) -> anyhow::Result<PathBuf> {
    eprintln!("parley: no pip here: borrowing Debian's for this one time");
    std::fs::create_dir_all(folder)?;
    if let Err(first) = apt_download(folder).await {
        if !nix::unistd::geteuid().is_root() {
            return Err(first.context("pip is missing: `apt-get install python3-pip`"));
        }
        // A fresh image has no package lists yet.
        let mut update = Command::new("apt-get");
        update.arg("update");
        run(update).await?;
        apt_download(folder)
            .await
            .context("pip is missing: `apt-get install python3-pip`")?;
    }
    let mut packages = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let package = packages.find(|path| path.extension() == Some(OsStr::new("deb")));
    let mut extract = Command::new("dpkg-deb");
    extract
        .arg("-x")
        .arg(package.context("apt-get downloaded no package")?)
        .arg(folder);
    run(extract).await?;
    let wheels = std::fs::read_dir(folder.join("usr/share/python-wheels"))?
        .flatten()
        .map(|entry| entry.path());
    let is_pip = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("pip-"))
    };
    wheels.into_iter().find(is_pip).context("Debian's package holds no pip")
}

async fn apt_download(folder: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["download", "python3-pip-whl"]).current_dir(folder);
    run(command).await
}

async fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments);
    spawn::output(command).await.is_ok_and(|output| output.status.success())
}

async fn run(mut command: Command) -> anyhow::Result<()> {
    // Standard output is for the `ready` lines alone.
    let stderr = std::io::stderr().as_fd().try_clone_to_owned()?;
    command.stdin(Stdio::null()).stdout(stderr).stderr(Stdio::inherit());
    let shown = format!("{:?}", command.as_std());
    let status = spawn::spawn(command)
        .await
        .with_context(|| format!("cannot run {shown}"))?
        .wait()
        .await?;
    if status.success() {
        Ok(())
    } else {
        bail!("{shown} failed, see above")
    }
}

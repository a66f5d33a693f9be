//! A service and the NATS server that it logs in to: who is let in, and what is said where somebody is not.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::harness::{Nats, PATIENCE, free_ports, nats_password, new_nats_folder, process, until};

/// A service as a process; the presence service, where it does not matter which: it needs nothing but NATS.
struct Service {
    child: Child,
    stderr: PathBuf,
    admin: u16,
}

impl Service {
    fn start(url: &str, user: &str, password: &str, ca_file: Option<&Path>) -> Self {
        Self::of("presence", url, user, password, ca_file)
    }

    fn of(kind: &str, url: &str, user: &str, password: &str, ca_file: Option<&Path>) -> Self {
        let folder = new_nats_folder();
        let (stderr, admin) = (folder.join("stderr"), free_ports(1));
        let mut command = Command::new(env!("CARGO_BIN_EXE_parley"));
        command.args(["service", kind]).env("PARLEY_NATS__URL", url);
        command.env("PARLEY_ADMIN__LISTEN", format!("127.0.0.1:{admin}"));
        command.env("PARLEY_HTTP__LISTEN", "127.0.0.1:0");
        command.env("PARLEY_AUTH__HS256_SECRET", "0123456789abcdef0123456789abcdef");
        command
            .env("PARLEY_LOG__FORMAT", "text")
            .env("PARLEY_NATS__WAIT", "20s");
        if !user.is_empty() {
            command
                .env("PARLEY_NATS__USER", user)
                .env("PARLEY_NATS__PASSWORD", password);
        }
        if let Some(file) = ca_file {
            command.env("PARLEY_NATS__CA_FILE", file);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(&stderr).unwrap());
        let child = process::spawn(command).unwrap();
        Self { child, stderr, admin }
    }

    fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    async fn probe(&self, probe: &str) -> Option<(u16, String)> {
        let answer = reqwest::get(format!("http://127.0.0.1:{}/{probe}", self.admin))
            .await
            .ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    async fn until_ready(&self, ready: bool) {
        let status = if ready { 200 } else { 503 };
        until(&format!("readiness {ready}"), Duration::from_secs(20), async || {
            (self.probe("readyz").await?.0 == status).then_some(())
        })
        .await;
    }

    /// Waits until it has ended by itself with the exit code of a wrong setting, long before it gives up a server that is
    /// away; its last line.
    async fn refused(mut self) -> String {
        let status = until("it to end", Duration::from_secs(15), async || {
            self.child.try_wait().unwrap()
        })
        .await;
        assert_eq!(status.code(), Some(64), "{}", self.stderr());
        self.stderr().lines().last().unwrap_or_default().to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(self.stderr.parent().unwrap());
    }
}

fn url(nats: &Nats) -> String {
    format!("nats://127.0.0.1:{}", nats.port())
}

#[tokio::test]
async fn a_wrong_password_is_a_wrong_setting_and_is_not_shown() {
    let nats = Nats::plain().await;
    let line = Service::start(&url(&nats), "presence", "hush-hush", None)
        .refused()
        .await;
    assert!(line.starts_with("presence: PARLEY_NATS__PASSWORD: "), "{line}");
    assert!(!line.contains("hush-hush"), "{line}");
}

#[tokio::test]
async fn no_user_where_one_is_wanted_is_a_wrong_setting() {
    let nats = Nats::plain().await;
    let line = Service::start(&url(&nats), "", "", None).refused().await;
    assert!(line.starts_with("presence: PARLEY_NATS__USER: "), "{line}");
}

#[tokio::test]
async fn user_and_password_may_stand_in_the_address() {
    let nats = Nats::plain().await;
    let password = nats_password("presence").replace(' ', "%20");
    let url = format!("nats://presence:{password}@127.0.0.1:{}", nats.port());
    Service::start(&url, "", "", None).until_ready(true).await;
}

/// An authority's file, and the lines that let a server show a certificate of it.
fn authority(folder: &Path, name: &str) -> (PathBuf, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let file = folder.join(format!("{name}.ca.pem"));
    std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::from_params(&params, key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    let path = |name: &str| serde_json::json!(folder.join(name));
    let tls = format!(
        "tls {{ cert_file: {}, key_file: {} }}\n",
        path("server.pem"),
        path("server.key")
    );
    (file, tls)
}

#[tokio::test]
async fn a_server_is_believed_by_the_roots_that_are_set_and_by_no_others() {
    let folder = new_nats_folder();
    let (other, _) = authority(&folder, "other");
    let (right, tls) = authority(&folder, "right");
    let nats = Nats::start(&folder, &tls).await;
    let password = nats_password("presence");
    let line = Service::start(&url(&nats), "presence", &password, Some(&other))
        .refused()
        .await;
    assert!(line.starts_with("presence: PARLEY_NATS__CA_FILE: "), "{line}");
    Service::start(&url(&nats), "presence", &password, Some(&right))
        .until_ready(true)
        .await;
}

#[tokio::test]
async fn a_password_that_holds_no_more_makes_unready_and_is_told_once() {
    let nats = Nats::plain().await;
    let service = Service::start(&url(&nats), "presence", &nats_password("presence"), None);
    service.until_ready(true).await;
    nats.change_passwords("!");
    service.until_ready(false).await;
    // Several attempts to connect again.
    tokio::time::sleep(Duration::from_secs(2)).await;
    nats.change_passwords("");
    service.until_ready(true).await;
    let stderr = service.stderr();
    let told = stderr.matches("NATS cannot be connected to").count();
    assert_eq!(told, 1, "{stderr}");
}

#[tokio::test]
async fn a_denied_subject_is_an_error_in_the_log_and_counted() {
    let nats = Nats::plain().await;
    // The presence service may not make its bucket as somebody else.
    let service = Service::start(&url(&nats), "connection", &nats_password("connection"), None);
    until("the metric", PATIENCE, async || {
        let metrics = service.probe("metrics").await?.1;
        let line = metrics
            .lines()
            .find(|it| it.starts_with("parley_nats_permission_denied_total"))?;
        (!line.ends_with(" 0")).then_some(())
    })
    .await;
    let stderr = service.stderr();
    let told =
        |line: &str| line.contains("ERROR") && line.contains("NATS denied a subject") && line.contains("$JS.API.");
    assert!(stderr.lines().any(told), "{stderr}");
}

#[tokio::test]
async fn a_service_that_waits_for_nats_ends_when_it_is_told_to() {
    for kind in ["connection", "message", "presence", "push"] {
        let url = format!("nats://127.0.0.1:{}", free_ports(1));
        let mut service = Service::of(kind, &url, "", "", None);
        until("an answer to probes", PATIENCE, async || service.probe("healthz").await).await;
        process::signal(service.child.id() as i32, Signal::SIGTERM);
        let status = until(&format!("the end of {kind}"), Duration::from_secs(5), async || {
            service.child.try_wait().unwrap()
        })
        .await;
        assert_eq!(status.code(), Some(0), "{kind}: {}", service.stderr());
    }
}

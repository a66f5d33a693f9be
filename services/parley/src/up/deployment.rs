//! What `parley up` holds while it runs: the servers, the services, and the order in which they end.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::bail;
use futures_util::future::{try_join, try_join_all};
use lifecycle::{Shutdown, Tasks};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};

use super::nats_users::Users;
use super::plan::{Plan, Replica};
use super::{fake_push, mongod, nats, ready};
use crate::processes::{Processes, Spec};
use crate::servers;
use crate::service::Kind;

/// From the wish to end until nothing runs any more; just under the ten seconds promised.
const DRAIN: Duration = Duration::from_millis(9_500);

/// Of it, what is kept for NATS and MongoDB.
const SERVERS_DRAIN: Duration = Duration::from_millis(2_500);

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Deployment {
    plan: Plan,
    processes: Processes,
    /// The services in this process, by kind; empty with `--separate`.
    inside: Vec<Inside>,
    /// The users of NATS, if it was started here.
    users: Option<Users>,
    /// Fired by a service in this process that fails.
    failed: Shutdown,
    /// Push providers that are played here.
    fake_push: Option<fake_push::Played>,
}

#[derive(Debug)]
struct Inside {
    kind: Kind,
    shutdown: Shutdown,
    tasks: Tasks,
}

impl Deployment {
    pub(super) fn new(plan: Plan) -> Self {
        let processes = Processes::new(plan.data.clone(), plan.restart);
        Self {
            plan,
            processes,
            inside: Vec::new(),
            users: None,
            failed: Shutdown::new(),
            fake_push: None,
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Starts everything and returns true when all of it is ready; false if a service in this process failed, whose
    /// error then comes out of [`Deployment::stop`]. May be dropped half-way: that ends what was started, too.
    pub(super) async fn start(&mut self) -> anyhow::Result<bool> {
        let ((nats, users), mongodb) = tokio::select! {
            servers = self.start_servers() => servers?,
            error = self.processes.failure() => return Err(error),
        };
        self.users = users;
        self.plan.config.nats.url = nats;
        self.plan.config.mongodb.uri = mongodb;
        if self.plan.fake_push {
            let played = fake_push::start(&self.plan.data).await?;
            self.plan.config.push = played.settings.clone();
            self.fake_push = Some(played);
        }
        if !self.plan.separate {
            self.start_inside().await?;
        }
        let services = async {
            if self.plan.separate {
                self.start_separate().await?;
            }
            try_join_all(
                self.plan
                    .replicas
                    .iter()
                    .map(|replica| ready::service(&replica.name, replica.admin_port)),
            )
            .await
        };
        tokio::select! {
            ready = services => ready.map(|_| true),
            error = self.processes.failure() => Err(error),
            () = self.failed.triggered() => Ok(false),
        }
    }

    /// Both at once: MongoDB alone takes most of the time that a start takes. But found one after the other: package
    /// tools do not like their own company.
    async fn start_servers(&self) -> anyhow::Result<((String, Option<Users>), String)> {
        let (plan, processes) = (&self.plan, &self.processes);
        let nats_program = if plan.own_nats {
            Some(servers::NATS.find().await?)
        } else {
            None
        };
        let mongod_program = if plan.own_mongod {
            Some(servers::MONGOD.find().await?)
        } else {
            None
        };
        let nats = async {
            match nats_program {
                Some(program) => {
                    let (url, users) = nats::start(program, processes, &plan.data).await?;
                    Ok((url, Some(users)))
                }
                None => Ok((plan.config.nats.url.clone(), plan.nats_users.clone())),
            }
        };
        let mongodb = async {
            match mongod_program {
                Some(program) => mongod::start(program, processes, &plan.data).await,
                None => Ok(plan.config.mongodb.uri.clone()),
            }
        };
        try_join(nats, mongodb).await
    }

    async fn start_inside(&mut self) -> anyhow::Result<()> {
        for kind in Kind::ALL {
            let inside = Inside {
                kind,
                shutdown: Shutdown::new(),
                tasks: Tasks::new(self.failed.clone()),
            };
            for replica in self.plan.replicas.iter_mut().filter(|replica| replica.kind == kind) {
                let mut config = self.plan.config.clone();
                if let Some(users) = &self.users {
                    users.log_in(kind, &mut config.nats);
                }
                config.admin.listen = private(replica.admin_port);
                config.http.listen = replica.listen.unwrap_or(config.http.listen);
                let public = replica.listener.take().map(TcpListener::from_std).transpose()?;
                let admin = lifecycle::bind("the private port", config.admin.listen).await?;
                let (name, shutdown) = (replica.name.clone(), inside.shutdown.clone());
                inside.tasks.spawn(name, async move {
                    kind.start(config, public, admin, shutdown.clone()).await?;
                    if shutdown.is_triggered() {
                        Ok(())
                    } else {
                        bail!("it ended though nobody asked it to")
                    }
                });
            }
            self.inside.push(inside);
        }
        Ok(())
    }

    async fn start_separate(&self) -> anyhow::Result<()> {
        let program = std::env::current_exe()?;
        for replica in &self.plan.replicas {
            let mut arguments = vec!["service".into(), replica.kind.name().into(), "--data".into()];
            arguments.push(self.plan.data.path().into());
            let spec = Spec {
                name: replica.name.clone(),
                program: program.clone(),
                arguments,
                environment: self.environment(replica),
                port: replica.admin_port,
            };
            self.processes.start(spec).await?;
        }
        Ok(())
    }

    /// What a child is told beyond this process's own environment, which it inherits.
    fn environment(&self, replica: &Replica) -> Vec<(Cow<'static, str>, String)> {
        let mut variables = environment(&self.plan, replica, self.fake_push.as_ref());
        if let Some(users) = &self.users {
            let mut nats = self.plan.config.nats.clone();
            users.log_in(replica.kind, &mut nats);
            variables.extend([
                ("PARLEY_NATS__USER".into(), nats.user.unwrap_or_default()),
                ("PARLEY_NATS__PASSWORD".into(), nats.password.unwrap_or_default()),
                // What this process inherited for another login, or another server.
                ("PARLEY_NATS__CREDENTIALS".into(), String::new()),
                (
                    "PARLEY_NATS__CA_FILE".into(),
                    nats.ca_file.map(|it| it.display().to_string()).unwrap_or_default(),
                ),
            ]);
        }
        variables
    }

    /// All is ready: from now on a child that dies is no failed start.
    pub(super) fn settle(&self) {
        self.processes.settle();
    }

    /// Waits for the failure of a service in this process.
    pub(super) async fn failed(&self) {
        self.failed.triggered().await;
    }

    /// Drains the services, callers before called, then ends the servers. Returns when nothing runs any more.
    ///
    /// # Errors
    /// The failure of a service in this process.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let end = Instant::now() + DRAIN;
        let services_end = end - SERVERS_DRAIN;
        let mut result = Ok(());
        for kind in Kind::ALL {
            // Whoever comes later must have a part of the time left.
            let deadline = Instant::now() + (services_end - Instant::now()) * 2 / 3;
            for inside in self.inside.iter().filter(|inside| inside.kind == kind) {
                inside.shutdown.trigger();
                match timeout_at(deadline, inside.tasks.wait()).await {
                    Ok(ended) => result = result.and(ended),
                    Err(_) => eprintln!("parley: {} did not drain in time", kind.name()),
                }
            }
            let prefix = format!("{}-", kind.name());
            self.processes.stop(|name| name.starts_with(&prefix), deadline).await;
        }
        if let Some(played) = self.fake_push {
            played.stop(&self.plan.data).await;
        }
        self.processes.stop(|_| true, end).await;
        result
    }
}

fn private(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn environment(plan: &Plan, replica: &Replica, played: Option<&fake_push::Played>) -> Vec<(Cow<'static, str>, String)> {
    let config = &plan.config;
    let mut variables = vec![
        ("PARLEY_NATS__URL".into(), config.nats.url.clone()),
        ("PARLEY_MONGODB__URI".into(), config.mongodb.uri.clone()),
        ("PARLEY_ADMIN__LISTEN".into(), private(replica.admin_port).to_string()),
        (
            "PARLEY_LOG__FORMAT".into(),
            if config.log.format == config::Format::Text {
                "text"
            } else {
                "json"
            }
            .to_owned(),
        ),
        ("PARLEY_LOG__LEVEL".into(), config.log.level.clone()),
        (
            "PARLEY_CONNECTION__DRAIN_DELAY_MS".into(),
            config.connection.drain_delay_ms.to_string(),
        ),
        (
            "PARLEY_CONNECTION__DRAIN_WINDOW_MS".into(),
            config.connection.drain_window_ms.to_string(),
        ),
    ];
    if let Some(listen) = replica.listen {
        variables.push(("PARLEY_HTTP__LISTEN".into(), listen.to_string()));
    }
    if let Some(file) = &config.auth.hs256_secret_file {
        variables.push(("PARLEY_AUTH__HS256_SECRET_FILE".into(), file.display().to_string()));
    }
    let played = played.into_iter().flat_map(|it| it.environment.iter().cloned());
    variables.extend(played.map(|(name, value)| (name.into(), value)));
    variables
}

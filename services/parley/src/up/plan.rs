//! What is to run and where: decided, checked and bound before anything is started.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::Context;
use config::{Config, ConfigError, Format};

use super::Options;
use super::nats_users::Users;
use crate::data_dir::DataDir;
use crate::processes::ports;
use crate::service::Kind;
use crate::{key, running};

/// Where clients connect if nobody says otherwise.
pub(super) const LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080));

/// The decisions of one `parley up`.
#[derive(Debug)]
pub(super) struct Plan {
    /// The deployment's folder.
    pub(super) data: DataDir,
    /// The settings of all services; where NATS and MongoDB are is not known yet if they are to be started.
    pub(super) config: Config,
    /// Whether to start NATS.
    pub(super) own_nats: bool,
    /// The users of a NATS that is not started here, where they are known.
    pub(super) nats_users: Option<Users>,
    /// Whether to start MongoDB.
    pub(super) own_mongod: bool,
    /// Whether each service is a process of its own.
    pub(super) separate: bool,
    /// Whether a child that dies is started again.
    pub(super) restart: bool,
    /// Whether push providers are played here.
    pub(super) fake_push: bool,
    /// The services.
    pub(super) replicas: Vec<Replica>,
    /// The public addresses, of `connection-0` and so on.
    pub(super) public: Vec<SocketAddr>,
}

/// One running service.
#[derive(Debug)]
pub(super) struct Replica {
    /// Which service.
    pub(super) kind: Kind,
    /// As in `connection-0`.
    pub(super) name: String,
    /// Bound already, so that nobody else takes it meanwhile. `None` with `--separate` and for private services.
    pub(super) listener: Option<std::net::TcpListener>,
    /// Its public address, if it has one.
    pub(super) listen: Option<SocketAddr>,
    /// Its private port on 127.0.0.1.
    pub(super) admin_port: u16,
}

impl Plan {
    pub(super) fn new(options: &Options, data: DataDir) -> anyhow::Result<Self> {
        let mut config = Config::load(None, |config| {
            config.log.format = Format::Text;
            config.log.level = if options.separate { "info" } else { "warn" }.to_owned();
            config.http.listen = LISTEN;
            // Nobody balances load here, and all of it is to end within ten seconds.
            config.connection.drain_delay_ms = 0;
            config.connection.drain_window_ms = 1_000;
        })?;
        let nats = options.nats.clone().or_else(|| running::variable("PARLEY_NATS__URL"));
        let mongodb = options
            .mongodb
            .clone()
            .or_else(|| running::variable("PARLEY_MONGODB__URI"));
        let (own_nats, own_mongod) = (nats.is_none(), mongodb.is_none());
        config.nats.url = nats.unwrap_or(config.nats.url);
        let nats_users = options.nats_passwords.as_deref().map(Users::read).transpose()?;
        config.mongodb.uri = mongodb.unwrap_or(config.mongodb.uri);
        config.validate()?;
        key::use_for(&mut config.auth, &data)?;
        config.auth.secret()?;
        let first = options.listen.unwrap_or(config.http.listen);
        let replicas = replicas(options, first)?;
        let public = replicas.iter().filter_map(|replica| replica.listen).collect();
        let (separate, restart) = (options.separate, !options.no_restart);
        Ok(Self {
            data,
            config,
            own_nats,
            nats_users,
            own_mongod,
            separate,
            restart,
            fake_push: options.fake_push,
            replicas,
            public,
        })
    }
}

fn replicas(options: &Options, first: SocketAddr) -> anyhow::Result<Vec<Replica>> {
    let mut replicas = Vec::new();
    for kind in Kind::ALL {
        for number in 0..options.replicas.of(kind) {
            let (listener, listen) = match kind.is_public() {
                true => bind(first, number).map(|(listener, address)| (Some(listener), Some(address)))?,
                false => (None, None),
            };
            replicas.push(Replica {
                kind,
                name: format!("{}-{number}", kind.name()),
                listener,
                listen,
                admin_port: ports::free().context("cannot choose a private port")?,
            });
        }
    }
    if options.separate {
        // The children bind for themselves; that the ports were free is known by now.
        replicas.iter_mut().for_each(|replica| replica.listener = None);
    }
    Ok(replicas)
}

/// Takes the public address of a replica; with port 0 any that is free.
fn bind(first: SocketAddr, number: usize) -> anyhow::Result<(std::net::TcpListener, SocketAddr)> {
    let mut address = first;
    let port = match first.port() {
        0 => ports::free().context("cannot choose a public port")?,
        port => u16::try_from(number)
            .ok()
            .and_then(|number| port.checked_add(number))
            .ok_or_else(|| {
                ConfigError::new(
                    "--listen",
                    format!("there are not enough ports above {port} for all connection replicas"),
                )
            })?,
    };
    address.set_port(port);
    let listener = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let listener = listener.map_err(|error| {
        ConfigError::new(
            "--listen",
            format!("cannot listen on {address}: {error}; choose another with --listen"),
        )
    })?;
    Ok((listener, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named() {
        let (_listener, address) = bind("127.0.0.1:0".parse().unwrap(), 0).unwrap();
        let error = bind(address, 0).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("--listen: cannot listen on {address}: ")),
            "{error}"
        );
        assert_eq!(lifecycle::exit_code(&error), 64);
    }

    #[test]
    fn ports_that_would_pass_the_last_one_are_refused() {
        assert!(
            bind("127.0.0.1:65535".parse().unwrap(), 1)
                .unwrap_err()
                .to_string()
                .contains("not enough ports")
        );
    }
}

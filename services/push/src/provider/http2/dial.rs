//! The way to one authority: name, TCP, TLS. Resolves the name itself, so that the address that is checked is the one
//! that is connected to.

use std::fmt::{self, Debug};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use http::uri::{Authority, Uri};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ConnectError;

/// For one of several addresses of a name; the bound of the whole is the caller's.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(2);

/// Whom to connect to, and how.
#[derive(Clone)]
pub(crate) struct Target {
    /// Of metrics.
    provider: &'static str,
    authority: Authority,
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    permitted: fn(IpAddr) -> bool,
}

impl Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.authority).finish()
    }
}

impl Target {
    /// Of a URL with `https` and a host, whose path is not looked at.
    ///
    /// # Errors
    /// It is no such URL.
    pub(crate) fn new(provider: &'static str, url: &str, tls: Arc<ClientConfig>) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().context("not a URL")?;
        if uri.scheme_str() != Some("https") {
            bail!("not an https URL");
        }
        let authority = uri.authority().context("a URL without a host")?.clone();
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone()).context("not a host name")?;
        Ok(Self {
            provider,
            port: authority.port_u16().unwrap_or(443),
            authority,
            host,
            name,
            tls,
            permitted: |_| true,
        })
    }

    /// Connects only where every address of the name passes.
    pub(crate) fn permitting(self, permitted: fn(IpAddr) -> bool) -> Self {
        Self { permitted, ..self }
    }

    pub(super) fn provider(&self) -> &'static str {
        self.provider
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(super) fn failed(&self, reason: impl fmt::Display) -> ConnectError {
        ConnectError::Failed {
            authority: self.authority.to_string(),
            reason: reason.to_string(),
        }
    }

    pub(super) async fn dial(&self) -> Result<TlsStream<TcpStream>, ConnectError> {
        let addresses: Vec<SocketAddr> = lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|it| self.failed(it))?
            .collect();
        if !addresses.iter().all(|it| (self.permitted)(it.ip())) {
            return Err(ConnectError::Forbidden(self.authority.to_string()));
        }
        let tcp = self.tcp(&addresses).await?;
        // Requests are small and each is waited for: none is to wait for the next one's bytes.
        tcp.set_nodelay(true).map_err(|it| self.failed(it))?;
        TlsConnector::from(self.tls.clone())
            .connect(self.name.clone(), tcp)
            .await
            .map_err(|it| self.failed(it))
    }

    async fn tcp(&self, addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
        let mut failure = self.failed("the name has no address");
        for address in addresses {
            match timeout(ADDRESS_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) => failure = self.failed(error),
                Err(_) => failure = self.failed("timed out"),
            }
        }
        Err(failure)
    }
}

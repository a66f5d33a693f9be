//! TLS towards providers: versions and ciphers of rustls, by ring. No client certificates: Apple is given tokens.

use std::sync::Arc;

use anyhow::Context;
use rustls::{ClientConfig, RootCertStore};

/// What is offered to a server by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Versions {
    /// HTTP/2 and nothing else. A server that does not choose is still taken to speak HTTP/1.1.
    Http2,
    /// HTTP/2, or HTTP/1.1 for servers without it.
    Http2OrHttp1,
}

/// A configuration for all connections of one provider: its sessions are resumed between them.
pub(crate) fn config(roots: RootCertStore, versions: Versions) -> anyhow::Result<Arc<ClientConfig>> {
    // Named, since a process in which two crypto providers are linked has no default.
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .context("TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match versions {
        Versions::Http2 => vec![b"h2".to_vec()],
        Versions::Http2OrHttp1 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    Ok(Arc::new(config))
}

//! The certificate authority of the fakes, and the certificate that their TLS listeners show.
//!
//! The authority is kept in the folder, so that whoever trusts `ca.pem` trusts a restarted fake. The certificate of the
//! listeners is made anew at each start.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rcgen::{DistinguishedName, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::keys::{kept, written};
use crate::options::LOCALHOST;

/// File with the authority's certificate, PEM.
pub(crate) const CA_FILE: &str = "ca.pem";

/// What every TLS listener is made of.
#[derive(Debug)]
pub(crate) struct Authority {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    /// Reads the authority from the folder or makes one, and signs a certificate for `localhost`, 127.0.0.1 and `name`.
    pub(crate) fn open(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let pem = kept(&folder.join("ca.key"), || Ok(KeyPair::generate()?.serialize_pem()))?;
        let ca_key = KeyPair::from_pem(&pem).context("ca.key")?;
        let params = authority();
        let file = folder.join(CA_FILE);
        if !file.exists() {
            written(&file, &params.self_signed(&ca_key)?.pem())?;
        }
        // A certificate names its issuer, and nothing else of it: what is read from the file would be the same.
        let issuer = Issuer::from_params(&params, ca_key);
        let key = KeyPair::generate()?;
        let mut names = vec![LOCALHOST.to_owned(), "127.0.0.1".to_owned()];
        names.extend((name != LOCALHOST).then(|| name.to_owned()));
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = named("Parley fake push");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Self {
            chain: vec![certificate.into()],
            key: PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?,
        })
    }

    /// A server's side of TLS that offers these protocols.
    pub(crate) fn server(&self, protocols: &[&str]) -> anyhow::Result<Arc<ServerConfig>> {
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Parley fake push authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

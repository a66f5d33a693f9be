//! The certificates that providers' servers are trusted by: the public roots, and those of `push.ca_file`. The
//! machine's own store is left out: a container has none.

use std::path::Path;

use config::ConfigError;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The public roots with those of the file, if there is one.
///
/// # Errors
/// The file cannot be read, holds no certificate, or holds one that is no root.
pub(crate) fn load(ca_file: Option<&Path>) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let Some(path) = ca_file else {
        return Ok(roots);
    };
    let invalid = |problem: &dyn std::fmt::Display| {
        ConfigError::new("PARLEY_PUSH__CA_FILE", format!("{}: {problem}", path.display()))
    };
    let mut found = false;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|it| invalid(&it))? {
        let certificate = certificate.map_err(|it| invalid(&it))?;
        roots.add(certificate).map_err(|it| invalid(&it))?;
        found = true;
    }
    if !found {
        return Err(invalid(&"no certificate in it"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::testing::{self, Authority};

    #[test]
    fn without_a_file_the_public_roots_are_trusted() {
        assert!(!load(None).unwrap().is_empty());
    }

    #[test]
    fn certificates_of_the_file_are_trusted_too() {
        let authority = Authority::new();
        let file = testing::file("roots", &authority.pem());
        assert_eq!(load(Some(&file)).unwrap().len(), load(None).unwrap().len() + 1);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_an_error_of_its_setting() {
        let empty = testing::file("no-roots", "nothing here");
        for path in [Path::new("/nonexistent/ca.pem"), &empty] {
            let error = load(Some(path)).unwrap_err();
            assert_eq!(error.setting(), "PARLEY_PUSH__CA_FILE");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
}

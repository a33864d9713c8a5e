//! TLS through rustls with `ring`, which is named here because reqwest's own choice would be another provider.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use statehouse_core::{Error, Result, read_setting_file};

use super::config::{OpenSearchConfig, Tls};

/// The most bytes of a file of certificates.
const MOST: u64 = 1 << 20;

/// What the HTTP client needs even where it will not use it.
pub(super) fn client_config(config: &OpenSearchConfig) -> Result<ClientConfig> {
    let refuse = |message: String| Error::invalid_config(&config.setting, message);
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse(format!("TLS cannot be set up: {error}")))?;
    let builder = match &config.tls {
        None => builder.with_root_certificates(RootCertStore::empty()),
        Some(Tls { ca: Some(ca) }) => builder.with_root_certificates(read_roots(ca).map_err(refuse)?),
        Some(Tls { ca: None }) => builder
            .with_platform_verifier()
            .map_err(|error| refuse(format!("the system's certificates cannot be used: {error}")))?,
    };
    Ok(builder.with_no_client_auth())
}

fn read_roots(ca: &Path) -> Result<RootCertStore, String> {
    let refuse = |error: &dyn std::fmt::Display| format!("the file of \"ca\" cannot be used: {error}");
    let mut roots = RootCertStore::empty();
    let pem = read_setting_file(ca, MOST).map_err(|error| refuse(&error))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| refuse(&error))?;
        roots.add(certificate).map_err(|error| refuse(&error))?;
    }
    if roots.is_empty() { Err(refuse(&"it holds no certificate")) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_of_certificates_or_has_no_end_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, long) = (folder.path().join("pipe"), folder.path().join("long"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::write(&long, "x".repeat(2 << 20)).unwrap();
        for path in [Path::new("/dev/zero"), &pipe, folder.path()] {
            assert!(read_roots(path).unwrap_err().contains("no file"), "{path:?}");
        }
        assert!(read_roots(&long).unwrap_err().contains("more than"));
    }
}

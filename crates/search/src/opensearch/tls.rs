//! TLS through rustls with `ring`, which is named here because reqwest's own choice would be another provider.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use statehouse_core::{Error, Result};

use super::config::{OpenSearchConfig, Tls};

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
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| refuse(&error))? {
        let certificate = certificate.map_err(|error| refuse(&error))?;
        roots.add(certificate).map_err(|error| refuse(&error))?;
    }
    if roots.is_empty() { Err(refuse(&"it holds no certificate")) } else { Ok(roots) }
}

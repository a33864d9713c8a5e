use std::path::PathBuf;

use redis::{Client, ConnectionAddr, TlsCertificates};
use statehouse_core::{Error, Result, read_setting_file};

/// The most bytes of a file of certificates.
const MOST: u64 = 1 << 20;

/// TLS, trusting the system's certificates or those of one PEM file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    pub(crate) ca: Option<PathBuf>,
}

impl Tls {
    /// The place of no server yet, with the certificates to trust.
    pub(crate) fn template(&self, setting: &str) -> Result<ConnectionAddr> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // redis-rs builds its TLS configuration from the process-wide provider. Losing a race to install it is fine.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let plain = ConnectionAddr::TcpTls { host: String::new(), port: 0, insecure: false, tls_params: None };
        let Some(path) = &self.ca else { return Ok(plain) };
        let refuse = |reason: String| {
            Error::invalid_config(setting, format!("CA file {}: {reason}", path.display())).with_backend("redis")
        };
        let pem = read_setting_file(path, MOST).map_err(|error| refuse(error.to_string()))?;
        if !pem.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----") {
            return Err(refuse("holds no PEM certificate".to_owned()));
        }
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
        let client = Client::build_with_tls(plain, certificates).map_err(|error| refuse(error.to_string()))?;
        Ok(client.get_connection_info().addr().clone())
    }
}

//! Where a server or sentinel speaks TLS, and with which certificate.

use std::path::Path;

use crate::StartError;
use crate::port::Port;
use crate::tls::TlsFiles;

/// The certificate that a server is to have.
#[derive(Clone, Debug, Default)]
pub(super) enum Certificate {
    #[default]
    None,
    Own,
    /// That of another server of the group.
    Shared(TlsFiles),
}

impl Certificate {
    /// Makes the files in `folder` if they are to be the server's own.
    pub(super) fn listen(self, folder: &Path) -> Result<Option<(TlsSide, Port)>, StartError> {
        let files = match self {
            Self::None => return Ok(None),
            Self::Own => TlsFiles::create(folder)?,
            Self::Shared(files) => files,
        };
        let port = Port::reserve()?;
        Ok(Some((TlsSide { port: port.number(), files }, port)))
    }
}

#[derive(Debug)]
pub(super) struct TlsSide {
    pub(super) port: u16,
    pub(super) files: TlsFiles,
}

impl TlsSide {
    /// Redis' settings. Servers of a group, and its sentinels, also speak TLS with each other.
    pub(super) fn settings(&self) -> [(&'static str, String); 7] {
        let text = |path: &Path| path.display().to_string();
        [
            ("tls-port", self.port.to_string()),
            ("tls-ca-cert-file", text(&self.files.authority)),
            ("tls-cert-file", text(&self.files.certificate)),
            ("tls-key-file", text(&self.files.key)),
            ("tls-auth-clients", "no".to_owned()),
            ("tls-replication", "yes".to_owned()),
            ("tls-cluster", "yes".to_owned()),
        ]
    }
}

use std::path::PathBuf;
use std::sync::Arc;

use statehouse_core::{Clock, Error, Result, ServiceUrl, SystemClock};

/// Settings of a [`DiskSessionStore`](super::DiskSessionStore).
#[derive(Clone, Debug)]
pub struct DiskConfig {
    pub(super) folder: PathBuf,
    pub(super) clock: Arc<dyn Clock>,
}

impl DiskConfig {
    /// Sessions in this folder, on the system's clock.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), clock: Arc::new(SystemClock::default()) }
    }

    /// Reads `file:///var/lib/app/sessions`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts.
    pub fn from_url(url: ServiceUrl) -> Result<Self> {
        if url.scheme() != "file" || url.path().is_empty() || !url.hosts().is_empty() {
            let message = "expected a URL such as \"file:///var/lib/app/sessions\"";
            return Err(Error::invalid_config(url.setting(), message));
        }
        let config = Self::new(url.path());
        url.finish()?;
        Ok(config)
    }

    /// Where the time comes from.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_url_names_a_folder() {
        let read = |text| DiskConfig::from_url(ServiceUrl::parse("STATEHOUSE_SESSION_URL", text).unwrap());
        assert_eq!(read("file:///var/lib/app").unwrap().folder, Path::new("/var/lib/app"));
        for wrong in ["file:", "file://host/dir", "file:///x?sync=no", "memory:"] {
            assert_eq!(read(wrong).unwrap_err().setting(), Some("STATEHOUSE_SESSION_URL"), "{wrong}");
        }
    }
}

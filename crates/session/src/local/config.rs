use std::path::PathBuf;
use std::sync::Arc;

use statehouse_core::{Clock, Error, Result, ServiceUrl, SystemClock};

use crate::bounds::Bounds;

/// Settings of a [`LocalSessionStore`](super::LocalSessionStore).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use statehouse_session::{LocalConfig, LocalSessionStore};
///
/// # let folder = std::env::temp_dir().join(format!("statehouse-session-config-{}", std::process::id()));
/// let clock = statehouse_core::ManualClock::default(); // for a test, which moves it on
/// let config = LocalConfig::new(&folder).with_capacity(256 << 20)?.with_max_sessions(20_000)?.with_clock(clock.clone());
/// let store = LocalSessionStore::open_with(config).await?;
/// # drop(store);
/// # let _ = std::fs::remove_dir_all(&folder);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct LocalConfig {
    pub(super) folder: PathBuf,
    pub(super) bounds: Bounds,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) setting: String,
}

impl LocalConfig {
    /// Up to 500,000 sessions and 2 GiB in this folder, on the system's clock.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let bounds = Bounds { sessions: 500_000, bytes: 2 << 30 };
        let (folder, setting) = (folder.into(), "the session folder".to_owned());
        Self { folder, bounds, clock: Arc::new(SystemClock::default()), setting }
    }

    /// Reads `file:///var/lib/app/sessions?capacity=2GiB&max_sessions=500000`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts.
    pub fn from_url(mut url: ServiceUrl) -> Result<Self> {
        if url.scheme() != "file" || url.path().is_empty() || !url.hosts().is_empty() {
            let message = "expected a URL such as \"file:///var/lib/app/sessions\"";
            return Err(Error::invalid_config(url.setting(), message));
        }
        let (config, setting) = (Self::new(url.path()), url.setting().to_owned());
        let bounds = config.bounds.with_parameters_of(&mut url)?;
        url.finish()?;
        Ok(Self { bounds, setting, ..config })
    }

    /// How many sessions there may be at once. Deletions that are remembered count, too.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) for zero.
    pub fn with_max_sessions(self, sessions: usize) -> Result<Self> {
        Ok(Self { bounds: self.bounds.with_sessions(sessions)?, ..self })
    }

    /// How much of the disk they may take up in all, each as whole blocks of 4 KiB.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) below 64 KiB.
    pub fn with_capacity(self, bytes: u64) -> Result<Self> {
        Ok(Self { bounds: self.bounds.with_bytes(bytes)?, ..self })
    }

    /// Where the time comes from. The time of day is read when the store is opened; from then on only what has passed counts, so
    /// that a wall clock that is put right logs nobody out.
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
        let read = |text| LocalConfig::from_url(ServiceUrl::parse("STATEHOUSE_SESSION_URL", text).unwrap());
        assert_eq!(read("file:///var/lib/app").unwrap().folder, Path::new("/var/lib/app"));
        let bounds = read("file:///x?capacity=1MiB&max_sessions=5").unwrap().bounds;
        assert_eq!((bounds.sessions, bounds.bytes), (5, 1 << 20));
        for wrong in [
            "file:",
            "file://host/dir",
            "file:///x?sync=no",
            "file:///x?capacity=0",
            "file:///x?capacity=1",
            "file:///x?capacity=63KiB",
            "file:///x?max_bytes=1MiB",
            "memory:",
        ] {
            assert_eq!(read(wrong).unwrap_err().setting(), Some("STATEHOUSE_SESSION_URL"), "{wrong}");
        }
    }
}

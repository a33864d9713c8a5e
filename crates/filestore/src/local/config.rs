use std::path::{Path, PathBuf};
use std::str::FromStr;

use statehouse_core::{Error, Result, ServiceUrl};

/// Where a [`LocalFileStore`](super::LocalFileStore) is and how it writes.
///
/// By URL: `file:///var/lib/app/files?durability=relaxed`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LocalConfig {
    /// The directory; created if it is not there.
    pub root: PathBuf,
    /// What an acknowledged write survives.
    pub durability: Durability,
    pub(super) setting: String,
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// A power cut: the file and its directory are synced to the disk before a write is acknowledged.
    #[default]
    Synced,
    /// The end of the process, however it ends. After a power cut or a crash of the system, recent writes may be gone
    /// or their files cut short, which reading reports as `Corrupt`.
    Relaxed,
}

impl LocalConfig {
    /// A store in this directory.
    pub fn new(root: impl AsRef<Path>) -> Self {
        let setting = "the file store's directory".to_owned();
        Self { root: root.as_ref().to_owned(), durability: Durability::Synced, setting }
    }

    /// Sets what an acknowledged write survives.
    #[must_use]
    pub const fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Reads `file:///dir?durability=synced|relaxed`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming what is wrong.
    pub fn from_url(mut url: ServiceUrl) -> Result<Self> {
        let setting = url.setting().to_owned();
        if !url.hosts().is_empty() || url.path().is_empty() {
            let message = "expected a directory: file:///absolute/dir or file:relative/dir";
            return Err(Error::invalid_config(&setting, message));
        }
        let root = PathBuf::from(url.path());
        let durability = url.take_parsed("durability", "synced or relaxed")?.unwrap_or_default();
        url.finish()?;
        Ok(Self { root, durability, setting })
    }
}

impl FromStr for Durability {
    type Err = ();
    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        match text {
            "synced" => Ok(Self::Synced),
            "relaxed" => Ok(Self::Relaxed),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Result<LocalConfig> {
        LocalConfig::from_url(ServiceUrl::parse("FILES", url).unwrap())
    }

    #[test]
    fn urls_name_a_directory_and_a_durability() {
        let read = config("file:///var/lib/my%20app?durability=relaxed").unwrap();
        assert_eq!((read.root, read.durability), (PathBuf::from("/var/lib/my app"), Durability::Relaxed));
        assert_eq!(config("file:./data").unwrap().durability, Durability::Synced);
        for url in ["file:", "file://host/dir", "file:///dir?durability=maybe", "file:///dir?sync=off"] {
            let error = config(url).unwrap_err();
            assert_eq!(error.setting(), Some("FILES"), "{url}: {error}");
        }
    }
}

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use statehouse_core::folder::check_path;
use statehouse_core::{Error, Result, ServiceUrl};

use crate::body::BODY_TIMEOUT;

/// Where a [`LocalFileStore`](super::LocalFileStore) is and how it writes.
///
/// By URL: `file:///var/lib/app/files?durability=relaxed&permissions=group&access=read&body_timeout=1m`.
///
/// ```
/// use statehouse_filestore::local::{Access, Durability, LocalConfig, LocalFileStore, Permissions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let root = std::env::temp_dir().join(format!("statehouse-files-config-{}", std::process::id()));
/// let config = LocalConfig::new(&root).with_durability(Durability::Relaxed).with_permissions(Permissions::Group);
/// let written = LocalFileStore::open_with(config).await?;
/// let read = LocalFileStore::open_with(LocalConfig::new(&root).with_access(Access::Read)).await?;
/// # drop((written, read));
/// # let _ = std::fs::remove_dir_all(&root);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LocalConfig {
    /// The directory; created if it is not there.
    pub root: PathBuf,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// Who may use what the store makes.
    pub permissions: Permissions,
    /// Whether the store is written.
    pub access: Access,
    /// How long the source of an upload may be silent: five minutes. Then the put fails with `Timeout`, and nothing of it
    /// is left.
    pub body_timeout: Duration,
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

/// Who may use what the store makes, whatever the process' mask for new files.
///
/// The directory itself must not be one that every user can write into. With `Private` it must belong to the user that
/// the process runs as, or to root; a process of root is warned if it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Permissions {
    /// Only the user that the process runs as: files 0600, directories 0700.
    #[default]
    Private,
    /// All users of the directory's group, for processes that run as several of them: files 0660, directories 2770.
    Group,
}

/// Whether a store is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Read and written; opening fails if the directory cannot be written.
    #[default]
    Write,
    /// Only read: nothing is made or removed, so that a copy or a mount that cannot be written will do. Writes fail with
    /// `PermissionDenied`.
    Read,
}

impl LocalConfig {
    /// A store in this directory.
    pub fn new(root: impl AsRef<Path>) -> Self {
        let setting = "the file store's directory".to_owned();
        Self {
            root: root.as_ref().to_owned(),
            durability: Durability::Synced,
            permissions: Permissions::Private,
            access: Access::Write,
            body_timeout: BODY_TIMEOUT,
            setting,
        }
    }

    /// Sets what an acknowledged write survives.
    #[must_use]
    pub const fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets who may use what the store makes.
    #[must_use]
    pub const fn with_permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// Sets whether the store is written.
    #[must_use]
    pub const fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Sets how long the source of an upload may be silent.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use statehouse_filestore::local::LocalConfig;
    /// let impatient = LocalConfig::new("/var/lib/app/files").with_body_timeout(Duration::from_secs(30));
    /// assert_eq!(impatient.body_timeout.as_secs(), 30);
    /// ```
    #[must_use]
    pub const fn with_body_timeout(mut self, silence: Duration) -> Self {
        self.body_timeout = silence;
        self
    }

    /// Reads `file:///dir?durability=synced|relaxed&permissions=private|group&access=write|read&body_timeout=5m`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming what is wrong.
    pub fn from_url(mut url: ServiceUrl) -> Result<Self> {
        let setting = url.setting().to_owned();
        if !url.hosts().is_empty() || url.path().is_empty() {
            let message = "expected a directory: file:///absolute/dir or file:relative/dir";
            return Err(Error::invalid_config(&setting, message));
        }
        let mut config = Self::new(url.path());
        config.durability = url.take_parsed("durability", "synced or relaxed")?.unwrap_or_default();
        config.permissions = url.take_parsed("permissions", "private or group")?.unwrap_or_default();
        config.access = url.take_parsed("access", "write or read")?.unwrap_or_default();
        config.body_timeout = url.take_duration("body_timeout")?.unwrap_or(config.body_timeout);
        url.finish()?;
        config.setting = setting;
        config.check()?;
        Ok(config)
    }

    pub(super) fn check(&self) -> Result<()> {
        check_path(&self.root).map_err(|why| Error::invalid_config(&self.setting, why))?;
        if self.body_timeout.is_zero() {
            return Err(Error::invalid_config(&self.setting, "body_timeout is 0; accepted: more than that, as 5m"));
        }
        Ok(())
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

impl FromStr for Permissions {
    type Err = ();
    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        match text {
            "private" => Ok(Self::Private),
            "group" => Ok(Self::Group),
            _ => Err(()),
        }
    }
}

impl FromStr for Access {
    type Err = ();
    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        match text {
            "write" => Ok(Self::Write),
            "read" => Ok(Self::Read),
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
    fn urls_name_a_directory_and_how_it_is_used() {
        let read = config("file:///var/lib/my%20app?durability=relaxed").unwrap();
        assert_eq!((read.root, read.durability), (PathBuf::from("/var/lib/my app"), Durability::Relaxed));
        assert_eq!(config("file:./data").unwrap().durability, Durability::Synced);
        let read = config("file:data?permissions=group&access=read").unwrap();
        assert_eq!((read.permissions, read.access), (Permissions::Group, Access::Read));
        assert_eq!(config("file:data?body_timeout=30s").unwrap().body_timeout, Duration::from_secs(30));
        let read = config("file:data").unwrap();
        assert_eq!((read.permissions, read.access), (Permissions::Private, Access::Write));
        for url in [
            "file:///dir?permissions=0666",
            "file:///dir?access=readonly",
            "file:",
            "file://host/dir",
            "file:///dir?durability=maybe",
            "file:///dir?sync=off",
            "file:///dir?body_timeout=0s",
            "file:///dir?body_timeout=soon",
        ] {
            let error = config(url).unwrap_err();
            assert_eq!(error.setting(), Some("FILES"), "{url}: {error}");
        }
    }
}

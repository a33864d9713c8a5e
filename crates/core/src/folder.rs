//! Whether a folder is one to keep things in, for the services that are on disk, and what an error of its disk means. What
//! is wrong with it, or doubtful, is told in words that say what to do.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::{Error, ErrorKind, Retry};

/// Who a folder belongs to, who this process is, and who may do what in the folder: numbers of users and a mode, as Unix
/// has them.
#[derive(Clone, Copy, Debug)]
pub struct FolderAccess {
    owner: u32,
    user: u32,
    mode: u32,
}

impl FolderAccess {
    /// Of a folder with this owner and mode, in a process of this user.
    #[must_use]
    pub const fn new(owner: u32, user: u32, mode: u32) -> Self {
        Self { owner, user, mode: mode & 0o7777 }
    }

    /// Refuses a folder in which every user could put things in the place of ours.
    ///
    /// # Errors
    /// Why it is not used.
    pub fn check_everybody(self) -> Result<(), String> {
        let Self { mode, .. } = self;
        match mode & 0o002 {
            0 => Ok(()),
            _ => Err(format!("every user can write into it (its mode is {mode:o}); chmod o-w it")),
        }
    }

    /// Refuses a folder of another user, who could do the same, unless this is root; says what is doubtful about others.
    ///
    /// # Errors
    /// Why it is not used.
    pub fn check_owner(self) -> Result<Option<String>, String> {
        const ROOT: u32 = 0;
        let Self { owner, user, mode } = self;
        if owner != user && owner != ROOT {
            let whose = format!("it belongs to user {owner}, and this process runs as user {user}");
            return match user {
                ROOT => Ok(Some(format!("{whose}; that user can change what is in it"))),
                _ => Err(format!("{whose}; chown it")),
            };
        }
        let shared = mode & 0o020 != 0;
        Ok(shared.then(|| format!("its group can write into it (its mode is {mode:o}); chmod g-w it")))
    }
}

/// Refuses a path that no system takes.
///
/// # Errors
/// Why it is not used.
pub fn check_path(path: &Path) -> Result<(), String> {
    match path.as_os_str().as_encoded_bytes().contains(&0) {
        true => Err("its name has a byte of zero".to_owned()),
        false => Ok(()),
    }
}

/// Tries what a write needs: makes this file, which must not be there, with something in it, and removes it. A disk that
/// is full or can only be read says so.
///
/// # Errors
/// What the system says.
pub fn probe(file: &Path) -> io::Result<()> {
    let written = fs::OpenOptions::new().write(true).create_new(true).open(file)?.write_all(b"probe");
    written.and(fs::remove_file(file))
}

/// Whether there is no room: on the disk, or within what this user may have of it.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What an error of the operating system means to a store in a folder: the same in every one of them. What only one of them
/// can know, as that a missing file is a missing value, it says before it asks here.
///
/// | what the system says | kind | advice |
/// | --- | --- | --- |
/// | no space, quota used up | `Unavailable` | [`Retry::FULL`] |
/// | the disk failed, the mount or the folder is gone, anything unknown | `Unavailable` | [`Retry::DISK_FAILED`] |
/// | no right to it, a file system that is read-only | `PermissionDenied` | `Never` |
/// | too many open files, no memory | `Unavailable` | after 100 ms |
/// | interrupted | `Unavailable` | `Now` |
/// | a file cut short, bytes that make no sense | `Corrupt` | `Never` |
/// | a name or a file that is too long | `InvalidInput`, `TooLarge` | `Never` |
/// | a call that the file system lacks | `Unsupported` | `Never` |
/// | a call that makes no sense | `Unexpected` | `Never` |
///
/// ```
/// use std::io;
/// use statehouse_core::{ErrorKind, Retry, folder};
///
/// let failed = folder::map_error(io::Error::from_raw_os_error(5)).within("the index");
/// assert_eq!((failed.kind(), failed.retry()), (ErrorKind::Unavailable, Retry::DISK_FAILED));
/// assert_eq!(failed.message(), "the index: the disk failed");
/// let denied = folder::map_error(io::ErrorKind::ReadOnlyFilesystem.into());
/// assert_eq!((denied.kind(), denied.retry()), (ErrorKind::PermissionDenied, Retry::Never));
/// ```
#[must_use]
pub fn map_error(source: io::Error) -> Error {
    use io::ErrorKind as Io;
    let (kind, retry, message) = match source.kind() {
        Io::StorageFull => return Error::full("the disk is full").with_source(source),
        Io::QuotaExceeded => return Error::full("the disk quota is used up").with_source(source),
        Io::PermissionDenied => denied("the system denies access to the folder"),
        Io::ReadOnlyFilesystem => denied("the file system is read-only"),
        Io::NotFound | Io::NotADirectory => failed("the folder is gone"),
        Io::StaleNetworkFileHandle => failed("the mounted folder has gone away"),
        Io::OutOfMemory => crowded("the system is out of memory"),
        _ if has_too_many_files(&source) => crowded("too many files are open"),
        Io::Interrupted | Io::WouldBlock => (ErrorKind::Unavailable, Retry::Now, "the system interrupted the work"),
        Io::UnexpectedEof => (ErrorKind::Corrupt, Retry::Never, "a file was cut short"),
        Io::InvalidData => (ErrorKind::Corrupt, Retry::Never, "a file is damaged"),
        Io::InvalidFilename => (ErrorKind::InvalidInput, Retry::Never, "the file system does not take so long a name"),
        Io::FileTooLarge => (ErrorKind::TooLarge, Retry::Never, "the file is larger than the system allows"),
        Io::Unsupported => {
            (ErrorKind::Unsupported, Retry::Never, "the file system lacks something that the store needs")
        }
        Io::InvalidInput | Io::AlreadyExists | Io::Deadlock => {
            (ErrorKind::Unexpected, Retry::Never, "the operating system reports an error")
        }
        _ => failed("the disk failed"),
    };
    Error::new(kind, message).with_retry(retry).with_source(source)
}

type Meaning = (ErrorKind, Retry, &'static str);

const fn denied(message: &'static str) -> Meaning {
    (ErrorKind::PermissionDenied, Retry::Never, message)
}

const fn failed(message: &'static str) -> Meaning {
    (ErrorKind::Unavailable, Retry::DISK_FAILED, message)
}

/// Of what others give back in a moment.
const fn crowded(message: &'static str) -> Meaning {
    (ErrorKind::Unavailable, Retry::After(Duration::from_millis(100)), message)
}

/// The standard library has no name for it.
fn has_too_many_files(error: &io::Error) -> bool {
    // Of the process and of the system: `EMFILE` and `ENFILE`, the same numbers on every Unix; `ERROR_TOO_MANY_OPEN_FILES`.
    let numbers: &[i32] = if cfg!(windows) { &[4] } else { &[24, 23] };
    error.raw_os_error().is_some_and(|number| numbers.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn each_error_of_a_disk_has_its_kind_and_advice() {
        use io::ErrorKind as Io;
        let soon = Retry::After(Duration::from_millis(100));
        let number = |number| io::Error::from_raw_os_error(number);
        let (unavailable, denied) = (ErrorKind::Unavailable, ErrorKind::PermissionDenied);
        for (source, kind, retry, said) in [
            (number(28), unavailable, Retry::FULL, "full"), // ENOSPC
            (Io::QuotaExceeded.into(), unavailable, Retry::FULL, "quota"),
            (number(5), unavailable, Retry::DISK_FAILED, "failed"), // EIO
            (number(6), unavailable, Retry::DISK_FAILED, "failed"), // ENXIO
            (number(19), unavailable, Retry::DISK_FAILED, "failed"), // ENODEV
            (Io::TimedOut.into(), unavailable, Retry::DISK_FAILED, "failed"),
            (Io::WriteZero.into(), unavailable, Retry::DISK_FAILED, "failed"),
            (io::Error::other("unknown"), unavailable, Retry::DISK_FAILED, "failed"),
            (Io::StaleNetworkFileHandle.into(), unavailable, Retry::DISK_FAILED, "gone away"),
            (number(2), unavailable, Retry::DISK_FAILED, "gone"), // ENOENT
            (number(20), unavailable, Retry::DISK_FAILED, "gone"), // ENOTDIR
            (number(13), denied, Retry::Never, "denies"),         // EACCES
            (number(1), denied, Retry::Never, "denies"),          // EPERM
            (number(30), denied, Retry::Never, "read-only"),      // EROFS
            (number(24), unavailable, soon, "open"),              // EMFILE
            (number(23), unavailable, soon, "open"),              // ENFILE
            (number(12), unavailable, soon, "memory"),            // ENOMEM
            (number(4), unavailable, Retry::Now, "interrupted"),  // EINTR
            (Io::UnexpectedEof.into(), ErrorKind::Corrupt, Retry::Never, "cut short"),
            (Io::InvalidData.into(), ErrorKind::Corrupt, Retry::Never, "damaged"),
            (Io::InvalidFilename.into(), ErrorKind::InvalidInput, Retry::Never, "name"),
            (number(27), ErrorKind::TooLarge, Retry::Never, "larger"), // EFBIG
            (Io::Unsupported.into(), ErrorKind::Unsupported, Retry::Never, "lacks"),
            (number(22), ErrorKind::Unexpected, Retry::Never, "reports"), // EINVAL
        ] {
            let shown = format!("{source:?}");
            let error = map_error(source);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{shown}");
            assert!(error.message().contains(said) && std::error::Error::source(&error).is_some(), "{shown}: {error}");
        }
    }

    #[test]
    fn a_folder_that_others_rule_is_refused_or_doubtful() {
        for (owner, user, mode, everybody, expected) in [
            (1000, 1000, 0o700, true, "ours"),
            (1000, 1000, 0o755, true, "ours"),
            (0, 1000, 0o755, true, "ours"),
            (1000, 1000, 0o775, true, "doubtful"),
            (0, 1000, 0o2775, true, "doubtful"),
            (1000, 0, 0o700, true, "doubtful"),
            (1001, 1000, 0o755, true, "refused"),
            (1001, 1000, 0o2770, true, "refused"),
            (1000, 1000, 0o777, false, "doubtful"),
            (0, 1000, 0o1777, false, "doubtful"),
            (0, 0, 0o10_1777, false, "doubtful"),
        ] {
            let access = FolderAccess::new(owner, user, mode);
            let found = match access.check_owner() {
                Ok(None) => "ours",
                Ok(Some(_)) => "doubtful",
                Err(_) => "refused",
            };
            let what = format!("owner {owner}, user {user}, mode {mode:o}");
            assert_eq!((access.check_everybody().is_ok(), found), (everybody, expected), "{what}");
        }
    }

    #[test]
    fn a_path_with_a_byte_of_zero_is_refused() {
        assert!(check_path(Path::new("/var/lib/app")).is_ok() && check_path(Path::new("/var/l\0b")).is_err());
    }
}

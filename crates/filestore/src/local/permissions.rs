//! Whose files they are: the modes of what the store makes, and which directories it takes for its own.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use statehouse_core::folder::FolderAccess;
use statehouse_core::{Error, Result};

use super::config::{Durability, LocalConfig, Permissions};
use super::error::map_error;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

impl Permissions {
    const fn of_file(self) -> Mode {
        match self {
            Self::Private => Mode::from_raw_mode(0o600),
            Self::Group => Mode::from_raw_mode(0o660),
        }
    }

    /// With the bit that gives the directory's group to what is made in it.
    const fn of_directory(self) -> Mode {
        match self {
            Self::Private => Mode::from_raw_mode(0o700),
            Self::Group => Mode::from_raw_mode(0o2770),
        }
    }

    /// Opens a file to write, which is made if it is not there.
    pub(super) fn open_file(self, directory: impl AsFd, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(directory, name, flags, self.of_file())?;
        settle(&file, self.of_file())?;
        Ok(file)
    }

    /// Makes a directory.
    pub(super) fn make_directory(self, above: impl AsFd, name: &str) -> rustix::io::Result<()> {
        let above = above.as_fd();
        rustix::fs::mkdirat(above, name, self.of_directory())?;
        let made = match rustix::fs::openat(above, name, DIRECTORY, Mode::empty()) {
            // A mask that takes the owner's own rights away.
            Err(Errno::ACCESS) => return rustix::fs::chmodat(above, name, self.of_directory(), AtFlags::empty()),
            Err(Errno::NOENT) => return Ok(()),
            made => made?,
        };
        settle(&made, self.of_directory())
    }
}

/// Gives a new file or directory what the process' mask has taken from it. What another user of the group made is as
/// that user's process left it.
fn settle(fd: &OwnedFd, mode: Mode) -> rustix::io::Result<()> {
    if Mode::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == mode {
        return Ok(());
    }
    match rustix::fs::fchmod(fd, mode) {
        Err(Errno::PERM) => Ok(()),
        other => other,
    }
}

/// Makes a directory and those above it that are missing, all of them ours. What is there already is synced, too: another process
/// may have made it just now.
pub(super) fn make_root(path: &Path, permissions: Permissions, durability: Durability) -> io::Result<()> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_there = path.is_dir();
    if !is_there {
        if above != Path::new(".") {
            make_root(above, permissions, durability)?;
        }
        make_one(path, permissions)?;
    }
    match durability {
        Durability::Synced => sync_above(above, is_there),
        Durability::Relaxed => Ok(()),
    }
}

fn make_one(path: &Path, permissions: Permissions) -> io::Result<()> {
    let mode = permissions.of_directory().as_raw_mode();
    match DirBuilder::new().mode(mode & 0o777).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
    }
}

fn sync_above(above: &Path, is_there: bool) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    match fs::File::open(above).and_then(|above| above.sync_all()) {
        // One may make something in a directory that one may not read; then it cannot be synced either.
        Err(error) if error.kind() == PermissionDenied => Ok(()),
        // Nothing is made in such a one: it holds what is mounted there.
        Err(error) if is_there && matches!(error.kind(), InvalidInput | ReadOnlyFilesystem | Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Refuses a directory in which another user could put things in the place of ours.
pub(super) fn check_owner(root: &OwnedFd, config: &LocalConfig) -> Result<()> {
    let stat = rustix::fs::fstat(root).map_err(map_error)?;
    let access = FolderAccess::new(stat.st_uid, rustix::process::geteuid().as_raw(), stat.st_mode);
    let doubt = judge(access, config.permissions).map_err(|why| Error::invalid_config(&config.setting, why))?;
    if let Some(doubt) = doubt {
        tracing::warn!(name: "filestore.folder_doubtful", "the file store's directory: {doubt}");
    }
    Ok(())
}

fn judge(access: FolderAccess, permissions: Permissions) -> Result<Option<String>, String> {
    access.check_everybody()?;
    match permissions {
        Permissions::Group => Ok(None),
        Permissions::Private => {
            let share = |why| format!("{why}, or share it with a group by permissions=group");
            access.check_owner().map_err(share)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whose it is matters only where it is not shared; that every user can write into it, always.
    #[test]
    fn a_directory_that_others_rule_is_refused_unless_a_group_shares_it() {
        let (theirs, everybodys) = (FolderAccess::new(1001, 1000, 0o770), FolderAccess::new(1000, 1000, 0o777));
        assert!(judge(theirs, Permissions::Private).unwrap_err().contains("permissions=group"));
        assert_eq!(judge(theirs, Permissions::Group), Ok(None));
        assert!(judge(everybodys, Permissions::Private).is_err() && judge(everybodys, Permissions::Group).is_err());
    }
}

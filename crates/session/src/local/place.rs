//! Whether a folder is one for sessions: what else is in it, and who may change it.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use statehouse_core::folder::FolderAccess;

/// Why a folder is not used.
pub(super) type Refusal = String;

/// Refuses a folder that has other things in it: somebody's mistake, and what is in it is not ours to sweep. One that has
/// a lock has been used for sessions.
pub(super) fn check_contents(root: &Path) -> io::Result<Result<(), Refusal>> {
    match fs::symlink_metadata(root.join("lock")) {
        Ok(lock) if lock.is_file() => return Ok(Ok(())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for entry in fs::read_dir(root)? {
        // What the system puts into a disk of its own.
        if entry?.file_name() != "lost+found" {
            return Ok(Err("it has other things in it and is no folder of sessions; name one of its own".into()));
        }
    }
    Ok(Ok(()))
}

/// Refuses a folder in which another user could put things in the place of ours. The lock is ours.
pub(super) fn check_owner(folder: &Metadata, lock: &Metadata) -> Result<(), Refusal> {
    let access = FolderAccess::new(folder.uid(), lock.uid(), folder.mode());
    access.check_everybody()?;
    if let Some(doubt) = access.check_owner()? {
        tracing::warn!(name: "session.folder_doubtful", "the session folder: {doubt}");
    }
    Ok(())
}

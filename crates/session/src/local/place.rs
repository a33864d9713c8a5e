//! Whether a folder is one for sessions: what else is in it, and who may change it.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
    let found = Found { owner: folder.uid(), user: lock.uid(), mode: folder.mode() & 0o7777 };
    let doubt = found.judge()?;
    if let Some(doubt) = doubt {
        tracing::warn!("the session folder: {doubt}");
    }
    Ok(())
}

/// Whose a folder is, who we are, and who may do what in it.
struct Found {
    owner: u32,
    user: u32,
    mode: u32,
}

impl Found {
    /// What is doubtful about it, if it is not refused.
    fn judge(&self) -> Result<Option<String>, Refusal> {
        const ROOT: u32 = 0;
        let Self { owner, user, mode } = *self;
        if mode & 0o002 != 0 {
            return Err(format!("every user can write into it (its mode is {mode:o}); chmod o-w it"));
        }
        if owner != user && owner != ROOT {
            let whose = format!("it belongs to user {owner}, and this process runs as user {user}");
            return match user {
                ROOT => Ok(Some(format!("{whose}; that user can change the sessions"))),
                _ => Err(format!("{whose}; chown it")),
            };
        }
        let shared = mode & 0o020 != 0;
        Ok(shared.then(|| format!("its group can write into it (its mode is {mode:o}); chmod g-w it")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_rule_is_refused_or_doubtful() {
        for (owner, user, mode, expected) in [
            (1000, 1000, 0o700, "ours"),
            (0, 1000, 0o755, "ours"),
            (1000, 1000, 0o770, "doubtful"),
            (1000, 0, 0o700, "doubtful"),
            (1001, 1000, 0o770, "refused"),
            (1000, 1000, 0o777, "refused"),
            (0, 0, 0o1777, "refused"),
        ] {
            let found = match (Found { owner, user, mode }).judge() {
                Ok(None) => "ours",
                Ok(Some(_)) => "doubtful",
                Err(_) => "refused",
            };
            assert_eq!(found, expected, "{owner} {user} {mode:o}");
        }
    }
}

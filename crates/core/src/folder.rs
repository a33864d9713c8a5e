//! Whether a folder is one to keep things in, for the services that are on disk. What is wrong with it, or doubtful, is
//! told in words that say what to do.

use std::io;
use std::path::Path;

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

/// Whether there is no room: on the disk, or within what this user may have of it.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

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

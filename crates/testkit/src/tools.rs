//! Where the servers' programs are found.

use std::env;
use std::path::{Path, PathBuf};

use crate::StartError;

/// The folder that `cargo xtask services install` puts programs in: `STATEHOUSE_TOOLS`, else the user's cache folder.
///
/// For root it is `/var/cache/statehouse`: servers that refuse root run as another user, who cannot look into root's
/// home.
#[must_use]
pub fn tool_cache() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("STATEHOUSE_TOOLS") {
        return folder;
    }
    if is_root() {
        return "/var/cache/statehouse".into();
    }
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    cache.unwrap_or_else(env::temp_dir).join("statehouse")
}

/// The program called `name` on the PATH, in `bin/` of the tool cache, or in one of the `more` folders.
///
/// # Errors
/// The command that installs it, if it is nowhere.
pub fn find_program(name: &str, more: &[PathBuf]) -> Result<PathBuf, StartError> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([tool_cache().join("bin")])
        .chain(more.iter().cloned())
        .map(|folder| folder.join(name))
        .find(|program| is_executable(program))
        .ok_or_else(|| StartError::missing(name))
}

/// What the environment variable `name` says: the URL of a server that somebody else runs, or another program.
pub(crate) fn given(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn is_executable(program: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    program.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

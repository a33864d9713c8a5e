use std::fmt;
use std::path::Path;

/// Why a server could not be started or did not answer: one readable text, with the end of the server's log if it has one.
///
/// `Debug` prints the same as `Display`, because an `unwrap` in a test is where it is read.
pub struct StartError(String);

impl StartError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Neither the environment nor this machine has the server.
    pub(crate) fn missing(program: &str) -> Self {
        Self(format!(
            "{program} is neither on the PATH nor in the tool cache; install it with: cargo xtask services install"
        ))
    }

    pub(crate) fn with_log(server: &str, reason: impl fmt::Display, log: &Path) -> Self {
        Self(format!("{server} {reason}; the end of its log:\n{}", tail(log)))
    }
}

/// The last 40 lines of `log`.
fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

//! What is printed, and the exit code.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};
use statehouse::{Error, ErrorKind};

/// What a command ends with, whether or not something is wrong.
pub(crate) struct Outcome {
    text: String,
    value: Value,
    code: u8,
    /// Whether the text is for the standard error stream.
    is_failure: bool,
}

/// Why a command could not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: &'static str,
    setting: Option<String>,
    message: String,
    code: u8,
}

const WRONG: u8 = 1;
const UNREAD: u8 = 2;

impl Outcome {
    /// All is well.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { value: Value::String(text.clone()), text, code: 0, is_failure: false }
    }

    /// A text for people, and the same for a program.
    pub(crate) fn of(text: impl Into<String>, value: &impl Serialize) -> Result<Self, Failure> {
        let value = serde_json::to_value(value).map_err(|error| Failure::wrong(format!("no JSON: {error}")))?;
        Ok(Self { value, ..Self::text(text) })
    }

    pub(crate) fn wrong_unless(mut self, is_good: bool) -> Self {
        self.code = if is_good { 0 } else { WRONG };
        self
    }

    /// Nothing was done, since it was not said that it is meant.
    pub(crate) fn not_meant(mut self) -> Self {
        self.code = UNREAD;
        self
    }

    pub(crate) fn print(self, is_json: bool) -> ExitCode {
        let json = || serde_json::to_string_pretty(&self.value).unwrap_or_default();
        let text = if is_json { json() } else { self.text.clone() };
        let line = text.trim_end();
        if self.is_failure && !is_json {
            eprintln!("statehouse: {line}");
        } else if writeln!(std::io::stdout(), "{line}").is_err() {
            // Whoever read it has gone.
            return ExitCode::from(WRONG);
        }
        ExitCode::from(self.code)
    }
}

impl Failure {
    /// The command cannot be read.
    pub(crate) fn unread(message: impl Into<String>) -> Self {
        Self { kind: "usage", setting: None, message: message.into(), code: UNREAD }
    }

    pub(crate) fn wrong(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unexpected.as_str(), code: WRONG, ..Self::unread(message) }
    }

    /// What is named is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::NotFound.as_str(), ..Self::wrong(message) }
    }

    /// A setting cannot be read.
    pub(crate) fn setting(error: &Error) -> Self {
        Self { code: UNREAD, ..Self::from(error.clone()) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            kind: error.kind().as_str(),
            setting: error.setting().map(ToOwned::to_owned),
            // With its causes, each once.
            message: format!("{error:?}"),
            code: WRONG,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        let Failure { kind, setting, message, code } = failure;
        let value = json!({ "error": { "kind": kind, "setting": setting, "message": message } });
        Self { text: message, value, code, is_failure: true }
    }
}

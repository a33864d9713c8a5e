//! What is said of the files of each name.

use serde::Serialize;
use serde_json::{Map, Value, json};
use statehouse::Error;
use statehouse::files::{Checked, Mirrored, Swept};

use crate::outcome::{Failure, Outcome};

/// Lines for people, and the same for a program.
#[derive(Serialize)]
pub(super) struct Report {
    good: bool,
    names: Vec<Value>,
    /// What has ended it before its end, and where to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
    #[serde(skip)]
    lines: Vec<String>,
}

/// What was counted, by what it is called; what is none of the first is left out of the line if there is none.
type Counts<'c> = &'c [(&'c str, u64)];

impl Report {
    pub(super) const fn new() -> Self {
        Self { good: true, names: Vec::new(), error: None, lines: Vec::new() }
    }

    pub(super) fn mirrored(&mut self, name: &str, done: &Mirrored, removes: bool) {
        let counts = [
            ("files", done.files),
            ("copied", done.copied),
            ("bytes", done.bytes),
            ("same", done.same),
            ("gone", done.gone),
            ("expired", done.expired),
            ("others", done.others),
            ("removed", done.removed),
            ("undigested", done.undigested),
            ("skipped", done.skipped),
            ("failed", done.failed),
        ];
        self.name(name, &counts, &done.failures);
        if done.others > 0 && !removes {
            self.lines.push(format!("  {} are only in TO and were left; --remove-others deletes them", done.others));
        }
    }

    /// There is none of this name in FROM.
    pub(super) fn kept(&mut self, name: &str) {
        self.good = false;
        let why = "is only in TO, and nothing of it was deleted: is FROM the right store? If so, delete them there";
        self.lines.push(format!("{name}: {why}"));
        self.names.push(json!({ "name": name, "kept": true }));
    }

    pub(super) fn checked(&mut self, name: &str, done: &Checked) {
        let counts = [
            ("files", done.files),
            ("bytes", done.bytes),
            ("damaged", done.damaged),
            ("undigested", done.undigested),
            ("skipped", done.skipped),
            ("failed", done.failed),
        ];
        self.name(name, &counts, &done.failures);
    }

    pub(super) fn swept(&mut self, name: &str, swept: Swept) {
        let counts = [("expired", swept.expired), ("uploads", swept.uploads), ("digests", swept.digests)];
        self.name(name, &counts, &[]);
    }

    pub(super) fn unswept(&mut self, name: &str, error: &Error) {
        self.good = false;
        self.lines.push(format!("{name}: {error:?}"));
        self.names.push(json!({ "name": name, "error": said(error) }));
    }

    /// The files of a name were begun and not ended.
    pub(super) fn ended(&mut self, name: &str, last: Option<&str>, error: &Error) {
        self.good = false;
        let after = format!("{name}/{}", last.unwrap_or_default());
        // Quoted as a shell wants it: a file may be called anything.
        let quoted = after.replace('\'', r"'\''");
        self.lines.push(format!("ended before its end: {error:?}\ngo on with --after '{quoted}'"));
        let mut value = said(error);
        value["after"] = after.into();
        self.error = Some(value);
    }

    fn name(&mut self, name: &str, counts: Counts<'_>, failures: &[(String, Error)]) {
        let words = counts.iter().enumerate().filter(|(at, (_, count))| *at == 0 || *count > 0);
        let words: Vec<_> = words.map(|(_, (what, count))| format!("{count} {what}")).collect();
        self.lines.push(format!("{name}: {}", words.join(", ")));
        self.lines.extend(failures.iter().map(|(file, error)| format!("  {name}/{file}: {error:?}")));
        let skipped = counts.iter().any(|(what, count)| *what == "skipped" && *count > 0);
        if skipped {
            self.lines.push(format!(
                "  {name}: what was skipped is nobody's file, or a damaged one: the log of an application that lists them names it"
            ));
        }
        self.good &= failures.is_empty() && !skipped;
        let mut value: Map<_, _> = counts.iter().map(|(what, count)| ((*what).to_owned(), (*count).into())).collect();
        let told = failures.iter().map(|(file, error)| {
            let mut told = said(error);
            told["file"] = format!("{name}/{file}").into();
            told
        });
        value.insert("name".to_owned(), name.into());
        value.insert("failures".to_owned(), told.collect());
        self.names.push(value.into());
    }

    /// Where none at all was found, another namespace or name may have been meant.
    pub(super) fn outcome_of_any(mut self) -> Result<Outcome, Failure> {
        self.good &= !self.names.is_empty() || self.error.is_some();
        self.outcome()
    }

    pub(super) fn outcome(mut self) -> Result<Outcome, Failure> {
        if self.lines.is_empty() {
            self.lines.push("there are no such files in this namespace".to_owned());
        }
        Ok(Outcome::of(self.lines.join("\n"), &self)?.wrong_unless(self.good))
    }
}

fn said(error: &Error) -> Value {
    json!({ "kind": error.kind().as_str(), "message": format!("{error:?}") })
}

#[cfg(test)]
mod tests {
    use statehouse::ErrorKind;

    use super::*;

    #[test]
    fn where_to_go_on_is_quoted_for_a_shell() {
        let mut report = Report::new();
        report.ended("scans", Some("$(it's)"), &Error::new(ErrorKind::Unavailable, "away"));
        assert!(report.lines[0].ends_with(r"go on with --after 'scans/$(it'\''s)'"), "{:?}", report.lines);
    }
}

//! What became of writes. One that came too late is an answer; an error is only what prevented one.

use statehouse_core::{Error, ErrorKind, Result, Retry};

use crate::DocumentId;

/// What became of an [`Operation`](crate::Operation) of a bulk.
#[derive(Debug)]
#[must_use = "an operation may have failed, or come too late"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum Outcome {
    /// There was no document with this id.
    Created {
        /// The version it now has.
        version: u64,
    },
    /// It replaced an older one.
    Updated {
        /// The version it now has.
        version: u64,
    },
    /// The document is gone.
    Deleted {
        /// The version of the delete.
        version: u64,
    },
    /// A document, or the trace of a delete, of the same or a newer version is there. Nothing was changed.
    Stale,
    /// There was nothing to delete. An older document that arrives later is still refused as stale; a delete without
    /// a version counts on here too, so that a document of version 1 is older than it.
    NotFound,
    /// It was not applied, for this reason.
    Failed(Error),
}

impl Outcome {
    /// Whether the operation was applied: neither failed nor too late.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        !matches!(self, Self::Failed(_) | Self::Stale)
    }
}

/// One failure of several operations, none of which may be at fault.
#[cfg_attr(not(feature = "opensearch"), expect(dead_code, reason = "only a request to a server has several"))]
pub(crate) fn of_all(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message().to_owned()).with_retry(error.retry());
    let copy = error.backend().map_or(copy.clone(), |backend| copy.with_backend(backend));
    copy.with_source(OfAll)
}

/// Whether it is the failure of this operation and not of all that it was sent with.
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
pub(crate) fn is_its_own(error: &Error) -> bool {
    std::error::Error::source(error).is_none_or(|source| !source.is::<OfAll>())
}

#[derive(Clone, Copy, Debug)]
struct OfAll;

impl std::fmt::Display for OfAll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it is of all that was sent with it")
    }
}

impl std::error::Error for OfAll {}

/// Whether an operation that came too late is as good as applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    Allowed,
    Refused,
}

/// What became of each operation of a bulk, in the order they were given.
///
/// The bulk as a whole succeeds although operations in it failed or came too late: look at them one by one, or
/// [`check`](Self::check) them all.
#[derive(Debug, Default)]
#[non_exhaustive]
#[must_use = "operations of a bulk fail one by one: look at the outcomes, or `check` them"]
pub struct BulkReport {
    /// One outcome for each operation.
    pub outcomes: Vec<Outcome>,
}

impl BulkReport {
    /// A report of these outcomes.
    pub const fn new(outcomes: Vec<Outcome>) -> Self {
        Self { outcomes }
    }

    /// The operations that failed: their place in the bulk, and why.
    pub fn failures(&self) -> impl Iterator<Item = (usize, &Error)> {
        self.outcomes.iter().enumerate().filter_map(|(place, outcome)| match outcome {
            Outcome::Failed(error) => Some((place, error)),
            _ => None,
        })
    }

    /// The operations that came too late: their place in the bulk.
    pub fn stale(&self) -> impl Iterator<Item = usize> {
        self.outcomes
            .iter()
            .enumerate()
            .filter(|(_, outcome)| matches!(outcome, Outcome::Stale))
            .map(|(place, _)| place)
    }

    /// Succeeds if every operation was applied. Deleting what is missing is.
    ///
    /// # Errors
    /// That of the first operation that failed; else [`Conflict`](ErrorKind::Conflict) if one came too late.
    pub fn check(&self) -> Result<()> {
        self.check_with(Late::Refused, |_| None)
    }

    /// The report, if every operation was applied.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    ///
    /// ```
    /// use statehouse_search::{BulkReport, Outcome};
    ///
    /// let report = BulkReport::new(vec![Outcome::Created { version: 1 }, Outcome::NotFound]);
    /// assert_eq!(report.into_result()?.outcomes.len(), 2);
    /// assert!(BulkReport::new(vec![Outcome::Stale]).into_result().is_err());
    /// # Ok::<(), statehouse_core::Error>(())
    /// ```
    pub fn into_result(self) -> Result<Self> {
        self.check().map(|()| self)
    }

    /// Succeeds if every operation was applied, or came too late where that is allowed. Errors name the id that `id`
    /// knows for a place.
    pub(crate) fn check_with<'a>(&self, late: Late, id: impl Fn(usize) -> Option<&'a DocumentId>) -> Result<()> {
        let stale = if late == Late::Refused { self.stale().count() } else { 0 };
        let failed = self.failures().count();
        let first = match (self.failures().next(), self.stale().next()) {
            (Some((place, error)), _) => name(error.clone(), id(place)),
            (None, Some(place)) if stale > 0 => name(too_late(), id(place)),
            _ => return Ok(()),
        };
        Err(if failed + stale == 1 { first } else { first_of(first, failed, stale, self.outcomes.len()) })
    }
}

fn name(error: Error, id: Option<&DocumentId>) -> Error {
    match id {
        Some(id) if error.key().is_none() => error.with_key(id.as_str()),
        _ => error,
    }
}

fn too_late() -> Error {
    let message = "the index holds the same or a newer version, or the trace of a delete of one: nothing was changed";
    Error::new(ErrorKind::Conflict, message).with_retry(Retry::Never)
}

/// The first of several, and how many there are.
fn first_of(first: Error, failed: usize, stale: usize, all: usize) -> Error {
    let message =
        format!("of {all} operations {failed} failed and {stale} came too late; the first of them is the source");
    let error = Error::new(first.kind(), message).with_retry(first.retry());
    let error = match first.backend() {
        Some(backend) => error.with_backend(backend),
        None => error,
    };
    let error = match first.setting() {
        Some(setting) => error.with_setting(setting),
        None => error,
    };
    error.with_source(first)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn failed() -> Outcome {
        Outcome::Failed(Error::new(ErrorKind::RateLimited, "later").with_key("b").with_retry(Retry::Now))
    }

    #[test]
    fn a_report_succeeds_only_if_every_operation_was_applied() {
        let applied = || vec![Outcome::Created { version: 1 }, Outcome::NotFound, Outcome::Deleted { version: 2 }];
        assert!(BulkReport::new(applied()).check().is_ok());
        for (outcome, kind) in [(failed(), ErrorKind::RateLimited), (Outcome::Stale, ErrorKind::Conflict)] {
            let mut outcomes = applied();
            outcomes.push(outcome);
            let report = BulkReport::new(outcomes);
            assert_eq!(report.check().unwrap_err().kind(), kind);
            assert!(report.outcomes.iter().filter(|outcome| !outcome.is_ok()).count() == 1);
            assert_eq!(report.into_result().unwrap_err().kind(), kind);
        }
    }

    #[test]
    fn the_error_of_several_counts_them_and_keeps_the_first_that_failed() {
        let report = BulkReport::new(vec![Outcome::Stale, failed(), failed(), Outcome::Created { version: 1 }]);
        let error = report.check().unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::RateLimited, Retry::Now));
        assert!(error.to_string().contains("of 4 operations 2 failed and 1 came too late"), "{error}");
        assert!(error.source().unwrap().to_string().contains("\"b\": later"), "{error:?}");
    }

    #[test]
    fn what_came_too_late_is_an_error_unless_allowed_and_names_its_document() {
        let id = DocumentId::new("p7").unwrap();
        let report = BulkReport::new(vec![Outcome::Stale]);
        let error = report.check_with(Late::Refused, |_| Some(&id)).unwrap_err();
        assert_eq!((error.kind(), error.key(), error.is_retryable()), (ErrorKind::Conflict, Some("p7"), false));
        assert!(report.check_with(Late::Allowed, |_| Some(&id)).is_ok());
        let failed = BulkReport::new(vec![Outcome::Stale, failed()]);
        assert!(failed.check_with(Late::Allowed, |_| None).is_err());
    }
}

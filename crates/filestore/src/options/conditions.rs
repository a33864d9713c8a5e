//! What must hold for a read.

use statehouse_core::{Error, ErrorKind, Result, Timestamp};

use crate::meta::{ETag, Meta};
use crate::outcome::ReadOutcome;

/// The conditions of a get or a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions<'a> {
    pub(crate) if_match: Option<&'a ETag>,
    pub(crate) if_none_match: Option<&'a ETag>,
    pub(crate) if_modified_since: Option<Timestamp>,
    pub(crate) if_unmodified_since: Option<Timestamp>,
}

impl Conditions<'_> {
    /// In the order of [RFC 9110, 13.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2).
    pub(crate) fn judge(&self, meta: &Meta) -> Result<ReadOutcome<()>> {
        let since = |time: Timestamp| seconds(meta.modified) > seconds(time);
        match self.if_match {
            Some(etag) if *etag != meta.etag => return Err(changed()),
            None if self.if_unmodified_since.is_some_and(since) => return Err(modified()),
            _ => {}
        }
        let has_it = match self.if_none_match {
            Some(etag) => is_same(etag, &meta.etag),
            None => self.if_modified_since.is_some_and(|time| !since(time)),
        };
        Ok(if has_it { ReadOutcome::NotModified } else { ReadOutcome::Found(()) })
    }
}

/// Weakly, as RFC 9110, 8.8.3.2 has it. One that names nothing is none.
fn is_same(etag: &ETag, current: &ETag) -> bool {
    let opaque = |etag: &ETag| etag.as_str().trim_start_matches("W/").to_owned();
    !current.as_str().is_empty() && opaque(etag) == opaque(current)
}

/// HTTP's dates have seconds, and so has S3's time of a file.
pub(crate) const fn seconds(time: Timestamp) -> u64 {
    time.as_micros() / 1_000_000
}

fn changed() -> Error {
    Error::new(ErrorKind::Conflict, "the file does not have the expected etag")
}

fn modified() -> Error {
    Error::new(ErrorKind::Conflict, "the file was written since the time that was asked for")
}

/// The conditions of a read, as options.
macro_rules! read_conditions {
    ($options:ident) => {
        impl $options {
            /// With the etag that the file must have.
            #[must_use]
            pub fn with_if_match(mut self, etag: ETag) -> Self {
                self.if_match = Some(etag);
                self
            }

            /// With the etag that the file must not have.
            #[must_use]
            pub fn with_if_none_match(mut self, etag: ETag) -> Self {
                self.if_none_match = Some(etag);
                self
            }

            /// With the time since when the file must have been written.
            #[must_use]
            pub const fn with_if_modified_since(mut self, time: Timestamp) -> Self {
                self.if_modified_since = Some(time);
                self
            }

            /// With the time since when the file must not have been written.
            #[must_use]
            pub const fn with_if_unmodified_since(mut self, time: Timestamp) -> Self {
                self.if_unmodified_since = Some(time);
                self
            }

            pub(crate) const fn conditions(&self) -> Conditions<'_> {
                Conditions {
                    if_match: self.if_match.as_ref(),
                    if_none_match: self.if_none_match.as_ref(),
                    if_modified_since: self.if_modified_since,
                    if_unmodified_since: self.if_unmodified_since,
                }
            }

            /// What the conditions come to for a file that is there. For authors of backends, whose store does not look at them itself.
            ///
            /// # Errors
            /// [`Conflict`](statehouse_core::ErrorKind::Conflict) if the file is not the one that is asked for.
            pub fn check_conditions(&self, meta: &Meta) -> Result<ReadOutcome<()>> {
                self.conditions().judge(meta)
            }
        }
    };
}
pub(super) use read_conditions;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::FileKey;
    use crate::options::GetOptions;

    /// What becomes of a file with the etag `"e"` that was written half a second behind 100 s.
    fn judged(options: &GetOptions) -> Option<bool> {
        let modified = Timestamp::from_micros(100_500_000);
        let meta = Meta::new(FileKey::new("k").unwrap(), 1, ETag::new("\"e\""), modified);
        options.check_conditions(&meta).ok().map(|outcome| outcome == ReadOutcome::Found(()))
    }

    #[test]
    fn conditions_are_looked_at_in_the_order_of_http() {
        let at = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
        let (none, own, other) = (GetOptions::default, || ETag::new("\"e\""), || ETag::new("\"o\""));
        let (read, not_modified, refused) = (Some(true), Some(false), None);
        for (options, expected) in [
            (none(), read),
            (none().with_if_match(own()), read),
            (none().with_if_match(other()), refused),
            (none().with_if_none_match(own()), not_modified),
            (none().with_if_none_match(ETag::new("W/\"e\"")), not_modified),
            (none().with_if_none_match(ETag::new("")), read),
            (none().with_if_none_match(other()), read),
            (none().with_if_modified_since(at(99)), read),
            (none().with_if_modified_since(at(100)), not_modified),
            (none().with_if_modified_since(at(101)), not_modified),
            (none().with_if_unmodified_since(at(99)), refused),
            (none().with_if_unmodified_since(at(100)), read),
            (none().with_if_match(own()).with_if_unmodified_since(at(99)), read),
            (none().with_if_match(other()).with_if_unmodified_since(at(101)), refused),
            (none().with_if_match(other()).with_if_none_match(own()), refused),
            (none().with_if_unmodified_since(at(99)).with_if_none_match(own()), refused),
            (none().with_if_match(own()).with_if_none_match(own()), not_modified),
            (none().with_if_none_match(other()).with_if_modified_since(at(101)), read),
            (none().with_if_none_match(own()).with_if_modified_since(at(99)), not_modified),
        ] {
            assert_eq!(judged(&options), expected, "{options:?}");
        }
    }
}

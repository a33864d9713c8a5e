use std::time::Duration;

use statehouse_core::Condition;

use crate::meta::ETag;

statehouse_core::deadline_options! {
    /// Options of a commit.
    CommitOptions
    /// Options of discarding a stage.
    DiscardOptions
}

/// Options of listing stages: which of them.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StagesOptions {
    /// What the keys of their files begin with.
    pub prefix: String,
    /// How old they are at least, by the store's clock.
    pub older_than: Duration,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl StagesOptions {
    /// All stages of files whose keys begin with the prefix.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }

    /// Only those that are so old.
    #[must_use]
    pub const fn with_older_than(mut self, age: Duration) -> Self {
        self.older_than = age;
        self
    }

    statehouse_core::with_deadline!();
}

/// Options of a sweep.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SweepOptions {
    /// What the keys of the files begin with that are swept.
    pub prefix: String,
    /// How long ago, by the store's clock, an upload must have begun that nobody has ended: longer than the longest one
    /// takes. A day at first.
    pub uploads_older_than: Duration,
    /// How long this call may take; the backend's own limit for each of its requests if none.
    pub deadline: Option<Duration>,
}

impl SweepOptions {
    /// What belongs to keys that begin with the prefix.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), uploads_older_than: Duration::from_secs(24 * 60 * 60), deadline: None }
    }

    /// With how old an upload is that nobody will end.
    #[must_use]
    pub const fn with_uploads_older_than(mut self, age: Duration) -> Self {
        self.uploads_older_than = age;
        self
    }

    statehouse_core::with_deadline!();
}

/// A condition as a stage's record has it.
pub(crate) fn write_condition(condition: &Condition<ETag>) -> String {
    match condition {
        Condition::Always => "always".to_owned(),
        Condition::Absent => "absent".to_owned(),
        Condition::Match(etag) => format!("match{etag}"),
    }
}

/// None for what nobody has written.
pub(crate) fn read_condition(text: &str) -> Option<Condition<ETag>> {
    match text {
        "always" => Some(Condition::Always),
        "absent" => Some(Condition::Absent),
        other => Some(Condition::Match(ETag::new(other.strip_prefix("match")?))),
    }
}

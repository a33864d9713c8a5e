use statehouse_core::Result;
use tokio::time::Instant;

use crate::content::Object;
use crate::files::Place;
use crate::key::FileKey;
use crate::meta::{ETag, Meta};
use crate::options::{ByteRange, GetOptions, HeadOptions};
use crate::outcome::ReadOutcome;

/// Reads one file, in as many steps as its answer takes.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) place: Place,
    pub(super) key: FileKey,
    /// What the application asks of it.
    options: GetOptions,
    /// The deadline that the application gives is one for all steps until the content begins.
    until: Option<Instant>,
}

impl Reader {
    pub(super) fn new(place: Place, key: FileKey, options: GetOptions) -> Self {
        let until = options.deadline.and_then(|deadline| Instant::now().checked_add(deadline));
        Self { place, key, options, until }
    }

    /// For what is read when the content has begun, as fast as the client takes it: a deadline for each step.
    pub(super) fn begun(self) -> Self {
        Self { until: None, ..self }
    }

    fn options(&self) -> GetOptions {
        let mut options = self.options.clone();
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        options.deadline = left.or(options.deadline);
        options
    }

    pub(super) async fn head(&self) -> Result<Meta> {
        let head = self.place.store.head_with(&self.key, HeadOptions::of(self.options())).await;
        head.and_then(ReadOutcome::unconditional).map_err(|error| self.place.naming(&self.key, error))
    }

    /// Whether the handler asks for one state of the file: a conflict is its own then, and stays.
    pub(super) const fn is_bound(&self) -> bool {
        self.options.if_match.is_some() || self.options.if_unmodified_since.is_some()
    }

    pub(super) async fn get(&self, range: Option<ByteRange>) -> Result<Object> {
        let mut options = self.options();
        options.range = range;
        let got = self.place.store.get_with(&self.key, options).await;
        got.and_then(ReadOutcome::unconditional).map_err(|error| self.place.naming(&self.key, error))
    }

    /// Reads this state of the file.
    pub(super) async fn pinned(&self, meta: &Meta, range: Option<ByteRange>) -> Result<Object> {
        let mut pinned = self.clone();
        pinned.options.if_match = Some(meta.etag.clone()).filter(ETag::names_a_state);
        pinned.get(range).await
    }
}

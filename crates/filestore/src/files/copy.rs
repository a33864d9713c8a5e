use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::Result;

use crate::api::FileStore;
use crate::key::FileKey;
use crate::meta::{ETag, Stored};
use crate::options::{Condition, CopyOptions};
use crate::outcome::PutOutcome;

/// A copy that is being described; `.await` copies the file.
///
/// It gives what was [`Stored`], and with a condition a [`PutOutcome`].
#[derive(Debug)]
#[must_use = "nothing is copied until awaited"]
pub struct Copy<'a, O = Stored> {
    store: &'a Arc<dyn FileStore>,
    keys: Result<(FileKey, FileKey)>,
    options: CopyOptions,
    outcome: PhantomData<fn() -> O>,
}

impl<'a> Copy<'a> {
    pub(super) fn new(store: &'a Arc<dyn FileStore>, keys: Result<(FileKey, FileKey)>) -> Self {
        Self { store, keys, options: CopyOptions::default(), outcome: PhantomData }
    }

    /// Copies only if the target is absent.
    pub fn if_absent(self) -> Copy<'a, PutOutcome> {
        self.on(Condition::Absent)
    }

    /// Copies only if the target has this etag.
    pub fn if_match(self, etag: &ETag) -> Copy<'a, PutOutcome> {
        self.on(Condition::Match(etag.clone()))
    }

    fn on(self, condition: Condition) -> Copy<'a, PutOutcome> {
        let Self { store, keys, options, .. } = self;
        Copy { store, keys, options: options.with_condition(condition), outcome: PhantomData }
    }
}

impl<'a, O> Copy<'a, O> {
    /// Sets how long the copy may take; see [`CopyOptions::deadline`](crate::CopyOptions::deadline).
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    fn run(self) -> impl Future<Output = Result<PutOutcome>> + Send + 'a
    where
        O: 'a,
    {
        let Self { store, keys, options, .. } = self;
        async move {
            let (from, to) = keys?;
            store.copy_with(&from, &to, options).await
        }
    }
}

awaited!(Copy: Stored, PutOutcome);

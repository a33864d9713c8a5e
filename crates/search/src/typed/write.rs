use std::pin::Pin;
use std::time::Duration;

use statehouse_core::Result;

use crate::{BulkOptions, BulkReport, Durability, Operation, Refresh, SearchIndex};

/// A write that happens when it is awaited: made by [`Index::upsert`](crate::Index::upsert) and its siblings.
///
/// The answer is an error if any of its operations failed; those before and behind it may have been applied. A
/// [`Stale`](crate::Outcome::Stale) one is no failure: the index holds something newer.
#[derive(Debug)]
#[must_use = "nothing is written until it is awaited"]
pub struct Write<'i> {
    index: &'i dyn SearchIndex,
    operations: Result<Vec<Operation>>,
    options: BulkOptions,
}

impl<'i> Write<'i> {
    pub(super) fn new(index: &'i dyn SearchIndex, operations: Result<Vec<Operation>>) -> Self {
        Self { index, operations, options: BulkOptions::default() }
    }

    /// Answers when searches see it.
    pub const fn wait_until_visible(mut self) -> Self {
        self.options.refresh = Refresh::Wait;
        self
    }

    /// Answers before it is durable: a crash within the next moments may lose it. For what can be indexed again.
    pub const fn queued(mut self) -> Self {
        self.options.durability = Durability::Queued;
        self
    }

    /// Gives up after this long instead of the backend's own deadline.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }
}

impl<'i> IntoFuture for Write<'i> {
    type Output = Result<BulkReport>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'i>>;

    fn into_future(self) -> Self::IntoFuture {
        match self.operations {
            Ok(operations) => {
                let bulk = self.index.bulk_with(operations, self.options);
                Box::pin(async { bulk.await?.into_result() })
            }
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

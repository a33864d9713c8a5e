use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use statehouse_core::{Capabilities, Fence, Health, RaiseOptions, Result};

use crate::{
    BulkOptions, BulkReport, DocumentId, GetOptions, MergeOptions, Operation, Query, Record, RefreshOptions, Schema,
    SearchOptions, SearchRequest, SearchResponse,
};

/// One index of documents: the same hits in the same order, embedded and distributed.
///
/// Backends implement it; applications usually hold a typed `Index` instead.
///
/// # Behavior
/// - **Versions.** A write with a version is applied only over an older document and only behind an older delete;
///   otherwise it is [`Stale`](crate::Outcome::Stale) and changes nothing. A write without one is always applied and
///   takes the stored version plus one. A delete leaves a trace for as long as the backend says, so that an older
///   document arriving late does not bring it back, also from another process or after a restart of this one. One without
///   a version counts on as well, from nothing to 1: who writes with versions deletes with versions.
/// - **Too late is told.** A bulk with a failed or stale operation is an `Ok` whose report does not pass
///   [`check`](crate::BulkReport::check). A typed [`Write`](crate::Write) of one is an error.
/// - **Order.** The operations of one bulk take effect in the order given, per id. Two concurrent bulks have no order.
/// - **Not atomic.** Each operation of a bulk succeeds or fails on its own. A bulk whose future is dropped may have been
///   applied in part.
/// - **Fenced bulks.** With [`FENCED`](crate::capability::FENCED) a bulk with a [`Fence`] is applied only as long as no higher
///   token of its lock is known here, by a bulk or by [`raise_with`](Self::raise_with); else it is
///   [`Fenced`](statehouse_core::ErrorKind::Fenced) as a whole, and nothing is changed. With
///   [`FENCED_AT_ONCE`](crate::capability::FENCED_AT_ONCE) that is one step: after a mark was raised nothing below it is
///   applied. Without it both are [`Unsupported`](statehouse_core::ErrorKind::Unsupported).
/// - **Visibility.** `get` sees every acknowledged write at once. Searches and counts see it as
///   [`Refresh`](crate::Refresh) says.
/// - **Hits.** Two backends that hold the same documents return equal totals and equal hits in equal order. Documents
///   are ordered by score in Lucene's arithmetic, or by the sort keys; ties by id.
/// - **Any text.** A text may hold every code point, those that are no characters too, and is found by what it holds.
///   Words are stemmed alike in every script.
/// - **Bounds.** A request over one of the limits (the constants `MAX_…`) is refused before any work, with what was found
///   and what is allowed. The terms of all its texts count together. No request holds an async thread for longer than a
///   millisecond, and none goes on behind its deadline.
/// - **Nothing is ignored.** Options that contradict each other are refused, as is whatever would not mean the same on
///   every backend.
/// - **Statistics.** A backend without [`LIVE_STATISTICS`](crate::capability::LIVE_STATISTICS) counts replaced and deleted
///   documents in term statistics until they are merged away, as Lucene does: scores drift as documents change. Once
///   [`merge_with`](Self::merge_with) has returned and nothing was written since, every backend scores as an index that
///   was built of the living documents only.
///
/// # Errors
/// `InvalidInput` and `Unsupported` before anything is sent, for what the schema does not allow or the backend cannot do
/// exactly. `Timeout` and `Unavailable` for a backend that does not answer: never an empty result. `OutcomeUnknown` for
/// a bulk whose answer was lost; sending it again with the same versions is safe.
///
/// # Durability
/// As [`Durability`](crate::Durability) says, per bulk.
#[async_trait]
pub trait SearchIndex: Debug + Send + Sync + 'static {
    /// What the index holds.
    fn schema(&self) -> &Arc<Schema>;

    /// What this backend can do beyond the contract's core; see [`capability`](crate::capability).
    fn capabilities(&self) -> Capabilities;

    /// Applies operations and says what became of each, in the same order.
    async fn bulk_with(&self, operations: Vec<Operation>, options: BulkOptions) -> Result<BulkReport>;

    /// The document of this id with its stored fields and its version, or `None`. Sees every acknowledged write.
    async fn get_with(&self, id: &DocumentId, options: GetOptions) -> Result<Option<Record>>;

    /// The hits of a query.
    async fn search_with(&self, request: &SearchRequest, options: SearchOptions) -> Result<SearchResponse>;

    /// How many documents match: exact.
    async fn count_with(&self, query: &Query, options: SearchOptions) -> Result<u64>;

    /// Makes every acknowledged write visible to searches that start after it returns.
    async fn refresh_with(&self, options: RefreshOptions) -> Result<()>;

    /// Makes one segment of the whole index, without what was replaced and deleted, and shows it.
    ///
    /// It is not needed: backends merge on their own, and reclaim what was deleted. It is for an index that is written
    /// seldom, or for scores that depend on nothing but the documents: see *Statistics*. Reads and writes go on meanwhile.
    /// It writes the index once more, so it takes time and space; a call that ends early, at its deadline, leaves the
    /// index as good as before.
    async fn merge_with(&self, options: MergeOptions) -> Result<()>;

    /// Raises the mark of a lock to the token of its new holder, so that bulks of all before are refused.
    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        let _ = (fence, options);
        Err(Fence::unsupported())
    }

    /// Asks the backend how it is. An embedded index that has answered `Corrupt` since it was opened is not up.
    async fn health(&self) -> Health;

    /// Commits what is queued and releases the index. Later calls fail as `Unavailable`. Closing twice is no error.
    async fn close(&self) -> Result<()>;
}

macro_rules! forward {
    ($($owner:ident),*) => {$(
        /// Forwards to what it points to.
        #[deny(clippy::missing_trait_methods)]
        impl<I: SearchIndex + ?Sized> SearchIndex for $owner<I> {
            fn schema(&self) -> &Arc<Schema> {
                (**self).schema()
            }

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            fn bulk_with<'a: 'b, 'b>(&'a self, operations: Vec<Operation>, options: BulkOptions) -> Boxed<'b, BulkReport>
            where
                Self: 'b,
            {
                (**self).bulk_with(operations, options)
            }

            fn get_with<'a: 'c, 'b: 'c, 'c>(
                &'a self,
                id: &'b DocumentId,
                options: GetOptions,
            ) -> Boxed<'c, Option<Record>>
            where
                Self: 'c,
            {
                (**self).get_with(id, options)
            }

            fn search_with<'a: 'c, 'b: 'c, 'c>(
                &'a self,
                request: &'b SearchRequest,
                options: SearchOptions,
            ) -> Boxed<'c, SearchResponse>
            where
                Self: 'c,
            {
                (**self).search_with(request, options)
            }

            fn count_with<'a: 'c, 'b: 'c, 'c>(&'a self, query: &'b Query, options: SearchOptions) -> Boxed<'c, u64>
            where
                Self: 'c,
            {
                (**self).count_with(query, options)
            }

            fn refresh_with<'a: 'b, 'b>(&'a self, options: RefreshOptions) -> Boxed<'b, ()>
            where
                Self: 'b,
            {
                (**self).refresh_with(options)
            }

            fn merge_with<'a: 'b, 'b>(&'a self, options: MergeOptions) -> Boxed<'b, ()>
            where
                Self: 'b,
            {
                (**self).merge_with(options)
            }

            fn raise_with<'a: 'c, 'b: 'c, 'c>(&'a self, fence: &'b Fence, options: RaiseOptions) -> Boxed<'c, ()>
            where
                Self: 'c,
            {
                (**self).raise_with(fence, options)
            }

            fn health<'a: 'b, 'b>(&'a self) -> Pin<Box<dyn Future<Output = Health> + Send + 'b>>
            where
                Self: 'b,
            {
                (**self).health()
            }

            fn close<'a: 'b, 'b>(&'a self) -> Boxed<'b, ()>
            where
                Self: 'b,
            {
                (**self).close()
            }
        }
    )*};
}

use std::pin::Pin;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

forward!(Arc, Box);

/// What every index offers on top of [`SearchIndex`].
// Without `async_trait`, which would box the boxed future once more.
pub trait SearchIndexExt: SearchIndex {
    /// Applies operations with the default options: durable before it returns, visible soon after.
    fn bulk(&self, operations: Vec<Operation>) -> impl Future<Output = Result<BulkReport>> + Send {
        async move { self.bulk_with(operations, BulkOptions::default()).await }
    }

    /// The document of this id, within the backend's own limit.
    fn get(&self, id: &DocumentId) -> impl Future<Output = Result<Option<Record>>> + Send {
        async move { self.get_with(id, GetOptions::default()).await }
    }

    /// The hits of a query, within the backend's own limit.
    fn search(&self, request: &SearchRequest) -> impl Future<Output = Result<SearchResponse>> + Send {
        async move { self.search_with(request, SearchOptions::default()).await }
    }

    /// How many documents match, within the backend's own limit.
    fn count(&self, query: &Query) -> impl Future<Output = Result<u64>> + Send {
        async move { self.count_with(query, SearchOptions::default()).await }
    }

    /// Makes every acknowledged write visible.
    fn refresh(&self) -> impl Future<Output = Result<()>> + Send {
        async move { self.refresh_with(RefreshOptions::default()).await }
    }

    /// Makes one segment of the whole index, however long it takes.
    fn merge(&self) -> impl Future<Output = Result<()>> + Send {
        async move { self.merge_with(MergeOptions::default()).await }
    }
}

impl<I: SearchIndex + ?Sized> SearchIndexExt for I {}

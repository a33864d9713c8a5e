use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use statehouse_core::{Capabilities, Error, ErrorKind, Fence, Health, RaiseOptions, Result};

use crate::generation::unsupported;
use crate::{
    ActivateOptions, BeginOptions, BulkOptions, BulkReport, DocumentId, EnsureOptions, Generation, GenerationOptions,
    GenerationsOptions, GetOptions, Hits, HitsOptions, MergeOptions, Operation, Query, Record, RefreshOptions, Scan,
    Schema, SchemaDiff, SearchOptions, SearchRequest, SearchResponse, Suggest, Suggestions,
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
/// - **Totals.** A total is exact unless the request has it counted [up to a number](SearchRequest::with_total): then it is exact up to
///   that number, and beyond it that number, with the word that there are more. It is of all that match, whatever page is asked
///   for. Nothing else depends on it: hits, order, scores, cursors and whatever is counted besides are the same.
/// - **Counts.** Facets, ranges, histograms and sums are of all documents that match the query and its filters, whatever page is
///   asked for: exact, and equal on two backends, but for the last digits of [sums](crate::Stats) of fractions. A document counts
///   once for each of its values, ranges and buckets, and where it has no value not at all. A post-filter narrows hits and
///   total and nothing that is counted.
/// - **Collapsed hits.** Of the hits with the same value of the field that a request [collapses](SearchRequest::with_collapse)
///   by, the one that comes first in its order is returned, and no other; those without a value are one group. Total and counts
///   are of all that match; `from` and `size` count groups. If any hit has several values, on the page or not, the request is
///   `Unsupported`. Without [`COLLAPSE`](crate::capability::COLLAPSE) every such request with hits is.
/// - **Reading on.** Each hit gives a [`Cursor`](crate::Cursor), also as text, unless hits are collapsed, and [`after`](SearchRequest::after) it begins the
///   page that `from` would, in every order, with missing values and ties, however far it reaches. Behind
///   it comes what comes behind that place now, be the hit itself gone. A cursor of another request, and what is none, is
///   `InvalidInput`.
/// - **All hits.** With [`POINT_IN_TIME`](crate::capability::POINT_IN_TIME) [`hits_with`](Self::hits_with) gives every hit once, in
///   order, of one state of the index: writes, deletes, merges and a change of generations meanwhile show in nothing that it
///   gives. A state that is no longer held is a [`Conflict`](statehouse_core::ErrorKind::Conflict), and never another one. Its
///   deadline is that of each page: who reads may pause, for as long as the state is held. Without it that is `Unsupported`.
/// - **Corrections.** With [`SUGGEST`](crate::capability::SUGGEST) [`suggest_with`](Self::suggest_with) gives for the words of a text that no document
///   has, or fewer than another one, the terms that are at most two edits away, the nearest first, then the most frequent, then by
///   their bytes: those that searches see. Without it that is `Unsupported`.
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
/// - **Schemas change in place where nothing found changes.** Fields that are added are added, and those that a schema no
///   longer has stay, unseen by it, for the builds that still have them: [`ensure_with`](Self::ensure_with). Anything else
///   is a [`Conflict`](statehouse_core::ErrorKind::Conflict) that names the fields, and touches nothing.
/// - **Generations.** With [`REINDEX`](crate::capability::REINDEX) there may be two, each a whole index of its own schema. A
///   handle searches the live one if that has its schema, else the other, and never one that is still being filled or does not
///   hold what the live one does. What is written is written to both, with the same versions, deletes too, by each handle
///   that knows of only one as well: one that holds everything says what becomes of it, what one of them cannot hold is in
///   neither, and a bulk that is sent again brings what one of them missed. A generation becomes live in one step, holding
///   the same documents in the same versions as the one before, and that one goes on with it, so that going back loses
///   nothing. Where it was filled from elsewhere and holds something else, the one before is
///   [`Behind`](crate::GenerationState::Behind) until it is made the same.
///
/// # Errors
/// `InvalidInput` and `Unsupported` before anything is sent, for what the schema does not allow or the backend cannot do
/// exactly. `Timeout` and `Unavailable` for a backend that does not answer: never an empty result. `OutcomeUnknown` for
/// a bulk whose answer was lost, or that was perhaps not made durable; sending it again with the same versions is safe.
///
/// # Durability
/// As [`Durability`](crate::Durability) says, per bulk:
///
/// - A write is answered as the others are, and `get` sees it, whatever it promises.
/// - What is acknowledged as [`Logged`](crate::Durability::Logged) or [`Committed`](crate::Durability::Committed) is there behind
///   a crash: documents with all of their fields, and deletes with their versions. So is what such a write came too late for.
/// - What cannot be made so is an error: it did not happen, or it is `OutcomeUnknown`.
/// - A backend that acknowledges nothing before it is durable does the same for all of them; one in memory has nothing to survive in.
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

    /// All hits of a query, of the state that the index has now. The size of the request and its total say nothing here; `from`, whatever is
    /// counted besides, and a request whose hits are collapsed are refused.
    async fn hits_with(&self, request: &SearchRequest, options: HitsOptions) -> Result<Hits> {
        let _ = (request, options);
        Err(Error::new(ErrorKind::Unsupported, "the backend holds no state of an index: see capability::POINT_IN_TIME"))
    }

    /// How many documents match: exact.
    async fn count_with(&self, query: &Query, options: SearchOptions) -> Result<u64>;

    /// What may have been meant by the words of a text, by the terms of a field that searches see.
    async fn suggest_with(&self, suggest: &Suggest, options: SearchOptions) -> Result<Suggestions> {
        let _ = (suggest, options);
        Err(Error::new(ErrorKind::Unsupported, "the backend corrects no words: see capability::SUGGEST"))
    }

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

    /// What the live generation needs to be used with a schema.
    async fn diff_with(&self, wanted: &Schema, options: EnsureOptions) -> Result<SchemaDiff> {
        let _ = options;
        Ok(self.schema().diff(wanted))
    }

    /// The same index by another schema: a handle of its own. Fields that are new are added in place.
    ///
    /// # Errors
    /// [`Conflict`](statehouse_core::ErrorKind::Conflict), naming the fields, if no generation can have this schema without
    /// indexing its documents anew.
    async fn ensure_with(&self, wanted: Arc<Schema>, options: EnsureOptions) -> Result<Arc<dyn SearchIndex>> {
        let _ = (wanted, options);
        Err(Error::new(ErrorKind::Unsupported, "the backend gives out one handle"))
    }

    /// The generations, in the order of their numbers: a cheap look, unless it is asked for their checksums.
    async fn generations_with(&self, options: GenerationsOptions) -> Result<Vec<Generation>> {
        let _ = options;
        unsupported()
    }

    /// Begins a generation beside the live one, empty, or goes on with one of the same schema. From here on what is written
    /// is written to both. The handle that this gives searches it while it is filled; see `Reindex`, which does all of it. It is
    /// being filled for as long as there is such a handle: who asks for its schema is `Unavailable` meanwhile, and behind that
    /// it is a `Conflict` until somebody goes on with it.
    async fn begin_with(&self, wanted: Arc<Schema>, options: BeginOptions) -> Result<Arc<dyn SearchIndex>> {
        let _ = (wanted, options);
        unsupported()
    }

    /// Ids and versions of a generation's documents, in the order of ids: all that was acknowledged before its first page, the one behind no id.
    async fn scan_with(&self, scan: Scan, options: GenerationOptions) -> Result<Vec<(DocumentId, u64)>> {
        let _ = (scan, options);
        unsupported()
    }

    /// Makes the generation beside the live one hold of these ids what the live one holds, from its stored documents: in one
    /// step with regard to writes. Says how many were not so already.
    async fn copy_with(&self, ids: Vec<DocumentId>, options: GenerationOptions) -> Result<u64> {
        let _ = (ids, options);
        unsupported()
    }

    /// Makes a generation the live one, in one step, and keeps the one that was. Both are read and compared first, while others
    /// write.
    ///
    /// # Errors
    /// `Conflict` if it does not hold what [`verify`](ActivateOptions::verify) asks for. Nothing is changed then.
    /// `OutcomeUnknown` behind the deadline: it may have become live.
    async fn activate_with(&self, generation: u32, options: ActivateOptions) -> Result<()> {
        let _ = (generation, options);
        unsupported()
    }

    /// Removes a generation that is not live, with its documents. Searches that read it go on to their end.
    async fn drop_generation_with(&self, generation: u32, options: GenerationOptions) -> Result<()> {
        let _ = (generation, options);
        unsupported()
    }

    /// Asks the backend how it is. Says so within a second, whatever the network and the backend do. An embedded index that has answered `Corrupt` since it was opened is not up.
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

            fn hits_with<'a: 'c, 'b: 'c, 'c>(&'a self, request: &'b SearchRequest, options: HitsOptions) -> Boxed<'c, Hits>
            where
                Self: 'c,
            {
                (**self).hits_with(request, options)
            }

            fn count_with<'a: 'c, 'b: 'c, 'c>(&'a self, query: &'b Query, options: SearchOptions) -> Boxed<'c, u64>
            where
                Self: 'c,
            {
                (**self).count_with(query, options)
            }

            fn suggest_with<'a: 'c, 'b: 'c, 'c>(
                &'a self,
                suggest: &'b Suggest,
                options: SearchOptions,
            ) -> Boxed<'c, Suggestions>
            where
                Self: 'c,
            {
                (**self).suggest_with(suggest, options)
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

            fn diff_with<'a: 'c, 'b: 'c, 'c>(&'a self, wanted: &'b Schema, options: EnsureOptions) -> Boxed<'c, SchemaDiff>
            where
                Self: 'c,
            {
                (**self).diff_with(wanted, options)
            }

            fn ensure_with<'a: 'b, 'b>(
                &'a self,
                wanted: Arc<Schema>,
                options: EnsureOptions,
            ) -> Boxed<'b, Arc<dyn SearchIndex>>
            where
                Self: 'b,
            {
                (**self).ensure_with(wanted, options)
            }

            fn generations_with<'a: 'b, 'b>(&'a self, options: GenerationsOptions) -> Boxed<'b, Vec<Generation>>
            where
                Self: 'b,
            {
                (**self).generations_with(options)
            }

            fn begin_with<'a: 'b, 'b>(&'a self, wanted: Arc<Schema>, options: BeginOptions) -> Boxed<'b, Arc<dyn SearchIndex>>
            where
                Self: 'b,
            {
                (**self).begin_with(wanted, options)
            }

            fn scan_with<'a: 'b, 'b>(&'a self, scan: Scan, options: GenerationOptions) -> Boxed<'b, Vec<(DocumentId, u64)>>
            where
                Self: 'b,
            {
                (**self).scan_with(scan, options)
            }

            fn copy_with<'a: 'b, 'b>(&'a self, ids: Vec<DocumentId>, options: GenerationOptions) -> Boxed<'b, u64>
            where
                Self: 'b,
            {
                (**self).copy_with(ids, options)
            }

            fn activate_with<'a: 'b, 'b>(&'a self, generation: u32, options: ActivateOptions) -> Boxed<'b, ()>
            where
                Self: 'b,
            {
                (**self).activate_with(generation, options)
            }

            fn drop_generation_with<'a: 'b, 'b>(&'a self, generation: u32, options: GenerationOptions) -> Boxed<'b, ()>
            where
                Self: 'b,
            {
                (**self).drop_generation_with(generation, options)
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

    /// All hits of a query, of the state that the index has now: see [`Hits`].
    fn hits(&self, request: &SearchRequest) -> impl Future<Output = Result<Hits>> + Send {
        async move { self.hits_with(request, HitsOptions::default()).await }
    }

    /// How many documents match, within the backend's own limit.
    fn count(&self, query: &Query) -> impl Future<Output = Result<u64>> + Send {
        async move { self.count_with(query, SearchOptions::default()).await }
    }

    /// What may have been meant by the words of a text, within the backend's own limit.
    fn suggest(&self, suggest: &Suggest) -> impl Future<Output = Result<Suggestions>> + Send {
        async move { self.suggest_with(suggest, SearchOptions::default()).await }
    }

    /// Makes every acknowledged write visible.
    fn refresh(&self) -> impl Future<Output = Result<()>> + Send {
        async move { self.refresh_with(RefreshOptions::default()).await }
    }

    /// What the live generation needs to be used with a schema.
    fn diff(&self, wanted: &Schema) -> impl Future<Output = Result<SchemaDiff>> + Send {
        async move { self.diff_with(wanted, EnsureOptions::default()).await }
    }

    /// The same index by another schema, with new fields added in place.
    fn ensure(
        &self,
        wanted: impl Into<Arc<Schema>> + Send,
    ) -> impl Future<Output = Result<Arc<dyn SearchIndex>>> + Send {
        async move { self.ensure_with(wanted.into(), EnsureOptions::default()).await }
    }

    /// The generations, in the order of their numbers.
    fn generations(&self) -> impl Future<Output = Result<Vec<Generation>>> + Send {
        async move { self.generations_with(GenerationsOptions::default()).await }
    }

    /// Makes a generation the live one if it holds what the live one holds.
    fn activate(&self, generation: u32) -> impl Future<Output = Result<()>> + Send {
        async move { self.activate_with(generation, ActivateOptions::default()).await }
    }

    /// Removes a generation that is not live.
    fn drop_generation(&self, generation: u32) -> impl Future<Output = Result<()>> + Send {
        async move { self.drop_generation_with(generation, GenerationOptions::default()).await }
    }

    /// Makes one segment of the whole index, however long it takes.
    fn merge(&self) -> impl Future<Output = Result<()>> + Send {
        async move { self.merge_with(MergeOptions::default()).await }
    }
}

impl<I: SearchIndex + ?Sized> SearchIndexExt for I {}

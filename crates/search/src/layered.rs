use std::sync::Arc;

use async_trait::async_trait;
use statehouse_core::layer::Layer;
use statehouse_core::{Capabilities, Fence, Health, RaiseOptions, Result};

use crate::cursor::Cursor;
use crate::operation::NAME;
use crate::{
    ActivateOptions, BeginOptions, BulkOptions, BulkReport, DocumentId, EnsureOptions, Generation, GenerationOptions,
    GenerationsOptions, GetOptions, HitPage, HitPages, Hits, HitsOptions, MergeOptions, Operation, Query, Record,
    RefreshOptions, Scan, Schema, SchemaDiff, SearchIndex, SearchOptions, SearchRequest, SearchResponse, Suggest,
    Suggestions,
};

/// A [`SearchIndex`] with a [`Layer`] around each of its calls, and around each page of [`Hits`]. Capabilities and health are
/// those of the store in it.
///
/// An application's own tests can find out so what it does when a search fails:
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use std::sync::Arc;
/// use statehouse_core::ErrorKind;
/// use statehouse_core::layer::Faults;
/// use statehouse_search::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let index = Arc::new(TantivyConfig::memory().open(Schema::builder().field(Field::text("title")).build()?).await?);
/// let faulty = LayeredIndex::new(index.clone(), Faults::seeded(1).with_lost_answers(1.0));
/// let cholera = Record::new("A00")?.with("title", "Cholera").with_version(1);
/// let lost = faulty.bulk(vec![Operation::Upsert(cholera.clone())]).await.unwrap_err();
/// assert_eq!(lost.kind(), ErrorKind::OutcomeUnknown);
/// // It was written. Sent again with its version, it says so and changes nothing.
/// let report = index.bulk(vec![Operation::Upsert(cholera)]).await?;
/// assert!(matches!(report.outcomes[0], Outcome::Stale));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct LayeredIndex<L> {
    inner: Arc<dyn SearchIndex>,
    layer: Arc<L>,
}

impl<L: Layer> LayeredIndex<L> {
    /// Puts the layer around a store.
    #[must_use]
    pub fn new(inner: Arc<dyn SearchIndex>, layer: L) -> Self {
        Self { inner, layer: Arc::new(layer) }
    }
}

/// The layer is around each page.
#[derive(Debug)]
struct LayeredPages<L> {
    inner: Box<dyn HitPages>,
    layer: Arc<L>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<L: Layer> HitPages for LayeredPages<L> {
    async fn page(&mut self, after: Option<&Cursor>) -> Result<HitPage> {
        self.layer.around(NAME.hits, self.inner.page(after)).await
    }

    async fn close(&mut self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<L: Layer> SearchIndex for LayeredIndex<L> {
    fn schema(&self) -> &Arc<Schema> {
        self.inner.schema()
    }

    async fn bulk_with(&self, operations: Vec<Operation>, options: BulkOptions) -> Result<BulkReport> {
        self.layer.around(NAME.bulk, self.inner.bulk_with(operations, options)).await
    }

    async fn get_with(&self, id: &DocumentId, options: GetOptions) -> Result<Option<Record>> {
        self.layer.around(NAME.get, self.inner.get_with(id, options)).await
    }

    async fn search_with(&self, request: &SearchRequest, options: SearchOptions) -> Result<SearchResponse> {
        self.layer.around(NAME.search, self.inner.search_with(request, options)).await
    }

    async fn hits_with(&self, request: &SearchRequest, options: HitsOptions) -> Result<Hits> {
        let hits = self.layer.around(NAME.hits, self.inner.hits_with(request, options)).await?;
        Ok(hits.wrapped(|inner| Box::new(LayeredPages { inner, layer: Arc::clone(&self.layer) })))
    }

    async fn count_with(&self, query: &Query, options: SearchOptions) -> Result<u64> {
        self.layer.around(NAME.count, self.inner.count_with(query, options)).await
    }

    async fn suggest_with(&self, suggest: &Suggest, options: SearchOptions) -> Result<Suggestions> {
        self.layer.around(NAME.suggest, self.inner.suggest_with(suggest, options)).await
    }

    async fn refresh_with(&self, options: RefreshOptions) -> Result<()> {
        self.layer.around(NAME.refresh, self.inner.refresh_with(options)).await
    }

    async fn merge_with(&self, options: MergeOptions) -> Result<()> {
        self.layer.around(NAME.merge, self.inner.merge_with(options)).await
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        self.layer.around(NAME.raise, self.inner.raise_with(fence, options)).await
    }

    async fn diff_with(&self, wanted: &Schema, options: EnsureOptions) -> Result<SchemaDiff> {
        self.layer.around(NAME.diff, self.inner.diff_with(wanted, options)).await
    }

    async fn ensure_with(&self, wanted: Arc<Schema>, options: EnsureOptions) -> Result<Arc<dyn SearchIndex>> {
        let inner = self.layer.around(NAME.ensure, self.inner.ensure_with(wanted, options)).await?;
        Ok(Arc::new(Self { inner, layer: Arc::clone(&self.layer) }))
    }

    async fn generations_with(&self, options: GenerationsOptions) -> Result<Vec<Generation>> {
        self.layer.around(NAME.generations, self.inner.generations_with(options)).await
    }

    async fn begin_with(&self, wanted: Arc<Schema>, options: BeginOptions) -> Result<Arc<dyn SearchIndex>> {
        let inner = self.layer.around(NAME.begin, self.inner.begin_with(wanted, options)).await?;
        Ok(Arc::new(Self { inner, layer: Arc::clone(&self.layer) }))
    }

    async fn scan_with(&self, scan: Scan, options: GenerationOptions) -> Result<Vec<(DocumentId, u64)>> {
        self.layer.around(NAME.scan, self.inner.scan_with(scan, options)).await
    }

    async fn copy_with(&self, ids: Vec<DocumentId>, options: GenerationOptions) -> Result<u64> {
        self.layer.around(NAME.copy, self.inner.copy_with(ids, options)).await
    }

    async fn activate_with(&self, generation: u32, options: ActivateOptions) -> Result<()> {
        self.layer.around(NAME.activate, self.inner.activate_with(generation, options)).await
    }

    async fn drop_generation_with(&self, generation: u32, options: GenerationOptions) -> Result<()> {
        self.layer.around(NAME.drop, self.inner.drop_generation_with(generation, options)).await
    }

    async fn close(&self) -> Result<()> {
        self.layer.around(NAME.close, self.inner.close()).await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

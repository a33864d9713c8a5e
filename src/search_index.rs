//! Opens search indexes by name; everything else is of `statehouse-search`.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use statehouse_core::{Health, Namespace, Result, ServiceUrl};
use tokio::sync::Mutex;

#[cfg(feature = "search-tantivy")]
use statehouse_search::TantivyConfig;
use statehouse_search::{Document, Index, Schema, SearchIndex};
#[cfg(feature = "search-opensearch")]
use statehouse_search::{OpenSearchConfig, OpenSearchIndex};

/// Where the indexes of an application are, and those that are open.
#[derive(Debug)]
pub(crate) struct Indexes {
    place: Place,
    namespace: Namespace,
    /// An index on disk has one writer, so a name that is opened twice gives the same index. Held while one is opened.
    open: Mutex<HashMap<String, Arc<dyn SearchIndex>>>,
}

#[derive(Debug)]
enum Place {
    #[cfg(feature = "search-tantivy")]
    Tantivy(TantivyConfig),
    #[cfg(feature = "search-opensearch")]
    OpenSearch(Box<OpenSearchConfig>),
}

impl Indexes {
    pub(crate) async fn open(url: ServiceUrl, namespace: &Namespace) -> Result<Self> {
        let place = Place::open(url).await?;
        Ok(Self { place, namespace: namespace.clone(), open: Mutex::default() })
    }

    async fn index(&self, name: &str, schema: Schema) -> Result<Arc<dyn SearchIndex>> {
        let mut open = self.open.lock().await;
        if let Some(index) = open.get(name) {
            return Ok(Arc::clone(index));
        }
        let index = self.place.index(&self.namespace.child(name)?, schema).await?;
        open.insert(name.to_owned(), Arc::clone(&index));
        Ok(index)
    }

    /// The health of the open indexes: the first that is not up, else the last; of the place itself while none is open.
    pub(crate) async fn health(&self) -> Health {
        let open: Vec<_> = self.open.lock().await.values().cloned().collect();
        let mut last = None;
        for index in open {
            let health = index.health().await;
            if !health.is_up() {
                return health;
            }
            last = Some(health);
        }
        match last {
            Some(health) => health,
            None => self.place.health().await,
        }
    }

    /// Closes all, also if one of them fails.
    pub(crate) async fn close(&self) -> Result<()> {
        let mut outcome = Ok(());
        for (_, index) in self.open.lock().await.drain() {
            outcome = outcome.and(index.close().await);
        }
        outcome
    }
}

impl Place {
    #[cfg_attr(not(feature = "search-opensearch"), expect(clippy::unused_async, reason = "only a server is asked"))]
    async fn open(url: ServiceUrl) -> Result<Self> {
        match url.scheme() {
            #[cfg(feature = "search-tantivy")]
            "memory" | "tantivy" => Ok(Self::Tantivy(TantivyConfig::from_url(url)?)),
            #[cfg(not(feature = "search-tantivy"))]
            "memory" | "tantivy" => Err(crate::open::missing_feature(&url, "search-tantivy")),
            #[cfg(feature = "search-opensearch")]
            "opensearch+http" | "opensearch+https" => {
                let config = OpenSearchConfig::from_url(url)?;
                OpenSearchIndex::check(&config).await?;
                Ok(Self::OpenSearch(Box::new(config)))
            }
            #[cfg(not(feature = "search-opensearch"))]
            "opensearch+http" | "opensearch+https" => Err(crate::open::missing_feature(&url, "search-opensearch")),
            _ => Err(url.refuse_scheme("memory, tantivy, opensearch+http, opensearch+https")),
        }
    }

    async fn index(&self, name: &Namespace, schema: Schema) -> Result<Arc<dyn SearchIndex>> {
        Ok(match self {
            #[cfg(feature = "search-tantivy")]
            Self::Tantivy(config) => Arc::new(config.clone().below(name).open(schema).await?),
            #[cfg(feature = "search-opensearch")]
            Self::OpenSearch(config) => Arc::new(OpenSearchIndex::open((**config).clone(), name, schema).await?),
        })
    }

    #[cfg_attr(not(feature = "search-opensearch"), expect(clippy::unused_async, reason = "only a server is asked"))]
    async fn health(&self) -> Health {
        match self {
            #[cfg(feature = "search-tantivy")]
            Self::Tantivy(_) => Health::of("tantivy", std::time::Duration::ZERO, Ok(())),
            #[cfg(feature = "search-opensearch")]
            Self::OpenSearch(config) => {
                let start = std::time::Instant::now();
                let checked = OpenSearchIndex::ping(config).await;
                Health::of("opensearch", start.elapsed(), checked)
            }
        }
    }
}

/// An index to be opened: made by [`Services::search`](crate::Services::search).
#[must_use = "nothing is opened until `open` is awaited"]
#[derive(Debug)]
pub struct SearchBuilder<'s, D> {
    indexes: &'s Indexes,
    name: &'s str,
    documents: PhantomData<fn() -> D>,
}

impl<'s, D: Document> SearchBuilder<'s, D> {
    pub(crate) fn new(indexes: &'s Indexes, name: &'s str) -> Self {
        Self { indexes, name, documents: PhantomData }
    }

    /// Opens the index, or makes it if there is none. A name that is open already gives the same index.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the name is not a lowercase word as [`Namespace`] describes,
    /// or if it is open with documents of another schema. [`Conflict`](crate::ErrorKind::Conflict) if the stored index
    /// has another schema or, on disk, is open elsewhere. Else what the backend says.
    pub async fn open(self) -> Result<Index<D>> {
        Index::new(self.indexes.index(self.name, D::schema()?).await?)
    }
}

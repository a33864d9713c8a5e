//! Indexes by name, wherever they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use statehouse_core::{Capabilities, Error, ErrorKind, Health, Namespace, Result};
use tokio::task::JoinSet;

use crate::{Schema, SearchIndex};

#[cfg(feature = "tantivy")]
use crate::TantivyConfig;
#[cfg(feature = "opensearch")]
use crate::{OpenSearchConfig, OpenSearchIndex};

/// Where the indexes of an application are, and those of them that are open.
///
/// ```
/// use statehouse_core::{Namespace, ServiceUrl};
/// use statehouse_search::{Field, Indexes, Schema, SearchIndexExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let url = ServiceUrl::parse("STATEHOUSE_SEARCH_URL", "memory:")?;
/// let indexes = Indexes::open(url, &Namespace::new("clinic")?).await?;
/// let concepts = indexes.index("concepts", Schema::builder().field(Field::text("title")).build()?).await?;
/// concepts.refresh().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Indexes {
    place: Place,
    namespace: Namespace,
    /// An index on disk has one writer, so a name that is opened twice gives the same index.
    names: Mutex<HashMap<String, Arc<Name>>>,
}

/// What there is of a name. Whoever opens it holds up those who want the same one opened, and nobody else.
#[derive(Debug, Default)]
struct Name {
    /// Held while it is opened, or by another schema than it is.
    opening: tokio::sync::Mutex<()>,
    open: Mutex<Option<Arc<dyn SearchIndex>>>,
}

impl Name {
    fn open(&self) -> Option<Arc<dyn SearchIndex>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, index: Option<Arc<dyn SearchIndex>>) -> Option<Arc<dyn SearchIndex>> {
        std::mem::replace(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner), index)
    }
}

#[derive(Debug)]
pub(crate) enum Place {
    #[cfg(feature = "tantivy")]
    Tantivy(TantivyConfig),
    #[cfg(feature = "opensearch")]
    OpenSearch(Box<OpenSearchConfig>),
}

impl Indexes {
    /// Indexes of the embedded engine, each below the folder of the configuration, or in memory.
    ///
    /// ```
    /// use statehouse_core::Namespace;
    /// use statehouse_search::{Field, Indexes, Schema, TantivyConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// let indexes = Indexes::tantivy(TantivyConfig::memory(), &Namespace::new("clinic")?);
    /// indexes.index("concepts", Schema::builder().field(Field::text("title")).build()?).await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "tantivy")]
    #[must_use]
    pub fn tantivy(config: TantivyConfig, namespace: &Namespace) -> Self {
        Self::new(Place::Tantivy(config), namespace)
    }

    /// Indexes on an OpenSearch, for example through an HTTP client of the application's own. It is not asked yet whether
    /// it is there.
    ///
    /// ```
    /// use statehouse_core::{Namespace, ServiceUrl};
    /// use statehouse_search::{Indexes, OpenSearchConfig};
    ///
    /// # fn example(client: reqwest::Client) -> statehouse_core::Result<()> {
    /// let url = ServiceUrl::parse("STATEHOUSE_SEARCH_URL", "opensearch+https://search.internal")?;
    /// let config = OpenSearchConfig::from_url(url)?.with_http_client(client);
    /// let indexes = Indexes::opensearch(config, &Namespace::new("clinic")?)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) for a configuration that contradicts itself.
    #[cfg(feature = "opensearch")]
    pub fn opensearch(config: OpenSearchConfig, namespace: &Namespace) -> Result<Self> {
        Ok(Self::new(Place::OpenSearch(Box::new(config.checked()?)), namespace))
    }

    pub(crate) fn new(place: Place, namespace: &Namespace) -> Self {
        Self { place, namespace: namespace.clone(), names: Mutex::default() }
    }

    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// The index of this name, made if there is none. A name that is open already gives the same index, and by another schema
    /// what [`ensure_with`](crate::SearchIndex::ensure_with) of it gives.
    ///
    /// # Errors
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if the name is not a lowercase word as [`Namespace`]
    /// describes. Else what opening it says.
    pub async fn index(&self, name: &str, schema: Schema) -> Result<Arc<dyn SearchIndex>> {
        let (place, schema) = (self.namespace.child(name)?, Arc::new(schema));
        let known = self.name(name);
        let found = || known.open().filter(|index| *index.schema() == schema);
        if let Some(index) = found() {
            return Ok(index);
        }
        let _one = known.opening.lock().await;
        if let Some(index) = found() {
            return Ok(index);
        }
        let opened = match known.open() {
            Some(index) => index.ensure_with(schema, crate::EnsureOptions::default()).await,
            None => self.place.index(&place, schema).await,
        };
        self.settle(name, &known, opened, |_| true)
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, Arc<Name>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, name: &str) -> Arc<Name> {
        Arc::clone(self.names().entry(name.to_owned()).or_default())
    }

    fn all(&self) -> Vec<Arc<Name>> {
        self.names().values().cloned().collect()
    }

    /// Keeps what was opened, if it is to be found again. Leaves nothing of a name that could not be opened, and that nobody else
    /// waits for.
    fn settle(
        &self,
        name: &str,
        known: &Arc<Name>,
        opened: Result<Arc<dyn SearchIndex>>,
        is_kept: impl Fn(&Name) -> bool,
    ) -> Result<Arc<dyn SearchIndex>> {
        match &opened {
            Ok(index) if is_kept(known) => drop(known.set(Some(Arc::clone(index)))),
            Ok(_) => {}
            Err(_) => {
                let mut names = self.names();
                if Arc::strong_count(known) == 2 && known.open().is_none() {
                    names.remove(name);
                }
            }
        }
        opened
    }

    /// The live generation of this index by the schema that it has: what a build with another schema begins a
    /// [`Reindex`](crate::Reindex) with. The next call of [`index`](Self::index) is by the schema that is given there.
    ///
    /// # Errors
    /// [`NotFound`](statehouse_core::ErrorKind::NotFound) if there is none; else what opening it says.
    pub async fn live(&self, name: &str) -> Result<Arc<dyn SearchIndex>> {
        let (place, known) = (self.namespace.child(name)?, self.name(name));
        let found = || known.open().filter(|index| index.capabilities().has(crate::capability::REINDEX));
        if let Some(index) = found() {
            return live_of(&*index).await;
        }
        let one = known.opening.lock().await;
        if let Some(index) = found() {
            drop(one);
            return live_of(&*index).await;
        }
        let opened = self.place.live(&place).await;
        // On disk there is one writer, which is found again.
        self.settle(name, &known, opened, |known| known.open().is_none())
    }

    /// What every index here can do: of [`SHARED`](crate::capability::SHARED) and
    /// [`DURABLE`](crate::capability::DURABLE) at least what is in this set.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        match &self.place {
            #[cfg(feature = "tantivy")]
            Place::Tantivy(config) => config.is_on_disk().then_some(crate::capability::DURABLE).into_iter().collect(),
            #[cfg(feature = "opensearch")]
            Place::OpenSearch(_) => [crate::capability::SHARED, crate::capability::DURABLE].into_iter().collect(),
        }
    }

    /// The health of the open indexes: the first that is not up, else the last; of the place itself while none is open. All are
    /// asked at once, so that the answer is there within a second however many there are, and whatever is being opened.
    pub async fn health(&self) -> Health {
        let mut asked = JoinSet::new();
        for index in self.all().iter().filter_map(|known| known.open()) {
            asked.spawn(async move { index.health().await });
        }
        let lost = |error| Error::new(ErrorKind::Unexpected, "an index did not say how it is").with_source(error);
        let mut last = None;
        while let Some(health) = asked.join_next().await {
            let health = health.unwrap_or_else(|error| Health::of("search", Duration::ZERO, Err(lost(error))));
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

    /// What the server is and which version, for example `OpenSearch 3.2.0`; none if it does not say, or there is no server.
    ///
    /// # Errors
    /// What the server says, or that it does not answer.
    #[cfg_attr(not(feature = "opensearch"), expect(clippy::unused_async, reason = "only a server is asked"))]
    pub async fn release(&self) -> Result<Option<String>> {
        match &self.place {
            #[cfg(feature = "tantivy")]
            Place::Tantivy(_) => Ok(None),
            #[cfg(feature = "opensearch")]
            Place::OpenSearch(config) => OpenSearchIndex::release(config).await,
        }
    }

    /// Closes all, also if one of them fails, and in the end those that are being opened meanwhile.
    ///
    /// # Errors
    /// The first that closing one has.
    pub async fn close(&self) -> Result<()> {
        let (mut outcome, all) = (Ok(()), self.all());
        for index in all.iter().filter_map(|known| known.set(None)) {
            outcome = outcome.and(index.close().await);
        }
        for known in all {
            let _one = known.opening.lock().await;
            if let Some(index) = known.set(None) {
                outcome = outcome.and(index.close().await);
            }
        }
        outcome
    }
}

/// The live generation of an index that is open.
async fn live_of(index: &dyn SearchIndex) -> Result<Arc<dyn SearchIndex>> {
    let generations = index.generations_with(crate::GenerationsOptions::default()).await?;
    let live = generations.into_iter().find(|found| found.state == crate::GenerationState::Live);
    let schema = live.map_or_else(|| Arc::clone(index.schema()), |live| live.schema);
    index.ensure_with(schema, crate::EnsureOptions::default()).await
}

impl Place {
    async fn live(&self, name: &Namespace) -> Result<Arc<dyn SearchIndex>> {
        Ok(match self {
            #[cfg(feature = "tantivy")]
            Self::Tantivy(config) => Arc::new(config.clone().below(name).open_live().await?),
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(config) => Arc::new(OpenSearchIndex::open_live((**config).clone(), name).await?),
        })
    }

    async fn index(&self, name: &Namespace, schema: Arc<Schema>) -> Result<Arc<dyn SearchIndex>> {
        Ok(match self {
            #[cfg(feature = "tantivy")]
            Self::Tantivy(config) => Arc::new(config.clone().below(name).open(Schema::clone(&schema)).await?),
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(config) => Arc::new(OpenSearchIndex::open((**config).clone(), name, schema).await?),
        })
    }

    #[cfg_attr(not(feature = "opensearch"), expect(clippy::unused_async, reason = "only a server is asked"))]
    async fn health(&self) -> Health {
        match self {
            #[cfg(feature = "tantivy")]
            Self::Tantivy(_) => Health::of("tantivy", Duration::ZERO, Ok(())),
            #[cfg(feature = "opensearch")]
            Self::OpenSearch(config) => {
                let start = std::time::Instant::now();
                let checked = OpenSearchIndex::ping(config).await;
                Health::of("opensearch", start.elapsed(), checked)
            }
        }
    }
}

#[cfg(all(test, feature = "tantivy"))]
mod tests {
    use statehouse_core::{ErrorKind, ServiceUrl};

    use super::*;
    use crate::Field;

    #[tokio::test]
    async fn a_name_that_is_opened_twice_is_the_same_index() {
        let folder = tempfile::tempdir().unwrap();
        let namespace = Namespace::new("clinic").unwrap();
        let place = format!("tantivy://{}", folder.path().display());
        let place = ServiceUrl::parse("STATEHOUSE_SEARCH_URL", &place).unwrap();
        let indexes = Indexes::open(place, &namespace).await.unwrap();
        assert!(indexes.health().await.is_up());
        let can = indexes.capabilities();
        assert!(can.has(crate::capability::DURABLE) && !can.has(crate::capability::SHARED));
        let schema = || Schema::builder().field(Field::text("title")).build().unwrap();
        let first = indexes.index("concepts", schema()).await.unwrap();
        let second = indexes.index("concepts", schema()).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert!(folder.path().join("clinic.concepts/statehouse-search").exists());
        indexes.close().await.unwrap();
        assert!(!first.health().await.is_up());
        assert_eq!(indexes.index("No", schema()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(indexes.live("none").await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(indexes.names().len(), 1, "nothing is kept of what is not there");
    }
}

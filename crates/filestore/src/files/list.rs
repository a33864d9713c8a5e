use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_core::Stream;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use statehouse_core::Result;

use super::place::Place;
use crate::meta::Entry;
use crate::options::{Depth, ListOptions, Page, PageToken, Start};

/// A listing that is being described; `.await` gives a page, [`stream`](Self::stream) all of it.
///
/// ```
/// use futures_util::TryStreamExt;
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use statehouse_core::Namespace;
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
/// for name in ["p42/chest.dcm", "p42/2024/knee.dcm", "p42/hand.dcm", "p43/hip.dcm"] {
///     scans.put(name, "DICM").await?;
/// }
/// // As a folder looks: names of files, and those of folders
/// let top = scans.list("p42/").one_level().await?;
/// assert_eq!((top.entries.len(), top.prefixes), (2, vec!["p42/2024/".to_owned()]));
///
/// // Page by page, as a client asks for them
/// let page = scans.list("").after("p42/chest.dcm").limit(2).deadline(Duration::from_secs(5)).await?;
/// let names: Vec<_> = page.entries.iter().filter_map(|entry| scans.name(&entry.key)).collect();
/// assert_eq!(names, ["p42/hand.dcm", "p43/hip.dcm"]);
/// if let Some(next) = page.next {
///     scans.list("").page(next).limit(2).await?;
/// }
///
/// // All of them
/// let all: Vec<_> = scans.list("").stream().try_collect().await?;
/// assert_eq!(all.len(), 4);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is listed until awaited"]
pub struct List<'a> {
    place: &'a Place,
    options: ListOptions,
}

impl<'a> List<'a> {
    pub(super) fn new(place: &'a Place, prefix: &str) -> Self {
        Self { place, options: ListOptions::new(format!("{}/{prefix}", place.namespace)) }
    }

    /// Gathers names with a further slash behind the prefix into [`Page::prefixes`], which this handle's
    /// [`list`](crate::Files::list) takes as they are.
    pub const fn one_level(mut self) -> Self {
        self.options.depth = Depth::OneLevel;
        self
    }

    /// Begins behind this text, in the order of bytes; see [`Start::After`].
    pub fn after(mut self, name: impl AsRef<str>) -> Self {
        let after = format!("{}/{}", self.place.namespace, name.as_ref());
        self.options.start = Start::After(after);
        self
    }

    /// Goes on where a page ended.
    pub fn page(mut self, token: PageToken) -> Self {
        self.options.start = Start::Token(token);
        self
    }

    /// Sets the most entries and prefixes of a page, 1 to 1,000.
    pub const fn limit(mut self, limit: u16) -> Self {
        self.options.limit = limit;
        self
    }

    /// Sets how long each page may take; see [`ListOptions::deadline`](crate::ListOptions::deadline).
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// All entries, page after page, as they are asked for.
    pub fn stream(self) -> impl Stream<Item = Result<Entry>> + Send + 'a {
        self.stream_counting(Arc::default())
    }

    /// And how many foreign things its pages have left out.
    pub(super) fn stream_counting(self, skipped: Arc<AtomicU64>) -> impl Stream<Item = Result<Entry>> + Send + 'a {
        let Self { place, options } = self;
        let pages = futures_util::stream::try_unfold((Some(options), skipped), move |(options, skipped)| async move {
            let Some(options) = options else { return Ok(None) };
            let page = page(place, options.clone()).await?;
            skipped.fetch_add(page.skipped, Ordering::Relaxed);
            let next = page.next.map(|token| options.with_start(Start::Token(token)));
            let entries = futures_util::stream::iter(page.entries.into_iter().map(Ok));
            Ok::<_, statehouse_core::Error>(Some((entries, (next, skipped))))
        });
        pages.try_flatten()
    }
}

impl<'a> IntoFuture for List<'a> {
    type Output = Result<Page>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let mut page = page(self.place, self.options).await?;
            page.prefixes =
                page.prefixes.iter().filter_map(|prefix| self.place.name(prefix).map(ToOwned::to_owned)).collect();
            Ok(page)
        }
        .boxed()
    }
}

async fn page(place: &Place, options: ListOptions) -> Result<Page> {
    let prefix = options.prefix.clone();
    place.store.list_with(options).await.map_err(|error| place.naming(&prefix, error))
}

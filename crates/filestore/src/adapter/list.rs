//! Listings, which are by whole segments there, and by text here.

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};

use super::error::told;
use super::read::{e_tag, time};
use crate::files::Files;
use crate::meta::Entry;
use crate::options::{Page, PageToken, Start};

/// Which files are listed, and from where on.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    files: Files,
    location: Path,
    prefix: String,
    offset: Option<String>,
}

impl Listing {
    /// What lies below this path. A file that has its name does not.
    pub(super) fn below(files: &Files, location: Option<&Path>) -> Self {
        let location = location.cloned().unwrap_or_default();
        let prefix = if location.is_root() { String::new() } else { format!("{location}/") };
        Self { files: files.clone(), location, prefix, offset: None }
    }

    /// Only behind this one: the store begins there.
    pub(super) fn behind(mut self, offset: &Path) -> Self {
        self.offset = Some(offset.to_string());
        self
    }

    /// All of them, page after page, as they are asked for.
    pub(super) fn stream(self) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let start = self.offset.clone().map_or(Start::First, Start::After);
        let pages = futures_util::stream::try_unfold((self, Some(start)), |(listing, start)| async move {
            let Some(start) = start else { return Ok(None) };
            let page = listing.page(start).await?;
            let objects: Vec<_> = page.entries.into_iter().filter_map(|entry| listing.object(entry)).collect();
            let next = page.next.map(Start::Token);
            Ok::<_, object_store::Error>(Some((
                futures_util::stream::iter(objects.into_iter().map(Ok)),
                (listing, next),
            )))
        });
        pages.try_flatten().boxed()
    }

    async fn page(&self, start: Start) -> object_store::Result<Page> {
        let list = self.files.list(&self.prefix);
        let list = match start {
            Start::First => list,
            Start::After(name) => list.after(name),
            Start::Token(token) => list.page(token),
        };
        list.await.map_err(|error| told(error, &self.location))
    }

    /// What lies directly below, and what is below that by its first segment.
    pub(super) async fn one_level(self) -> object_store::Result<ListResult> {
        let mut result =
            ListResult { common_prefixes: Vec::new(), objects: Vec::new(), extensions: Default::default() };
        let mut next: Option<PageToken> = None;
        loop {
            let list = self.files.list(&self.prefix).one_level();
            let list = match next {
                Some(token) => list.page(token),
                None => list,
            };
            let page = list.await.map_err(|error| told(error, &self.location))?;
            result.common_prefixes.extend(page.prefixes.iter().filter_map(|prefix| Path::parse(prefix).ok()));
            result.objects.extend(page.entries.into_iter().filter_map(|entry| self.object(entry)));
            next = page.next;
            if next.is_none() {
                return Ok(result);
            }
        }
    }

    /// Every key is a path, too: it has no empty segment, no `.` or `..`, and no control character.
    fn object(&self, Entry { key, len, etag, modified }: Entry) -> Option<ObjectMeta> {
        let location = Path::parse(self.files.name(&key)?).ok()?;
        Some(ObjectMeta {
            location,
            last_modified: time(modified).into(),
            size: len,
            e_tag: e_tag(&etag),
            version: None,
        })
    }
}

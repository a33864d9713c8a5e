//! Listings. `object_store` gives up on a listing with one key that it does not take; ours says how many it left out.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures_util::TryStreamExt;
use object_store::path::Path;
use statehouse_core::{Error, ErrorKind, Result, Timestamp};
use tokio::time::{Instant, timeout_at};

use super::client::Remote;
use super::connection::Native;
use super::error::map_error;
use super::listed::{Asked, Listed, is_prefix, read_token, write_token};
use super::request::astray;
use super::time::parse_time;
use super::wire::Log;
use crate::key::FileKey;
use crate::listing::Collector;
use crate::meta::Entry;
use crate::options::{Depth, ListOptions, Page, Start};

/// How many requests one page may take where servers give less than what was asked for, or only foreign keys.
const REQUESTS: usize = 50;

/// Whether all that a server gave had room in the page.
enum Fit {
    All,
    Cut,
}

/// A page that is being filled.
struct Filling<'a> {
    options: &'a ListOptions,
    /// What every key begins with, the store's own prefix included.
    whole: String,
    /// The key or common prefix, without the store's prefix, that everything to come is behind.
    last: String,
    token: Option<String>,
    /// Whether there may be more than what has been taken.
    more: bool,
    page: Page,
}

impl Remote {
    pub(super) async fn list(&self, options: &ListOptions) -> Result<Page> {
        options.check()?;
        match &self.native {
            #[cfg(feature = "azure")]
            Some(native) if native.s3().is_none() => self.list_blobs(native, options).await,
            Some(native) => self.list_page(native, options).await,
            None => self.list_all(options).await,
        }
    }

    /// Asks whether the server answers, with the name of one object. What it said last is told, if it did not answer in time.
    pub(super) async fn probe_until(&self, until: Instant) -> Result<()> {
        match &self.native {
            Some(native) => {
                let asked = Asked { most: Some(1), ..Asked::of(&self.prefix) };
                Listed::ask_until(Some(until), native, &asked).await.map(drop)
            }
            None => {
                // All that there is would take too long.
                let folder = self.prefix.strip_suffix('/').map(Path::parse).transpose();
                let folder =
                    folder.map_err(|error| Error::invalid_input("the prefix is no path").with_source(error))?;
                let mut all = self.store.list(folder.as_ref());
                let first = timeout_at(until, all.try_next()).await;
                let late = |_| Error::new(ErrorKind::Timeout, "the store did not answer in time");
                first.map_err(late)?.map(drop).map_err(|error| map_error(error, &Log::default()))
            }
        }
    }

    async fn list_page(&self, native: &Native, options: &ListOptions) -> Result<Page> {
        let (last, token) = match &options.start {
            Start::First => (String::new(), None),
            Start::After(text) => (text.clone(), None),
            Start::Token(token) => read_token(token)?,
        };
        let whole = format!("{}{}", self.prefix, options.prefix);
        let mut filling = Filling { options, whole, last, token, more: true, page: Page::default() };
        let begin = filling.last.clone();
        for _ in 0..REQUESTS {
            let room = filling.room();
            if room == 0 {
                break;
            }
            let listed = self.ask(native, &filling, room).await?;
            let (before, given) = (filling.last.clone(), listed.contents.len() + listed.common_prefixes.len());
            if let Fit::Cut = filling.take(self, &listed)? {
                filling.token = None;
                break;
            }
            filling.token = listed.next_continuation_token.filter(|token| !token.is_empty());
            filling.more = filling.token.is_some();
            if !filling.more {
                break;
            }
            if given > 0 && filling.last == before {
                return Err(astray("a listing does not get on: the server gives the same keys again"));
            }
        }
        if filling.more && filling.room() > 0 && filling.last == begin {
            return Err(astray("a listing does not get on: the server gives nothing but tokens"));
        }
        Ok(filling.finish())
    }

    async fn ask(&self, native: &Native, filling: &Filling<'_>, room: usize) -> Result<Listed> {
        let after = format!("{}{}", self.prefix, filling.last);
        let asked = Asked {
            one_level: filling.options.depth == Depth::OneLevel,
            most: Some(room),
            token: filling.token.as_deref(),
            after: Some(&*after).filter(|_| filling.token.is_none() && !filling.last.is_empty()),
            ..Asked::of(&filling.whole)
        };
        Listed::ask(native, &asked).await.map(|(listed, _)| listed)
    }

    /// All that lies in a folder of the store's own, page by page in the order of the names.
    pub(super) fn list_own<'a>(&self, native: &'a Native, folder: &'a str) -> Own<'a> {
        Own { native, folder, last: String::new(), token: None, still: 0, ended: false }
    }

    /// A store that is brought along may list in any order: all of it is looked at, and the page's part is kept.
    async fn list_all(&self, options: &ListOptions) -> Result<Page> {
        let mut page = Collector::new(options)?;
        let whole = format!("{}{}", self.prefix, options.prefix);
        // What is no path is no key's beginning.
        let directory = whole.rsplit_once('/').map(|(directory, _)| Path::parse(directory)).transpose();
        let Ok(directory) = directory else { return Ok(page.finish()) };
        let (mut found, mut skipped) = (BTreeMap::<FileKey, Entry>::new(), 0);
        let mut all = self.store.list(directory.as_ref());
        while let Some(object) = all.try_next().await.map_err(|error| map_error(error, &Log::default()))? {
            let Some(entry) = self.entry(&object) else {
                skipped += u64::from(!self.is_own(object.location.as_ref()));
                continue;
            };
            if !page.wants(&entry.key) {
                continue;
            }
            found.insert(entry.key.clone(), entry);
            // One more than the page has says that there is another page.
            if options.depth == Depth::All && found.len() > usize::from(options.limit) + 1 {
                found.pop_last();
            }
        }
        for (key, entry) in found {
            page.offer(&key, || Some(entry));
            if page.is_full() {
                break;
            }
        }
        Ok(page.finish().with_skipped(skipped))
    }

    /// Whether this is one of the things that the store keeps for itself.
    pub(super) fn is_own(&self, location: &str) -> bool {
        let own = location.strip_prefix(&self.prefix).and_then(|key| key.strip_prefix(crate::key::RESERVED));
        own.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// A listing of a folder of the store's own that goes on: what is there may be deleted meanwhile.
pub(super) struct Own<'a> {
    native: &'a Native,
    folder: &'a str,
    last: String,
    token: Option<String>,
    /// How many answers have had nothing new.
    still: usize,
    ended: bool,
}

/// What one answer has of it: the names behind the folder's, and when each was last written; and what time it is at the server.
pub(super) struct OwnPage {
    pub(super) found: Vec<(String, Timestamp)>,
    pub(super) now: SystemTime,
}

impl Own<'_> {
    /// None once there is no more.
    pub(super) async fn next(&mut self) -> Result<Option<OwnPage>> {
        if self.ended {
            return Ok(None);
        }
        let asked = Asked { token: self.token.as_deref(), ..Asked::of(self.folder) };
        let (listed, now) = Listed::ask(self.native, &asked).await?;
        let (mut found, before) = (Vec::new(), self.last.clone());
        for content in &listed.contents {
            let key = listed.decode(&content.key);
            // Of servers that list in another order, what was given already is looked at once more.
            let is_new = |name: &&str| self.native.s3().is_none() || *name > before.as_str();
            let Some(name) = key.strip_prefix(self.folder).filter(is_new) else { continue };
            found.extend(parse_time(&content.last_modified).map(|time| (name.to_owned(), time)));
            if name > self.last.as_str() {
                name.clone_into(&mut self.last);
            }
        }
        self.token = listed.next_continuation_token.filter(|token| !token.is_empty());
        self.ended = self.token.is_none();
        let is_still = self.last == before && (self.native.s3().is_some() || found.is_empty());
        self.still = if is_still { self.still + 1 } else { 0 };
        if !self.ended && (self.still >= REQUESTS || (self.still > 0 && !listed.contents.is_empty())) {
            return Err(astray("a listing does not get on: the server gives nothing new"));
        }
        let now = now.ok_or_else(|| astray("the server does not say what time it is"))?;
        Ok(Some(OwnPage { found, now }))
    }
}
impl Filling<'_> {
    fn room(&self) -> usize {
        let taken = self.page.entries.len() + self.page.prefixes.len();
        usize::from(self.options.limit).saturating_sub(taken)
    }

    /// Takes what the server gave: what is a file of ours, was asked for, and is behind what there was.
    fn take(&mut self, remote: &Remote, listed: &Listed) -> Result<Fit> {
        let keys = listed.contents.iter().map(|content| (listed.decode(&content.key), Some(content)));
        let prefixes = listed.common_prefixes.iter().map(|common| (listed.decode(&common.prefix), None));
        let mut all: Vec<_> = keys.chain(prefixes).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        let start = self.last.clone();
        for (key, content) in all {
            if remote.is_own(&key) {
                self.pass(key.strip_prefix(&remote.prefix).unwrap_or_default());
                continue;
            }
            let Some(name) = key.strip_prefix(&remote.prefix).filter(|_| key.starts_with(&self.whole)) else {
                self.page.skipped += 1;
                continue;
            };
            if name <= start.as_str() {
                continue;
            }
            if self.room() == 0 {
                // More than was asked for: the next page begins here, and not where the server thinks.
                return Ok(Fit::Cut);
            }
            match content {
                Some(content) => match content.entry(name)? {
                    Some(entry) => self.page.entries.push(entry),
                    // A folder marker ends with a slash, and what other clients store may break any rule of ours.
                    None => self.page.skipped += 1,
                },
                None => self.take_prefix(name),
            }
            self.pass(name);
        }
        Ok(Fit::All)
    }

    fn pass(&mut self, name: &str) {
        if name > self.last.as_str() {
            name.clone_into(&mut self.last);
        }
    }

    fn take_prefix(&mut self, name: &str) {
        if !is_prefix(name) {
            self.page.skipped += 1;
        } else if self.page.prefixes.last().is_none_or(|last| last != name) {
            self.page.prefixes.push(name.to_owned());
        }
    }

    fn finish(self) -> Page {
        let Self { mut page, last, token, more, .. } = self;
        let token = token.unwrap_or_default();
        page.next = more.then(|| write_token(&last, &token));
        page
    }
}

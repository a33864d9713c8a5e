//! Listings. `object_store` gives up on a listing with one key that it does not take; ours says how many it left out.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures_util::TryStreamExt;
use object_store::path::Path;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use statehouse_core::{Error, ErrorKind, Result, Timestamp};
use tokio::time::{Instant, timeout_at};

use super::client::Remote;
use super::connection::Native;
use super::error::map_error;
use super::request::astray;
use super::time::parse_time;
use super::wire::Log;
use crate::key::FileKey;
use crate::listing::Collector;
use crate::meta::{ETag, Entry};
use crate::options::{Depth, ListOptions, Page, PageToken, Start};

/// How many requests one page may take where servers give less than what was asked for, or only foreign keys.
const REQUESTS: usize = 50;

/// A part of a listing as S3 writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    prefix: Option<String>,
    encoding_type: Option<String>,
    contents: Vec<Content>,
    common_prefixes: Vec<CommonPrefix>,
    next_continuation_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    key: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    last_modified: String,
    #[serde(default, rename = "ETag")]
    e_tag: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CommonPrefix {
    prefix: String,
}

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
            Some(native) => self.list_page(native, options).await,
            None => self.list_all(options).await,
        }
    }

    /// Asks whether the server answers, with the name of one object. What it said last is told, if it did not answer in time.
    pub(super) async fn probe_until(&self, until: Instant) -> Result<()> {
        match &self.native {
            Some(native) => {
                let query = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", "1"), ("prefix", &self.prefix)];
                Listed::ask_until(Some(until), native, &query, &self.prefix).await.map(drop)
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
        let room = room.to_string();
        let after = format!("{}{}", self.prefix, filling.last);
        let mut query = vec![("list-type", "2"), ("encoding-type", "url"), ("max-keys", &room)];
        if !filling.whole.is_empty() {
            query.push(("prefix", &filling.whole));
        }
        if filling.options.depth == Depth::OneLevel {
            query.push(("delimiter", "/"));
        }
        match &filling.token {
            Some(token) => query.push(("continuation-token", token)),
            None if !filling.last.is_empty() => query.push(("start-after", &after)),
            None => {}
        }
        Listed::ask(native, &query, &filling.whole).await.map(|(listed, _)| listed)
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
    fn is_own(&self, location: &str) -> bool {
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
        let mut query = vec![("list-type", "2"), ("encoding-type", "url"), ("prefix", self.folder)];
        query.extend(self.token.as_deref().map(|token| ("continuation-token", token)));
        let (listed, now) = Listed::ask(self.native, &query, self.folder).await?;
        let (mut found, before) = (Vec::new(), self.last.clone());
        for content in &listed.contents {
            let key = listed.decode(&content.key);
            let Some(name) = key.strip_prefix(self.folder).filter(|name| *name > before.as_str()) else { continue };
            found.extend(parse_time(&content.last_modified).map(|time| (name.to_owned(), time)));
            if name > self.last.as_str() {
                name.clone_into(&mut self.last);
            }
        }
        self.token = listed.next_continuation_token.filter(|token| !token.is_empty());
        self.ended = self.token.is_none();
        self.still = if self.last == before { self.still + 1 } else { 0 };
        if !self.ended && (self.still >= REQUESTS || (self.still > 0 && !listed.contents.is_empty())) {
            return Err(astray("a listing does not get on: the server gives nothing new"));
        }
        let now = now.ok_or_else(|| astray("the server does not say what time it is"))?;
        Ok(Some(OwnPage { found, now }))
    }
}

impl Listed {
    async fn ask(native: &Native, query: &[(&str, &str)], whole: &str) -> Result<(Self, Option<SystemTime>)> {
        Self::ask_until(None, native, query, whole).await
    }

    async fn ask_until(
        until: Option<Instant>,
        native: &Native,
        query: &[(&str, &str)],
        whole: &str,
    ) -> Result<(Self, Option<SystemTime>)> {
        let (text, now) = native.get_until(until, "ListBucketResult", query).await?;
        let listed = Self::parse(&text)?;
        let decoded = listed.prefix.as_deref().map(|prefix| listed.decode(prefix)).unwrap_or_default();
        if listed.prefix.is_some() && decoded != whole {
            return Err(astray("the server's listing is of another prefix than the one that was asked for"));
        }
        Ok((listed, now))
    }

    fn parse(text: &[u8]) -> Result<Self> {
        quick_xml::de::from_reader(text).map_err(|source| astray("the server's listing is none").with_source(source))
    }

    fn decode(&self, text: &str) -> String {
        decode(text, self.encoding_type.as_deref())
    }
}

/// A key as an answer writes it. One that is no text becomes one that no file has.
pub(super) fn decode(text: &str, encoding: Option<&str>) -> String {
    if encoding != Some("url") {
        return text.to_owned();
    }
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
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
                Some(content) => self.take_entry(name, content)?,
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

    fn take_entry(&mut self, name: &str, content: &Content) -> Result<()> {
        // A folder marker ends with a slash, and what other clients store may break any rule of ours.
        let Ok(key) = FileKey::new(name) else {
            self.page.skipped += 1;
            return Ok(());
        };
        let modified =
            parse_time(&content.last_modified).ok_or_else(|| astray("the server's listing has a time that is none"))?;
        self.page.entries.push(Entry::new(key, content.size, ETag::new(content.e_tag.as_str()), modified));
        Ok(())
    }

    fn take_prefix(&mut self, name: &str) {
        let within = name.strip_suffix('/').is_some_and(|name| FileKey::new(name).is_ok());
        if !within {
            self.page.skipped += 1;
        } else if self.page.prefixes.last().is_none_or(|last| last != name) {
            self.page.prefixes.push(name.to_owned());
        }
    }

    fn finish(self) -> Page {
        let Self { mut page, last, token, more, .. } = self;
        let token = token.unwrap_or_default();
        page.next = more.then(|| PageToken::new(format!("{}.{last}{token}", last.len())));
        page
    }
}

/// Our token is the last key that was given, and the server's token: so that a listing cannot go in circles.
fn read_token(token: &PageToken) -> Result<(String, Option<String>)> {
    let read = || {
        let (length, rest) = token.as_str().split_once('.')?;
        let (last, token) = rest.split_at_checked(length.parse().ok()?)?;
        Some((last.to_owned(), Some(token.to_owned()).filter(|token| !token.is_empty())))
    };
    read().ok_or_else(|| Error::invalid_input("the page token is not one of this store's"))
}

#[cfg(test)]
mod tests {
    use statehouse_core::conformance::fuzz::Target;

    use super::*;

    #[test]
    fn only_our_own_tokens_are_taken() {
        for text in ["", "x", "3.ab", "99999999999999999999.a", "1.é", "-1.a"] {
            assert!(read_token(&PageToken::new(text)).is_err(), "{text:?}");
        }
        assert_eq!(read_token(&PageToken::new("2.ab")).unwrap(), ("ab".into(), None));
        assert_eq!(read_token(&PageToken::new("3.a.bcd")).unwrap(), ("a.b".into(), Some("cd".into())));
    }

    #[test]
    fn fuzz_listing() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/listing");
        let words = [
            "<Contents>",
            "</Contents>",
            "<Key>",
            "</Key>",
            "%2F",
            "%FF",
            "+",
            "<EncodingType>url</EncodingType>",
            "&#0;",
        ];
        // What is cut off or put in ends as a listing does, in most places where that can be.
        let repair = |input: &mut Vec<u8>| {
            input.splice(..0, *b"<ListBucketResult>").for_each(drop);
            input.extend_from_slice(b"</ListBucketResult>");
        };
        Target::new(corpus).with_words(&words).run(repair, |input| match Listed::parse(input) {
            Ok(listed) => {
                let names: Vec<_> = listed.contents.iter().map(|content| listed.decode(&content.key)).collect();
                let files = names.iter().filter(|name| FileKey::new(name.as_str()).is_ok()).count();
                let times = listed.contents.iter().filter_map(|content| parse_time(&content.last_modified)).count();
                format!("{files} {times} {} {}", names.len(), listed.next_continuation_token.is_some())
            }
            Err(error) => error.message().to_owned(),
        });
    }
}

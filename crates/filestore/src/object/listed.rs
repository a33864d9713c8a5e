//! What a server is asked to list, and what it answers, in whatever words.

use std::time::SystemTime;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use statehouse_core::{Error, Result};
use tokio::time::Instant;

#[cfg(feature = "azure")]
use super::azure::blob_name;
#[cfg(feature = "azure")]
use super::azure::listed::{Blob, parse};
use super::connection::Native;
use super::request::astray;
use super::time::parse_time;
use crate::key::FileKey;
use crate::meta::{ETag, Entry};
use crate::options::PageToken;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// What every key begins with.
    pub(super) whole: &'a str,
    /// Whether what is below a slash is gathered.
    pub(super) one_level: bool,
    pub(super) most: Option<usize>,
    /// Where the server said that the listing goes on.
    pub(super) token: Option<&'a str>,
    /// Behind which key it begins. Azure knows no such thing.
    pub(super) after: Option<&'a str>,
}

impl<'a> Asked<'a> {
    pub(super) const fn of(whole: &'a str) -> Self {
        Self { whole, one_level: false, most: None, token: None, after: None }
    }
}

/// A part of a listing as S3 writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Listed {
    pub(super) prefix: Option<String>,
    pub(super) encoding_type: Option<String>,
    pub(super) contents: Vec<Content>,
    pub(super) common_prefixes: Vec<CommonPrefix>,
    pub(super) next_continuation_token: Option<String>,
    /// Whether names are written as Azure takes them.
    #[serde(skip)]
    pub(super) of_blobs: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Content {
    pub(super) key: String,
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    pub(super) last_modified: String,
    #[serde(default, rename = "ETag")]
    pub(super) e_tag: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CommonPrefix {
    pub(super) prefix: String,
}

impl Content {
    /// The file of this name; none if it is no file of ours.
    pub(super) fn entry(&self, name: &str) -> Result<Option<Entry>> {
        let Ok(key) = FileKey::new(name) else { return Ok(None) };
        let modified =
            parse_time(&self.last_modified).ok_or_else(|| astray("the server's listing has a time that is none"))?;
        Ok(Some(Entry::new(key, self.size, ETag::new(self.e_tag.as_str()), modified)))
    }
}

/// Whether files of ours can be below this.
pub(super) fn is_prefix(name: &str) -> bool {
    name.strip_suffix('/').is_some_and(|name| FileKey::new(name).is_ok())
}

impl Listed {
    pub(super) async fn ask(native: &Native, asked: &Asked<'_>) -> Result<(Self, Option<SystemTime>)> {
        Self::ask_until(None, native, asked).await
    }

    pub(super) async fn ask_until(
        until: Option<Instant>,
        native: &Native,
        asked: &Asked<'_>,
    ) -> Result<(Self, Option<SystemTime>)> {
        let (listed, now) = match native.s3() {
            Some(_) => Self::ask_s3(until, native, asked).await?,
            #[cfg(feature = "azure")]
            None => Self::ask_azure(until, native, asked).await?,
            #[cfg(not(feature = "azure"))]
            None => return Err(astray("the server cannot be asked for a listing")),
        };
        Ok((listed, now))
    }

    /// Fails where the answer says that it is of another prefix than this.
    fn check(self, prefix: &str) -> Result<Self> {
        let encoding = self.encoding_type.as_deref();
        if self.prefix.as_deref().is_some_and(|given| decode(given, encoding) != prefix) {
            return Err(astray("the server's listing is of another prefix than the one that was asked for"));
        }
        Ok(self)
    }

    async fn ask_s3(until: Option<Instant>, native: &Native, asked: &Asked<'_>) -> Result<(Self, Option<SystemTime>)> {
        let most = asked.most.map(|most| most.to_string());
        let mut query = vec![("list-type", "2"), ("encoding-type", "url")];
        query.extend(most.as_deref().map(|most| ("max-keys", most)));
        if !asked.whole.is_empty() {
            query.push(("prefix", asked.whole));
        }
        if asked.one_level {
            query.push(("delimiter", "/"));
        }
        query.extend(asked.token.map(|token| ("continuation-token", token)));
        query.extend(asked.after.map(|after| ("start-after", after)));
        let (text, now) = native.get_until(until, "ListBucketResult", &query).await?;
        Ok((Self::parse(&text)?.check(asked.whole)?, now))
    }

    fn parse(text: &[u8]) -> Result<Self> {
        quick_xml::de::from_reader(text).map_err(|source| astray("the server's listing is none").with_source(source))
    }

    #[cfg(feature = "azure")]
    async fn ask_azure(
        until: Option<Instant>,
        native: &Native,
        asked: &Asked<'_>,
    ) -> Result<(Self, Option<SystemTime>)> {
        let (most, prefix) = (asked.most.map(|most| most.to_string()), blob_name::encode_beginning(asked.whole));
        let mut query = vec![("restype", "container"), ("comp", "list")];
        query.extend(most.as_deref().map(|most| ("maxresults", most)));
        if !prefix.is_empty() {
            query.push(("prefix", &*prefix));
        }
        if asked.one_level {
            query.push(("delimiter", "/"));
        }
        query.extend(asked.token.map(|token| ("marker", token)));
        let (text, now) = native.get_until(until, "EnumerationResults", &query).await?;
        let found = parse(&text).map_err(|source| astray("the server's listing is none").with_source(source))?;
        let content = |blob: Blob| {
            let Blob { name, size, last_modified, e_tag } = blob;
            Content { key: name, size, last_modified, e_tag }
        };
        let listed = Self {
            prefix: found.prefix,
            contents: found.blobs.into_iter().map(content).collect(),
            common_prefixes: found.prefixes.into_iter().map(|prefix| CommonPrefix { prefix }).collect(),
            next_continuation_token: found.next,
            encoding_type: None,
            of_blobs: true,
        };
        Ok((listed.check(&prefix)?, now))
    }

    /// A key as the server has it. One that is no name of ours becomes one that no file has.
    pub(super) fn decode(&self, text: &str) -> String {
        #[cfg(feature = "azure")]
        if self.of_blobs {
            return blob_name::decode(text);
        }
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

/// Where the next page begins: behind this name, which is where the server says.
pub(super) fn write_token(last: &str, token: &str) -> PageToken {
    PageToken::new(format!("{}.{last}{token}", last.len()))
}

/// Our token is the last key that was given, and the server's token: so that a listing cannot go in circles.
pub(super) fn read_token(token: &PageToken) -> Result<(String, Option<String>)> {
    let read = || {
        let (length, rest) = token.as_str().split_once('.')?;
        let (last, token) = rest.split_at_checked(length.parse().ok()?)?;
        Some((last.to_owned(), Some(token.to_owned()).filter(|token| !token.is_empty())))
    };
    read().ok_or_else(|| Error::invalid_input("the page token is not one of this store's"))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_tokens_are_taken() {
        for text in ["", "x", "3.ab", "99999999999999999999.a", "1.é", "-1.a"] {
            assert!(read_token(&PageToken::new(text)).is_err(), "{text:?}");
        }
        assert_eq!(read_token(&PageToken::new("2.ab")).unwrap(), ("ab".into(), None));
        assert_eq!(read_token(&PageToken::new("3.a.bcd")).unwrap(), ("a.b".into(), Some("cd".into())));
    }
}

//! What a get there asks for, as a get here has it, and what comes of it.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetRange, GetResult, GetResultPayload, ObjectMeta};
use statehouse_core::{Error, ErrorKind, Result, Retry, Timestamp};

use super::error::{not_implemented, told, told_later};
use crate::files::Files;
use crate::key::FileKey;
use crate::meta::{ETag, Meta};
use crate::options::{BeyondEnd, ByteRange, GetOptions, HeadOptions};
use crate::outcome::ReadOutcome;

/// How often a read looks which of several etags the file has, before it says that others are faster.
const LOOKS: u32 = 8;

type Content = BoxStream<'static, object_store::Result<bytes::Bytes>>;

/// A read that is asked for.
pub(super) struct Read<'a> {
    files: &'a Files,
    location: &'a Path,
    key: FileKey,
    wanted: object_store::GetOptions,
}

impl<'a> Read<'a> {
    pub(super) fn new(
        files: &'a Files,
        location: &'a Path,
        wanted: object_store::GetOptions,
    ) -> object_store::Result<Self> {
        if wanted.version.is_some() {
            return Err(not_implemented("get of a version"));
        }
        let key = files.key(location).map_err(|error| told(error, location))?;
        Ok(Self { files, location, key, wanted })
    }

    pub(super) async fn run(self) -> object_store::Result<GetResult> {
        match self.outcome().await.map_err(|error| told_later(error, self.location))? {
            ReadOutcome::Found(result) => Ok(result),
            ReadOutcome::NotModified => {
                let source = Error::new(ErrorKind::Conflict, "the file is what the reader has").into();
                Err(object_store::Error::NotModified { path: self.location.to_string(), source })
            }
        }
    }

    async fn outcome(&self) -> Result<ReadOutcome<GetResult>> {
        let (must, has) =
            (Listed::of(self.wanted.if_match.as_deref()), Listed::of(self.wanted.if_none_match.as_deref()));
        if must.is_one_at_most() && has.is_etag_at_most() {
            return self.read(must.etag(), has.etag()).await;
        }
        let mut looked_at = None;
        for _ in 0..LOOKS {
            // The store decides about one etag: which of them, the file says.
            let head = self.files.store().head_with(&self.key, HeadOptions::default()).await?;
            let current = head.unconditional()?.etag;
            let has = has.named(&current);
            if must.is_any() {
                return self.read(None, has).await;
            }
            if !must.has(&current) {
                return Err(Error::new(ErrorKind::Conflict, "the file has none of the expected etags"));
            }
            match self.read(Some(current.clone()), has).await {
                // Replaced since, maybe by another of them; unless it is as before, and the store takes no such etag.
                Err(error) if is_refused(&error) && looked_at.as_ref() != Some(&current) => looked_at = Some(current),
                done => return done,
            }
        }
        Err(Error::new(ErrorKind::Conflict, "the file was replaced each time that it was to be read")
            .with_retry(Retry::Now))
    }

    /// Reads it, with an etag that it must have, and one that the reader has.
    async fn read(&self, must: Option<ETag>, has: Option<ETag>) -> Result<ReadOutcome<GetResult>> {
        let mut options = GetOptions { range: self.wanted.range.as_ref().map(range), ..Default::default() };
        // A time beside an etag counts for nothing, be that `*`.
        let times = (self.wanted.if_unmodified_since, self.wanted.if_modified_since);
        options.if_unmodified_since = times.0.filter(|_| self.wanted.if_match.is_none()).map(timestamp);
        options.if_modified_since = times.1.filter(|_| self.wanted.if_none_match.is_none()).map(timestamp);
        (options.if_match, options.if_none_match) = (must, has);
        if self.wanted.head || matches!(self.wanted.range, Some(GetRange::Suffix(0))) {
            return self.head(options).await;
        }
        let read = match self.files.store().get_with(&self.key, options.clone()).await {
            Err(error) if self.is_suffix() && BeyondEnd::of(&error).is_some_and(|beyond| beyond.file_len() == 0) => {
                return self.nothing(options).await;
            }
            read => read?,
        };
        Ok(read.map(|object| {
            let (meta, range, location) = (object.meta().clone(), object.range().clone(), self.location.clone());
            let content = object.into_stream().map(move |piece| piece.map_err(|error| told(error, &location)));
            self.result(meta, range, content.boxed())
        }))
    }

    async fn head(&self, options: GetOptions) -> Result<ReadOutcome<GetResult>> {
        let range = options.range;
        let head = self.files.store().head_with(&self.key, HeadOptions::of(options)).await?;
        let ReadOutcome::Found(meta) = head else { return Ok(ReadOutcome::NotModified) };
        let range = match range {
            None => 0..meta.len,
            // The last bytes of a file may be none there.
            Some(ByteRange::Last(bytes)) => meta.len.saturating_sub(bytes)..meta.len,
            Some(range) => range.within(meta.len)?,
        };
        Ok(ReadOutcome::Found(self.result(meta, range, futures_util::stream::empty().boxed())))
    }

    /// The last bytes of a file that has none.
    async fn nothing(&self, options: GetOptions) -> Result<ReadOutcome<GetResult>> {
        match self.head(options).await? {
            ReadOutcome::Found(found) if found.meta.size > 0 => {
                Err(Error::new(ErrorKind::Conflict, "the file was replaced while it was read").with_retry(Retry::Now))
            }
            found => Ok(found),
        }
    }

    const fn is_suffix(&self) -> bool {
        matches!(self.wanted.range, Some(GetRange::Suffix(_)))
    }

    fn result(&self, meta: Meta, range: Range<u64>, content: Content) -> GetResult {
        let object = ObjectMeta {
            location: self.location.clone(),
            last_modified: time(meta.modified).into(),
            size: meta.len,
            e_tag: e_tag(&meta.etag),
            version: None,
        };
        let payload = GetResultPayload::Stream(content);
        GetResult { payload, meta: object, range, attributes: attributes(meta), extensions: Default::default() }
    }
}

/// Whether an error says that the file does not have an etag.
fn is_refused(error: &Error) -> bool {
    error.kind() == ErrorKind::Conflict && !error.is_retryable()
}

/// The etags of `If-Match` or `If-None-Match`: none if there is no such condition.
struct Listed<'a>(Vec<&'a str>);

impl<'a> Listed<'a> {
    fn of(text: Option<&'a str>) -> Self {
        Self(text.map(|text| text.split(',').map(str::trim).collect()).unwrap_or_default())
    }

    /// Whether any file will do that is there: `*`, or there is no condition.
    fn is_any(&self) -> bool {
        self.0.is_empty() || self.0.contains(&"*")
    }

    fn is_one_at_most(&self) -> bool {
        self.0.len() <= 1
    }

    fn is_etag_at_most(&self) -> bool {
        self.0.is_empty() || (self.0.len() == 1 && !self.is_any())
    }

    /// The only one.
    fn etag(&self) -> Option<ETag> {
        self.0.first().filter(|_| !self.is_any()).map(|text| ETag::new(*text))
    }

    /// Whether the file's own is among them; strongly, as [RFC 9110, 13.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1) has it.
    fn has(&self, current: &ETag) -> bool {
        current.names_a_state() && self.0.contains(&current.as_str())
    }

    /// The file's own, if they name it; weakly, as [RFC 9110, 13.1.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2) has it.
    fn named(&self, current: &ETag) -> Option<ETag> {
        let opaque = |text: &'_ str| text.strip_prefix("W/").unwrap_or(text).to_owned();
        let is_named = self.0.iter().any(|text| *text == "*" || opaque(text) == opaque(current.as_str()));
        is_named.then(|| current.clone())
    }
}

fn range(range: &GetRange) -> ByteRange {
    match range {
        GetRange::Bounded(range) => ByteRange::from(range.clone()),
        GetRange::Offset(start) => ByteRange::From(*start),
        GetRange::Suffix(bytes) => ByteRange::last(*bytes),
    }
}

/// What there is to tell of a time, which a file of somebody else's may have of any year.
pub(super) fn time(time: Timestamp) -> SystemTime {
    const YEAR_9999: Duration = Duration::from_secs(253_402_300_799);
    SystemTime::from(time).min(SystemTime::UNIX_EPOCH + YEAR_9999)
}

fn timestamp(time: impl Into<SystemTime>) -> Timestamp {
    time.into().into()
}

/// One that names no state is none: no update and no read on it would ever be made.
pub(super) fn e_tag(etag: &ETag) -> Option<String> {
    etag.names_a_state().then(|| etag.as_str().to_owned())
}

fn attributes(meta: Meta) -> Attributes {
    let headers = [
        (Attribute::ContentType, meta.content_type),
        (Attribute::ContentDisposition, meta.content_disposition),
        (Attribute::CacheControl, meta.cache_control),
    ];
    let headers = headers.into_iter().filter_map(|(attribute, value)| Some((attribute, value?)));
    let user = meta.user.into_iter().map(|(name, value)| (Attribute::Metadata(name.into()), value));
    headers.chain(user).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_are_listed_as_http_lists_them() {
        let own = ETag::new("\"e\"");
        for (text, any, one, has, named) in [
            (None, true, true, false, false),
            (Some("*"), true, true, false, true),
            (Some("\"e\""), false, true, true, true),
            (Some("\"o\""), false, true, false, false),
            (Some("W/\"e\""), false, true, false, true),
            (Some("\"o\", \"e\""), false, false, true, true),
            (Some("\"o\",W/\"e\""), false, false, false, true),
            (Some("\"o\", \"p\""), false, false, false, false),
        ] {
            let listed = Listed::of(text);
            let found = (listed.is_any(), listed.is_one_at_most(), listed.has(&own), listed.named(&own).is_some());
            assert_eq!(found, (any, one, has, named), "{text:?}");
        }
    }

    #[test]
    fn what_names_no_state_is_not_handed_out_and_fulfils_nothing() {
        for (text, names) in [("\"e\"", true), ("7", true), ("W/\"e\"", false), ("", false)] {
            let (etag, listed) = (ETag::new(text), format!("\"other\", {text}"));
            assert_eq!((e_tag(&etag).is_some(), Listed::of(Some(&listed)).has(&etag)), (names, names), "{text:?}");
        }
    }

    #[test]
    fn a_time_of_any_year_can_be_told() {
        for micros in [0, 1_800_000_000_000_000, u64::MAX] {
            let object = ObjectMeta {
                location: Path::from("a"),
                last_modified: time(Timestamp::from_micros(micros)).into(),
                size: 0,
                e_tag: None,
                version: None,
            };
            let back = timestamp(object.last_modified).as_micros();
            assert_eq!(back, micros.min(253_402_300_799_000_000));
        }
    }
}

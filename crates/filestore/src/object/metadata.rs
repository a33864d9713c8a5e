//! How a file's metadata is kept with an object.
//!
//! | object metadata | holds |
//! | --- | --- |
//! | `content-disposition`, `cache-control` | what they are of the file, if they were given |
//! | `content-type` | the content type; `binary/octet-stream`, as servers do by themselves, if there is none |
//! | `statehouse-type` | `given`, where the type that servers say by themselves is the one that was given |
//! | `statehouse-fence` | of a file that was stored under a lock: the first 32 hexadecimal digits of the SHA-256 of the lock's mark, a dot, and the token in decimal digits |
//! | `statehouse-ttl` | for how many seconds the file is kept at least |
//! | `statehouse-put` | 32 hex digits that no other put has, the SHA-256, `apart` or `unknown`, and the CRC-32, with dots between |
//! | any other | the application's own, bytes outside visible ASCII and `%` as `%` and two hex digits |
//!
//! The digits tell whether a put whose answer was lost was applied. Both are one piece of metadata, as servers on file
//! systems keep each by itself.
//!
//! The digest of a long stream is known only when it has ended, and an object's metadata must be given when an upload in
//! parts begins. Such an object's digest is `apart`: in the object `.statehouse/sha256/<key>/<the digits>`, which is
//! written before the upload is completed, so that an object that is visible has its digest. One that has lost it, as
//! after a partial restore, is read unverified.

use std::collections::BTreeMap;
use std::time::Duration;

use object_store::{Attribute, Attributes, ObjectMeta};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use statehouse_core::Timestamp;

use super::stamp::Stamp;
use crate::described::Described;
use crate::digest::Digest;
use crate::digest::Received;
use crate::key::FileKey;
use crate::meta::{ETag, Meta};
use crate::options::PutOptions;

const PUT: &str = "statehouse-put";
const FENCE: &str = "statehouse-fence";
const TIME_TO_LIVE: &str = "statehouse-ttl";
const TYPE: &str = "statehouse-type";
const GIVEN: &str = "given";
const APART: &str = "apart";
/// In place of both, of a copy of a file that has none.
const UNKNOWN: &str = "unknown";

/// Everything but visible ASCII; leading and trailing spaces do not survive in a header.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// What servers say of an object that was stored without a content type.
const NO_TYPE: &str = "binary/octet-stream";

/// What is kept with an object besides what users see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Which put wrote it.
    pub(super) put: Option<String>,
    /// Whether its digest is in an object of its own.
    pub(super) apart: bool,
    /// What reads check it by.
    pub(super) crc: Option<u32>,
    /// Under which lock it was stored.
    pub(super) fence: Option<Stamp>,
    pub(super) time_to_live: Option<Duration>,
}

/// What a put's content is, as it is kept with the object or apart from it.
pub(super) fn sums(Sums { digest, crc }: Sums) -> String {
    crc.map_or_else(|| digest.to_string(), |crc| format!("{digest}.{crc:08x}"))
}

/// The checksums of some content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) digest: Digest,
    pub(super) crc: Option<u32>,
}

impl From<Received> for Sums {
    fn from(Received { digest, crc, .. }: Received) -> Self {
        Self { digest, crc: Some(crc) }
    }
}

/// Reads a SHA-256 and the CRC-32 behind it, if they are there.
pub(super) fn read_sums(text: &str) -> (Option<Digest>, Option<u32>) {
    let (digest, crc) = text.split_once('.').map_or((text, None), |(digest, crc)| (digest, Some(crc)));
    // A sign is no digit.
    let is_crc = |crc: &&str| crc.len() == 8 && crc.bytes().all(|byte| byte.is_ascii_hexdigit());
    let crc = crc.filter(is_crc).and_then(|crc| u32::from_str_radix(crc, 16).ok());
    let digest = digest.parse().ok();
    (digest, crc.filter(|_| digest.is_some()))
}

/// The metadata of a new object. Without checksums they are `apart`.
pub(super) fn describe(options: &PutOptions, put: &str, known: Option<Sums>) -> Attributes {
    describe_as(options, put, &known.map_or(APART.to_owned(), sums))
}

/// The metadata of a copy, whose original may have no checksums.
pub(super) fn describe_copy(options: &PutOptions, put: &str, known: Option<Sums>) -> Attributes {
    describe_as(options, put, &known.map_or(UNKNOWN.to_owned(), sums))
}

fn describe_as(options: &PutOptions, put: &str, sums: &str) -> Attributes {
    let mut attributes = Attributes::new();
    let mut metadata = |name: &str, value: String| {
        attributes.insert(Attribute::Metadata(name.to_owned().into()), value.into());
    };
    for (name, value) in &options.user {
        metadata(name, utf8_percent_encode(value, ESCAPED).to_string());
    }
    metadata(PUT, format!("{put}.{sums}"));
    if let Some(time) = options.time_to_live {
        metadata(TIME_TO_LIVE, time.as_secs().to_string());
    }
    if let Some(fence) = &options.fence {
        metadata(FENCE, Stamp::of(fence).encode());
    }
    if options.content_type.as_deref() == Some(NO_TYPE) {
        metadata(TYPE, GIVEN.to_owned());
    }
    let content_type = options.content_type.as_deref().unwrap_or(NO_TYPE).to_owned();
    attributes.insert(Attribute::ContentType, content_type.into());
    for (header, text) in [
        (Attribute::ContentDisposition, &options.content_disposition),
        (Attribute::CacheControl, &options.cache_control),
    ] {
        if let Some(text) = text {
            attributes.insert(header, text.clone().into());
        }
    }
    attributes
}

/// Reads an object's metadata, whoever wrote it.
pub(super) fn read(key: &FileKey, object: &ObjectMeta, attributes: &Attributes) -> (Meta, Marks) {
    let (mut user, mut marks, mut digest, mut is_given) = (BTreeMap::new(), Marks::default(), None, false);
    for (attribute, value) in attributes {
        let Attribute::Metadata(name) = attribute else { continue };
        match name.as_ref() {
            PUT => {
                let Some((put, sums)) = value.split_once('.') else { continue };
                let (sha256, crc) = read_sums(sums);
                marks = Marks { put: Some(put.to_owned()), apart: sums == APART, crc, ..marks };
                digest = sha256;
            }
            TYPE => is_given = value.as_ref() == GIVEN,
            FENCE => marks.fence = Stamp::decode(value),
            TIME_TO_LIVE => marks.time_to_live = seconds(value),
            name => drop(user.insert(name.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned())),
        }
    }
    let header = |header| attributes.get(&header).map(|value| value.as_ref().to_owned());
    let content_type = header(Attribute::ContentType);
    // None was given where the server says its own.
    let content_type = content_type.filter(|text| text != NO_TYPE || is_given || marks.put.is_none());
    let (content_disposition, cache_control) = (header(Attribute::ContentDisposition), header(Attribute::CacheControl));
    let described = Described { content_type, content_disposition, cache_control, user };
    let meta = Meta::new(key.clone(), object.size, etag(object), modified(object))
        .with_sha256(digest)
        .with_described(described.sound())
        .with_expires(marks.time_to_live.map(|time| modified(object) + time));
    (meta, marks)
}

/// Of digits alone, as they are written.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: u64 = text.parse().ok()?;
    (seconds.to_string() == text).then_some(Duration::from_secs(seconds))
}

pub(super) fn etag(object: &ObjectMeta) -> ETag {
    ETag::new(object.e_tag.as_deref().unwrap_or_default())
}

pub(super) fn modified(object: &ObjectMeta) -> Timestamp {
    Timestamp::from_micros(u64::try_from(object.last_modified.timestamp_micros()).unwrap_or(0))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn object() -> ObjectMeta {
        let last_modified = std::time::SystemTime::UNIX_EPOCH.into();
        ObjectMeta { location: "k".into(), last_modified, size: 3, e_tag: None, version: None }
    }

    #[test]
    fn a_content_type_is_what_was_given_or_none() {
        let key = FileKey::new("k").unwrap();
        let object = object();
        let (meta, _) = read(&key, &object, &describe(&PutOptions::default(), "nonce", None));
        assert_eq!(meta.content_type, None);
        for given in [NO_TYPE, "Binary/octet-stream", "text/plain"] {
            let options = PutOptions::default().with_content_type(given);
            let (meta, _) = read(&key, &object, &describe(&options, "nonce", None));
            assert_eq!(meta.content_type.as_deref(), Some(given));
            assert_eq!(meta.user, BTreeMap::new());
        }
        let long = "x".repeat(300);
        let table = [("a/b", Some("a/b")), (NO_TYPE, Some(NO_TYPE)), ("a/b\u{1}", None), ("", None), (&long, None)];
        for (stored, expected) in table {
            let foreign = Attributes::from_iter([(Attribute::ContentType, stored.to_owned())]);
            assert_eq!(read(&key, &object, &foreign).0.content_type.as_deref(), expected, "{stored:?}");
        }
    }

    #[test]
    fn metadata_that_nobody_could_have_put_does_not_come_out() {
        let key = FileKey::new("k").unwrap();
        let object = object();
        let pairs = [("a", "text/html%0d%0ax-injected:%20y"), ("b", "%00"), ("x:y", "1"), ("A", "1"), ("good", "1")];
        let pairs = pairs.map(|(name, value)| (Attribute::Metadata(name.into()), value));
        let headers = [(Attribute::ContentDisposition, "=; a"), (Attribute::CacheControl, "\u{1}")];
        let (meta, _) = read(&key, &object, &Attributes::from_iter(pairs.into_iter().chain(headers)));
        assert_eq!(meta.user, BTreeMap::from([("good".to_owned(), "1".to_owned())]));
        assert_eq!((meta.content_disposition, meta.cache_control), (None, None));
    }

    #[test]
    fn metadata_goes_through_headers_unharmed() {
        let key = FileKey::new("k").unwrap();
        let object = ObjectMeta {
            location: "k".into(),
            last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
            size: 3,
            e_tag: Some("\"e\"".into()),
            version: None,
        };
        let options = PutOptions::default()
            .with_content_type("text/plain")
            .with_content_disposition("inline")
            .with_cache_control("no-store")
            .with_metadata("a", " Zoë 100 %41 ")
            .with_metadata("b", "plain");
        let digest = Digest::of(b"abc");
        let attributes = describe(&options, "nonce", Some(Sums { digest, crc: Some(0x0042_cafe) }));
        for (_, value) in &attributes {
            assert!(value.bytes().all(|b| (b'!'..=b'~').contains(&b)), "{value:?}");
        }
        let (meta, marks) = read(&key, &object, &attributes);
        assert_eq!((meta.user, meta.sha256, meta.etag.as_str()), (options.user.clone(), Some(digest), "\"e\""));
        let headers = (meta.content_disposition.as_deref(), meta.cache_control.as_deref());
        assert_eq!(headers, (Some("inline"), Some("no-store")));
        let crc = Some(0x0042_cafe);
        assert_eq!(marks, Marks { put: Some("nonce".into()), apart: false, crc, ..Marks::default() });
        let (meta, marks) = read(&key, &object, &describe(&options, "nonce", None));
        assert_eq!((meta.sha256, marks.apart), (None, true));
        let (meta, marks) = read(&key, &object, &describe_copy(&options, "nonce", None));
        assert_eq!((meta.sha256, marks.apart, marks.put.as_deref()), (None, false, Some("nonce")));
        // What something else wrote under our name.
        let foreign = Attributes::from_iter([(Attribute::Metadata(PUT.into()), digest.to_string())]);
        let (meta, marks) = read(&key, &object, &foreign);
        assert_eq!((meta.sha256, marks), (None, Marks::default()));
        // What earlier builds wrote.
        let earlier = Attributes::from_iter([(Attribute::Metadata(PUT.into()), format!("nonce.{digest}"))]);
        let (meta, marks) = read(&key, &object, &earlier);
        assert_eq!((meta.sha256, marks.crc), (Some(digest), None));
    }
}

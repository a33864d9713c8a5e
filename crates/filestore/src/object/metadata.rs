//! How a file's metadata is kept with an object.
//!
//! | object metadata | holds |
//! | --- | --- |
//! | `content-type` | the content type |
//! | `statehouse-put` | 32 hex digits that no other put has, a dot, and the SHA-256 or `apart` |
//! | any other | the application's own, bytes outside visible ASCII and `%` as `%` and two hex digits |
//!
//! The digits tell whether a put whose answer was lost was applied. Both are one piece of metadata, as servers on file
//! systems keep each by itself.
//!
//! The digest of a long stream is known only when it has ended, and an object's metadata must be given when an upload in
//! parts begins. Such an object's digest is `apart`: in the object `.statehouse/sha256/<key>/<the digits>`, which is
//! written before the upload is completed, so that an object that is visible always has its digest.

use std::collections::BTreeMap;

use object_store::{Attribute, Attributes, ObjectMeta};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use statehouse_core::Timestamp;

use crate::{Digest, ETag, FileKey, Meta, PutOptions};

const PUT: &str = "statehouse-put";
const APART: &str = "apart";

/// Everything but visible ASCII; leading and trailing spaces do not survive in a header.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// What is kept with an object besides what users see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Which put wrote it.
    pub(super) put: Option<String>,
    /// Whether its digest is in an object of its own.
    pub(super) apart: bool,
}

/// The metadata of a new object. Without a digest it is `apart`.
pub(super) fn describe(options: &PutOptions, put: &str, digest: Option<Digest>) -> Attributes {
    let mut attributes = Attributes::new();
    let mut metadata = |name: &str, value: String| {
        attributes.insert(Attribute::Metadata(name.to_owned().into()), value.into());
    };
    for (name, value) in &options.user {
        metadata(name, utf8_percent_encode(value, ESCAPED).to_string());
    }
    metadata(PUT, format!("{put}.{}", digest.map_or(APART.to_owned(), |digest| digest.to_string())));
    if let Some(content_type) = &options.content_type {
        attributes.insert(Attribute::ContentType, content_type.clone().into());
    }
    attributes
}

/// Reads an object's metadata, whoever wrote it.
pub(super) fn read(key: &FileKey, object: &ObjectMeta, attributes: &Attributes) -> (Meta, Marks) {
    let (mut user, mut marks, mut digest) = (BTreeMap::new(), Marks::default(), None);
    for (attribute, value) in attributes {
        let Attribute::Metadata(name) = attribute else { continue };
        match name.as_ref() {
            PUT => {
                let Some((put, sha256)) = value.split_once('.') else { continue };
                marks = Marks { put: Some(put.to_owned()), apart: sha256 == APART };
                digest = sha256.parse().ok();
            }
            name => drop(user.insert(name.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned())),
        }
    }
    let content_type = attributes.get(&Attribute::ContentType).map(|value| value.to_string());
    let meta = Meta::new(key.clone(), object.size, etag(object), modified(object))
        .with_sha256(digest)
        .with_content_type(content_type)
        .with_user(user);
    (meta, marks)
}

pub(super) fn etag(object: &ObjectMeta) -> ETag {
    ETag::new(object.e_tag.as_deref().unwrap_or_default())
}

pub(super) fn modified(object: &ObjectMeta) -> Timestamp {
    Timestamp::from_micros(u64::try_from(object.last_modified.timestamp_micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            .with_metadata("a", " Zoë 100 %41 ")
            .with_metadata("b", "plain");
        let digest = Digest::of(b"abc");
        let attributes = describe(&options, "nonce", Some(digest));
        for (_, value) in &attributes {
            assert!(value.bytes().all(|b| (b'!'..=b'~').contains(&b)), "{value:?}");
        }
        let (meta, marks) = read(&key, &object, &attributes);
        assert_eq!((meta.user, meta.sha256, meta.etag.as_str()), (options.user.clone(), Some(digest), "\"e\""));
        assert_eq!(marks, Marks { put: Some("nonce".into()), apart: false });
        let (meta, marks) = read(&key, &object, &describe(&options, "nonce", None));
        assert_eq!((meta.sha256, marks.apart), (None, true));
        // What something else wrote under our name.
        let foreign = Attributes::from_iter([(Attribute::Metadata(PUT.into()), digest.to_string())]);
        let (meta, marks) = read(&key, &object, &foreign);
        assert_eq!((meta.sha256, marks), (None, Marks::default()));
    }
}

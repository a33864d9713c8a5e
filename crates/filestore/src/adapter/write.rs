//! What a put there asks for, as a put here has it.

use object_store::path::Path;
use object_store::{Attribute, Attributes, PutMode, PutResult};
use statehouse_core::{Error, ErrorKind};

use super::error::{conflict, generic, not_implemented, refused};
use crate::files::Files;
use crate::key::FileKey;
use crate::meta::{ETag, Stored};
use crate::options::{Condition, HeadOptions, PutOptions};
use crate::outcome::ReadOutcome;

/// The options of a put that keeps these attributes.
pub(super) fn options(attributes: &Attributes) -> object_store::Result<PutOptions> {
    let mut options = PutOptions::default();
    for (attribute, value) in attributes {
        options = match attribute {
            Attribute::ContentType => options.with_content_type(value.as_ref()),
            Attribute::ContentDisposition => options.with_content_disposition(value.as_ref()),
            Attribute::CacheControl => options.with_cache_control(value.as_ref()),
            Attribute::Metadata(name) => options.with_metadata(name.as_ref(), value.as_ref()),
            other => return Err(not_implemented(format!("put with the attribute {other:?}"))),
        };
    }
    options.check().map_err(refused)?;
    Ok(options)
}

/// The condition of a put.
pub(super) fn condition(mode: PutMode) -> object_store::Result<Condition> {
    match mode {
        PutMode::Overwrite => Ok(Condition::Always),
        PutMode::Create => Ok(Condition::Absent),
        PutMode::Update(version) if version.version.is_some() => Err(not_implemented("update of a version")),
        PutMode::Update(version) => {
            let etag = version.e_tag.ok_or_else(|| generic(Error::invalid_input("an update needs an etag")))?;
            Ok(Condition::Match(ETag::new(etag)))
        }
    }
}

/// What a write is told that others were in the way of each time. Nobody has looked at its condition: that of a name that is free does not hold for
/// long where others write it, and whether that of an etag does is looked up.
pub(super) async fn contended(
    files: &Files,
    (key, location): (&FileKey, &Path),
    condition: &Condition,
    error: Error,
) -> object_store::Error {
    let is_lost = match condition {
        Condition::Always => false,
        Condition::Absent => true,
        Condition::Match(etag) => match files.store().head_with(key, HeadOptions::default()).await {
            Ok(ReadOutcome::Found(meta)) => meta.etag.names_a_state() && meta.etag != *etag,
            Ok(ReadOutcome::NotModified) => false,
            Err(error) => error.kind() == ErrorKind::NotFound,
        },
    };
    if is_lost { conflict(condition, location) } else { generic(error.with_key(location.as_ref())) }
}

/// What was stored.
pub(super) fn result(stored: &Stored) -> PutResult {
    PutResult { e_tag: super::read::e_tag(&stored.etag), version: None, extensions: Default::default() }
}

#[cfg(test)]
mod tests {
    use object_store::UpdateVersion;

    use super::*;

    #[test]
    fn what_is_not_kept_is_refused_and_nothing_of_it_is_left_out() {
        let of = |attribute: Attribute, value: &'static str| options(&Attributes::from_iter([(attribute, value)]));
        for (attribute, value) in [
            (Attribute::ContentEncoding, "gzip"),
            (Attribute::ContentLanguage, "de"),
            (Attribute::StorageClass, "COLD"),
        ] {
            let error = of(attribute, value).unwrap_err();
            assert!(matches!(error, object_store::Error::NotImplemented { .. }), "{error}");
        }
        for (attribute, value) in [(Attribute::Metadata("Ward".into()), "7"), (Attribute::ContentType, "a\nb")] {
            let error = of(attribute, value).unwrap_err();
            assert!(matches!(error, object_store::Error::NotSupported { .. }), "{error}");
        }
        assert_eq!(of(Attribute::Metadata("ward".into()), "7").unwrap().user["ward"], "7");
    }

    #[test]
    fn an_update_is_of_an_etag_and_of_no_version() {
        let update = |e_tag: Option<&str>, version: Option<&str>| {
            condition(PutMode::Update(UpdateVersion { e_tag: e_tag.map(Into::into), version: version.map(Into::into) }))
        };
        assert_eq!(update(Some("\"1\""), None).unwrap(), Condition::Match(ETag::new("\"1\"")));
        assert!(matches!(update(None, None).unwrap_err(), object_store::Error::Generic { .. }));
        assert!(matches!(update(Some("\"1\""), Some("2")).unwrap_err(), object_store::Error::NotImplemented { .. }));
    }
}

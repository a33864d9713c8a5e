//! What is left of uploads that nobody could end.

use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use object_store::multipart::MultipartStore;
use serde::Deserialize;
use statehouse_core::{Error, ErrorKind, Result, Timestamp};

use super::client::Remote;
use super::connection::Native;
use super::error::map_error;
use super::list::parse_time;
use super::request::astray;
use super::wire::{Answer, Log, Terms};
use crate::key::FileKey;

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Uploads in parts that were begun and never ended. Their parts cost as much as files and are in no listing.
    pub uploads: u64,
    /// Digests of files that have been replaced or deleted.
    pub digests: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Uploads {
    upload: Vec<Begun>,
    is_truncated: bool,
    next_key_marker: String,
    next_upload_id_marker: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Begun {
    key: String,
    upload_id: String,
    #[serde(default)]
    initiated: String,
}

impl Remote {
    pub(super) async fn sweep(&self, older_than: Duration) -> Result<Swept> {
        let Some(native) = &self.native else {
            let message = "a store that is brought along lists no uploads";
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        let (uploads, now) = self.sweep_uploads(native, older_than).await?;
        let digests = self.sweep_digests(older_than, now).await?;
        Ok(Swept { uploads, digests })
    }

    async fn sweep_uploads(&self, native: &Native, older_than: Duration) -> Result<(u64, SystemTime)> {
        let (mut key, mut id, mut swept, mut failed) = (String::new(), String::new(), 0, None);
        loop {
            let mut query = vec![("uploads", ""), ("max-uploads", "1000")];
            let more = [("prefix", &self.prefix), ("key-marker", &key), ("upload-id-marker", &id)];
            query.extend(
                more.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.as_str())),
            );
            let (text, now) = native.get(&query).await?;
            let now = now.ok_or_else(|| astray("the server does not say what time it is"))?;
            let found: Uploads = quick_xml::de::from_reader(&*text)
                .map_err(|source| astray("the server's listing of uploads is none").with_source(source))?;
            for begun in &found.upload {
                let ours = begun.key.starts_with(&self.prefix);
                if ours && parse_time(&begun.initiated).is_some_and(|time| is_old(time, now, older_than)) {
                    // One that the server does not let go of keeps none of the others.
                    match self.abort(native, begun).await {
                        Ok(aborted) => swept += u64::from(aborted),
                        Err(error) => failed = failed.or(Some(error)),
                    }
                }
            }
            let on = found.is_truncated && (&found.next_key_marker, &found.next_upload_id_marker) != (&key, &id);
            if !on {
                return failed.map_or(Ok((swept, now)), Err);
            }
            (key, id) = (found.next_key_marker, found.next_upload_id_marker);
        }
    }

    /// Whether it was there. Keys that are no paths are somebody else's.
    async fn abort(&self, native: &Native, begun: &Begun) -> Result<bool> {
        let Ok(path) = object_store::path::Path::parse(&begun.key) else { return Ok(false) };
        let aborting = native.s3.abort_multipart(&path, &begun.upload_id);
        let Err(failure) = self.call(Terms::new(Answer::Nothing), aborting).await else { return Ok(true) };
        // A first attempt that failed may have done it.
        let again = failure.log.sent > 1;
        match map_error(failure.error, &failure.log) {
            gone if gone.kind() == ErrorKind::NotFound => Ok(again),
            error => Err(error),
        }
    }

    async fn sweep_digests(&self, older_than: Duration, now: SystemTime) -> Result<u64> {
        let folder = self.path(&format!("{}/sha256", crate::key::RESERVED))?;
        let (mut swept, mut found) = (0, self.store.list(Some(&folder)));
        while let Some(object) = found.try_next().await.map_err(|error| map_error(error, &Log::default()))? {
            let modified = super::metadata::modified(&object);
            let name = object.location.as_ref().strip_prefix(folder.as_ref()).and_then(|rest| rest.strip_prefix('/'));
            let Some((key, put)) = name.and_then(|name| name.rsplit_once('/')) else { continue };
            let (Ok(key), true) = (FileKey::new(key), is_old(modified, now, older_than)) else { continue };
            let stays = match self.peek(&key).await {
                Ok((_, marks)) => marks.apart && marks.put.as_deref() == Some(put),
                Err(error) if error.kind() == ErrorKind::NotFound => false,
                Err(error) => return Err(error),
            };
            if !stays {
                self.remove(&object.location).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

fn is_old(time: Timestamp, now: SystemTime, older_than: Duration) -> bool {
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(time.as_micros());
    // The server says what time it is in whole seconds, and when something was written more precisely.
    now.duration_since(time).unwrap_or_default() >= older_than
}

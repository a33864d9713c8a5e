//! What is left of uploads that nobody could end.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use object_store::multipart::MultipartStore;
use serde::Deserialize;
use statehouse_core::{Error, ErrorKind, Result, Timestamp};

use super::client::Remote;
use super::connection::Native;
use super::error::map_error;
use super::list::OwnPage;
use super::probe::PROBES;
use super::request::astray;
use super::time::parse_time;
use super::wire::{Answer, Terms};
use crate::key::FileKey;
use crate::options::SweepOptions;
use crate::outcome::Swept;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Uploads {
    encoding_type: Option<String>,
    upload: Vec<Begun>,
    is_truncated: bool,
    next_key_marker: String,
    next_upload_id_marker: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Begun {
    key: String,
    upload_id: String,
    #[serde(default)]
    initiated: String,
}

/// How many answers without any upload may come one behind the other.
const MAX_EMPTY: u32 = 50;

impl Begun {
    pub(super) fn new(key: &str, upload_id: &str) -> Self {
        Self { key: key.to_owned(), upload_id: upload_id.to_owned(), initiated: String::new() }
    }
}

impl Uploads {
    fn decode(&self, text: &str) -> String {
        super::listed::decode(text, self.encoding_type.as_deref())
    }
}

/// A page of the uploads that are under way.
async fn uploads(native: &Native, prefix: &str, key: &str, id: &str) -> Result<(Uploads, Option<SystemTime>)> {
    let mut query = vec![("uploads", ""), ("max-uploads", "1000"), ("encoding-type", "url")];
    let more = [("prefix", prefix), ("key-marker", key), ("upload-id-marker", id)];
    query.extend(more.into_iter().filter(|(_, text)| !text.is_empty()));
    let (text, now) = native.get("ListMultipartUploadsResult", &query).await?;
    let found = quick_xml::de::from_reader(&*text)
        .map_err(|source| astray("the server's listing of uploads is none").with_source(source))?;
    Ok((found, now))
}

impl Remote {
    /// Whether an upload is there; also where there are so many of its name that nobody looks through them all.
    pub(super) async fn has_upload(&self, native: &Native, begun: &Begun) -> Result<bool> {
        let (found, _) = uploads(native, &begun.key, "", "").await?;
        let mut of_the_id = found.upload.iter().filter(|other| other.upload_id == begun.upload_id);
        Ok(found.is_truncated || of_the_id.any(|other| found.decode(&other.key) == begun.key))
    }

    pub(super) async fn sweep(&self, options: &SweepOptions) -> Result<Swept> {
        let Some(native) = &self.native else {
            let message = "a store that is brought along lists no uploads";
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        // What may not be done of it keeps nothing else.
        let (uploads, digests) = (self.sweep_uploads(native, options).await, self.sweep_digests(native, options).await);
        let probes = self.sweep_probes(native, options).await;
        let swept = Swept { uploads: uploads?, digests: digests?, ..Swept::default() };
        probes.map(|()| swept)
    }

    /// What processes have left behind that ended while they tried the server out.
    async fn sweep_probes(&self, native: &Native, options: &SweepOptions) -> Result<()> {
        let of_probes = SweepOptions { prefix: PROBES.to_owned(), ..options.clone() };
        let (uploads, files) =
            (self.sweep_uploads(native, &of_probes).await, self.sweep_probe_files(native, options).await);
        uploads.and(files)
    }

    async fn sweep_probe_files(&self, native: &Native, options: &SweepOptions) -> Result<()> {
        let folder = format!("{}{PROBES}", self.prefix);
        let mut pages = self.list_own(native, &folder);
        while let Some(OwnPage { found, now }) = pages.next().await? {
            for (name, modified) in found {
                if is_old(modified, now, options.uploads_older_than) {
                    self.remove(&self.path(&format!("{PROBES}{name}"))?).await?;
                }
            }
        }
        Ok(())
    }

    async fn sweep_uploads(&self, native: &Native, options: &SweepOptions) -> Result<u64> {
        // Azure drops what nobody has ended after a week, by itself.
        if native.s3().is_none() {
            return Ok(0);
        }
        let (prefix, older_than) = (format!("{}{}", self.prefix, options.prefix), options.uploads_older_than);
        let (mut key, mut id, mut swept, mut failed) = (String::new(), String::new(), 0, None);
        let (mut seen, mut empty) = (HashSet::new(), 0);
        loop {
            let (found, now) = uploads(native, &prefix, &key, &id).await?;
            let now = now.ok_or_else(|| astray("the server does not say what time it is"))?;
            for begun in &found.upload {
                let begun = &Begun { key: found.decode(&begun.key), ..begun.clone() };
                let ours = begun.key.starts_with(&prefix);
                if ours && parse_time(&begun.initiated).is_some_and(|time| is_old(time, now, older_than)) {
                    // One that the server does not let go of keeps none of the others.
                    match self.abort_unless_staged(native, begun).await {
                        Ok(aborted) => swept += u64::from(aborted),
                        Err(error) if is_away(&error) => return Err(error),
                        Err(error) => failed = failed.or(Some(error)),
                    }
                }
            }
            if !found.is_truncated {
                return failed.map_or(Ok(swept), Err);
            }
            let next = found.decode(&found.next_key_marker);
            // Those of one key come in the order in which they were begun.
            if next != key {
                seen.clear();
            }
            empty = if found.upload.is_empty() { empty + 1 } else { 0 };
            if next < key || empty > MAX_EMPTY || !seen.insert(found.next_upload_id_marker.clone()) {
                return Err(failed.unwrap_or_else(|| astray("a listing of uploads does not get on")));
            }
            (key, id) = (next, found.next_upload_id_marker);
        }
    }

    async fn abort_unless_staged(&self, native: &Native, begun: &Begun) -> Result<bool> {
        let key = begun.key.strip_prefix(&self.prefix).and_then(|key| FileKey::new(key).ok());
        match key {
            Some(key) if self.is_staged(&key, &begun.upload_id).await? => Ok(false),
            _ => self.abort(native, begun).await,
        }
    }

    /// Whether it was there. Keys that are no paths are somebody else's.
    pub(super) async fn abort(&self, native: &Native, begun: &Begun) -> Result<bool> {
        let Ok(path) = object_store::path::Path::parse(&begun.key) else { return Ok(false) };
        let Some(s3) = native.s3() else { return Ok(false) };
        let aborting = s3.abort_multipart(&path, &begun.upload_id);
        let Err(failure) = self.call(Terms::new(Answer::Nothing), aborting).await else { return Ok(true) };
        // A first attempt that failed may have done it.
        let again = failure.log.sent > 1;
        match map_error(failure.error, &failure.log) {
            gone if gone.kind() == ErrorKind::NotFound => Ok(again),
            error => Err(error),
        }
    }

    async fn sweep_digests(&self, native: &Native, options: &SweepOptions) -> Result<u64> {
        let folder = format!("{}{}/sha256/{}", self.prefix, crate::key::RESERVED, options.prefix);
        let (mut pages, mut swept, mut failed) = (self.list_own(native, &folder), 0, None);
        while let Some(OwnPage { found, now }) = pages.next().await? {
            for (name, modified) in found {
                let Some((key, put)) = name.rsplit_once('/') else { continue };
                let key = FileKey::new(format!("{}{key}", options.prefix));
                let (Ok(key), true) = (key, is_old(modified, now, options.uploads_older_than)) else { continue };
                // One that nobody lets us look at keeps none of the others; a server that is away does.
                match self.sweep_digest(&key, put).await {
                    Ok(removed) => swept += u64::from(removed),
                    Err(error) if is_away(&error) => return Err(error),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        failed.map_or(Ok(swept), Err)
    }

    /// Removes the digest of a put whose file is gone, or another's.
    async fn sweep_digest(&self, key: &FileKey, put: &str) -> Result<bool> {
        // Looked for before the file: one that is committed in between is found there.
        if self.has_stage(key, put).await? {
            return Ok(false);
        }
        let stays = match self.peek(key).await {
            Ok((_, marks)) => marks.apart && marks.put.as_deref() == Some(put),
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !stays {
            self.remove(&self.digest_path(key, put)?).await?;
        }
        Ok(!stays)
    }
}

/// Whether that is so for whatever is asked next.
pub(super) fn is_away(error: &Error) -> bool {
    use ErrorKind::{RateLimited, Timeout, Unauthenticated, Unavailable};
    matches!(error.kind(), RateLimited | Timeout | Unauthenticated | Unavailable)
}

fn is_old(time: Timestamp, now: SystemTime, older_than: Duration) -> bool {
    age(time, now) >= older_than
}

/// How long ago that was. The server says what time it is in whole seconds, and when something was written more precisely.
pub(super) fn age(time: Timestamp, now: SystemTime) -> Duration {
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(time.as_micros());
    now.duration_since(time).unwrap_or_default()
}

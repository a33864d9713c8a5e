//! Trying out whether a server honours preconditions. Many that speak S3 ignore them and answer that all is well.

use futures_util::TryStreamExt as _;
use futures_util::future::join_all;
use object_store::path::Path;
use object_store::{Attribute, Attributes, PutMultipartOptions, PutPayload};
use statehouse_core::{Capabilities, ErrorKind, Result};

use super::client::{Nesting, Remote};
use super::wire::{Answer, Terms};
use crate::capability;
use crate::digest::{hex, nonce};
use crate::meta::ETag;
use crate::options::Condition;

/// How many creators race.
const CREATORS: usize = 8;

/// An etag that no content has.
const NO_ETAG: &str = "\"00000000000000000000000000000000\"";

/// The folder of the objects that a store is tried out on.
pub(super) const PROBES: &str = ".statehouse/probe/";

/// What a store turned out to be like.
pub(super) struct Found {
    pub(super) capabilities: Capabilities,
    pub(super) nesting: Nesting,
}

impl Remote {
    /// Finds out what the store honours, on a key that nobody else uses.
    pub(super) async fn probe(&self) -> Result<Found> {
        let path = self.path(&format!("{PROBES}{}", hex(&nonce()?)))?;
        let below = Path::parse(format!("{path}/below"));
        let below = below.as_ref().unwrap_or(&path);
        // Nothing is there. Whoever may not delete would leave something behind, each time that they try.
        self.remove(&path).await?;
        let found = self.try_out(&path, below).await;
        let removed = (self.remove(below).await, self.remove(&path).await);
        removed.0.and(removed.1).and(found)
    }

    async fn try_out(&self, path: &Path, below: &Path) -> Result<Found> {
        let mut has = Vec::new();
        let creates = self.creates_once(path).await?;
        has.extend(creates.then_some(capability::CREATE_IF_ABSENT));
        let stale = Condition::Match(ETag::new(NO_ETAG));
        let current = Condition::Match(self.etag(path).await?);
        let replaces = !self.put_scratch(path, &stale).await? && self.put_scratch(path, &current).await?;
        has.extend(replaces.then_some(capability::REPLACE_IF_MATCH));
        if self.native.is_some() && creates && replaces && self.completes_conditionally(path).await? {
            has.push(capability::CONDITIONAL_PARTS);
        }
        if self.native.is_some() && self.deletes_conditionally(path, &stale).await? {
            has.push(capability::DELETE_IF_MATCH);
        }
        let (describes, headers) = self.describes(path).await?;
        has.extend(describes.then_some(capability::METADATA));
        has.extend(headers.then_some(capability::CONTENT_HEADERS));
        self.describes.store(describes, std::sync::atomic::Ordering::Relaxed);
        let (taken, nested) = self.nests(path, below).await?;
        has.extend(nested.then_some(capability::NESTED_FILES));
        // A server of ours that refuses says why. What another store says is for people to read.
        let nesting = match (nested, taken) {
            (true, _) => Nesting::Kept,
            (false, false) if self.native.is_some() => Nesting::Told,
            _ => Nesting::Hidden,
        };
        Ok(Found { capabilities: has.into_iter().collect(), nesting })
    }

    /// Whether exactly one of racing creators wins, and a later one does not.
    async fn creates_once(&self, path: &Path) -> Result<bool> {
        let race = (0..CREATORS).map(|_| self.put_scratch(path, &Condition::Absent));
        let mut winners = 0;
        for won in join_all(race).await {
            winners += usize::from(won?);
        }
        if winners == 0 {
            // Nobody wins where the condition itself is not understood: the tests that follow need a file.
            self.put_scratch(path, &Condition::Always).await?;
        }
        Ok(winners == 1 && !self.put_scratch(path, &Condition::Absent).await?)
    }

    /// Whether a put was done. Refusals and a server that does not know the condition are `false`.
    async fn put_scratch(&self, path: &Path, condition: &Condition) -> Result<bool> {
        let request = object_store::PutOptions { mode: self.mode(condition), ..Default::default() };
        let content = PutPayload::from(hex(&nonce()?));
        let terms = Terms::new(Answer::Nothing).condition(condition);
        let result = self.call(terms, self.store.put_opts(path, content, request)).await;
        done(result.map_err(|failure| failure.into_error(condition)))
    }

    async fn etag(&self, path: &Path) -> Result<ETag> {
        let request = object_store::GetOptions { head: true, ..Default::default() };
        let found = self.plain(Answer::Nothing, self.store.get_opts(path, request)).await?;
        Ok(super::metadata::etag(&found.meta))
    }

    /// Whether an upload in parts to a file that is there is refused when it is completed.
    async fn completes_conditionally(&self, path: &Path) -> Result<bool> {
        let mut refused = true;
        for condition in [Condition::Absent, Condition::Match(ETag::new(NO_ETAG))] {
            let begin = self.store.put_multipart_opts(path, PutMultipartOptions::default());
            let mut upload = self.plain(Answer::Text, begin).await?;
            self.plain(Answer::Nothing, upload.put_part(PutPayload::from_static(b"part"))).await?;
            let result = self.call(Terms::new(Answer::Late).condition(&condition), upload.complete()).await;
            let completed = done(result.map_err(|failure| failure.into_error(&condition)))?;
            if !completed {
                // The upload is gone with the scratch object at the latest.
                let _ = self.plain(Answer::Nothing, upload.abort()).await;
            }
            refused &= !completed;
        }
        Ok(refused)
    }

    async fn deletes_conditionally(&self, path: &Path, stale: &Condition) -> Result<bool> {
        use object_store::ObjectStoreExt;
        let result = self.call(Terms::new(Answer::Nothing).condition(stale), self.store.delete(path)).await;
        if done(result.map_err(|failure| failure.into_error(stale)))? {
            self.put_scratch(path, &Condition::Always).await?;
            return Ok(false);
        }
        Ok(self.etag(path).await.is_ok())
    }

    /// Whether metadata comes back, and headers beside it.
    async fn describes(&self, path: &Path) -> Result<(bool, bool)> {
        let metadata = Attributes::from_iter([(Attribute::Metadata("statehouse-probe".into()), "yes")]);
        let headers = [(Attribute::ContentDisposition, "inline"), (Attribute::CacheControl, "no-store")];
        let mut all = metadata.clone();
        headers.into_iter().for_each(|(header, text)| drop(all.insert(header, text.into())));
        if self.keeps(path, all).await? {
            return Ok((true, true));
        }
        Ok((self.keeps(path, metadata).await?, false))
    }

    async fn keeps(&self, path: &Path, attributes: Attributes) -> Result<bool> {
        let request = object_store::PutOptions { attributes: attributes.clone(), ..Default::default() };
        let put = self.store.put_opts(path, PutPayload::from_static(b"described"), request);
        let put = self.call(Terms::new(Answer::Nothing), put).await;
        if !done(put.map_err(|failure| failure.into_error(&Condition::Always)))? {
            return Ok(false);
        }
        let request = object_store::GetOptions { head: true, ..Default::default() };
        let found = self.plain(Answer::Nothing, self.store.get_opts(path, request)).await?;
        Ok(attributes.iter().all(|(name, value)| found.attributes.get(name) == Some(value)))
    }

    /// Whether a file below another's name is taken, and whether both are there then. MinIO takes it and leaves it out of
    /// listings.
    async fn nests(&self, path: &Path, below: &Path) -> Result<(bool, bool)> {
        if !self.put_scratch(below, &Condition::Always).await? {
            return Ok((false, false));
        }
        let nested = self.etag(path).await.is_ok() && self.lists(path).await? && self.lists(below).await?;
        Ok((true, nested))
    }

    /// Whether a listing of everything in the folder of the probes has this file.
    async fn lists(&self, path: &Path) -> Result<bool> {
        let folder = self.path(&format!("{}/probe", crate::key::RESERVED))?;
        let find = async {
            let mut found = self.store.list(Some(&folder));
            while let Some(object) = found.try_next().await? {
                if object.location == *path {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        self.plain(Answer::Text, find).await
    }
}

/// Tells a server that refuses from one that cannot be asked.
fn done<T>(result: Result<T>) -> Result<bool> {
    let Err(error) = result else { return Ok(true) };
    match error.kind() {
        ErrorKind::Unavailable
        | ErrorKind::Timeout
        | ErrorKind::RateLimited
        | ErrorKind::Unauthenticated
        | ErrorKind::PermissionDenied
        | ErrorKind::InvalidConfig => Err(error),
        _ => Ok(false),
    }
}

//! Files that are not visible yet: uploads in parts that have all of theirs, and a record with which any process can end them.
//!
//! The server decides between those who complete the upload and who aborts it. Whoever ends it removes its record last, when the file is
//! visible or can never be. So without a record nothing is left to be decided.

use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Attributes, PutMultipartOptions};
use statehouse_core::policy::Backoff;
use statehouse_core::{Error, ErrorKind, Result};

use super::client::{Failure, Nesting, Remote, changed, exists};
use super::connection::Native;
use super::error::map_error;
use super::known::Known;
use super::list::OwnPage;
use super::metadata::{Marks, Sums};
use super::parts::{Part, Parts, hash};
use super::record::{MAX_RECORD, Record};
use super::sweep::Begun;
use super::upload::{MAX_PARTS, Upload};
use super::wire::{Answer, Terms, observe};
use crate::blocking::unanswered;
use crate::body::Body;
use crate::digest::{Digest, corrupt};
use crate::key::FileKey;
use crate::meta::{ETag, Meta, Stored};
use crate::options::{Condition, PutOptions, StagesOptions};
use crate::outcome::{CommitOutcome, DiscardOutcome};
use crate::stage::{Stage, StageId, Staged};

/// How many times longer than another answer that to a completion may be waited for that somebody else has begun.
const PATIENCE: u32 = 6;

/// How long a stage is looked for whose upload was aborted, at least and in times that the server took for that: one that is told to complete
/// it at the same moment may do that all the same (VersityGW), and later the busier it is.
const ABORTED: (Duration, u32) = (Duration::from_millis(300), 10);

const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

impl Remote {
    fn stage_path(&self, key: &FileKey, id: StageId) -> Result<Path> {
        self.path(&format!("{}/staged/{key}/{id}", crate::key::RESERVED))
    }

    /// A server that keeps uploads which another process can end.
    fn natively(&self) -> Result<&Native> {
        self.native.as_ref().filter(|native| native.s3().is_some()).ok_or_else(Staged::unsupported)
    }

    pub(super) async fn stage(&self, key: &FileKey, body: Body, options: &PutOptions) -> Result<Staged> {
        let native = self.natively()?;
        let part_size = self.limits.part_size.max(body.len().unwrap_or(0).div_ceil(MAX_PARTS));
        if self.nesting != Nesting::Kept {
            self.check_nesting(key).await?;
        }
        let (first, parts, known) = self.first_part(body, part_size, options).await?;
        let (id, path) = (StageId::random()?, self.path(key)?);
        let put = id.to_string();
        let (mut upload, begun) =
            self.begin_known(native, &path, super::metadata::describe(options, &put, known)).await?;
        // What fails from here on is dropped, and then aborted.
        let received = upload.send(Some(first), parts).await?;
        let apart = known.is_none();
        if apart {
            self.put_record(&self.digest_path(key, &put)?, received).await?;
        }
        let record = Record {
            upload: begun.id().to_owned(),
            received,
            apart,
            condition: options.condition.clone(),
            time_to_live: options.time_to_live,
            parts: begun.parts(),
        };
        self.put_own(&self.stage_path(key, id)?, record.encode()?).await?;
        upload.leave();
        Ok(Staged::new(id, received.len, received.digest))
    }

    /// In a task of its own: what the server has begun has to be ended, also if nobody waits for it any more.
    pub(super) async fn begin_known(
        &self,
        native: &Native,
        path: &Path,
        attributes: Attributes,
    ) -> Result<(Upload, Known)> {
        let request = PutMultipartOptions { attributes, ..Default::default() };
        let s3 = native.s3().ok_or_else(Staged::unsupported)?;
        let begin = Known::begin(s3.clone(), path.clone(), request);
        let begun = tokio::spawn(async move {
            let (begun, log) = observe(Terms::new(Answer::Text), begin).await;
            begun.map(|begun| (Upload::of(Box::new(begun.clone())), begun)).map_err(|error| map_error(error, &log))
        });
        begun.await.map_err(unanswered)?
    }

    /// The first part, of a file without content an empty one, and the checksums if they are known before anything is sent.
    async fn first_part(
        &self,
        body: Body,
        part_size: u64,
        options: &PutOptions,
    ) -> Result<(Part, Parts<'_>, Option<Sums>)> {
        let intake = options.intake(body.len())?;
        let (mut parts, known) = match body.into_bytes() {
            Ok(bytes) => {
                let received = hash(intake, std::slice::from_ref(&bytes)).await?.finish()?;
                (Parts::whole(bytes, part_size, received), Some(received.into()))
            }
            Err(stream) => {
                let expected = options.expected_digest.map(|digest| Sums { digest, crc: None });
                (Parts::new(stream, part_size, &self.limits, intake), expected)
            }
        };
        let first = parts.next().await?.unwrap_or_default();
        if !parts.is_at_end() || parts.is_known() {
            return Ok((first, parts, known));
        }
        let (intake, first) = first.hash_all(std::mem::take(&mut parts.intake)).await?;
        let received = intake.finish()?;
        Ok((first, Parts::whole(Bytes::new(), part_size, received), Some(received.into())))
    }

    /// Writes one of the store's own objects.
    pub(super) async fn put_own(&self, path: &Path, text: String) -> Result<()> {
        let terms = Terms::new(Answer::Nothing).payload(Digest::of(text.as_bytes()));
        self.call(terms, self.store.put_opts(path, text.into(), Default::default()))
            .await
            .map(drop)
            .map_err(|failure| failure.into_error(&Condition::Always))
    }

    async fn read_stage(&self, path: &Path) -> Result<Option<Record>> {
        use object_store::ObjectStoreExt as _;
        let read = async { self.store.get(path).await?.bytes().await };
        match self.plain(Answer::Text, read).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Ok(text) if text.len() > MAX_RECORD => Err(corrupt("the record of a stage is longer than any is")),
            text => Record::decode(&text?).map(Some),
        }
    }

    /// What is there now.
    async fn current(&self, key: &FileKey) -> Result<Option<(Meta, Marks)>> {
        match self.peek(key).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    /// What is stored, if it is what this stage was.
    async fn committed(&self, key: &FileKey, id: StageId) -> Result<Option<Stored>> {
        let Some((meta, marks)) = self.current(key).await? else { return Ok(None) };
        if marks.put != Some(id.to_string()) {
            return Ok(None);
        }
        let (meta, _) = self.with_digest(meta, marks).await?;
        Ok(Some(Stored::new(meta.etag, meta.len, meta.sha256)))
    }

    pub(super) async fn commit(&self, key: &FileKey, id: StageId) -> Result<CommitOutcome> {
        self.natively()?;
        let path = self.stage_path(key, id)?;
        let Some(record) = self.read_stage(&path).await? else {
            return Ok(self.committed(key, id).await?.map_or(CommitOutcome::Gone, CommitOutcome::Committed));
        };
        let done = match self.committed(key, id).await? {
            Some(stored) => Ok(Some(stored)),
            None => self.complete(key, id, &path, &record).await,
        };
        let outcome = CommitOutcome::of(done, record.condition != Condition::Always)?;
        if outcome == CommitOutcome::Gone && record.apart {
            let _ = self.remove(&self.digest_path(key, &id.to_string())?).await;
        }
        if outcome != CommitOutcome::Conflict {
            // The file is visible or can never be, whatever becomes of the record: should that stay, a sweep finds it.
            let _ = self.remove(&path).await;
        }
        Ok(outcome)
    }

    /// None if there is no such stage any more.
    async fn complete(&self, key: &FileKey, id: StageId, path: &Path, record: &Record) -> Result<Option<Stored>> {
        let (native, start) = (self.natively()?, Instant::now());
        let current = self.current(key).await?;
        match (&record.condition, &current) {
            (Condition::Absent, Some(_)) => return self.instead(key, id, path, record, exists()).await,
            (Condition::Match(etag), found) if found.as_ref().is_none_or(|(meta, _)| meta.etag != *etag) => {
                return self.instead(key, id, path, record, changed()).await;
            }
            _ => {}
        }
        if let Some(time_to_live) = record.time_to_live {
            self.expect_end(key, time_to_live).await?;
        }
        let parts = record.parts.iter().map(|part| PartId { content_id: part.clone() }).collect();
        let target = self.path(key)?;
        let s3 = native.s3().ok_or_else(Staged::unsupported)?;
        let completing = s3.complete_multipart(&target, &record.upload, parts);
        let result = self.call(Terms::new(Answer::Late).condition(&record.condition), completing).await;
        let vanished = result.as_ref().is_err_and(has_no_parts);
        match self.settle(key, &id.to_string(), &record.condition, result, record.received.into(), start).await {
            Ok(stored) => {
                let before = current.as_ref().map(|(meta, _)| &meta.etag);
                let Some(stored) = self.made(key, id, path, (before, stored)).await? else { return Ok(None) };
                self.forget_digest(key, current.map(|(_, marks)| marks));
                if record.apart {
                    self.records.add(key, &id.to_string());
                }
                Ok(Some(stored))
            }
            Err(error) if vanished => self.instead(key, id, path, record, gone(error)).await,
            Err(error) if is_refusal(error.kind()) && !error.is_retryable() => {
                self.instead(key, id, path, record, error).await
            }
            Err(error) => Err(error),
        }
    }

    /// What a completion has made that the server says is done: nothing if the stage was discarded. A server that is told a second time
    /// says so while the first request is under way, and for ever if it was killed in that (VersityGW); then there is nothing, and there will
    /// be nothing.
    async fn made(
        &self,
        key: &FileKey,
        id: StageId,
        path: &Path,
        (before, told): (Option<&ETag>, Stored),
    ) -> Result<Option<Stored>> {
        let (mut pauses, end) = (Backoff::new(PAUSES[0], PAUSES[1]), Instant::now() + self.limits.timeout);
        loop {
            let there = self.read_stage(path).await?.is_some();
            match self.current(key).await? {
                Some((_, marks)) if marks.put == Some(id.to_string()) => return Ok(Some(told)),
                // Somebody has replaced it already.
                Some((meta, _)) if before != Some(&meta.etag) => return Ok(Some(told)),
                _ if !there => return Ok(None),
                _ => {}
            }
            if Instant::now() > end {
                let message = "the server says that this stage is committed, and its file is not there";
                return Err(Error::new(ErrorKind::OutcomeUnknown, message).with_key(key));
            }
            tokio::time::sleep(pauses.pause()).await;
        }
    }

    /// What became of a stage whose completion was refused. As long as its upload is there it is a stage, which may be committed once
    /// its condition holds; as long as its record is there and the upload is not, somebody else is at it.
    async fn instead(
        &self,
        key: &FileKey,
        id: StageId,
        path: &Path,
        record: &Record,
        refused: Error,
    ) -> Result<Option<Stored>> {
        let begun = Begun::new(self.path(key)?.as_ref(), &record.upload);
        let mut vanished = refused.kind() == ErrorKind::NotFound;
        // What is refused by what is there, somebody else can hardly be completing.
        let patience = self.limits.timeout * if vanished { PATIENCE } else { 1 };
        let (mut pauses, end) = (Backoff::new(PAUSES[0], PAUSES[1]), Instant::now() + patience);
        loop {
            let there = self.read_stage(path).await?.is_some();
            let committed = self.committed(key, id).await?;
            if committed.is_some() || !there {
                return Ok(committed);
            }
            if !vanished && self.may_have_upload(&begun).await? {
                return Err(refused);
            }
            vanished = true;
            if Instant::now() > end {
                return Ok(None);
            }
            tokio::time::sleep(pauses.pause()).await;
        }
    }

    /// Whether the upload is there, or nobody here may know.
    async fn may_have_upload(&self, begun: &Begun) -> Result<bool> {
        match self.has_upload(self.natively()?, begun).await {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(true),
            known => known,
        }
    }

    pub(super) async fn discard(&self, key: &FileKey, id: StageId) -> Result<DiscardOutcome> {
        let (native, path) = (self.natively()?, self.stage_path(key, id)?);
        let committed = |found: Option<Stored>| found.map(|_| DiscardOutcome::Committed);
        // One that nobody can read nobody can commit.
        let record = match self.read_stage(&path).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => None,
            Ok(None) => return Ok(committed(self.committed(key, id).await?).unwrap_or(DiscardOutcome::Absent)),
            record => record?,
        };
        let Some(record) = record else { return self.remove(&path).await.map(|()| DiscardOutcome::Discarded) };
        let begun = Begun::new(self.path(key)?.as_ref(), &record.upload);
        let start = Instant::now();
        let there = self.abort(native, &begun).await?;
        let patience = if there { ABORTED.0.max(start.elapsed() * ABORTED.1) } else { self.limits.timeout };
        let (mut pauses, end) = (Backoff::new(PAUSES[0], PAUSES[1]), Instant::now() + patience);
        loop {
            // Somebody else may be completing it.
            if let Some(outcome) = committed(self.committed(key, id).await?) {
                return self.remove(&path).await.map(|()| outcome);
            }
            if Instant::now() > end {
                break;
            }
            tokio::time::sleep(pauses.pause()).await;
        }
        if record.apart {
            self.remove(&self.digest_path(key, &id.to_string())?).await?;
        }
        self.remove(&path).await.map(|()| DiscardOutcome::Discarded)
    }

    pub(super) async fn stages(&self, options: &StagesOptions) -> Result<Vec<Stage>> {
        let folder = format!("{}{}/staged/{}", self.prefix, crate::key::RESERVED, options.prefix);
        let (mut pages, mut stages) = (self.list_own(self.natively()?, &folder), Vec::new());
        while let Some(OwnPage { found, now }) = pages.next().await? {
            stages.extend(found.into_iter().filter_map(|(name, since)| {
                let (key, id) = name.rsplit_once('/')?;
                let key = FileKey::new(format!("{}{key}", options.prefix)).ok()?;
                let age = super::sweep::age(since, now);
                (age >= options.older_than).then_some(Stage::new(key, id.parse().ok()?, age))
            }));
        }
        Ok(stages)
    }

    /// Whether this upload is a stage's.
    pub(super) async fn is_staged(&self, key: &FileKey, upload: &str) -> Result<bool> {
        let folder = format!("{}{}/staged/{key}/", self.prefix, crate::key::RESERVED);
        let mut pages = self.list_own(self.natively()?, &folder);
        while let Some(OwnPage { found, .. }) = pages.next().await? {
            for (name, _) in found {
                let Ok(id) = name.parse() else { continue };
                match self.read_stage(&self.stage_path(key, id)?).await {
                    Ok(record) if record.as_ref().is_none_or(|record| record.upload != upload) => {}
                    // One that cannot be read may be of this one, and a newer version's.
                    Ok(_) => return Ok(true),
                    Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(true),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(false)
    }

    /// Whether there is a stage of this name.
    pub(super) async fn has_stage(&self, key: &FileKey, id: &str) -> Result<bool> {
        let Ok(id) = id.parse() else { return Ok(false) };
        match self.read_stage(&self.stage_path(key, id)?).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(true),
            found => Ok(found?.is_some()),
        }
    }
}

/// Whether the server has no upload any more, or not all of its parts: while somebody else ends it, and after that.
fn has_no_parts(failure: &Failure) -> bool {
    let code = failure.log.reply.as_ref().map(|reply| reply.code.as_str());
    matches!(code, Some("InvalidPart" | "NoSuchUpload"))
}

fn gone(error: Error) -> Error {
    Error::new(ErrorKind::NotFound, "the server has no such upload any more").with_source(error)
}

const fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::AlreadyExists | ErrorKind::Conflict | ErrorKind::NotFound)
}

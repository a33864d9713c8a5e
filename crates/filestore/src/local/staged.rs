//! Files that are not visible yet. Each lies whole in a folder of the store's own, and becomes the file by one rename: of those
//! who commit it, and who discards it, one finds it there.

use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;
use statehouse_core::{Error, ErrorKind, Result, Timestamp};

use super::LocalFileStore;
use super::client::{Disk, READ, read_trailer};
use super::error::{map_error, visible};
use super::format::{Trailer, is_torn};
use super::gate::Share;
use super::lock::PATIENCE;
use super::name::DiskName;
use super::stage::{self, Existing, STAGED, rename_new};
use super::stream;
use super::write::{exists, new_trailer, stored};
use crate::blocking::blocking;
use crate::body::{Body, impatient};
use crate::digest::Intake;
use crate::key::FileKey;
use crate::meta::Stored;
use crate::options::{Condition, DeleteOptions, ListOptions, PutOptions, StagesOptions, Start, SweepOptions};
use crate::outcome::{CommitOutcome, Deleted, DiscardOutcome, Swept};
use crate::stage::{Stage, StageId, Staged};

impl LocalFileStore {
    pub(super) async fn stage(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Staged> {
        options.check_stage()?;
        let (intake, durability) = (options.intake(body.len())?, self.disk.durability);
        let staged = self.run(key, |disk, _, _| disk.writing()?.stage.create(STAGED)).await?;
        let (staged, intake) = match body.into_bytes() {
            Ok(bytes) => stream::write_bytes(bytes, staged, intake, durability).await?,
            Err(stream) => {
                let stream = impatient(stream, self.disk.body_timeout);
                stream::write_all(stream, staged, intake, durability).await?
            }
        };
        let (disk, key) = (std::sync::Arc::clone(&self.disk), key.clone());
        blocking(move || disk.in_place(disk.end_stage(staged, &key, intake, &options))).await
    }
}

impl Disk {
    fn end_stage(
        &self,
        mut staged: stage::Staged,
        key: &FileKey,
        intake: Intake,
        options: &PutOptions,
    ) -> Result<Staged> {
        use std::io::Write as _;
        let (id, mut trailer) = (StageId::random()?, new_trailer(intake.finish()?, options)?);
        trailer.etag = *id.as_bytes();
        trailer.description.stage_for(key, &options.condition);
        staged.file.write_all(&trailer.encode()?).map_err(map_error)?;
        if self.durability == super::Durability::Synced {
            staged.file.sync_all().map_err(map_error)?;
        }
        staged.publish(&id.to_string(), Existing::Keep).map_err(map_error)?;
        self.sync(staged.directory())?;
        Ok(Staged::new(id, trailer.len, trailer.digest))
    }

    pub(super) fn commit(
        &self,
        key: &FileKey,
        name: &DiskName,
        id: StageId,
        patience: Duration,
    ) -> Result<CommitOutcome> {
        self.writing()?;
        let Some((trailer, condition)) = self.find_staged(key, id)? else {
            return Ok(self.told_again(name, id)?.map_or(CommitOutcome::Gone, CommitOutcome::Committed));
        };
        let moved = match self.committed(name, id)? {
            Some(_) => self.leave_one_name(name, id).map(|()| false).map_err(visible),
            None => self.move_in(key, name, id, &condition, patience),
        };
        let committed = match moved {
            Ok(true) => Ok(Some(stored(&trailer))),
            // Somebody else may have committed it just now.
            Ok(false) => self.told_again(name, id),
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict) => {
                self.told_again(name, id)?.map(Some).ok_or(error)
            }
            Err(error) => Err(error),
        };
        CommitOutcome::of(committed, condition != Condition::Always)
    }

    /// The stage of this key, if it is there.
    fn find_staged(&self, key: &FileKey, id: StageId) -> Result<Option<(Trailer, Condition)>> {
        let (file, size, _) = match self.open_file(&format!("{STAGED}/{id}")) {
            Err(error) if error.kind() == ErrorKind::NotFound => return self.probe_reading().map(|()| None),
            found => found?,
        };
        let trailer = read_trailer(&file, size)?;
        let staged_for = trailer.description.staged_for().filter(|(staged, _)| staged == key);
        Ok(staged_for.map(|(_, condition)| (trailer, condition)))
    }

    /// What is stored, if it is what this stage was.
    fn committed(&self, name: &DiskName, id: StageId) -> Result<Option<Stored>> {
        let found = self.open_file(name.path()).and_then(|(file, size, _)| read_trailer(&file, size));
        match found {
            Ok(trailer) => Ok((trailer.etag == *id.as_bytes()).then(|| stored(&trailer))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is stored, if this stage was committed already: by somebody who may have ended, or failed, before it was synced.
    fn told_again(&self, name: &DiskName, id: StageId) -> Result<Option<Stored>> {
        let committed = self.committed(name, id)?;
        if committed.is_some() {
            for directory in [name.directory(), STAGED] {
                self.sync_what_is_there(directory).map_err(visible)?;
            }
        }
        Ok(committed)
    }

    /// Makes the stage the file; whether it was there.
    fn move_in(
        &self,
        key: &FileKey,
        name: &DiskName,
        id: StageId,
        condition: &Condition,
        patience: Duration,
    ) -> Result<bool> {
        let (writing, path) = (self.writing()?, format!("{STAGED}/{id}"));
        let share = if matches!(condition, Condition::Match(_)) { Share::Alone } else { Share::Shared };
        for _ in 0..stage::ATTEMPTS {
            let directory = writing.stage.directory(name.directory()).map_err(map_error)?;
            let _lock = writing.locks.of_key(key, share, patience)?;
            let moved = match condition {
                Condition::Match(etag) => self.compare(name, etag),
                // Told before anything of the stage is changed.
                Condition::Absent if self.root.open(name.path(), READ).is_ok() => Err(exists()),
                _ => Ok(()),
            };
            let moved = moved.and_then(|()| self.rename_staged(&path, id, (&directory, name.name()), condition));
            match moved {
                Ok(Some(staged)) => {
                    self.sync(&directory)?;
                    // Else a power cut could bring the stage back, and a later commit its content over what is newer.
                    return self.sync(&staged).map(|()| true);
                }
                Err(error) => {
                    self.root.prune(name.directory());
                    return Err(error);
                }
                Ok(None) if matches!(self.root.open(&path, READ), Err(Errno::NOENT)) => {
                    self.root.prune(name.directory());
                    return Ok(false);
                }
                // The directory was removed before the file was in it.
                Ok(None) => {}
            }
        }
        Err(stage::removed_each_time())
    }

    /// The directory that it was in, if it was there: who has to open that behind the rename may find it gone, when nothing is in it.
    fn rename_staged(
        &self,
        path: &str,
        id: StageId,
        to: (&OwnedFd, &str),
        condition: &Condition,
    ) -> Result<Option<OwnedFd>> {
        let (from, id) = match self.root.open_directory(STAGED) {
            Ok(from) => (from, id.to_string()),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(map_error(error)),
        };
        // It is written now, for whoever asks what has changed since.
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        // Both times: only the owner may leave one as it is, and who commits may be another user of the group.
        let now = Timestamps { last_access: now, last_modification: now };
        let touched = self.root.open(path, READ).and_then(|file| rustix::fs::futimens(file, &now));
        let renamed = touched.and_then(|()| match condition {
            Condition::Absent => rename_new((&from, &id), to),
            _ => rustix::fs::renameat(&from, &*id, to.0, to.1),
        });
        match renamed {
            Ok(()) => Ok(Some(from)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::EXIST) => Err(exists()),
            Err(error) => Err(map_error(error)),
        }
    }

    /// Takes from what is committed the name that it had before, which a power cut may have left; the other one is kept first.
    fn leave_one_name(&self, name: &DiskName, id: StageId) -> Result<()> {
        self.sync_what_is_there(name.directory())?;
        self.unstage(id).map(drop)
    }

    /// Removes a stage; whether it was there.
    fn unstage(&self, id: StageId) -> Result<bool> {
        let directory = match self.root.open_directory(STAGED) {
            Err(Errno::NOENT) => return Ok(false),
            found => found.map_err(map_error)?,
        };
        match rustix::fs::unlinkat(&directory, id.to_string(), AtFlags::empty()) {
            Ok(()) => self.sync(&directory).map(|()| true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(map_error(error)),
        }
    }

    pub(super) fn discard(&self, key: &FileKey, name: &DiskName, id: StageId) -> Result<DiscardOutcome> {
        self.writing()?;
        let there = match self.find_staged(key, id) {
            // One that nobody can read nobody can commit.
            Err(error) if error.kind() == ErrorKind::Corrupt => true,
            found => found?.is_some(),
        };
        // What is left of one that is committed is what a power cut left.
        let removed = match self.committed(name, id)? {
            Some(_) => self.leave_one_name(name, id).map(|()| false)?,
            None => there && self.unstage(id)?,
        };
        // Looked at last: where a file system knows no rename that replaces nothing, the file has both names for a moment.
        Ok(match self.told_again(name, id)? {
            Some(_) => DiscardOutcome::Committed,
            None if removed => DiscardOutcome::Discarded,
            None => DiscardOutcome::Absent,
        })
    }

    pub(super) fn stages(&self, options: &StagesOptions) -> Result<Vec<Stage>> {
        let directory = match self.root.open_directory(STAGED) {
            Err(Errno::NOENT) => return self.probe_reading().map(|()| Vec::new()),
            found => found.map_err(map_error)?,
        };
        let (mut stages, now) = (Vec::new(), self.now()?);
        for name in stage::names(&directory)? {
            let Ok(id) = name.parse::<StageId>() else { continue };
            let found = self.open_file(&format!("{STAGED}/{name}"));
            let found = found.and_then(|(file, size, since)| Ok((read_trailer(&file, size)?, since)));
            let (trailer, since) = match found {
                Ok(found) => found,
                // Committed just now, or nothing that anybody could commit: nobody knows of which file.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => continue,
                Err(error) => return Err(error),
            };
            let key = trailer.description.staged_for().map(|(key, _)| key);
            let key = key.filter(|key| key.starts_with(&options.prefix));
            let age = now.since(since);
            stages.extend(key.filter(|_| age >= options.older_than).map(|key| Stage::new(key, id, age)));
        }
        Ok(stages)
    }

    /// What time it is by the store's clock; by the host's in a store that is only read.
    pub(super) fn now(&self) -> Result<Timestamp> {
        let host = || Ok(Timestamp::from(std::time::SystemTime::now()));
        self.writing.as_ref().map_or_else(host, |writing| writing.stage.now())
    }

    pub(super) fn sweep(&self, options: &SweepOptions) -> Result<Swept> {
        let uploads = self.writing()?.stage.sweep_dead();
        let (now, mut failed) = (self.now()?, None);
        let torn = self.sweep_torn(options.uploads_older_than, now);
        let (mut list, mut expired) = (ListOptions::new(options.prefix.as_str()), 0);
        loop {
            let page = self.list(&list)?;
            for entry in page.entries {
                match self.sweep_expired(&entry.key, now) {
                    Ok(swept) => expired += u64::from(swept),
                    // One that cannot be deleted keeps none of the others.
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            let Some(next) = page.next else { break };
            list = list.with_start(Start::Token(next));
        }
        let swept = Swept { uploads: uploads? + torn?, expired, ..Swept::default() };
        failed.map_or(Ok(swept), Err)
    }

    /// Removes of what is staged what a power cut has torn: nobody can commit it, and it does not say of which file it is.
    fn sweep_torn(&self, older_than: Duration, now: Timestamp) -> Result<u64> {
        let directory = match self.root.open_directory(STAGED) {
            Err(Errno::NOENT) => return Ok(0),
            found => found.map_err(map_error)?,
        };
        let mut removed = 0;
        for id in stage::names(&directory)?.iter().filter_map(|name| name.parse::<StageId>().ok()) {
            let Ok((file, size, since)) = self.open_file(&format!("{STAGED}/{id}")) else { continue };
            if now.since(since) >= older_than && read_trailer(&file, size).is_err_and(|error| is_torn(&error)) {
                removed += u64::from(self.unstage(id)?);
            }
        }
        Ok(removed)
    }

    /// Removes a file whose time is over, if it is still that one.
    fn sweep_expired(&self, key: &FileKey, now: Timestamp) -> Result<bool> {
        let name = DiskName::of(key);
        let passed =
            |error: &Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Corrupt);
        let meta = match self.head(key, &name) {
            Ok(meta) => meta,
            Err(error) if passed(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        if meta.expires.is_none_or(|expires| expires > now) {
            return Ok(false);
        }
        match self.delete(key, &name, &DeleteOptions::default().with_if_match(meta.etag), PATIENCE) {
            Ok(deleted) => Ok(deleted == Deleted::Removed),
            Err(error) if passed(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

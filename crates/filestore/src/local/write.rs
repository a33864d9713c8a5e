//! Writing: content and metadata into one file, synced, and then given its name in one step.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use bytes::Bytes;
use rustix::fd::OwnedFd;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use statehouse_core::{Error, ErrorKind, Fence, Result};

use super::client::{Disk, INLINE, PIECE, READ, Writing, changed, read_trailer};
use super::config::Durability;
use super::error::{map_error, not_synced};
use super::format::{Description, Trailer};
use super::gate::Share;
use super::marks::Held;
use super::name::DiskName;
use super::stage::{Existing, Staged};
use crate::digest::{Check, Intake, Received, Verifier, nonce};
use crate::key::FileKey;
use crate::meta::{ETag, Stored};
use crate::options::{Condition, CopyOptions, DeleteOptions, PutOptions};
use crate::outcome::Deleted;

/// A copy that is not visible yet.
pub(super) struct Copied {
    staged: Staged,
    trailer: Trailer,
}

impl Disk {
    pub(super) fn writing(&self) -> Result<&Writing> {
        let message = "the store was opened only to read";
        self.writing.as_ref().ok_or_else(|| Error::new(ErrorKind::PermissionDenied, message))
    }

    /// Begins a file beside its place.
    pub(super) fn create(&self, name: &DiskName, condition: &Condition) -> Result<Staged> {
        let writing = self.writing()?;
        self.check_early(name, condition)?;
        writing.stage.create(name.directory())
    }

    /// Fails early where the end could only be the same, before a body is read and written.
    fn check_early(&self, name: &DiskName, condition: &Condition) -> Result<()> {
        if *condition == Condition::Always {
            return Ok(());
        }
        match (condition, self.root.open(name.path(), READ)) {
            (Condition::Absent, Ok(_)) => Err(exists()),
            (Condition::Match(_), Err(Errno::NOENT)) => Err(changed()),
            _ => Ok(()),
        }
    }

    pub(super) fn put(
        &self,
        key: &FileKey,
        name: &DiskName,
        bytes: &[u8],
        options: &PutOptions,
        patience: Duration,
    ) -> Result<Stored> {
        let mut intake = options.intake(Some(bytes.len() as u64))?;
        intake.update(bytes)?;
        let received = intake.finish()?;
        let mut staged = self.create(name, &options.condition)?;
        let trailer = new_trailer(received, options)?;
        write(&mut staged.file, bytes, &trailer.encode()?).map_err(map_error)?;
        self.publish(staged, key, name, (&options.condition, options.fence.as_ref()), patience)?;
        Ok(stored(&trailer))
    }

    /// Ends a file whose content was written piece by piece.
    pub(super) fn finish(
        &self,
        mut staged: Staged,
        key: &FileKey,
        name: &DiskName,
        intake: Intake,
        options: &PutOptions,
        patience: Duration,
    ) -> Result<Stored> {
        let trailer = new_trailer(intake.finish()?, options)?;
        staged.file.write_all(&trailer.encode()?).map_err(map_error)?;
        self.publish(staged, key, name, (&options.condition, options.fence.as_ref()), patience)?;
        Ok(stored(&trailer))
    }

    /// Copies the content beside the place that it is for.
    pub(super) fn begin_copy(&self, from: &DiskName, to: &DiskName, options: &CopyOptions) -> Result<Copied> {
        let (file, size, _) = self.open_file(from.path())?;
        let mut trailer = read_trailer(&file, size)?;
        trailer.etag = nonce()?;
        trailer.description.forget_stage();
        let mut staged = self.create(to, &options.condition)?;
        copy_checked(&file, &mut staged.file, &trailer)?;
        staged.file.write_all(&trailer.encode()?).map_err(map_error)?;
        if self.durability == Durability::Synced {
            staged.file.sync_all().map_err(map_error)?;
        }
        Ok(Copied { staged, trailer })
    }

    /// Makes it the file.
    pub(super) fn end_copy(
        &self,
        Copied { staged, trailer }: Copied,
        to: &FileKey,
        name: &DiskName,
        options: &CopyOptions,
        patience: Duration,
    ) -> Result<Stored> {
        self.publish(staged, to, name, (&options.condition, options.fence.as_ref()), patience)?;
        Ok(stored(&trailer))
    }

    fn publish(
        &self,
        mut staged: Staged,
        key: &FileKey,
        name: &DiskName,
        (condition, fence): (&Condition, Option<&Fence>),
        patience: Duration,
    ) -> Result<()> {
        if self.durability == Durability::Synced {
            staged.file.sync_all().map_err(map_error)?;
        }
        // Before the key's lock, as everywhere.
        let held = self.hold(fence, patience)?;
        let share = if matches!(condition, Condition::Match(_)) { Share::Alone } else { Share::Shared };
        let lock = self.writing()?.locks.of_key(key, share, patience)?;
        if let Condition::Match(etag) = condition {
            self.compare(name, etag)?;
        }
        let existing = if *condition == Condition::Absent { Existing::Keep } else { Existing::Replace };
        staged.publish(name.name(), existing).map_err(|error| match error {
            Errno::EXIST => exists(),
            error => map_error(error),
        })?;
        drop((lock, held));
        self.sync(staged.directory())
    }

    /// Checks a fence, if there is one, and keeps its mark.
    pub(super) fn hold(&self, fence: Option<&Fence>, patience: Duration) -> Result<Option<Held>> {
        let marks = &self.writing()?.marks;
        fence.map(|fence| marks.hold(fence, patience)).transpose()
    }

    /// Call with the key's lock held alone.
    pub(super) fn compare(&self, name: &DiskName, etag: &ETag) -> Result<()> {
        let current = self.open_file(name.path()).and_then(|(file, size, _)| read_trailer(&file, size));
        match current {
            Ok(trailer) if trailer.etag() == *etag => Ok(()),
            Ok(_) => Err(changed()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(changed()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn delete(
        &self,
        key: &FileKey,
        name: &DiskName,
        options: &DeleteOptions,
        patience: Duration,
    ) -> Result<Deleted> {
        let (writing, if_match) = (self.writing()?, options.if_match.as_ref());
        let held = self.hold(options.fence.as_ref(), patience)?;
        let directory = match self.root.open_directory(name.directory()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) if if_match.is_some() => return Err(changed()),
            Err(Errno::NOENT) => return self.absent(name),
            Err(error) => return Err(map_error(error)),
        };
        let share = if if_match.is_some() { Share::Alone } else { Share::Shared };
        let lock = writing.locks.of_key(key, share, patience)?;
        if let Some(etag) = if_match {
            self.compare(name, etag)?;
        }
        match rustix::fs::unlinkat(&directory, name.name(), AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return self.absent(name),
            Err(error) => return Err(map_error(error)),
        }
        drop((lock, held));
        self.sync(&directory)?;
        self.root.prune(name.directory());
        Ok(Deleted::Removed)
    }

    /// That there is no such file, for good: whoever has deleted it may have ended, or failed, before that was synced.
    fn absent(&self, name: &DiskName) -> Result<Deleted> {
        self.probe_reading()?;
        self.sync_what_is_there(name.directory())?;
        Ok(Deleted::Absent)
    }

    /// Syncs a directory, or where it is gone the next above it.
    pub(super) fn sync_what_is_there(&self, path: &str) -> Result<()> {
        let mut path = path;
        loop {
            match self.root.open_directory(path) {
                Ok(directory) => return self.sync(&directory),
                Err(Errno::NOENT) if path != "." => path = path.rsplit_once('/').map_or(".", |(above, _)| above),
                Err(error) => return Err(map_error(error)),
            }
        }
    }

    pub(super) fn sync(&self, directory: &OwnedFd) -> Result<()> {
        #[cfg(test)]
        self.synced.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match self.durability {
            Durability::Synced => rustix::fs::fsync(directory).map_err(not_synced),
            Durability::Relaxed => Ok(()),
        }
    }
}

/// Writes pieces of the content.
pub(super) fn write_pieces(staged: &mut Staged, pieces: &[Bytes]) -> Result<()> {
    pieces.iter().try_for_each(|piece| staged.file.write_all(piece)).map_err(map_error)
}

fn write(file: &mut File, content: &[u8], trailer: &[u8]) -> io::Result<()> {
    if content.len() as u64 > INLINE {
        file.write_all(content)?;
        return file.write_all(trailer);
    }
    // Copying a little costs less than a second call of the system.
    file.write_all(&[content, trailer].concat())
}

/// Copies the content, and checks it by what the copy will be read by: else a copy of a damaged file would be damaged and taken
/// for a second one that is whole.
fn copy_checked(mut from: &File, to: &mut File, trailer: &Trailer) -> Result<()> {
    let mut verifier = Verifier::new(trailer.len, Check::crc32(trailer.crc));
    let mut piece = vec![0; usize::try_from(trailer.len.clamp(1, PIECE)).unwrap_or(1)];
    while verifier.missing() > 0 {
        let most = piece.len().min(usize::try_from(verifier.missing()).unwrap_or(usize::MAX));
        let read = match from.read(&mut piece[..most]) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(map_error(error)),
        };
        verifier.update(&piece[..read])?;
        to.write_all(&piece[..read]).map_err(map_error)?;
    }
    verifier.finish()
}

pub(super) fn new_trailer(received: Received, options: &PutOptions) -> Result<Trailer> {
    let Received { len, digest, crc } = received;
    Ok(Trailer { len, digest, crc, etag: nonce()?, description: Description::of(options) })
}

pub(super) fn stored(trailer: &Trailer) -> Stored {
    Stored::new(trailer.etag(), trailer.len, Some(trailer.digest))
}

pub(super) fn exists() -> Error {
    Error::new(ErrorKind::AlreadyExists, "there is such a file already")
}

//! What happens on the disk. Everything here blocks, save for the read that only looks into the page cache.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use statehouse_core::{Error, ErrorKind, Result, Timestamp};

use super::Durability;
use super::beneath::Root;
use super::config::LocalConfig;
use super::error::{map_error, not_synced};
use super::lock::{Lock, Share};
use super::name::DiskName;
use super::stage::{Existing, Stage, Staged};
use super::trailer::{Decoded, Description, Trailer};
use super::walk::Walks;
use crate::digest::{Check, Intake, Received, Verifier, corrupt, nonce};
use crate::{Condition, CopyOptions, Deleted, ETag, Entry, FileKey, GetOptions, Meta, PutOptions, Stored};

/// What is read in one go: a file of this length is one piece, a longer one several.
pub(super) const PIECE: u64 = 512 << 10;

/// The longest file that is read on the caller's own thread, if it is in the page cache.
const INLINE: u64 = 64 << 10;

/// How much of a file's end is read for its trailer: enough for most.
const TAIL: usize = 512;

/// More than a trailer has: a description is at most a content type of 255 bytes and 1,536 bytes of metadata, with the
/// lengths of up to 1,536 names and values.
const MAX_TRAILER: u64 = 16 << 10;

/// How often a write begins again because a concurrent delete removed its empty directory.
const ATTEMPTS: usize = 100;

const FORMAT: &[u8] = b"statehouse files 1\n";

/// The directories of an open store.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) root: Root,
    stage: Arc<Stage>,
    locks: OwnedFd,
    durability: Durability,
    pub(super) walks: Walks,
}

/// The content of a file, as far as it was read.
#[derive(Debug)]
pub(super) enum Content {
    Read(Bytes),
    Open(File, Verifier),
}

/// A file that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) meta: Meta,
    pub(super) range: Range<u64>,
    pub(super) content: Content,
}

impl Disk {
    pub(super) fn open(config: &LocalConfig) -> Result<Self> {
        let wrong = |error: Error| error.with_setting(&config.setting);
        std::fs::create_dir_all(&config.root).map_err(map_error).map_err(wrong)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&config.root, flags, Mode::empty()).map_err(map_error).map_err(wrong)?;
        Self::begin(Root::new(root), config).map_err(wrong)
    }

    pub(super) fn begin(root: Root, config: &LocalConfig) -> Result<Self> {
        refuse_foreign(&root, config)?;
        let own = |name: &str| root.create_directories(&format!("{}/{name}", crate::RESERVED), config.durability);
        own("stage").map_err(map_error)?;
        let locks = own("locks").map_err(map_error)?;
        check_format(&root)?;
        let stage = Arc::new(Stage::open(&root)?);
        Ok(Self { root, stage, locks, durability: config.durability, walks: Walks::default() })
    }

    pub(super) fn create(&self) -> Result<Staged> {
        self.stage.create()
    }

    /// Reads a file that is small and in the page cache, without waiting for the disk; else none.
    #[cfg(target_os = "linux")]
    pub(super) fn get_cached(&self, key: &FileKey, name: &DiskName, options: &GetOptions) -> Option<Result<Found>> {
        let fd = self.root.open_cached(name.path()).ok()?;
        let stat = rustix::fs::fstat(&fd).ok()?;
        let size = u64::try_from(stat.st_size).ok().filter(|size| *size <= INLINE)?;
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        let flags = rustix::io::ReadWriteFlags::NOWAIT;
        let read = rustix::io::preadv2(&fd, &mut [io::IoSliceMut::new(&mut bytes)], 0, flags).ok()?;
        (read == bytes.len()).then(|| small(key, bytes, modified(&stat), options))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn get_cached(&self, _: &FileKey, _: &DiskName, _: &GetOptions) -> Option<Result<Found>> {
        None
    }

    pub(super) fn get(&self, key: &FileKey, name: &DiskName, options: &GetOptions) -> Result<Found> {
        let (mut file, size, modified) = self.open_file(name.path())?;
        if size <= PIECE {
            return small(key, read_exactly(&mut file, size)?, modified, options);
        }
        let trailer = read_trailer(&file, size)?;
        let crc = trailer.crc;
        let meta = trailer.into_meta(key, modified);
        let range = select(&meta, options)?;
        let len = range.end - range.start;
        file.seek(SeekFrom::Start(range.start)).map_err(map_error)?;
        let content = if len <= PIECE {
            Content::Read(read_exactly(&mut file, len)?.into())
        } else {
            let check = if len == meta.len { Check::crc32(crc) } else { Check::Len };
            Content::Open(file, Verifier::new(len, check))
        };
        Ok(Found { meta, range, content })
    }

    pub(super) fn head(&self, key: &FileKey, name: &DiskName) -> Result<Meta> {
        let (file, size, modified) = self.open_file(name.path())?;
        Ok(read_trailer(&file, size)?.into_meta(key, modified))
    }

    /// A listing's line of a file in the folder at this path, whose directory is opened once.
    pub(super) fn entry(&self, key: &FileKey, folder: &str, directory: &mut Option<OwnedFd>) -> Result<Entry> {
        let name = DiskName::of(key);
        let (file, size, modified) = if name.directory() == folder {
            let directory = match directory {
                Some(directory) => directory,
                None => directory.insert(self.root.open_directory(folder).map_err(map_error)?),
            };
            let flags = READ | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(directory, name.name(), flags, Mode::empty());
            regular(opened.map_err(map_error)?)?
        } else {
            self.open_file(name.path())?
        };
        let trailer = read_trailer(&file, size)?;
        Ok(Entry::new(key.clone(), trailer.len, trailer.etag(), modified))
    }

    fn open_file(&self, path: &str) -> Result<(File, u64, Timestamp)> {
        regular(self.root.open(path, READ).map_err(map_error)?)
    }

    /// Fails early where the end could only be the same, before a body is read and written.
    pub(super) fn check_early(&self, name: &DiskName, condition: &Condition) -> Result<()> {
        match (condition, self.root.open(name.path(), OFlags::RDONLY | OFlags::NONBLOCK)) {
            (Condition::IfAbsent, Ok(_)) => Err(exists()),
            (Condition::IfMatch(_), Err(Errno::NOENT)) => Err(changed()),
            _ => Ok(()),
        }
    }

    pub(super) fn put(&self, key: &FileKey, name: &DiskName, bytes: &[u8], options: PutOptions) -> Result<Stored> {
        let mut intake = Intake::new(&options, Some(bytes.len() as u64))?;
        intake.update(bytes)?;
        if options.condition != Condition::None {
            self.check_early(name, &options.condition)?;
        }
        let trailer = new_trailer(intake.finish()?, options.content_type, options.user)?;
        let mut staged = self.create()?;
        write(&mut staged.file, bytes, &trailer.encode()?).map_err(map_error)?;
        self.publish(staged, key, name, &options.condition)?;
        Ok(stored(&trailer))
    }

    /// Ends a file whose content was written piece by piece.
    pub(super) fn finish(
        &self,
        mut staged: Staged,
        key: &FileKey,
        name: &DiskName,
        intake: Intake,
        options: PutOptions,
    ) -> Result<Stored> {
        let trailer = new_trailer(intake.finish()?, options.content_type, options.user)?;
        staged.file.write_all(&trailer.encode()?).map_err(map_error)?;
        self.publish(staged, key, name, &options.condition)?;
        Ok(stored(&trailer))
    }

    pub(super) fn copy(&self, from: &FileKey, to: &FileKey, options: &CopyOptions) -> Result<Stored> {
        let target = DiskName::of(to);
        let (file, size, _) = self.open_file(DiskName::of(from).path())?;
        let mut trailer = read_trailer(&file, size)?;
        trailer.etag = nonce()?;
        self.check_early(&target, &options.condition)?;
        let mut staged = self.create()?;
        let copied = io::copy(&mut (&file).take(trailer.len), &mut staged.file).map_err(map_error)?;
        if copied != trailer.len {
            return Err(corrupt("the file is shorter than its metadata says"));
        }
        staged.file.write_all(&trailer.encode()?).map_err(map_error)?;
        self.publish(staged, to, &target, &options.condition)?;
        Ok(stored(&trailer))
    }

    fn publish(&self, mut staged: Staged, key: &FileKey, name: &DiskName, condition: &Condition) -> Result<()> {
        if self.durability == Durability::Synced {
            staged.file.sync_all().map_err(map_error)?;
        }
        for _ in 0..ATTEMPTS {
            let directory = match self.root.open_directory(name.directory()) {
                Err(Errno::NOENT) => self.root.create_directories(name.directory(), self.durability),
                other => other,
            };
            // A concurrent delete may remove an empty directory at any time before the file is in it.
            let placed = match &directory {
                Ok(directory) => self.place(&mut staged, directory, key, name, condition),
                Err(Errno::NOENT) => Err(Refusal::DirectoryGone),
                Err(error) => return Err(map_error(*error)),
            };
            match (placed, directory) {
                (Err(Refusal::Error(error)), _) => return Err(error),
                (Ok(()), Ok(directory)) => return self.sync(&directory),
                _ => {}
            }
        }
        let message = "the file's directory was removed each time it was made";
        Err(Error::new(ErrorKind::Conflict, message).with_retry(statehouse_core::Retry::Now))
    }

    fn place(
        &self,
        staged: &mut Staged,
        directory: &OwnedFd,
        key: &FileKey,
        name: &DiskName,
        condition: &Condition,
    ) -> Result<(), Refusal> {
        let share = if matches!(condition, Condition::IfMatch(_)) { Share::Alone } else { Share::Shared };
        let _lock = Lock::of_key(&self.locks, key, share)?;
        if let Condition::IfMatch(etag) = condition {
            self.compare(name, etag)?;
        }
        let existing = if *condition == Condition::IfAbsent { Existing::Keep } else { Existing::Replace };
        staged.publish(directory, name.name(), existing).map_err(|error| match error {
            Errno::NOENT => Refusal::DirectoryGone,
            Errno::EXIST => Refusal::Error(exists()),
            error => Refusal::Error(map_error(error)),
        })
    }

    /// Call with the key's lock held alone.
    fn compare(&self, name: &DiskName, etag: &ETag) -> Result<()> {
        let current = self.open_file(name.path()).and_then(|(file, size, _)| read_trailer(&file, size));
        match current {
            Ok(trailer) if trailer.etag() == *etag => Ok(()),
            Ok(_) => Err(changed()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(changed()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn delete(&self, key: &FileKey, name: &DiskName, if_match: Option<&ETag>) -> Result<Deleted> {
        let directory = match self.root.open_directory(name.directory()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) if if_match.is_some() => return Err(changed()),
            Err(Errno::NOENT) => return Ok(Deleted::Absent),
            Err(error) => return Err(map_error(error)),
        };
        let lock = Lock::of_key(&self.locks, key, if if_match.is_some() { Share::Alone } else { Share::Shared })?;
        if let Some(etag) = if_match {
            self.compare(name, etag)?;
        }
        match rustix::fs::unlinkat(&directory, name.name(), AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(Deleted::Absent),
            Err(error) => return Err(map_error(error)),
        }
        drop(lock);
        self.sync(&directory)?;
        self.prune(name.directory());
        Ok(Deleted::Removed)
    }

    /// Removes directories that have become empty, up to the namespace's own. One that is not empty stays.
    fn prune(&self, directory: &str) {
        let mut directory = directory;
        while let Some((above, name)) = directory.rsplit_once('/') {
            let removed =
                self.root.open_directory(above).and_then(|fd| rustix::fs::unlinkat(fd, name, AtFlags::REMOVEDIR));
            if removed.is_err() {
                return;
            }
            directory = above;
        }
    }

    fn sync(&self, directory: &OwnedFd) -> Result<()> {
        match self.durability {
            Durability::Synced => rustix::fs::fsync(directory).map_err(not_synced),
            Durability::Relaxed => Ok(()),
        }
    }
}

/// How files are opened to read: without blocking, so that a pipe that somebody put there makes no reader wait for ever.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK);

fn regular(fd: OwnedFd) -> Result<(File, u64, Timestamp)> {
    let stat = rustix::fs::fstat(&fd).map_err(map_error)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(corrupt("something else than a file lies in the file's place"));
    }
    Ok((fd.into(), u64::try_from(stat.st_size).unwrap_or(0), modified(&stat)))
}

/// Why a file could not be given its name.
enum Refusal {
    DirectoryGone,
    Error(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A directory that has something else in it is somebody's mistake, not a store.
fn refuse_foreign(root: &Root, config: &LocalConfig) -> Result<()> {
    match root.open_directory(crate::RESERVED) {
        Err(Errno::NOENT) => {}
        other => return other.map(drop).map_err(map_error),
    }
    let directory = root.open_directory(".").map_err(map_error)?;
    for entry in rustix::fs::Dir::read_from(directory).map_err(map_error)? {
        let entry = entry.map_err(map_error)?;
        if !matches!(entry.file_name().to_bytes(), b"." | b".." | b"lost+found" | b".statehouse") {
            let message = "the directory is not empty and is not a file store";
            return Err(Error::invalid_config(&config.setting, message));
        }
    }
    Ok(())
}

fn check_format(root: &Root) -> Result<()> {
    let own = root.open_directory(crate::RESERVED).map_err(map_error)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(own, "format", flags, Mode::from_raw_mode(0o666)).map_err(map_error)?;
    let (mut file, mut text) = (File::from(file), Vec::new());
    (&file).take(64).read_to_end(&mut text).map_err(map_error)?;
    if text.is_empty() {
        file.write_all(FORMAT).map_err(map_error)?;
        return file.sync_all().map_err(map_error);
    }
    if text != FORMAT {
        let message = "the directory was written by a newer version, or is not a file store";
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    Ok(())
}

fn small(key: &FileKey, mut bytes: Vec<u8>, modified: Timestamp, options: &GetOptions) -> Result<Found> {
    let Decoded::Trailer(trailer) = Trailer::decode(&bytes, bytes.len() as u64)? else {
        return Err(corrupt("the file's trailer is longer than the file"));
    };
    let crc = trailer.crc;
    let meta = trailer.into_meta(key, modified);
    let range = select(&meta, options)?;
    // The trailer was found behind the content, so the content's length fits into memory.
    bytes.truncate(usize::try_from(meta.len).unwrap_or(usize::MAX));
    let bytes = Bytes::from(bytes);
    if range == (0..meta.len) {
        let mut verifier = Verifier::new(meta.len, Check::crc32(crc));
        verifier.update(&bytes)?;
        verifier.finish()?;
    }
    let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
    let content = Content::Read(bytes.slice(start.unwrap_or(usize::MAX)..end.unwrap_or(usize::MAX)));
    Ok(Found { meta, range, content })
}

fn select(meta: &Meta, options: &GetOptions) -> Result<Range<u64>> {
    if options.if_match.as_ref().is_some_and(|etag| *etag != meta.etag) {
        return Err(changed());
    }
    options.range.map_or(Ok(0..meta.len), |range| range.within(meta.len))
}

fn read_trailer(file: &File, size: u64) -> Result<Trailer> {
    let mut tail = [0; TAIL];
    let tail = &mut tail[TAIL.saturating_sub(usize::try_from(size).unwrap_or(TAIL))..];
    file.read_exact_at(tail, size - tail.len() as u64).map_err(cut_short)?;
    let needed = match Trailer::decode(tail, size)? {
        Decoded::Trailer(trailer) => return Ok(trailer),
        // What the footer says of the length is not checked yet.
        Decoded::Longer(needed) if needed > MAX_TRAILER => {
            return Err(corrupt("the file's trailer is longer than any is"));
        }
        Decoded::Longer(needed) => needed,
    };
    let mut tail = vec![0; usize::try_from(needed).unwrap_or(0)];
    file.read_exact_at(&mut tail, size - needed).map_err(cut_short)?;
    match Trailer::decode(&tail, size)? {
        Decoded::Trailer(trailer) => Ok(trailer),
        Decoded::Longer(_) => Err(corrupt("the file was changed while it was read")),
    }
}

/// Reads on from where the file stands.
pub(super) fn read_exactly(file: &mut File, len: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(usize::MAX));
    file.take(len).read_to_end(&mut bytes).map_err(map_error)?;
    if bytes.len() as u64 == len { Ok(bytes) } else { Err(cut_short(io::ErrorKind::UnexpectedEof.into())) }
}

fn cut_short(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => corrupt("the file was cut short while it was read"),
        _ => map_error(error),
    }
}

fn write(file: &mut File, content: &[u8], trailer: &[u8]) -> io::Result<()> {
    if content.len() as u64 > INLINE {
        file.write_all(content)?;
        return file.write_all(trailer);
    }
    // Copying a little costs less than a second call of the system.
    file.write_all(&[content, trailer].concat())
}

fn new_trailer(
    received: Received,
    content_type: Option<String>,
    user: std::collections::BTreeMap<String, String>,
) -> Result<Trailer> {
    let Received { len, digest, crc } = received;
    Ok(Trailer { len, digest, crc, etag: nonce()?, description: Description { content_type, user } })
}

fn stored(trailer: &Trailer) -> Stored {
    Stored::new(trailer.etag(), trailer.len, Some(trailer.digest))
}

#[expect(clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
fn modified(stat: &rustix::fs::Stat) -> Timestamp {
    let seconds = u64::try_from(stat.st_mtime as i64).unwrap_or(0);
    let micros = u64::try_from(stat.st_mtime_nsec as i64).unwrap_or(0) / 1000;
    Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}

fn exists() -> Error {
    Error::new(ErrorKind::AlreadyExists, "there is such a file already")
}

fn changed() -> Error {
    Error::new(ErrorKind::Conflict, "the file does not have the expected etag")
}

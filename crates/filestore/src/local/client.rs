//! What an open store is on the disk, and reading from it. Everything here blocks, save for the read that only looks
//! into the page cache.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use statehouse_core::{Error, ErrorKind, Result, Timestamp};
use tokio::sync::Semaphore;

use super::beneath::Root;
use super::config::{Access, Durability, LocalConfig};
use super::error::{SOMETHING_ELSE, cut_short, gone, map_error, no_folder, not_opened, only_readable};
use super::folder::Folders;
use super::format::{Decoded, Trailer};
use super::lock::Locks;
use super::marks::Marks;
use super::name::DiskName;
use super::permissions;
use super::stage::Stage;
use super::time::{modified, timestamp};
use super::walks::Walks;
use crate::digest::{Check, Verifier, corrupt};
use crate::key::FileKey;
use crate::meta::Meta;
use crate::options::GetOptions;
use crate::outcome::ReadOutcome;

/// What is read in one go: a file of this length is one piece, a longer one several.
pub(super) const PIECE: u64 = 512 << 10;

/// The longest file that is read on the caller's own thread, if it is in the page cache.
pub(super) const INLINE: u64 = 64 << 10;

/// How much of a file's end is read for its trailer: enough for most.
const TAIL: usize = 512;

/// More than a trailer has: a description is at most a content type of 255 bytes and 1,536 bytes of metadata, disposition and cache
/// control, with the lengths of up to 1,536 names and values, and what is to become of a stage.
const MAX_TRAILER: u64 = 16 << 10;

const FORMAT: &[u8] = b"statehouse files 1\n";

/// How many writes are at work at a time: half of the threads that tokio has for blocking work if nothing else is said,
/// so that reads go on though all of these wait for the lock of one file.
const WRITERS: usize = 256;

/// The directories of an open store.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) root: Root,
    /// None if it is only read.
    pub(super) writing: Option<Writing>,
    pub(super) durability: Durability,
    /// A permit for each write that is at work.
    pub(super) writers: Arc<Semaphore>,
    /// How long the source of a put may be silent.
    pub(super) body_timeout: Duration,
    pub(super) walks: Walks,
    pub(super) folders: Folders,
    /// How often a directory was synced.
    #[cfg(test)]
    pub(super) synced: std::sync::atomic::AtomicUsize,
}

/// What an open store needs to write.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) stage: Arc<Stage>,
    pub(super) locks: Locks,
    pub(super) marks: Marks,
}

/// The content of a file, as far as it was read.
#[derive(Debug)]
pub(super) enum Content {
    Read(Bytes),
    /// The rest, from where the range begins; with the CRC-32 of the whole file if that is what is read.
    Open(File, Option<u32>),
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
        config.check()?;
        let wrong = |error: Error| error.with_setting(&config.setting);
        let no_folder = |source: io::Error| wrong(no_folder(source));
        if config.access == Access::Write {
            let made = permissions::make_root(&config.root, config.permissions, config.durability);
            made.map_err(no_folder)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&config.root, flags, Mode::empty()).map_err(|errno| no_folder(errno.into()))?;
        if config.access == Access::Write {
            permissions::check_owner(&root, config)?;
        }
        Self::begin(Root::new(root, config.access), config).map_err(wrong)
    }

    pub(super) fn begin(root: Root, config: &LocalConfig) -> Result<Self> {
        let writing = match config.access {
            Access::Write => Some(begin_writing(&root, config).map_err(only_readable)?),
            Access::Read => None,
        };
        if writing.is_none() {
            check_format(&root, &open_format(&root, config)?)?;
        }
        let (folders, walks) = (Folders::of(&root), Walks::default());
        let (durability, body_timeout) = (config.durability, config.body_timeout);
        let writers = Arc::new(Semaphore::new(WRITERS));
        Ok(Self {
            root,
            writing,
            durability,
            writers,
            body_timeout,
            walks,
            folders,
            #[cfg(test)]
            synced: Default::default(),
        })
    }

    /// Tries what a write needs, or in a store that is only read a read.
    pub(super) fn probe(&self) -> Result<()> {
        match &self.writing {
            Some(writing) => self.in_place(writing.stage.probe()),
            None => self.probe_reading(),
        }
    }

    /// Tries what a read needs: that the directory is there.
    pub(super) fn probe_reading(&self) -> Result<()> {
        match self.root.open_directory(crate::key::RESERVED) {
            Err(Errno::NOENT) => Err(gone()),
            other => other.map(drop).map_err(map_error),
        }
    }

    /// What is missing, or is not what it was, is so only in a directory that is there: one that was removed is an outage.
    pub(super) fn in_place<T>(&self, done: Result<T>) -> Result<T> {
        match done {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                self.probe_reading().and(Err(error))
            }
            done => done,
        }
    }

    /// Reads a file that is small and in the page cache, without waiting for the disk; else none. That is three calls of the
    /// system which it refuses where they would wait, and at most [`INLINE`] bytes to copy and to check: some 20 µs, which
    /// the caller's thread is not missed for.
    #[cfg(target_os = "linux")]
    pub(super) fn get_cached(
        &self,
        key: &FileKey,
        name: &DiskName,
        options: &GetOptions,
    ) -> Option<Result<ReadOutcome<Found>>> {
        use rustix::fs::{AtFlags, StatxFlags};
        let fd = self.root.open_cached(name.path()).ok()?;
        // What the system knows of it: a mount over a network would ask its server first.
        let ask = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let known = rustix::fs::statx(&fd, c"", ask, StatxFlags::SIZE | StatxFlags::MTIME).ok()?;
        let size = Some(known.stx_size).filter(|size| *size <= INLINE)?;
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        let flags = rustix::io::ReadWriteFlags::NOWAIT;
        let read = rustix::io::preadv2(&fd, &mut [io::IoSliceMut::new(&mut bytes)], 0, flags).ok()?;
        let modified = timestamp(known.stx_mtime.tv_sec, known.stx_mtime.tv_nsec.into());
        (read == bytes.len()).then(|| small(key, bytes, modified, options))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn get_cached(&self, _: &FileKey, _: &DiskName, _: &GetOptions) -> Option<Result<ReadOutcome<Found>>> {
        None
    }

    pub(super) fn get(&self, key: &FileKey, name: &DiskName, options: &GetOptions) -> Result<ReadOutcome<Found>> {
        let (file, size, modified) = self.open_file(name.path())?;
        if size <= PIECE {
            return small(key, read_at(&file, 0, size)?, modified, options);
        }
        let trailer = read_trailer(&file, size)?;
        let crc = trailer.crc;
        let meta = trailer.into_meta(key, modified);
        let ReadOutcome::Found(range) = select(&meta, options)? else { return Ok(ReadOutcome::NotModified) };
        let len = range.end - range.start;
        let content = if len <= PIECE {
            Content::Read(read_at(&file, range.start, len)?.into())
        } else {
            Content::Open(file, (len == meta.len).then_some(crc))
        };
        Ok(ReadOutcome::Found(Found { meta, range, content }))
    }

    pub(super) fn head(&self, key: &FileKey, name: &DiskName) -> Result<Meta> {
        let (file, size, modified) = self.open_file(name.path())?;
        Ok(read_trailer(&file, size)?.into_meta(key, modified))
    }

    /// What a file says of itself, in the folder at this path, whose directory is opened once.
    pub(super) fn describe(
        &self,
        key: &FileKey,
        folder: &str,
        directory: &mut Option<OwnedFd>,
    ) -> Result<(Trailer, Timestamp)> {
        let name = DiskName::of(key);
        let (file, size, modified) = if name.directory() == folder {
            let directory = match directory {
                Some(directory) => directory,
                None => directory.insert(self.root.open_directory(folder).map_err(map_error)?),
            };
            let flags = READ | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(directory, name.name(), flags, Mode::empty());
            regular(opened.map_err(not_opened)?)?
        } else {
            self.open_file(name.path())?
        };
        Ok((read_trailer(&file, size)?, modified))
    }

    pub(super) fn open_file(&self, path: &str) -> Result<(File, u64, Timestamp)> {
        regular(self.root.open(path, READ).map_err(not_opened)?)
    }
}

/// How files are opened to read: without blocking, so that a pipe that somebody put there makes no reader wait for ever.
pub(super) const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK);

fn regular(fd: OwnedFd) -> Result<(File, u64, Timestamp)> {
    let stat = rustix::fs::fstat(&fd).map_err(map_error)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(corrupt(SOMETHING_ELSE));
    }
    Ok((fd.into(), u64::try_from(stat.st_size).unwrap_or(0), modified(&stat)))
}

/// A directory that has something else in it is somebody's mistake, not a store.
fn refuse_foreign(root: &Root, config: &LocalConfig) -> Result<()> {
    match root.open_directory(crate::key::RESERVED) {
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

fn begin_writing(root: &Root, config: &LocalConfig) -> Result<Writing> {
    refuse_foreign(root, config)?;
    let own = |name: &str| {
        let path = format!("{}/{name}", crate::key::RESERVED);
        root.create_directories(&path, config.permissions, config.durability).map_err(map_error)
    };
    own("stage")?;
    let locks = Locks::new(own("locks")?, config.permissions);
    check_format(root, &open_format(root, config)?)?;
    let marks = Marks::new(root.clone(), config.permissions, config.durability);
    Ok(Writing { stage: Arc::new(Stage::open(root, config)?), locks, marks })
}

/// Opens the file that names the format, which is made in a store that is written.
fn open_format(root: &Root, config: &LocalConfig) -> Result<File> {
    const NAME: &str = "format";
    let opened = root.open_directory(crate::key::RESERVED).and_then(|own| match config.access {
        Access::Write => config.permissions.open_file(own, NAME, OFlags::empty()),
        Access::Read => rustix::fs::openat(own, NAME, READ | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()),
    });
    match opened {
        Ok(file) => Ok(file.into()),
        Err(Errno::NOENT) => Err(Error::invalid_config(&config.setting, "the directory is not a file store")),
        Err(errno) => Err(map_error(errno)),
    }
}

fn check_format(root: &Root, mut file: &File) -> Result<()> {
    let mut text = Vec::new();
    file.take(64).read_to_end(&mut text).map_err(map_error)?;
    if text.is_empty() && root.access() == Access::Write {
        file.write_all(FORMAT).map_err(map_error)?;
        return file.sync_all().map_err(map_error);
    }
    if text != FORMAT {
        let message = "the directory was written by a newer version, or is not a file store";
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    Ok(())
}

fn small(key: &FileKey, mut bytes: Vec<u8>, modified: Timestamp, options: &GetOptions) -> Result<ReadOutcome<Found>> {
    let Decoded::Trailer(trailer) = Trailer::decode(&bytes, bytes.len() as u64)? else {
        return Err(corrupt("the file's trailer is longer than the file"));
    };
    let crc = trailer.crc;
    let meta = trailer.into_meta(key, modified);
    let ReadOutcome::Found(range) = select(&meta, options)? else { return Ok(ReadOutcome::NotModified) };
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
    Ok(ReadOutcome::Found(Found { meta, range, content }))
}

fn select(meta: &Meta, options: &GetOptions) -> Result<ReadOutcome<Range<u64>>> {
    if options.check_conditions(meta)? == ReadOutcome::NotModified {
        return Ok(ReadOutcome::NotModified);
    }
    options.range.map_or(Ok(0..meta.len), |range| range.within(meta.len)).map(ReadOutcome::Found)
}

pub(super) fn read_trailer(file: &File, size: u64) -> Result<Trailer> {
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

/// Reads so many bytes from there on.
pub(super) fn read_at(file: &File, mut from: u64, len: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(usize::MAX));
    let until = from + len;
    while from < until {
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), from) {
            Ok(0) => return Err(cut_short(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => from += read as u64,
            Err(Errno::INTR) => {}
            Err(error) => return Err(map_error(error)),
        }
    }
    // There may be more room than was asked for.
    bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
    Ok(bytes)
}

pub(super) fn changed() -> Error {
    Error::new(ErrorKind::Conflict, "the file does not have the expected etag")
}

//! A file of the log: a header, and behind it frames, one behind the other. A frame is what one bulk changed.
//! All numbers are little-endian.
//!
//! The header is written anew behind each sync, in one piece that lies within one sector of a disk:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | CRC-32 (IEEE 802.3) of the rest of it |
//! | 4 | 7 | `shslog` and a line feed |
//! | 11 | 1 | format, 1 |
//! | 12 | 8 | how many bytes of the file were synced, at least |
//!
//! A frame:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | CRC-32 of what follows |
//! | 4 | 4 | length of the records, *n* |
//! | 8 | *n* | records |
//!
//! A record, of what is so of one document from then on:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | 1: it was written, 2: it was deleted |
//! | 1 | 8 | the version that it has, or that of the delete |
//! | 9 | 4 | length of what follows, *m* |
//! | 13 | *m* | written: its stored form, see `mapping/format.rs`, here with what is not stored, too; deleted: its id, in UTF-8 |
//!
//! What stands behind the bytes that were synced was never acknowledged: where it is no whole frame the file ends. Where that
//! is so before, the file is damaged.

use crate::DocumentId;

const MAGIC: &[u8; 7] = b"shslog\n";
const FORMAT: u8 = 1;
const CHECKSUM: usize = 4;

/// How long the header is.
pub(super) const HEADER: usize = CHECKSUM + 7 + 1 + 8;

/// What stands before the records of a frame.
const HEAD: usize = CHECKSUM + 4;

const WRITTEN: u8 = 1;
const DELETED: u8 = 2;

/// What is so of one document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Written { version: u64, source: Vec<u8> },
    Deleted { version: u64, id: DocumentId },
}

/// A frame that is being made.
#[derive(Debug)]
pub(crate) struct Frame(Vec<u8>);

impl Frame {
    pub(crate) fn new() -> Self {
        Self(vec![0; HEAD])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == HEAD
    }

    pub(crate) fn written(&mut self, version: u64, source: &[u8]) {
        self.add(WRITTEN, version, source);
    }

    pub(crate) fn deleted(&mut self, version: u64, id: &DocumentId) {
        self.add(DELETED, version, id.as_str().as_bytes());
    }

    fn add(&mut self, what: u8, version: u64, content: &[u8]) {
        self.0.push(what);
        self.0.extend_from_slice(&version.to_le_bytes());
        self.0.extend_from_slice(&number(content.len()));
        self.0.extend_from_slice(content);
    }

    /// Its bytes.
    pub(super) fn sealed(mut self) -> Vec<u8> {
        let length = number(self.0.len() - HEAD);
        self.0[CHECKSUM..HEAD].copy_from_slice(&length);
        let checksum = crc32fast::hash(&self.0[CHECKSUM..]);
        self.0[..CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        self.0
    }
}

/// A length. No file has room for a frame that is longer than this can say.
fn number(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

pub(super) fn header(synced: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[CHECKSUM..11].copy_from_slice(MAGIC);
    header[11] = FORMAT;
    header[12..].copy_from_slice(&synced.to_le_bytes());
    let checksum = crc32fast::hash(&header[CHECKSUM..]);
    header[..CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not as it was written.
    Damaged,
    /// It has another format.
    Newer(u8),
}

/// What is in a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) entries: Vec<Entry>,
    /// Where it ends: what stands behind was never acknowledged.
    pub(super) end: usize,
}

/// What is in a file from a place on, which is that of a frame, or lies before the first one.
pub(super) fn read(bytes: &[u8], from: usize) -> Result<Content, Fault> {
    let synced = usize::try_from(synced(bytes)?).unwrap_or(usize::MAX);
    let from = from.max(HEADER);
    let mut content = Content { entries: Vec::new(), end: from };
    while let Some(records) = bytes.get(content.end..).and_then(frame) {
        content.end += HEAD + records.len();
        let mut rest = records;
        while !rest.is_empty() {
            content.entries.push(entry(&mut rest).ok_or(Fault::Damaged)?);
        }
    }
    if content.end < synced { Err(Fault::Damaged) } else { Ok(content) }
}

fn synced(bytes: &[u8]) -> Result<u64, Fault> {
    let header: &[u8; HEADER] = bytes.first_chunk().ok_or(Fault::Damaged)?;
    let is_whole = header[..CHECKSUM] == crc32fast::hash(&header[CHECKSUM..]).to_le_bytes();
    if !is_whole || header[CHECKSUM..11] != *MAGIC {
        return Err(Fault::Damaged);
    }
    if header[11] != FORMAT {
        return Err(Fault::Newer(header[11]));
    }
    header.last_chunk().copied().map(u64::from_le_bytes).ok_or(Fault::Damaged)
}

/// The records of the frame at the beginning, if there is a whole one.
fn frame(rest: &[u8]) -> Option<&[u8]> {
    let length = u32::from_le_bytes(*rest.get(CHECKSUM..)?.first_chunk()?);
    let whole = rest.get(..HEAD.checked_add(usize::try_from(length).ok()?)?)?;
    let is_whole = whole[..CHECKSUM] == crc32fast::hash(&whole[CHECKSUM..]).to_le_bytes();
    is_whole.then(|| &whole[HEAD..])
}

fn entry(rest: &mut &[u8]) -> Option<Entry> {
    let (what, behind) = rest.split_first()?;
    let (version, behind) = behind.split_first_chunk()?;
    let (length, behind) = behind.split_first_chunk()?;
    let (content, behind) = behind.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    *rest = behind;
    let version = u64::from_le_bytes(*version);
    match *what {
        WRITTEN => Some(Entry::Written { version, source: content.to_vec() }),
        DELETED => {
            let id = DocumentId::new(std::str::from_utf8(content).ok()?).ok()?;
            Some(Entry::Deleted { version, id })
        }
        _ => None,
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    /// What every later version reads in a folder of this one.
    const GOLDEN: &[u8] = b"\x9b\x82\xf7\x64shslog\n\x01\x3c\0\0\0\0\0\0\0\
        \x4a\xf9\x7a\x25\x20\0\0\0\
        \x01\x05\0\0\0\0\0\0\0\x03\0\0\0doc\
        \x02\x06\0\0\0\0\0\0\0\x03\0\0\0I21";

    fn entries() -> Vec<Entry> {
        let id = DocumentId::new("I21").unwrap();
        vec![Entry::Written { version: 5, source: b"doc".to_vec() }, Entry::Deleted { version: 6, id }]
    }

    pub(super) fn framed(entries: &[Entry]) -> Vec<u8> {
        let mut frame = Frame::new();
        for entry in entries {
            match entry {
                Entry::Written { version, source } => frame.written(*version, source),
                Entry::Deleted { version, id } => frame.deleted(*version, id),
            }
        }
        frame.sealed()
    }

    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let frame = framed(&entries());
        let written = [&header(60)[..], &frame].concat();
        assert_eq!(written, GOLDEN, "{:?}", String::from_utf8_lossy(&written));
        assert_eq!(read(GOLDEN, 0), Ok(Content { entries: entries(), end: GOLDEN.len() }));
        assert_eq!(read(GOLDEN, GOLDEN.len()), Ok(Content { entries: Vec::new(), end: GOLDEN.len() }));
        // All of it was synced.
        for at in 0..GOLDEN.len() {
            let mut flipped = GOLDEN.to_vec();
            flipped[at] ^= 1;
            assert_eq!(read(&flipped, 0), Err(Fault::Damaged), "{at}");
            assert_eq!(read(&GOLDEN[..at], 0), Err(Fault::Damaged), "{at}");
        }
        let mut of_later = header(20);
        of_later[11] = 2;
        let checksum = crc32fast::hash(&of_later[CHECKSUM..]);
        of_later[..CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(read(&of_later, 0), Err(Fault::Newer(2)));
    }

    #[test]
    fn what_was_not_synced_ends_where_it_is_not_whole() {
        let frame = framed(&entries());
        let synced = (HEADER + frame.len()) as u64;
        let three = [&header(synced)[..], &frame, &frame, &frame].concat();
        for cut in 0..2 * frame.len() {
            let content = read(&three[..three.len() - cut], 0).unwrap();
            let whole = 3 - cut.div_ceil(frame.len());
            assert_eq!((content.entries.len(), content.end), (2 * whole, HEADER + whole * frame.len()), "{cut}");
        }
        let last = three.len() - frame.len();
        for at in last..three.len() {
            let mut flipped = three.clone();
            flipped[at] ^= 0x80;
            assert_eq!(read(&flipped, 0).unwrap().entries.len(), 4, "{at}");
        }
        assert_eq!(read(&three, last).unwrap().entries, entries());
    }
}

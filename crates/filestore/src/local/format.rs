//! What stands behind the content in each file on the disk.
//!
//! One file holds both, so that one rename publishes both and one read gets both, and so that no copying tool loses
//! half. Behind the content and not before it: the digest is known only at the end, a byte's offset is the same in the
//! content and in the file, and most programs open a file with something behind its end. Extended attributes were the
//! other way; tar, rsync and NFS lose them, and they are limited to what is left of an inode.
//!
//! Reads and copies are checked by the CRC-32 of the content, which costs a tenth of its SHA-256: against a disk that changes bits
//! both are good enough, and against somebody who changes files neither is, because both lie beside the content.
//!
//! All numbers are little-endian. The description is [postcard](https://postcard.jamesmunns.com/wire-format).
//!
//! Among the user metadata may be pairs of the store's own, which no reader is shown as such: `statehouse-ttl`, for how many seconds
//! the file is kept at least; `statehouse-disposition` and `statehouse-cache`, the headers `Content-Disposition` and `Cache-Control`;
//! and `statehouse-stage`, of a file that was staged: its key, a line feed, and `always`, `absent` or `match` and an etag.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | *n* | content |
//! | *n* | *d* | description: content type, an optional text, and user metadata, a map of texts; *t* is where it ends |
//! | *t* | 8 | *n* |
//! | *t* + 8 | 32 | SHA-256 of the content |
//! | *t* + 40 | 16 | etag |
//! | *t* + 56 | 4 | *d* |
//! | *t* + 60 | 4 | CRC-32 (IEEE 802.3) of the content |
//! | *t* + 64 | 1 | format, 1 |
//! | *t* + 65 | 3 | zero |
//! | *t* + 68 | 4 | CRC-32 of the description and of all of this before it |
//! | *t* + 72 | 8 | magic, `SHfile\r\n` |

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use statehouse_core::{Codec, Error, ErrorKind, Result, Timestamp};

use crate::described::Described;
use crate::digest::Digest;
use crate::digest::corrupt;
use crate::key::FileKey;
use crate::meta::{ETag, Meta};
use crate::options::{Condition, PutOptions, read_condition, write_condition};

/// The pair of metadata that says for how many seconds the file is kept at least. No put takes a name that begins so, and readers
/// leave it out.
const TIME_TO_LIVE: &str = "statehouse-ttl";

/// The pair that says, of a file that was staged, which it is to be: its key, a line feed, which no key has, and the condition,
/// `always`, `absent` or `match` and an etag.
const STAGE: &str = "statehouse-stage";

/// The pairs with what is a header of its own on S3. Earlier builds leave them out as they do all of the store's own.
const DISPOSITION: &str = "statehouse-disposition";
const CACHE_CONTROL: &str = "statehouse-cache";

const MAGIC: &[u8; 8] = b"SHfile\r\n";
const FORMAT: u8 = 1;

/// The length of the part that is always the same length.
pub(super) const FOOTER: usize = 80;

/// Everything that a file has behind its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) len: u64,
    pub(super) digest: Digest,
    pub(super) crc: u32,
    pub(super) etag: [u8; 16],
    pub(super) description: Description,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) content_type: Option<String>,
    pub(super) user: BTreeMap<String, String>,
}

impl Description {
    pub(super) fn of(options: &PutOptions) -> Self {
        let mut own = Self { content_type: options.content_type.clone(), user: options.user.clone() };
        let headers = [(DISPOSITION, &options.content_disposition), (CACHE_CONTROL, &options.cache_control)];
        own.user.extend(headers.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?))));
        own.keep_for(options.time_to_live);
        own
    }

    fn into_described(mut self) -> Described {
        let mut header = |name| self.user.remove(name);
        let (content_disposition, cache_control) = (header(DISPOSITION), header(CACHE_CONTROL));
        Described { content_type: self.content_type, content_disposition, cache_control, user: self.user }
    }

    fn keep_for(&mut self, time_to_live: Option<Duration>) {
        self.user.extend(time_to_live.map(|time| (TIME_TO_LIVE.to_owned(), time.as_secs().to_string())));
    }

    fn time_to_live(&self) -> Option<Duration> {
        self.user.get(TIME_TO_LIVE)?.parse().ok().map(Duration::from_secs)
    }

    /// Says which file it is to be.
    pub(super) fn stage_for(&mut self, key: &FileKey, condition: &Condition) {
        self.user.insert(STAGE.to_owned(), format!("{key}\n{}", write_condition(condition)));
    }

    /// Which file it is to be, and on what condition.
    pub(super) fn staged_for(&self) -> Option<(FileKey, Condition)> {
        let (key, condition) = self.user.get(STAGE)?.split_once('\n')?;
        Some((FileKey::new(key).ok()?, read_condition(condition)?))
    }

    /// A copy of it is no stage's.
    pub(super) fn forget_stage(&mut self) {
        self.user.remove(STAGE);
    }
}

impl Trailer {
    /// The bytes behind the content.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let mut out = Codec::Postcard.encode(&self.description)?;
        let described = u32::try_from(out.len()).map_err(|_| Error::invalid_input("the metadata is too long"))?;
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(self.digest.as_bytes());
        out.extend_from_slice(&self.etag);
        out.extend_from_slice(&described.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&[FORMAT, 0, 0, 0]);
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out.extend_from_slice(MAGIC);
        Ok(out)
    }

    /// Reads the trailer of a file of this length from its last bytes.
    pub(super) fn decode(tail: &[u8], file_len: u64) -> Result<Decoded> {
        let footer = tail.len().checked_sub(FOOTER).map(|at| &tail[at..]);
        let footer = footer.filter(|footer| footer.ends_with(MAGIC)).ok_or_else(not_ours)?;
        if footer[64] != FORMAT {
            let message = "the file was written by a newer version";
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let described = u64::from(u32::from_le_bytes(array(&footer[56..60])));
        let len = u64::from_le_bytes(array(&footer[..8]));
        let whole = described + FOOTER as u64;
        if len.checked_add(whole) != Some(file_len) {
            return Err(corrupt(OTHER_LENGTH));
        }
        let Some(start) = usize::try_from(whole).ok().and_then(|whole| tail.len().checked_sub(whole)) else {
            return Ok(Decoded::Longer(whole));
        };
        let (described, footer) = tail[start..].split_at(tail.len() - start - FOOTER);
        let mut crc = crc32fast::Hasher::new();
        crc.update(described);
        crc.update(&footer[..68]);
        if crc.finalize().to_le_bytes() != footer[68..72] {
            return Err(corrupt(OTHER_SUM));
        }
        let description = Codec::Postcard.decode(described)?;
        let digest = Digest::from_bytes(array(&footer[8..40]));
        let crc = u32::from_le_bytes(array(&footer[60..64]));
        Ok(Decoded::Trailer(Self { len, digest, crc, etag: array(&footer[40..56]), description }))
    }

    pub(super) fn etag(&self) -> ETag {
        ETag::of_put(&self.etag)
    }

    pub(super) fn into_meta(self, key: &FileKey, modified: Timestamp) -> Meta {
        let expires = self.description.time_to_live().map(|time| modified + time);
        let meta = Meta::new(key.clone(), self.len, self.etag(), modified).with_sha256(Some(self.digest));
        // A checksum says that it is as it was written, and not by whom.
        meta.with_described(self.description.into_described().sound()).with_expires(expires)
    }
}

/// What the last bytes of a file give.
#[derive(Debug)]
pub(super) enum Decoded {
    Trailer(Trailer),
    /// The trailer has this many bytes, more than were given.
    Longer(u64),
}

const NOT_OURS: &str = "the file on the disk was cut short, or something else wrote it";
const OTHER_LENGTH: &str = "the file is not as long as its trailer says";
const OTHER_SUM: &str = "the file's trailer does not match its checksum";

fn not_ours() -> Error {
    corrupt(NOT_OURS)
}

/// Whether a trailer is torn, as a power cut leaves one; that of a newer version is not.
pub(super) fn is_torn(error: &Error) -> bool {
    error.kind() == ErrorKind::Corrupt && [NOT_OURS, OTHER_LENGTH, OTHER_SUM].contains(&error.message())
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::hex;

    fn trailer() -> Trailer {
        let user = BTreeMap::from([("patient".to_owned(), "Zoë".to_owned())]);
        let description = Description { content_type: Some("text/plain".into()), user };
        Trailer { len: 3, digest: Digest::of(b"abc"), crc: crc32fast::hash(b"abc"), etag: [7; 16], description }
    }

    #[test]
    fn what_is_staged_says_which_file_it_is_to_be_and_no_reader_is_shown_that() {
        let key = FileKey::new("a b/c").unwrap();
        for condition in [Condition::Always, Condition::Absent, Condition::Match(ETag::new("any etag\n at all"))] {
            let mut staged = trailer();
            staged.description.stage_for(&key, &condition);
            staged.description.keep_for(Some(Duration::from_secs(60)));
            let file = [b"abc".to_vec(), staged.encode().unwrap()].concat();
            let mut read = decode(&file).unwrap();
            assert_eq!(read.description.staged_for(), Some((key.clone(), condition)));
            read.description.forget_stage();
            assert_eq!(read.description.staged_for(), None);
            let meta = read.into_meta(&key, Timestamp::from_micros(5_000_000));
            assert_eq!(meta.user.keys().collect::<Vec<_>>(), ["patient"]);
            assert_eq!(meta.expires, Some(Timestamp::from_micros(65_000_000)));
        }
    }

    fn decode(file: &[u8]) -> Result<Trailer> {
        match Trailer::decode(file, file.len() as u64)? {
            Decoded::Trailer(trailer) => Ok(trailer),
            Decoded::Longer(_) => Err(corrupt("longer")),
        }
    }

    #[test]
    fn a_trailer_reads_back_and_asks_for_what_is_missing() {
        let file = [b"abc".to_vec(), trailer().encode().unwrap()].concat();
        assert_eq!(decode(&file).unwrap(), trailer());
        let footer = &file[file.len() - FOOTER..];
        match Trailer::decode(footer, file.len() as u64).unwrap() {
            Decoded::Longer(len) => assert_eq!(len, file.len() as u64 - 3),
            Decoded::Trailer(_) => panic!("the description was not given"),
        }
    }

    #[test]
    fn an_etag_is_written_as_http_writes_it() {
        assert_eq!(trailer().etag().as_str(), "\"07070707070707070707070707070707\"");
    }

    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let bytes = trailer().encode().unwrap();
        assert_eq!(hex(&bytes), include_str!("../../golden/trailer-v1.hex").trim());
    }

    #[test]
    fn a_disposition_and_a_cache_control_are_pairs_of_the_stores_own() {
        let options = PutOptions::default()
            .with_content_type("text/plain")
            .with_content_disposition("attachment; filename=\"a.txt\"")
            .with_cache_control("private, max-age=60")
            .with_metadata("patient", "Zoë");
        let described = Trailer { description: Description::of(&options), ..trailer() };
        let bytes = described.encode().unwrap();
        assert_eq!(hex(&bytes), include_str!("../../golden/trailer-v1-headers.hex").trim());
        let file = [b"abc".to_vec(), bytes].concat();
        let meta = decode(&file).unwrap().into_meta(&FileKey::new("k").unwrap(), Timestamp::from_micros(0));
        assert_eq!(
            (meta.content_disposition, meta.cache_control),
            (options.content_disposition, options.cache_control)
        );
        assert_eq!((meta.content_type, meta.user), (options.content_type, options.user));
    }

    #[test]
    fn a_description_that_nobody_could_have_put_does_not_come_out() {
        let headers = [(DISPOSITION, "inline\r\nx-injected: y"), (CACHE_CONTROL, "")];
        let user = [("a", "x\r\nx-injected: y"), ("x: y", "1"), ("statehouse-put", "1"), ("good", "1")];
        let user = user.into_iter().chain(headers);
        let user = user.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let description = Description { content_type: Some("text/html\r\nx-injected: y".into()), user };
        let planted = Trailer { description, ..trailer() };
        let file = [b"abc".to_vec(), planted.encode().unwrap()].concat();
        let meta = decode(&file).unwrap().into_meta(&FileKey::new("k").unwrap(), Timestamp::from_micros(0));
        assert_eq!((meta.content_type, meta.content_disposition, meta.cache_control), (None, None, None));
        assert_eq!(meta.user, BTreeMap::from([("good".to_owned(), "1".to_owned())]));
    }

    #[test]
    fn no_changed_byte_and_no_cut_goes_unnoticed() {
        let file = [b"abc".to_vec(), trailer().encode().unwrap()].concat();
        for at in 3..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 0x40;
            assert_eq!(decode(&changed).unwrap_err().kind(), ErrorKind::Corrupt, "byte {at}");
            assert!(decode(&file[..at]).is_err(), "cut at {at}");
            assert!(decode(&file[at - 2..]).is_err(), "beginning at {at}");
        }
    }
}

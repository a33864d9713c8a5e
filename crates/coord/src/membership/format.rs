//! What is kept of a member: the value of its record. Its key is `member/` with the number of a place, which the next member
//! takes when it is free. All numbers are little-endian, but for those within the MessagePack, which has an order of its own.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | format, 1 |
//! | 1 | | a map in [MessagePack](https://github.com/msgpack/msgpack/blob/master/spec.md), in this order |
//!
//! | field | is |
//! | --- | --- |
//! | `id` | 32 hexadecimal digits |
//! | `label` | text |
//! | `heartbeat` | milliseconds: it counts for three of them after it was put, and for as long as its member beats |
//! | `record` | for how long the record lives, in milliseconds, where that is not for three heartbeats; else not there |
//! | `info` | a map of what follows |
//! | `build` | text |
//! | `formats` | a map of each kind's name to a map of `start` and `end`, the oldest and the newest |
//! | `fingerprints` | a map of texts |
//! | `state` | 0 starting, 1 ready, 2 and all others unready, 3 stopping |
//! | `reaches` | a map of each name to whether it was reached |
//! | `lost`, `reasons` | arrays of texts |
//! | `address` | text or nil |
//!
//! A number has as few bytes as it needs. Fields that are not there are as those of a new member, and those that are not known
//! are not looked at: later versions add fields, and need no other format.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use statehouse_core::{Codec, Error, ErrorKind, Result, hex};

use super::info::MemberInfo;
use super::member::MemberId;
use super::pace::Pace;
use crate::api::CoordStore;
use crate::key::CoordKey;
use crate::options::ScanOptions;
use crate::record::Record;

/// A member's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    id: String,
    pub(super) label: String,
    /// In milliseconds.
    heartbeat: u64,
    /// For how long the record lives, in milliseconds, where that is not for three heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<u64>,
    pub(super) info: MemberInfo,
}

const FORMAT: u8 = 1;

/// The most bytes that a member may say of itself.
const MOST: usize = 16 << 10;

/// What the keys of members begin with.
pub(super) const PREFIX: &str = "member/";

/// In which group they beat.
pub(super) const GROUP: &str = "member";

/// How many places there are.
pub(super) const PLACES: u32 = 10_000;

/// How many pages are read of a list at most.
const PAGES: usize = 100;

impl Kept {
    pub(super) fn new(id: MemberId, label: &str, pace: Pace, info: &MemberInfo) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (heartbeat, record) = (millis(pace.heartbeat), pace.record().map(millis));
        Self { id: id.to_string(), label: label.to_owned(), heartbeat, record, info: info.clone() }
    }

    pub(super) fn encode(&self) -> Result<Bytes> {
        let kept = Codec::MessagePack.encode(self)?;
        if kept.len() >= MOST {
            let message = format!("a member says {} bytes of itself, and 16 KiB is the most", kept.len());
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(Bytes::from([&[FORMAT][..], &kept].concat()))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        match bytes.split_first() {
            Some((&FORMAT, kept)) => Codec::MessagePack.decode(kept),
            _ => Err(no_member()),
        }
    }

    pub(super) fn id(&self) -> Result<MemberId> {
        hex::decode(self.id.as_bytes()).map(MemberId::from_bytes).ok_or_else(no_member)
    }

    /// For how long it counts from when it was said.
    pub(super) const fn lives(&self) -> Duration {
        Duration::from_millis(self.heartbeat.saturating_mul(3))
    }

    /// For how long the record is there after that, by which nobody counts.
    pub(super) fn outlives(&self) -> Duration {
        self.record.map_or(Duration::ZERO, |record| Duration::from_millis(record).saturating_sub(self.lives()))
    }
}

fn no_member() -> Error {
    Error::new(ErrorKind::Corrupt, "what is stored here is no member")
}

/// The key of a place.
pub(super) fn place(number: u32) -> Result<CoordKey> {
    CoordKey::new(format!("{PREFIX}{number}"))
}

/// All records whose keys begin with this, a page after the other.
pub(super) async fn all(store: &dyn CoordStore, prefix: &str, deadline: Duration) -> Result<Vec<(CoordKey, Record)>> {
    let mut options = ScanOptions::new(prefix).with_limit(500).with_deadline(deadline);
    let mut records = Vec::new();
    for _ in 0..PAGES {
        let page = store.scan_with(options.clone()).await?;
        records.extend(page.records);
        match page.next {
            Some(next) => options = options.with_start(next),
            None => break,
        }
    }
    Ok(records)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    fn pace(beats: bool) -> Pace {
        let mut pace = Pace::of(&crate::MemoryCoordStore::new(), None).unwrap();
        pace.beats = beats;
        pace
    }

    /// What a member that beats has stored, and one that puts its record each time.
    const GOLDEN: [&str; 2] =
        [include_str!("../../golden/member-v1-beats.hex"), include_str!("../../golden/member-v1.hex")];

    fn golden(at: usize) -> Vec<u8> {
        let digits: Vec<_> = GOLDEN[at].bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|two| hex::decode::<1>(two).unwrap()[0]).collect()
    }

    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let mut full = MemberInfo::new("clinic 1.4.0")
            .with_formats("notes", 1..=2)
            .with_fingerprint("feed", "a")
            .with_state(super::super::info::MemberState::Ready)
            .with_address("10.0.0.7:8080");
        full.reaches.insert("cache".to_owned(), true);
        (full.lost, full.reasons) = (vec!["lock".to_owned()], vec!["drains".to_owned()]);
        let of = |beats, info| Kept::new(MemberId::from_bytes([7; 16]), "host 1", pace(beats), info);
        for (at, kept) in [of(true, &full), of(false, &MemberInfo::new("b"))].into_iter().enumerate() {
            assert_eq!(kept.encode().unwrap(), golden(at), "{at}");
            assert_eq!(Kept::decode(&golden(at)).unwrap(), kept, "{at}");
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_what_is_none_is_corrupt() {
        let info = MemberInfo::new("clinic 1.4.0").with_formats("notes", 1..=2).with_fingerprint("feed", "a");
        let kept = Kept::new(MemberId::from_bytes([7; 16]), "host 1", pace(true), &info);
        let bytes = kept.encode().unwrap();
        assert_eq!(bytes[0], FORMAT);
        let read = Kept::decode(&bytes).unwrap();
        assert_eq!((read.id().unwrap(), read.lives()), (MemberId::from_bytes([7; 16]), Duration::from_secs(6)));
        assert_eq!((read.outlives(), &read), (Duration::from_secs(54), &kept));
        for bytes in [&b""[..], b"\x02", &bytes[1..], &bytes[..9]] {
            assert_eq!(Kept::decode(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        let long = MemberInfo::new("x".repeat(MOST));
        let kept = Kept::new(MemberId::from_bytes([7; 16]), "", pace(false), &long);
        assert_eq!(kept.encode().unwrap_err().kind(), ErrorKind::TooLarge);
    }

    /// What an older version has stored, and a newer one.
    #[test]
    fn fields_that_are_missing_or_unknown_are_no_trouble() {
        #[derive(Serialize)]
        struct Info {
            build: &'static str,
            state: u8,
            mood: &'static str,
        }
        #[derive(Serialize)]
        struct Other {
            id: String,
            label: &'static str,
            heartbeat: u64,
            info: Info,
            more: u8,
        }
        let info = Info { build: "b", state: 77, mood: "good" };
        let other = Other { id: "07".repeat(16), label: "l", heartbeat: 2000, info, more: 1 };
        let bytes = [&[FORMAT][..], &Codec::MessagePack.encode(&other).unwrap()].concat();
        let read = Kept::decode(&bytes).unwrap();
        assert_eq!(read.outlives(), Duration::ZERO, "of a build that knows no beats");
        assert_eq!(read.info, MemberInfo::new("b").with_state(super::super::info::MemberState::Unready));
    }
}

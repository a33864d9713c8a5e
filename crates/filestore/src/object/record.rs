//! What is kept of a stage: with it any process can end the upload that the stage is.
//!
//! `.statehouse/staged/<key>/<the stage's 32 hex digits>` holds lines of text, each with a line feed at its end:
//!
//! | line | holds |
//! | --- | --- |
//! | 1 | `statehouse stage 1` |
//! | 2 | what the server calls the upload |
//! | 3 | the content's length, its SHA-256 and its CRC-32, with spaces between |
//! | 4 | `apart` if the digest is in an object of its own, else `with` |
//! | 5 | `always`, `absent` or `match` and the etag: the condition |
//! | 6 | for how many seconds the file is kept at least, or `-` |
//! | then | of each part, in order, what the server calls it |
//! | the last | the CRC-32 of all before it |

use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result};

use crate::digest::{Received, corrupt};
use crate::options::{Condition, read_condition, write_condition};

const FORMAT: &str = "statehouse stage 1";

/// The longest there is: 10,000 parts, and then some.
pub(super) const MAX_RECORD: usize = 4 << 20;

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) upload: String,
    pub(super) received: Received,
    pub(super) apart: bool,
    pub(super) condition: Condition,
    pub(super) time_to_live: Option<Duration>,
    pub(super) parts: Vec<String>,
}

impl Record {
    pub(super) fn encode(&self) -> Result<String> {
        let Received { len, digest, crc } = self.received;
        let condition = write_condition(&self.condition);
        let kept = self.time_to_live.map_or("-".to_owned(), |time| time.as_secs().to_string());
        let place = if self.apart { "apart" } else { "with" };
        let lines = [FORMAT.to_owned(), self.upload.clone(), format!("{len} {digest} {crc:08x}"), place.to_owned()];
        let mut text = String::new();
        for line in lines.iter().chain([&condition, &kept]).chain(&self.parts) {
            if line.is_empty() || line.chars().any(char::is_control) {
                let message = "what the server calls an upload or its part is no line of text";
                return Err(Error::new(ErrorKind::Unexpected, message));
            }
            text.push_str(line);
            text.push('\n');
        }
        let crc = crc32fast::hash(text.as_bytes());
        Ok(format!("{text}{crc:08x}\n"))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let read = || {
            let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
            let (lines, crc) = text.split_at_checked(text.rfind('\n')? + 1)?;
            (format!("{:08x}", crc32fast::hash(lines.as_bytes())) == crc).then_some(())?;
            Self::read(lines.strip_suffix('\n')?)
        };
        read().ok_or_else(|| corrupt("the record of a stage is damaged, or a newer version wrote it"))
    }

    fn read(lines: &str) -> Option<Self> {
        let mut lines = lines.split('\n');
        (lines.next()? == FORMAT).then_some(())?;
        let upload = lines.next().filter(|upload| !upload.is_empty())?.to_owned();
        let mut content = lines.next()?.split(' ');
        let (len, digest) = (content.next()?.parse().ok()?, content.next()?.parse().ok()?);
        let crc = u32::from_str_radix(content.next()?, 16).ok()?;
        let apart = match lines.next()? {
            "apart" => true,
            "with" => false,
            _ => return None,
        };
        let condition = read_condition(lines.next()?)?;
        let time_to_live = match lines.next()? {
            "-" => None,
            seconds => Some(Duration::from_secs(seconds.parse().ok()?)),
        };
        let parts: Vec<_> = lines.map(ToOwned::to_owned).collect();
        let received = Received { len, digest, crc };
        (!parts.is_empty()).then_some(Self { upload, received, apart, condition, time_to_live, parts })
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::meta::ETag;

    fn record(condition: Condition) -> Record {
        let received = Received { len: 3, digest: Digest::of(b"abc"), crc: crc32fast::hash(b"abc") };
        let parts = vec!["\"one\"".to_owned(), "<two/>".to_owned()];
        let time_to_live = Some(Duration::from_secs(60));
        Record { upload: "an upload".to_owned(), received, apart: true, condition, time_to_live, parts }
    }

    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let text = record(Condition::Absent).encode().unwrap();
        assert_eq!(text, include_str!("../../golden/stage-v1.txt"));
        let condition = Condition::Match(ETag::new("\"e 1\""));
        for condition in [Condition::Always, Condition::Absent, condition] {
            let text = record(condition.clone()).encode().unwrap();
            let read = Record::decode(text.as_bytes()).unwrap();
            assert_eq!((&read.condition, read.encode().unwrap()), (&condition, text));
        }
    }

    #[test]
    fn no_changed_byte_and_no_cut_goes_unnoticed() {
        let text = record(Condition::Always).encode().unwrap().into_bytes();
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert!(Record::decode(&changed).is_err(), "byte {at}");
            assert!(Record::decode(&text[..at]).is_err(), "cut at {at}");
        }
        for foreign in [&b""[..], b"\n", b"\n\n", b"statehouse stage 1\n", b"\xff\n", &[b'\n'; 40]] {
            assert!(Record::decode(foreign).is_err(), "{foreign:?}");
        }
        let mut broken = record(Condition::Always);
        broken.parts[0] = "a\nb".to_owned();
        assert!(broken.encode().is_err());
    }
}

//! What is stored of epochs, and who is behind them.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use statehouse_core::{Error, ErrorKind, Result, Retry};
use tokio::time::{Instant, sleep};

use super::format::all;
use super::info::MemberInfo;
use crate::api::CoordStore;
use crate::key::CoordKey;
use crate::operation::NAME;

/// Both kinds of records begin with this: `epoch/KIND`, which stays, and `epoch-raise/KIND`, which is there while somebody
/// raises it.
const PREFIX: &str = "epoch";
const RAISING_PREFIX: &str = "epoch-raise";

const FORMAT: u8 = 1;

/// Why a build must not go on: a later one has written what this one does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Behind {
    /// Of what.
    pub kind: String,
    /// The format that is written.
    pub epoch: u32,
    /// The newest that this build knows; none if it knows nothing of this kind.
    pub newest: Option<u32>,
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, epoch, .. } = self;
        write!(f, "the others write format {epoch} of {kind:?}, and this build knows ")?;
        match self.newest {
            Some(newest) => write!(f, "{newest} at most"),
            None => f.write_str("none"),
        }?;
        f.write_str(": it must neither read nor write them, and is to be replaced by the newer build")
    }
}

impl std::error::Error for Behind {}

impl From<Behind> for Error {
    fn from(behind: Behind) -> Self {
        let message = behind.to_string();
        Self::new(ErrorKind::Unsupported, message).with_operation(NAME.epoch).with_source(behind)
    }
}

/// The record of an epoch, or of one that is being raised: the format, 1, and its number in 4 bytes, little-endian.
pub(super) fn encode(epoch: u32) -> Bytes {
    Bytes::from([&[FORMAT][..], &epoch.to_le_bytes()].concat())
}

pub(super) fn decode(bytes: &[u8]) -> Result<u32> {
    match bytes.split_first_chunk::<1>() {
        Some(([FORMAT], number)) => number.try_into().ok().map(u32::from_le_bytes),
        _ => None,
    }
    .ok_or_else(|| Error::new(ErrorKind::Corrupt, "what is stored here is no epoch"))
}

pub(super) fn key(kind: &str) -> Result<CoordKey> {
    CoordKey::new(format!("{PREFIX}/{kind}"))
}

pub(super) fn raising_key(kind: &str) -> Result<CoordKey> {
    CoordKey::new(format!("{RAISING_PREFIX}/{kind}"))
}

/// How often is looked whether somebody is done with raising one.
const LOOK: Duration = Duration::from_millis(100);

/// How long is waited for that: longer than what is left behind by who died meanwhile.
const RAISING: Duration = Duration::from_secs(15);

/// What a member is behind of, if anything. While an epoch is raised above what it knows, it waits: either it was seen in
/// time, and the epoch stays, or it was not, and is behind. What is no epoch is passed over, unless it stands in the place of one that
/// this build goes by.
pub(super) async fn behind(store: &dyn CoordStore, info: &MemberInfo, patience: Duration) -> Result<Option<Behind>> {
    let until = Instant::now() + RAISING;
    loop {
        let mut raising = None;
        for (key, record) in all(store, PREFIX, patience).await? {
            let Some((what @ (PREFIX | RAISING_PREFIX), kind)) = key.split_once('/') else { continue };
            let newest = info.formats.get(kind).map(|formats| *formats.end());
            let epoch = match decode(&record.value) {
                Err(error) if newest.is_none() => {
                    tracing::warn!(name: "coord.no_epoch", %error, "what is no epoch is passed over");
                    continue;
                }
                epoch => epoch?,
            };
            if newest.is_some_and(|newest| newest >= epoch) {
                continue;
            }
            match what {
                PREFIX => return Ok(Some(Behind { kind: kind.to_owned(), epoch, newest })),
                _ => raising = Some(kind.to_owned()),
            }
        }
        let Some(kind) = raising else { return Ok(None) };
        if Instant::now() >= until {
            let message = format!("the epoch of {kind:?} is being raised, and this build is not in time for it");
            return Err(Error::new(ErrorKind::Unavailable, message).with_retry(Retry::After(RAISING)));
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_bytes_are_what_the_words_say() {
        assert_eq!(encode(0x0102), b"\x01\x02\x01\0\0"[..]);
        assert_eq!(decode(&encode(7)).unwrap(), 7);
        for bytes in [&b""[..], b"\x02\0\0\0\0", b"\x01\0\0\0", b"\x01\0\0\0\0\0"] {
            assert_eq!(decode(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}

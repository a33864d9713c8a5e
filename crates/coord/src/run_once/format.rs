//! How far a run is, as its record says it: the value. All numbers are little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | format, 1 |
//! | 1 | 1 | 1 if there is a checkpoint, else 0 |
//! | 2 | 4 | length of the status, *n* |
//! | 6 | *n* | a [`RunStatus`] in MessagePack, fields by their names |
//! | 6 + *n* | | the checkpoint |

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use statehouse_core::{Codec, Error, ErrorKind, Result};

/// What is to be run: a number that rises from one to the next, and what tells two of the same number apart.
///
/// ```
/// use statehouse_coord::Revision;
///
/// let april = Revision::new(202_604, "sha256:4a7d1e");
/// assert!(april.number() < Revision::new(202_605, "sha256:90bb1c").number());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    number: u64,
    digest: String,
}

impl Revision {
    /// The revision of this number, with a digest of what it consists of, or any other text of up to a hundred bytes.
    #[must_use]
    pub fn new(number: u64, digest: impl Into<String>) -> Self {
        Self { number, digest: digest.into() }
    }

    /// The number.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The digest.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RunPhase {
    /// It was begun, and is under way or was cut short.
    Running,
    /// Its last attempt failed.
    Failed,
    /// It is done.
    Done,
}

/// What is known of a run: for a page or a probe that shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunStatus {
    /// What is run.
    pub revision: Revision,
    /// How far it is.
    pub phase: RunPhase,
    /// Which attempt it is, the first being 1.
    pub attempt: u32,
    /// How many parts are done, as the body said last.
    pub done: u64,
    /// Of how many.
    pub total: u64,
    /// What the replica of the last attempt is called.
    pub holder: String,
    /// What the last attempt failed with, cut off after 500 bytes.
    pub error: Option<String>,
}

/// The state of a run as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunState {
    pub(super) status: RunStatus,
    pub(super) checkpoint: Option<Bytes>,
}

const FORMAT: u8 = 1;

impl RunState {
    pub(super) fn encode(&self) -> Result<Bytes> {
        let status = Codec::MessagePack.encode(&self.status)?;
        let length =
            u32::try_from(status.len()).map_err(|_| Error::invalid_input("the status of a run is too long"))?;
        let checkpoint = self.checkpoint.as_deref().unwrap_or_default();
        let mut bytes = BytesMut::with_capacity(6 + status.len() + checkpoint.len());
        bytes.put_slice(&[FORMAT, u8::from(self.checkpoint.is_some())]);
        bytes.put_u32_le(length);
        bytes.put_slice(&status);
        bytes.put_slice(checkpoint);
        Ok(bytes.freeze())
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Self> {
        let read = || {
            let (head, rest) = bytes.split_first_chunk::<6>()?;
            let [FORMAT, has, length @ ..] = head else { return None };
            let (status, checkpoint) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
            let checkpoint = (*has == 1).then(|| bytes.slice(bytes.len() - checkpoint.len()..));
            Some(Self { status: Codec::MessagePack.decode(status).ok()?, checkpoint })
        };
        read().ok_or_else(|| Error::new(ErrorKind::Corrupt, "what is stored here is no run"))
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use statehouse_core::hex;

    use super::*;

    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let status = RunStatus {
            revision: Revision::new(7, "d"),
            phase: RunPhase::Running,
            attempt: 2,
            done: 3,
            total: 9,
            holder: "r1".to_owned(),
            error: None,
        };
        let state = RunState { status, checkpoint: Some(Bytes::from_static(b"at 3")) };
        let text = |text: &str| format!("{:02x}{}", 0xa0 + text.len(), hex::encode(text.as_bytes()));
        let status = [
            "87".to_owned(),
            text("revision") + "82" + &text("number") + "07" + &text("digest") + &text("d"),
            text("phase") + &text("Running"),
            text("attempt") + "02",
            text("done") + "03",
            text("total") + "09",
            text("holder") + &text("r1"),
            text("error") + "c0",
        ]
        .concat();
        let golden = format!("0101{:02x}000000{status}{}", status.len() / 2, hex::encode(b"at 3"));
        assert_eq!(hex::encode(&state.encode().unwrap()), golden);
        let without = RunState { checkpoint: None, ..state.clone() };
        for state in [state, without] {
            assert_eq!(RunState::decode(&state.encode().unwrap()).unwrap(), state);
        }
        for bytes in [&b""[..], b"\x02\0\0\0\0\0", b"\x01\0\x05\0\0\0ab", b"\x01\0\x01\0\0\0\x07"] {
            let error = RunState::decode(&Bytes::copy_from_slice(bytes)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}

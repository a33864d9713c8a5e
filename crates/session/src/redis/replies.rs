//! What Redis replies to commands and scripts on sessions.

use std::time::Duration;

use bytes::BytesMut;
use statehouse_core::{Envelope, Result, Timestamp};
use statehouse_redis::{redis, unexpected_answer};

use crate::outcome::Loaded;
use crate::record::{Record, Snapshot, TOMBSTONE, deleted_at};
use crate::token::SessionKey;

/// What the script of a save replies.
pub(super) enum SwapReply {
    /// It is made; a rotation so long after the session's creation.
    Made(Option<Duration>),
    /// Nothing is changed: the login that it makes is not settled in one step.
    NotAtOnce,
    Gone,
    /// What is there in place of the base, and the last epoch of whoever is logged in to that, where the script has looked.
    Other(Vec<u8>, u64),
}

impl SwapReply {
    pub(super) fn read(reply: redis::Value) -> Result<Self> {
        let (reply, number) = match reply {
            redis::Value::Array(mut both) if both.len() == 2 => {
                let number = both.pop().map(redis::from_redis_value::<u64>).transpose();
                (both.remove(0), number.map_err(|_| unexpected_answer())?)
            }
            alone => (alone, None),
        };
        match reply {
            redis::Value::Int(1) => Ok(Self::Made(number.map(Duration::from_micros))),
            redis::Value::Int(2) => Ok(Self::NotAtOnce),
            redis::Value::BulkString(found) if found.starts_with(TOMBSTONE) => Ok(Self::Gone),
            redis::Value::BulkString(found) => Ok(Self::Other(found, number.unwrap_or(0))),
            redis::Value::Nil => Ok(Self::Gone),
            _ => Err(unexpected_answer()),
        }
    }
}

/// What stands under a session's key.
pub(super) fn found(key: &SessionKey, bytes: Option<Vec<u8>>, now: Timestamp) -> Result<Loaded> {
    let Some(bytes) = bytes else { return Ok(Loaded::Absent) };
    if let Some(at) = deleted_at(&bytes) {
        // What is known of the server's time is at most a second old, and never ahead of it.
        return Ok(Loaded::Deleted { ago: now.since(at) });
    }
    let found = read(key, bytes, now)?;
    // Of a key that somebody made persistent both timeouts still hold.
    Ok(if found.expires() > now { Loaded::Found(found) } else { Loaded::Absent })
}

pub(super) fn read(key: &SessionKey, bytes: Vec<u8>, now: Timestamp) -> Result<Snapshot> {
    Ok(snapshot(Record::decode(key, &bytes.into())?, now))
}

pub(super) fn snapshot(record: Record, now: Timestamp) -> Snapshot {
    let idle_expiry = record.idle_expiry();
    Snapshot::new(record, now, idle_expiry)
}

/// What a new session became: the bytes that were sent, under the stamp that the script answers.
pub(super) fn stamped(key: &SessionKey, sent: &[u8], stamp: &[u8], now: Timestamp) -> Result<Snapshot> {
    let at = Envelope::STAMP_OFFSET;
    let mut bytes = BytesMut::from(sent);
    match bytes.get_mut(at..at + stamp.len()) {
        Some(place) => place.copy_from_slice(stamp),
        None => return Err(unexpected_answer()),
    }
    read(key, bytes.into(), now)
}

//! What is sent to Redis: one command or script on one key for each operation.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::BytesMut;
use statehouse_core::{Envelope, ErrorKind, Namespace, Result, Timestamp, hex};
use statehouse_redis::{Idempotence, KeySpace, RedisClient, RedisScript, redis};

use super::error::{unexpected, within};
use crate::api::{Deleted, Loaded, REMEMBERED, Touched};
use crate::record::{NewSession, Record, Snapshot, TOMBSTONE};
use crate::token::{SessionKey, VerifierHash};

macro_rules! script {
    ($($file:literal),+) => {
        LazyLock::new(|| RedisScript::new(concat!($(include_str!($file)),+)))
    };
}

static CREATE: LazyLock<RedisScript> = script!("lua/stamp.lua", "lua/create.lua");
static SAVE: LazyLock<RedisScript> = script!("lua/save.lua");
static TOUCH: LazyLock<RedisScript> = script!("lua/stamp.lua", "lua/touch.lua");
static DELETE: LazyLock<RedisScript> = script!("lua/stamp.lua", "lua/delete.lua");

/// The sessions of one namespace.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    redis: RedisClient,
    keys: KeySpace,
    /// Whether the server had no room when it was last noticed.
    full: Arc<AtomicBool>,
}

/// How a save went on the server.
pub(super) enum Swapped {
    Ok(Snapshot),
    Other(Snapshot),
    Gone,
}

impl Wire {
    pub(super) fn new(redis: RedisClient, namespace: &Namespace) -> Result<Self> {
        Ok(Self { redis, keys: KeySpace::new(namespace, "session", "records")?, full: Arc::default() })
    }

    pub(super) const fn redis(&self) -> &RedisClient {
        &self.redis
    }

    /// `None` if the key is taken. Not repeated if the answer is lost: the second try would find the first.
    pub(super) async fn create(&self, key: &SessionKey, new: &NewSession) -> Result<Option<Snapshot>> {
        let bytes = Record::new(key, new).encode()?;
        let call =
            CREATE.key(self.key(key)).arg(&bytes[..]).arg(micros(new.idle_timeout)).arg(micros(new.absolute_timeout));
        let answer: Option<(Vec<u8>, u64)> =
            call.run(&self.redis, Idempotence::NotIdempotent).await.map_err(within("session.create"))?;
        answer.map(|(stamp, time)| stamped(key, &bytes, &stamp, Timestamp::from_micros(time))).transpose()
    }

    pub(super) async fn load(&self, key: &SessionKey) -> Result<Loaded> {
        let mut command = redis::cmd("GET");
        command.arg(self.key(key));
        let (bytes, now): (Option<Vec<u8>>, Timestamp) =
            self.redis.query_dated(&command).await.map_err(within("session.load"))?;
        let Some(bytes) = bytes else { return Ok(Loaded::Absent) };
        if bytes == TOMBSTONE {
            return self.deletion(key).await;
        }
        let found = read(key, bytes, now)?;
        // Of a key that somebody made persistent both timeouts still hold.
        Ok(if found.expires() > now { Loaded::Ok(found) } else { Loaded::Absent })
    }

    /// What has passed of the time for which a deletion is remembered, less the millisecond to which the server knows.
    async fn deletion(&self, key: &SessionKey) -> Result<Loaded> {
        let mut command = redis::cmd("PTTL");
        command.arg(self.key(key));
        let left: i64 = self.redis.query(&command, Idempotence::Idempotent).await.map_err(within("session.load"))?;
        let left = u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_millis);
        let Some(left) = left else { return Ok(Loaded::Absent) };
        Ok(Loaded::Deleted { ago: REMEMBERED.saturating_sub(left + Duration::from_millis(1)) })
    }

    /// Replaces the session if it is at the version of `base`. Repeated if the answer is lost: what was stored the
    /// first time is then the other session that is answered, and known by its version and all else that it holds.
    ///
    /// The stamp is made here, of the server's time as the base knows it, so that the server compares and stores and
    /// does nothing else. The time to live is set only when a touch would be worth it, or when the idle timeout is
    /// another: that is a fifth of the work.
    pub(super) async fn swap(&self, operation: &'static str, base: &Snapshot, next: Record) -> Result<Swapped> {
        let now = base.now();
        let mut next = next.stamped_over(base.record(), now);
        let key = *next.key();
        let version = base.record().version().get().to_le_bytes();
        let mut call = SAVE.key(self.key(&key)).arg(&version);
        if base.is_worth_a_touch() || next.idle_timeout() != base.record().idle_timeout() {
            call = call.arg(&next.encode()?[..]).arg(millis(next.expiry_if_unused().since(now)));
        } else {
            next = next.expiring_as(base.record());
            call = call.arg(&next.encode()?[..]);
        }
        // Whether the first try may have been applied has to be known, so the connector does not repeat it.
        let (answer, repeated) = match call.run(&self.redis, Idempotence::NotIdempotent).await {
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                (call.run(&self.redis, Idempotence::Idempotent).await, true)
            }
            answer => (answer, false),
        };
        match answer.map_err(within(operation))? {
            redis::Value::Int(1) => Ok(Swapped::Ok(snapshot(next, base.now()))),
            redis::Value::BulkString(found) if found == TOMBSTONE => Ok(Swapped::Gone),
            redis::Value::BulkString(found) => {
                let found = read(&key, found, base.now())?;
                let own = repeated && *found.record() == next;
                Ok(if own { Swapped::Ok(found) } else { Swapped::Other(found) })
            }
            redis::Value::Nil => Ok(Swapped::Gone),
            _ => Err(unexpected(operation)),
        }
    }

    pub(super) async fn touch(&self, key: &SessionKey) -> Result<Touched> {
        let call = TOUCH.key(self.key(key));
        match call.run(&self.redis, Idempotence::Idempotent).await.map_err(within("session.touch"))? {
            0_u8 => Ok(Touched::Gone),
            1 => Ok(Touched::Ok),
            2 => {
                self.note_full("session.touch");
                Ok(Touched::Ok)
            }
            _ => Err(unexpected("session.touch")),
        }
    }

    /// Without a `holder`, in the name of the application.
    pub(super) async fn delete(&self, key: &SessionKey, holder: Option<&VerifierHash>) -> Result<Deleted> {
        let mut call = DELETE.key(self.key(key)).arg(TOMBSTONE).arg(millis(REMEMBERED));
        if let Some(holder) = holder {
            call = call.arg(holder.as_bytes().as_slice());
        }
        match call.run(&self.redis, Idempotence::Idempotent).await.map_err(within("session.delete"))? {
            0_u8 => Ok(Deleted::Gone),
            1 => {
                self.full.store(false, Ordering::Relaxed);
                Ok(Deleted::Ok)
            }
            2 => Ok(Deleted::Refused),
            3 => {
                self.note_full("session.delete");
                Ok(Deleted::Ok)
            }
            _ => Err(unexpected("session.delete")),
        }
    }

    /// Says so once, until the server has stored something again.
    fn note_full(&self, operation: &'static str) {
        if !self.full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                name: "session.store_full",
                operation,
                "the memory of Redis is full: sessions are deleted without a trace, and none slides or is stored"
            );
        }
    }

    /// Hexadecimal digits are never escaped.
    fn key(&self, key: &SessionKey) -> String {
        let prefix = self.keys.prefix();
        let mut name = String::with_capacity(prefix.len() + 2 * key.as_bytes().len());
        name.push_str(prefix);
        hex::push(&mut name, key.as_bytes());
        name
    }
}

fn read(key: &SessionKey, bytes: Vec<u8>, now: Timestamp) -> Result<Snapshot> {
    Ok(snapshot(Record::decode(key, &bytes.into()).map_err(within("session.load"))?, now))
}

fn snapshot(record: Record, now: Timestamp) -> Snapshot {
    let expires = record.expiry_if_unused();
    Snapshot::new(record, now, expires)
}

/// What a new session became: the bytes that were sent, under the stamp that the script answers.
fn stamped(key: &SessionKey, sent: &[u8], stamp: &[u8], now: Timestamp) -> Result<Snapshot> {
    let at = Envelope::STAMP_OFFSET;
    let mut bytes = BytesMut::from(sent);
    match bytes.get_mut(at..at + stamp.len()) {
        Some(place) => place.copy_from_slice(stamp),
        None => return Err(unexpected("session.create")),
    }
    read(key, bytes.into(), now)
}

/// At least one: `SET` refuses zero.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX).max(1)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

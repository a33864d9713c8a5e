//! What is sent to Redis: one script on one key for each operation.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use statehouse_core::{Envelope, Namespace, Result, Timestamp};
use statehouse_redis::{Idempotence, KeySpace, RedisClient, RedisScript, redis};

use super::error::{unexpected, within};
use crate::api::{Deleted, Touched};
use crate::record::{NewSession, Record, Snapshot};
use crate::token::{SessionKey, VerifierHash};

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| RedisScript::new(concat!(include_str!("lua/stamp.lua"), include_str!($file))))
    };
}

static CREATE: LazyLock<RedisScript> = script!("lua/create.lua");
static SAVE: LazyLock<RedisScript> = script!("lua/save.lua");
static TOUCH: LazyLock<RedisScript> = script!("lua/touch.lua");
static DELETE: LazyLock<RedisScript> = script!("lua/delete.lua");

/// Whether the script stored, the bytes that the next two numbers belong to, milliseconds to live, the server's time.
type Answer = Option<(u8, Vec<u8>, i64, u64)>;

/// What `PTTL` answers for a key that is not there.
const ABSENT: i64 = -2;

/// The sessions of one namespace.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    redis: RedisClient,
    keys: KeySpace,
}

/// How a save went on the server.
pub(super) enum Swapped {
    Ok(Snapshot),
    Other(Snapshot),
    Gone,
}

impl Wire {
    pub(super) fn new(redis: RedisClient, namespace: &Namespace) -> Result<Self> {
        Ok(Self { redis, keys: KeySpace::new(namespace, "session", "records")? })
    }

    pub(super) const fn redis(&self) -> &RedisClient {
        &self.redis
    }

    /// `None` if the key is taken. Not repeated if the answer is lost: the second try would find the first.
    pub(super) async fn create(&self, key: &SessionKey, new: &NewSession) -> Result<Option<Snapshot>> {
        let bytes = Record::new(key, new).encode()?;
        let call =
            CREATE.key(self.key(key)).arg(&bytes[..]).arg(micros(new.idle_timeout)).arg(micros(new.absolute_timeout));
        let answer: Answer =
            call.run(&self.redis, Idempotence::NotIdempotent).await.map_err(within("session.create"))?;
        answer.map(|answer| stamped(key, &bytes, &answer)).transpose()
    }

    pub(super) async fn load(&self, key: &SessionKey) -> Result<Option<Snapshot>> {
        // Three plain commands in one round trip cost the server a tenth of a script that does the same. The
        // session may end between them, which the time to live says.
        let name = self.key(key);
        let commands = redis::pipe().get(&name).pttl(&name).cmd("TIME").to_owned();
        let answer = self.redis.pipeline(&commands, Idempotence::Idempotent).await;
        let (bytes, ttl, (seconds, micros)): (Option<Vec<u8>>, i64, (u64, u64)) =
            answer.map_err(within("session.load"))?;
        match bytes {
            Some(bytes) if ttl != ABSENT => read(key, &bytes.into(), ttl, seconds * 1_000_000 + micros).map(Some),
            _ => Ok(None),
        }
    }

    /// Replaces the session if it is at the version of `base`. Repeated if the answer is lost: what was stored the
    /// first time is then the other session that is answered, and what the caller bases on it is equal to it.
    pub(super) async fn swap(&self, operation: &'static str, base: &Snapshot, next: &Record) -> Result<Swapped> {
        let (key, bytes) = (next.key(), next.encode()?);
        let call = SAVE
            .key(self.key(key))
            .arg(&bytes[..])
            .arg(&base.record().version().get().to_le_bytes())
            .arg(micros(next.idle_timeout()));
        let answer: Answer = call.run(&self.redis, Idempotence::Idempotent).await.map_err(within(operation))?;
        match answer {
            None => Ok(Swapped::Gone),
            Some((0, bytes, ttl, time)) => Ok(Swapped::Other(read(key, &bytes.into(), ttl, time)?)),
            Some(answer) => Ok(Swapped::Ok(stamped(key, &bytes, &answer)?)),
        }
    }

    pub(super) async fn touch(&self, key: &SessionKey) -> Result<Touched> {
        let call = TOUCH.key(self.key(key));
        let touched: bool = call.run(&self.redis, Idempotence::Idempotent).await.map_err(within("session.touch"))?;
        Ok(if touched { Touched::Ok } else { Touched::Gone })
    }

    pub(super) async fn delete(&self, key: &SessionKey) -> Result<Deleted> {
        let command = redis::cmd("DEL").arg(self.key(key)).to_owned();
        let deleted: bool =
            self.redis.query(&command, Idempotence::Idempotent).await.map_err(within("session.delete"))?;
        Ok(if deleted { Deleted::Ok } else { Deleted::Gone })
    }

    pub(super) async fn delete_held(&self, key: &SessionKey, holder: &VerifierHash) -> Result<Deleted> {
        let call = DELETE.key(self.key(key)).arg(holder.as_bytes().as_slice());
        match call.run(&self.redis, Idempotence::Idempotent).await.map_err(within("session.delete"))? {
            0_u8 => Ok(Deleted::Gone),
            1 => Ok(Deleted::Ok),
            2 => Ok(Deleted::Refused),
            _ => Err(unexpected("session.delete")),
        }
    }

    fn key(&self, key: &SessionKey) -> Vec<u8> {
        self.keys.key(key.to_string())
    }
}

fn read(key: &SessionKey, bytes: &Bytes, ttl: i64, time: u64) -> Result<Snapshot> {
    let record = Record::decode(key, bytes).map_err(within("session.load"))?;
    let now = Timestamp::from_micros(time);
    // A key that somebody made persistent has no time to live; the absolute expiry still holds.
    let expires = match u64::try_from(ttl) {
        Ok(left) => (now + Duration::from_millis(left)).min(record.absolute_expiry()),
        Err(_) => record.absolute_expiry(),
    };
    Ok(Snapshot::new(record, now, expires))
}

/// What the script stored: the bytes that were sent, under the stamp that it answers.
fn stamped(key: &SessionKey, sent: &[u8], (_, stamp, ttl, time): &(u8, Vec<u8>, i64, u64)) -> Result<Snapshot> {
    let at = Envelope::STAMP_OFFSET;
    let mut bytes = BytesMut::from(sent);
    match bytes.get_mut(at..at + stamp.len()) {
        Some(place) => place.copy_from_slice(stamp),
        None => return Err(unexpected("session.save")),
    }
    read(key, &bytes.freeze(), *ttl, *time)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

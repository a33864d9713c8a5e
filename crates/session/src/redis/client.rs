//! What is sent to Redis: one command or script on one key for each operation.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::BytesMut;
use statehouse_core::time::{millis_rounded_up, whole_micros};
use statehouse_core::{Envelope, ErrorKind, Fence, Namespace, Operation, Result, Timestamp, hex};
use statehouse_redis::{
    ENVELOPE_STAMP, Idempotence, KeySpace, REFUSE_STALE, RedisClient, RedisScript, ScriptCall, raise, redis, script,
    unexpected_answer,
};

use super::anonymous::{Anonymous, second, until};
use crate::operation::Operations;
use crate::options::{CreateOptions, DeleteOptions, SaveOptions};
use crate::outcome::{Deleted, Loaded, REMEMBERED, Touched};
use crate::record::{NewSession, Principal, Record, Snapshot, TOMBSTONE, deleted_at};
use crate::token::{SessionKey, VerifierHash};

pub(super) const OPERATION: Operations = Operations::of("redis");

static CREATE: LazyLock<RedisScript> = script!(ENVELOPE_STAMP, "lua/create.lua");
static SAVE: LazyLock<RedisScript> = script!("lua/save.lua");
static SAVE_FENCED: LazyLock<RedisScript> = script!(REFUSE_STALE, "lua/save.lua");
static TOUCH: LazyLock<RedisScript> = script!(ENVELOPE_STAMP, "lua/touch.lua");
static DELETE: LazyLock<RedisScript> = script!(ENVELOPE_STAMP, "lua/delete.lua");

static DELETE_FENCED: LazyLock<RedisScript> = script!(REFUSE_STALE, ENVELOPE_STAMP, "lua/delete.lua");

/// The sessions of one namespace.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    redis: RedisClient,
    keys: KeySpace,
    marks: KeySpace,
    /// Whether the server had no room when it was last noticed.
    full: Arc<AtomicBool>,
    anonymous: Arc<Anonymous>,
}

/// How a save went on the server.
pub(super) enum Swapped {
    Ok(Snapshot),
    /// Another session, and whether it may hold this change.
    Other(Snapshot, SaveOptions),
    Gone,
}

impl Wire {
    pub(super) fn new(redis: RedisClient, namespace: &Namespace, max_anonymous: u64) -> Result<Self> {
        let anonymous = Arc::new(Anonymous::new(redis.clone(), namespace, max_anonymous)?);
        let space = |name| KeySpace::new(namespace, "session", name);
        Ok(Self { redis, keys: space("records")?, marks: space("marks")?, full: Arc::default(), anonymous })
    }

    pub(super) fn with_max_anonymous(self, bound: u64) -> Self {
        Self { anonymous: Arc::new(self.anonymous.with_bound(bound)), ..self }
    }

    pub(super) const fn redis(&self) -> &RedisClient {
        &self.redis
    }

    /// Adds its fence to a call of a script that looks at one. In a cluster the mark would be in another slot than the session.
    fn fenced<'s>(&self, call: ScriptCall<'s>, fence: Option<&Fence>) -> Result<ScriptCall<'s>> {
        match fence {
            None => Ok(call),
            Some(_) if self.redis.is_cluster() => Err(Fence::unsupported()),
            Some(fence) => Ok(call.fence(&self.marks.key(fence.mark().as_bytes()), fence)),
        }
    }

    pub(super) async fn raise(&self, fence: &Fence, deadline: Option<Duration>) -> Result<()> {
        if self.redis.is_cluster() {
            return Err(Fence::unsupported());
        }
        let call = raise(&self.marks.key(fence.mark().as_bytes()), fence);
        let raised: u8 = call.run(&self.redis.within(deadline), Idempotence::Idempotent).await?;
        if raised == 1 { Ok(()) } else { Err(unexpected_answer()) }
    }

    /// `None` if the key is taken. A second try knows the first one's session by the id of the create in it.
    pub(super) async fn create(
        &self,
        key: &SessionKey,
        new: &NewSession,
        options: &CreateOptions,
    ) -> Result<Option<Snapshot>> {
        let place = new.principal.is_none().then(|| self.anonymous.take()).transpose()?;
        let bytes = Record::new(key, new).created_by(options.id()?).encode()?;
        let (idle, absolute) = (whole_micros(new.idle_timeout), whole_micros(new.absolute_timeout));
        let call = CREATE.key(self.key(key)).arg(&bytes[..]).arg(idle).arg(absolute).deadline();
        let answer: Option<(Vec<u8>, u64)> =
            call.run(&self.redis.within(options.deadline), Idempotence::Idempotent).await?;
        let Some((stamp, time)) = answer else { return Ok(None) };
        let created = stamped(key, &bytes, &stamp, Timestamp::from_micros(time))?;
        if let Some(place) = place {
            place.used(until(created.record()));
        }
        Ok(Some(created))
    }

    pub(super) async fn load(&self, key: &SessionKey, deadline: Option<Duration>) -> Result<Loaded> {
        let mut command = redis::cmd("GET");
        command.arg(self.key(key));
        let (bytes, now): (Option<Vec<u8>>, Timestamp) = self.redis.within(deadline).query_dated(&command).await?;
        Self::found(key, bytes, now)
    }

    /// The sessions of these keys together with other values that lie on the same server, of what has no value none. Not for a
    /// cluster.
    pub(super) async fn load_beside<const N: usize>(
        &self,
        keys: &[SessionKey],
        others: [Vec<u8>; N],
        deadline: Option<Duration>,
    ) -> Result<(Vec<Result<Loaded>>, [Option<Vec<u8>>; N])> {
        let mut command = redis::cmd("MGET");
        for name in keys.iter().map(|key| self.key(key).into_bytes()).chain(others) {
            command.arg(name);
        }
        let redis = self.redis.within(deadline);
        let (mut values, now): (Vec<Option<Vec<u8>>>, Timestamp) = redis.query_dated(&command).await?;
        if values.len() != keys.len() + N {
            return Err(unexpected_answer());
        }
        let others = values.split_off(keys.len()).try_into().map_err(|_| unexpected_answer())?;
        let found = keys.iter().zip(values).map(|(key, bytes)| Self::found(key, bytes, now));
        Ok((found.collect(), others))
    }

    fn found(key: &SessionKey, bytes: Option<Vec<u8>>, now: Timestamp) -> Result<Loaded> {
        let Some(bytes) = bytes else { return Ok(Loaded::Absent) };
        if let Some(at) = deleted_at(&bytes) {
            // What is known of the server's time is at most a second old, and never ahead of it.
            return Ok(Loaded::Deleted { ago: now.since(at) });
        }
        let found = read(key, bytes, now)?;
        // Of a key that somebody made persistent both timeouts still hold.
        Ok(if found.expires() > now { Loaded::Found(found) } else { Loaded::Absent })
    }

    /// Replaces the session if it is at the version of `base`. If the answer is lost it is repeated, and known for its own
    /// by its id, whatever others have changed in between.
    ///
    /// The stamp is made here, of the server's time as the base knows it, so that the server compares and stores and
    /// does nothing else. The time to live is set only when a touch would be worth it, or when the idle timeout is
    /// another: that is a fifth of the work.
    pub(super) async fn swap(&self, base: &Snapshot, next: Record, options: SaveOptions) -> Result<Swapped> {
        let now = base.now();
        let (mut options, id) = options.identified()?;
        let mut next = next.stamped_over(base.record(), id, now);
        let key = *next.key();
        let version = base.record().version().get().to_le_bytes();
        let mut lives = String::new();
        if base.is_worth_a_touch() || next.idle_timeout() != base.record().idle_timeout() {
            lives = millis(next.expiry_if_unused().since(now)).to_string();
        } else {
            next = next.expiring_as(base.record());
        }
        let script = if options.fence.is_some() { &SAVE_FENCED } else { &SAVE };
        let call = script.key(self.key(&key)).arg(&version).arg(&next.encode()?[..]).arg(lives).deadline();
        let call = self.fenced(call, options.fence.as_ref())?;
        let redis = self.redis.within(options.deadline);
        let answer = match call.run(&redis, Idempotence::NotIdempotent).await {
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                options.repeats = true;
                match call.run(&redis, Idempotence::Idempotent).await {
                    // The first may have been made before somebody else acquired the lock.
                    Err(refused) if refused.kind() == ErrorKind::Fenced => Err(error),
                    again => again,
                }
            }
            answer => answer,
        };
        match answer? {
            redis::Value::Int(1) => {
                self.anonymous.changed(until(base.record()), until(&next));
                Ok(Swapped::Ok(snapshot(next, base.now())))
            }
            redis::Value::BulkString(found) if found.starts_with(TOMBSTONE) => Ok(Swapped::Gone),
            redis::Value::BulkString(found) => Ok(Swapped::Other(read(&key, found, base.now())?, options)),
            redis::Value::Nil => Ok(Swapped::Gone),
            _ => Err(unexpected_answer()),
        }
    }

    /// And whose it is, until when at the latest, if somebody is logged in.
    pub(super) async fn touch(
        &self,
        key: &SessionKey,
        deadline: Option<Duration>,
    ) -> Result<(Touched, Option<(Principal, Timestamp)>)> {
        let call = TOUCH.key(self.key(key)).deadline();
        let answer: (u8, u64, u64, u64, Vec<u8>, u64) =
            call.run(&self.redis.within(deadline), Idempotence::Idempotent).await?;
        let (slid, before, after, idle, principal, ends) = answer;
        match slid {
            0 => return Ok((Touched::Gone, None)),
            1 if after > 0 => {
                let until = |expires| second(Timestamp::from_micros(expires), Duration::from_micros(idle));
                self.anonymous.changed(Some(until(before)), Some(until(after)));
            }
            1 => {}
            2 => self.note_full(OPERATION.touch),
            _ => return Err(unexpected_answer()),
        }
        let principal = std::str::from_utf8(&principal).ok().and_then(|text| Principal::new(text).ok());
        Ok((Touched::Slid, principal.map(|principal| (principal, Timestamp::from_micros(ends)))))
    }

    /// Without a `holder`, in the name of the application. With a principal, only a login of theirs that began `before` the epoch.
    pub(super) async fn delete(
        &self,
        key: &SessionKey,
        holder: Option<&VerifierHash>,
        before: Option<(&Principal, u64)>,
        options: &DeleteOptions,
    ) -> Result<Deleted> {
        let holder = holder.map_or(&[][..], |holder| holder.as_bytes());
        let script = if options.fence.is_some() { &DELETE_FENCED } else { &DELETE };
        let call = script.key(self.key(key)).arg(&TOMBSTONE[..]).arg(millis(REMEMBERED)).arg(holder);
        let (principal, epoch) = before.map_or(("", 0), |(principal, epoch)| (principal.as_str(), epoch));
        let call = call.arg(principal).arg(epoch).deadline();
        let call = self.fenced(call, options.fence.as_ref())?;
        match call.run(&self.redis.within(options.deadline), Idempotence::Idempotent).await? {
            0_u8 => Ok(Deleted::Gone),
            1 => {
                self.full.store(false, Ordering::Relaxed);
                Ok(Deleted::Removed)
            }
            2 => Ok(Deleted::Refused),
            3 => {
                self.note_full(OPERATION.delete);
                Ok(Deleted::Removed)
            }
            _ => Err(unexpected_answer()),
        }
    }

    /// Says so once, until the server has stored something again.
    fn note_full(&self, operation: Operation) {
        if !self.full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                name: "session.store_full",
                operation = operation.name(),
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
    Ok(snapshot(Record::decode(key, &bytes.into())?, now))
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
        None => return Err(unexpected_answer()),
    }
    read(key, bytes.into(), now)
}

/// At least one: `SET` refuses zero.
fn millis(duration: Duration) -> u64 {
    millis_rounded_up(duration).max(1)
}

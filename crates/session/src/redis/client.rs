//! What is sent to Redis: one command or script on one key for each operation.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use statehouse_core::time::{millis_rounded_up, whole_micros};
use statehouse_core::{ErrorKind, Fence, Namespace, Result, Timestamp, hex};
use statehouse_redis::{
    ENVELOPE_STAMP, Idempotence, KeySpace, REFUSE_STALE, REFUSE_STALE_TO_DELETE, RedisClient, RedisScript, ScriptCall,
    raise, redis, script, unexpected_answer,
};

use super::anonymous::{Anonymous, second, until};
use super::answers::Answers;
use super::dated::weight;
use super::principals::{Before, Deadline, Entry, Known, Owner};
use super::replies::{SwapReply, found, read, snapshot, stamped};
use crate::operation::Operations;
use crate::options::{CreateOptions, DeleteOptions, SaveOptions};
use crate::outcome::{Deleted, Loaded, REMEMBERED, Saved, Touched};
use crate::record::{Authority, NewSession, Record, SaveId, Snapshot, TOMBSTONE};
use crate::token::{SessionKey, VerifierHash, random};

pub(super) const OPERATION: Operations = Operations::of("redis");

static CREATE: LazyLock<RedisScript> = script!(ENVELOPE_STAMP, "lua/create.lua");
static CREATE_ENTERING: LazyLock<RedisScript> =
    script!(ENVELOPE_STAMP, "lua/epoch.lua", "lua/enters.lua", "lua/create_entering.lua", "lua/create.lua");
static SAVE_ENTERING: LazyLock<RedisScript> =
    script!(LAST_EPOCH, "lua/enters.lua", "lua/save_entering.lua", "lua/save.lua");
static SAVE: LazyLock<RedisScript> = script!(LAST_EPOCH, "lua/save.lua");
static SAVE_FENCED: LazyLock<RedisScript> = script!(REFUSE_STALE, LAST_EPOCH, "lua/save.lua");
static TOUCH: LazyLock<RedisScript> = script!(ENVELOPE_STAMP, LAST_EPOCH, "lua/touch.lua");
static DELETE: LazyLock<RedisScript> = script!(ENVELOPE_STAMP, LAST_EPOCH, "lua/delete.lua");
static DELETE_FENCED: LazyLock<RedisScript> =
    script!(REFUSE_STALE_TO_DELETE, ENVELOPE_STAMP, LAST_EPOCH, "lua/delete.lua");

/// What a repeated deletion answers that finds nothing, not even what the first would have left where there is room.
const LEFT_NOTHING: u8 = 4;

/// As a key to ask which server has it, where there is but one.
const THE_ONLY: &[u8] = &[];

const LAST_EPOCH: &str = concat!(include_str!("lua/epoch.lua"), include_str!("lua/last_epoch.lua"));

/// The sessions of one namespace.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    redis: RedisClient,
    answers: Arc<Answers>,
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
    /// Nothing is changed: the login that it makes is not settled in one step. Whether a try that was lost may have been.
    NotAtOnce(SaveOptions),
}

/// How a create went on the server.
pub(super) enum Created {
    Ok(Snapshot),
    Taken,
    /// Nothing is created: the login that it makes is not settled in one step.
    NotAtOnce,
}

/// The call of a script on a session, and the argument that says whose it is.
fn call_known<'s>(script: &'s RedisScript, key: &str, known: Option<Known>) -> (ScriptCall<'s>, String) {
    let call = script.key(key);
    let Some(Known { principal, epochs: [own, everybody], .. }) = known else { return (call, String::new()) };
    (call.key(own).key(everybody), principal.to_string())
}

impl Swapped {
    /// What there is now.
    pub(super) fn record(&self) -> Option<&Record> {
        match self {
            Self::Ok(found) | Self::Other(found, _) => Some(found.record()),
            Self::Gone | Self::NotAtOnce(_) => None,
        }
    }

    /// What to answer. See [`Snapshot::contest`].
    pub(super) fn settled(self, base: &Snapshot, by: Authority, verifier: Option<&VerifierHash>) -> Result<Saved> {
        match self {
            Self::Ok(snapshot) => Ok(Saved::Applied(snapshot)),
            Self::Other(current, options) => current.contest(base, by, verifier, &options),
            Self::Gone => Ok(Saved::Gone),
            Self::NotAtOnce(_) => Err(unexpected_answer()),
        }
    }
}

impl Wire {
    pub(super) fn new(
        redis: RedisClient,
        answers: Arc<Answers>,
        namespace: &Namespace,
        max_anonymous: u64,
    ) -> Result<Self> {
        let anonymous = Arc::new(Anonymous::new(redis.clone(), namespace, max_anonymous)?);
        let space = |name| KeySpace::new(namespace, "session", name);
        let (keys, marks) = (space("records")?, space("marks")?);
        Ok(Self { redis, answers, keys, marks, full: Arc::default(), anonymous })
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
        let mark = self.marks.key(fence.mark().as_bytes());
        let (call, redis) = (raise(&mark, fence), self.redis.within(deadline));
        let raised: u8 = self.answers.write(&mark, pin!(call.run(&redis, Idempotence::Idempotent))).await?;
        if raised == 1 { Ok(()) } else { Err(unexpected_answer()) }
    }

    /// A second try knows the first one's session by the id of the create in it. With an `entry`, of whom it logs in.
    pub(super) async fn create(
        &self,
        key: &SessionKey,
        new: &NewSession,
        entry: Option<&Entry>,
        options: &CreateOptions,
    ) -> Result<Created> {
        let place = new.principal.is_none().then(|| self.anonymous.take()).transpose()?;
        let bytes = Record::new(key, new).created_by(options.id()?).encode()?;
        self.redis.check_len(bytes.len())?;
        let (idle, absolute) = (whole_micros(new.idle_timeout), whole_micros(new.absolute_timeout));
        let name = self.key(key);
        let call = match entry {
            None => CREATE.key(&name),
            Some(entry) => entry.keys(CREATE_ENTERING.key(&name), false),
        };
        let call = call.arg(&bytes[..]).arg(idle).arg(absolute);
        let call = if let Some(entry) = entry { entry.args(call) } else { call }.deadline();
        let redis = self.redis.within(options.deadline);
        let create = pin!(call.run(&redis, Idempotence::Idempotent));
        let answer: Option<(Vec<u8>, u64)> = self.answers.write(name.as_bytes(), create).await?;
        let Some((stamp, time)) = answer else { return Ok(Created::Taken) };
        if stamp.is_empty() && entry.is_some() {
            return Ok(Created::NotAtOnce);
        }
        let created = stamped(key, &bytes, &stamp, Timestamp::from_micros(time))?;
        if let Some(place) = place {
            place.used(until(created.record()));
        }
        Ok(Created::Ok(created))
    }

    pub(super) async fn load(&self, key: &SessionKey, deadline: Option<Duration>) -> Result<Loaded> {
        let (mut command, name) = (redis::cmd("GET"), self.key(key));
        command.arg(&name);
        let redis = self.redis.within(deadline);
        let load = pin!(redis.query_dated(&command));
        let (bytes, now): (Option<Vec<u8>>, Timestamp) = self.answers.read(name.as_bytes(), load).await?;
        found(key, bytes, now)
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
        let load = pin!(redis.query_dated(&command));
        let (mut values, now): (Vec<Option<Vec<u8>>>, Timestamp) = self.answers.read(THE_ONLY, load).await?;
        if values.len() != keys.len() + N {
            return Err(unexpected_answer());
        }
        let others = values.split_off(keys.len()).try_into().map_err(|_| unexpected_answer())?;
        let found = keys.iter().zip(values).map(|(key, bytes)| found(key, bytes, now));
        Ok((found.collect(), others))
    }

    /// Replaces the session if it is at the version of `base`. If the answer is lost it is repeated, and known for its own
    /// by its id, whatever others have changed in between.
    ///
    /// The stamp is made here, of the server's time as the base knows it, so that the server compares and stores and
    /// does nothing else. The time to live is set only when a touch would be worth it, or when one of the timeouts is
    /// another: that is a fifth of the work. A rotation is dated by the server, as it makes it: see [`weight`].
    ///
    /// With what is `known` of whose the base is, nothing is written if it was revoked. With an `entry`, whoever it logs in is put into
    /// their index in the same step; its write is not fenced.
    pub(super) async fn swap(
        &self,
        base: &Snapshot,
        next: Record,
        known: Option<Known>,
        entry: Option<&Entry>,
        options: SaveOptions,
    ) -> Result<Swapped> {
        let (mut options, id) = options.identified()?;
        let (next, lives) = stamped_over(base, next, id);
        let bytes = next.encode()?;
        self.redis.check_len(bytes.len())?;
        let script = match (entry, &options.fence) {
            (Some(_), _) => &SAVE_ENTERING,
            (None, Some(_)) => &SAVE_FENCED,
            (None, None) => &SAVE,
        };
        let is_known = known.is_some();
        let epoch = known.as_ref().map(|_| base.record().epoch().to_string()).unwrap_or_default();
        let name = self.key(next.key());
        let (call, _) = call_known(script, &name, known);
        let call = if let Some(entry) = entry { entry.keys(call, is_known) } else { call };
        let version = base.record().version().get().to_le_bytes();
        let dates = next.is_rotated(base.record()).then(|| weight(bytes.len()).to_string());
        let call = call.arg(&version).arg(&bytes[..]).arg(lives).arg(epoch);
        let call = call.arg(u8::from(options.ends_others)).arg(dates.unwrap_or_default());
        let call = match entry {
            Some(entry) => entry.args(call.arg(next.absolute_expiry().as_micros())).deadline(),
            None => self.fenced(call.deadline(), options.fence.as_ref())?,
        };
        let answer = self.send_swap(&call, name.as_bytes(), &mut options).await?;
        self.swapped(base, next, answer, options)
    }

    async fn send_swap(&self, call: &ScriptCall<'_>, name: &[u8], options: &mut SaveOptions) -> Result<redis::Value> {
        let deadline = Deadline::of(options.deadline);
        let redis = self.redis.within(deadline.left());
        match self.answers.write(name, pin!(call.run(&redis, Idempotence::NotIdempotent))).await {
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                options.repeats = true;
                // Whatever that fails with, as because somebody else has acquired the lock since: the first may have been made.
                let redis = self.redis.within(deadline.left());
                let again = async { self.answers.write(name, pin!(call.run(&redis, Idempotence::Idempotent))).await };
                Box::pin(again).await.map_err(|_| error)
            }
            answer => answer,
        }
    }

    /// What the answer to a save says.
    fn swapped(&self, base: &Snapshot, next: Record, answer: redis::Value, options: SaveOptions) -> Result<Swapped> {
        match SwapReply::read(answer)? {
            SwapReply::Made(rotated) => {
                self.anonymous.changed(until(base.record()), until(&next));
                let next = if let Some(age) = rotated { next.rotated_after(age) } else { next };
                Ok(Swapped::Ok(snapshot(next, base.now())))
            }
            SwapReply::NotAtOnce => Ok(Swapped::NotAtOnce(options)),
            SwapReply::Gone => Ok(Swapped::Gone),
            SwapReply::Other(found, last) => {
                let current = read(base.record().key(), found, base.now())?;
                let theirs = current.record().principal() == base.record().principal();
                let is_over = theirs && current.record().is_revoked_in(last);
                Ok(if is_over { Swapped::Gone } else { Swapped::Other(current, options) })
            }
        }
    }

    /// With a slid session of somebody's whose it is, and when it ends at the latest.
    pub(super) async fn touch(
        &self,
        key: &SessionKey,
        known: Option<Known>,
        deadline: Option<Duration>,
    ) -> Result<((Touched, Timestamp), Option<Owner>)> {
        let name = self.key(key);
        let (call, principal) = call_known(&TOUCH, &name, known);
        let (call, redis) = (call.arg(principal).deadline(), self.redis.within(deadline));
        let touch = pin!(call.run(&redis, Idempotence::Idempotent));
        let answer: (u8, u64, u64, u64, Vec<u8>, u64, u64) = self.answers.write(name.as_bytes(), touch).await?;
        let (slid, before, after, idle, principal, ends, epoch) = answer;
        let ends = Timestamp::from_micros(ends);
        match slid {
            0 => return Ok(((Touched::Gone, ends), None)),
            1 if after > 0 => {
                let until = |expires| second(Timestamp::from_micros(expires), Duration::from_micros(idle));
                self.anonymous.changed(Some(until(before)), Some(until(after)));
            }
            1 => {}
            _ => return Err(unexpected_answer()),
        }
        Ok(((Touched::Slid, ends), Owner::read(&principal, epoch)))
    }

    /// Without a `holder`, in the name of the application. Answers whose it was, too. Where it is known whose it is, it leaves their index.
    pub(super) async fn delete(
        &self,
        key: &SessionKey,
        holder: Option<&VerifierHash>,
        before: Option<Before<'_>>,
        known: Option<Known>,
        options: &DeleteOptions,
    ) -> Result<(Deleted, Option<Owner>)> {
        let holder = holder.map_or(&[][..], |holder| holder.as_bytes());
        let script = if options.fence.is_some() { &DELETE_FENCED } else { &DELETE };
        let (principal, epoch) = before.as_ref().map_or(("", 0), |before| (before.principal.as_str(), before.epoch));
        let index = known.as_ref().map(|known| known.sessions.clone());
        let index = index.or_else(|| before.as_ref()?.sessions.clone());
        let member = index.as_ref().map_or(&[][..], |_| &key.as_bytes()[..]);
        let name = self.key(key);
        let (call, whose) = call_known(script, &name, known);
        let call = if let Some(index) = index { call.key(index) } else { call };
        let call = call.arg(&TOMBSTONE[..]).arg(millis(REMEMBERED)).arg(holder);
        let call = call.arg(principal).arg(epoch).arg(whose).arg(member).arg(&random::<8>()?[..]);
        let fence = options.fence.as_ref();
        let (first, again) = (self.fenced(call.clone().arg("").deadline(), fence)?, call.arg(1).deadline());
        let calls = [first, self.fenced(again, fence)?];
        let (deleted, principal, epoch) = self.send_delete(calls, name.as_bytes(), options).await?;
        match deleted {
            1 => self.full.store(false, Ordering::Relaxed),
            3 => self.note_full(),
            _ => {}
        }
        let deleted = match deleted {
            0 => Deleted::Gone,
            1 | 3 => Deleted::Removed,
            2 => Deleted::Refused,
            _ => return Err(unexpected_answer()),
        };
        Ok((deleted, Owner::read(&principal, epoch)))
    }

    /// If the answer is lost it is repeated, and knows what the first try has deleted.
    async fn send_delete(
        &self,
        [first, again]: [ScriptCall<'_>; 2],
        name: &[u8],
        options: &DeleteOptions,
    ) -> Result<(u8, Vec<u8>, u64)> {
        let deadline = Deadline::of(options.deadline);
        let redis = self.redis.within(deadline.left());
        match self.answers.write(name, pin!(first.run(&redis, Idempotence::NotIdempotent))).await {
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                let redis = self.redis.within(deadline.left());
                let again = async { self.answers.write(name, pin!(again.run(&redis, Idempotence::Idempotent))).await };
                let again: Result<(u8, _, _)> = Box::pin(again).await;
                // Whatever that fails with, the first may have been made; and where nothing is left, nobody knows by whom.
                again.ok().filter(|(how, ..)| *how != LEFT_NOTHING).ok_or(error)
            }
            answer => answer,
        }
    }

    /// Says so once, until the server has stored something again.
    fn note_full(&self) {
        if !self.full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                name: "session.store_full",
                "the memory of Redis is full: sessions are deleted without a trace, and none is stored"
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

/// The record as a save of this id stores it over the base, and how long its key lives from then on, unless that stays.
fn stamped_over(base: &Snapshot, next: Record, id: SaveId) -> (Record, String) {
    let now = base.now();
    let next = next.stamped_over(base.record(), id, now);
    let timeouts = |record: &Record| (record.idle_timeout(), record.absolute_expiry());
    if base.is_worth_a_touch() || timeouts(&next) != timeouts(base.record()) {
        let lives = millis(next.expiry_if_unused().since(now)).to_string();
        return (next, lives);
    }
    (next.expiring_as(base.record()), String::new())
}

/// At least one: `SET` refuses zero.
fn millis(duration: Duration) -> u64 {
    millis_rounded_up(duration).max(1)
}

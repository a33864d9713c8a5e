use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::mem::replace;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use statehouse_core::policy::Occasional;
use statehouse_core::time::whole_micros;
use statehouse_core::{CodecId, Error, ErrorKind, Fence, Namespace, Result, SchemaId, SystemClock, Version};
use statehouse_redis::redis::cmd;
use statehouse_redis::{
    Idempotence, REFUSE_STALE, RedisClient, RedisScript, ScriptCall, raise, script, unexpected_answer,
};

use super::asking::{Asking, Lost};
use super::format::{self, Tag};
use super::groups::{Entries, GROUPS, Group, SETTLE, group_of, groups, sole_schema};
use super::told::{CONFLICT, DONE, DOUBT, ENDED, HELD, HIT, Told, ToldOf};
use crate::options::Guard;
use crate::{CacheKey, Holding, RemoveOptions, ReserveOptions};

static PLAIN: LazyLock<RedisScript> =
    script!("lua/known.lua", "lua/plain_known.lua", "lua/head.lua", "lua/ensure.lua", "lua/plain.lua");
static PLAIN_FENCED: LazyLock<RedisScript> =
    script!(REFUSE_STALE, "lua/known.lua", "lua/plain_known.lua", "lua/head.lua", "lua/ensure.lua", "lua/plain.lua");
static SET: LazyLock<RedisScript> =
    script!("lua/known.lua", "lua/set_known.lua", "lua/head.lua", "lua/ensure.lua", "lua/look.lua", "lua/set.lua");
static SET_FENCED: LazyLock<RedisScript> =
    script!(REFUSE_STALE, "lua/known.lua", "lua/head.lua", "lua/ensure.lua", "lua/look.lua", "lua/set.lua");
static NOW: LazyLock<RedisScript> = LazyLock::new(|| RedisScript::new(include_str!("lua/now.lua")));
static REMOVE: LazyLock<RedisScript> =
    script!("lua/known.lua", "lua/remove_known.lua", "lua/head.lua", "lua/look.lua", "lua/remove.lua");
static TOUCH: LazyLock<RedisScript> = script!("lua/known.lua", "lua/head.lua", "lua/look.lua", "lua/touch.lua");
static RESERVE: LazyLock<RedisScript> = script!(
    "lua/known.lua",
    "lua/reserve_known.lua",
    "lua/head.lua",
    "lua/ensure.lua",
    "lua/look.lua",
    "lua/reserve.lua"
);
static GIVE_BACK: LazyLock<RedisScript> = script!("lua/known.lua", "lua/head.lua", "lua/look.lua", "lua/give_back.lua");
static CLEAR: LazyLock<RedisScript> = script!("lua/clear.lua");

/// The longest value that is set by the shortest script: that one is given all of what was there before, and who sets short
/// values has likely set a short one before.
const SHORT: usize = 16 << 10;

/// How long it is known of an entry that it was removed, and by whom.
const MARK: Duration = Duration::from_secs(10);

/// How often it is said that there are entries that cannot be read.
const PERIOD: Duration = Duration::from_secs(60);

/// In what time an answer tells the server's time well enough.
const QUICK: Duration = Duration::from_millis(10);

/// How often the server's time is read to find one that was told quickly.
const MOST_READINGS: usize = 8;

/// How long a write that is run again may take, at least.
const LEAST_REPEAT: Duration = Duration::from_secs(1);

/// One part in so many is what two clocks' rates may differ by.
const DRIFT: u64 = 500;

/// What goes over the wire: the keys of one cache, its generations, and its scripts.
pub(super) struct Wire {
    redis: RedisClient,
    groups: Vec<Group>,
    pub(super) schema: SchemaId,
    name: String,
    unreadable: Occasional,
}

/// What a script answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done(Version),
    Conflict(Option<Version>),
}

/// What the script of a reservation answers.
pub(super) enum Reserved {
    Hit { version: Version, generation: u64, record: Vec<u8> },
    Leased(Version),
    Held(Version),
    Ended,
}

/// Between which times of a server's clock something was, in microseconds.
struct Moment {
    earliest: u64,
    latest: u64,
}

/// What a set stores, and how.
pub(super) struct NewEntry {
    pub(super) value: Bytes,
    pub(super) codec: CodecId,
    pub(super) millis: u64,
    pub(super) guard: Guard,
    pub(super) fence: Option<Fence>,
    pub(super) deadline: Option<Duration>,
}

/// Under which generations many entries are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Those that are known for long enough from now.
    AsKnown,
    /// Those that are current: an entry is of a later one than was known.
    Anew,
}

/// What a read found, under which generation: none if the cache has none.
pub(super) type Read = (Option<u64>, Option<Vec<u8>>);

impl Wire {
    pub(super) fn new(redis: RedisClient, namespace: &Namespace, name: &str, schema: SchemaId) -> Result<Self> {
        Ok(Self {
            redis,
            groups: groups(namespace, name, schema)?,
            schema,
            name: name.to_owned(),
            unreadable: Occasional::new(PERIOD),
        })
    }

    /// Takes note of an entry that counts as a miss.
    pub(super) fn unreadable(&self, reason: &'static str) {
        if let Some(count) = self.unreadable.happened(&SystemClock::default()) {
            let (cache, part) = (&*self.name, "envelope");
            tracing::warn!(name: "cache.undecodable", cache, part, reason, count, "cached entries count as misses");
        }
    }

    /// The cache's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn redis(&self) -> &RedisClient {
        &self.redis
    }

    /// Reads a stored record, and the generation that is current. `redis` has the deadline of the call, of which this may be a
    /// part.
    pub(super) async fn read(&self, redis: &RedisClient, key: &CacheKey) -> Result<Read> {
        let group = self.group(key);
        if let Some(generation) = group.fresh() {
            let stored = redis.get(&group.entry_key(key)).await?;
            return Ok((Some(generation), stored));
        }
        // Boxed, so that the usual future stays small.
        Box::pin(self.read_both(redis, key)).await
    }

    /// Reads a record and its generation in one step.
    pub(super) async fn read_both(&self, redis: &RedisClient, key: &CacheKey) -> Result<Read> {
        let (group, asked) = (self.group(key), Instant::now());
        let mut both = cmd("MGET");
        both.arg(group.generation_key()).arg(group.entry_key(key));
        let (generation, stored): (Option<Vec<u8>>, _) = redis.query(&both, Idempotence::Idempotent).await?;
        Ok((group.see(generation.as_deref(), asked), stored))
    }

    /// Reads stored records, and the generation of each.
    pub(super) async fn read_many(&self, redis: &RedisClient, keys: &[CacheKey], look: Look) -> Result<Vec<Read>> {
        let places: Vec<_> = keys.iter().map(|key| group_of(key)).collect();
        let (mut known, mut looked, mut unknown) = ([None; GROUPS], [false; GROUPS], Vec::new());
        for group in &places {
            if !replace(&mut looked[*group], true) {
                known[*group] = match look {
                    Look::AsKnown => self.groups[*group].fresh(),
                    Look::Anew => None,
                };
                unknown.extend(known[*group].is_none().then_some(*group));
            }
        }
        let mut entries = Entries::with_capacity(keys.len());
        keys.iter().zip(&places).for_each(|(key, group)| entries.push(&self.groups[*group], key));
        let generations = unknown.iter().map(|group| self.groups[*group].generation_key());
        let all: Vec<&[u8]> = generations.chain(entries.iter()).collect();
        let asked = Instant::now();
        let mut stored = redis.get_many(&all).await?.into_iter();
        for group in unknown {
            known[group] = self.groups[group].see(stored.next().flatten().as_deref(), asked);
        }
        Ok(places.into_iter().zip(stored).map(|(group, stored)| (known[group], stored)).collect())
    }

    /// Whether the tags of an entry have the generations that it was stored under.
    pub(super) async fn tags_hold(&self, redis: &RedisClient, key: &CacheKey, tags: &[Tag]) -> Result<bool> {
        let mut read = cmd("MGET");
        for tag in tags {
            read.arg(self.group(key).tag_key(tag.hash));
        }
        let stored: Vec<Option<Vec<u8>>> = redis.query(&read, Idempotence::Idempotent).await?;
        let expected = tags.iter().map(|tag| Some(format!("{:016}", tag.generation).into_bytes()));
        Ok(expected.eq(stored))
    }

    pub(super) async fn set(&self, key: &CacheKey, entry: NewEntry) -> Result<Answer> {
        let NewEntry { value, codec, millis, guard, fence, deadline } = entry;
        let (name, version) = guard_args(guard);
        let sealed = format::seal(unique(), self.schema, codec, format::PLAIN, &value);
        let known = self.known(key);
        let [plain, set] = if fence.is_some() { [&PLAIN_FENCED, &SET_FENCED] } else { [&PLAIN, &SET] };
        let sent = |call: ScriptCall<'static>| {
            let call = call.arg(millis).arg(sealed.as_ref()).deadline();
            match &fence {
                Some(fence) => call.fence(&self.group(key).mark_key(fence), fence),
                None => call,
            }
        };
        let careful = |began| sent(self.call(set, key, known).arg(began).arg(name).arg(version.get()));
        let first = if guard == Guard::Always && value.len() <= SHORT {
            sent(self.call(plain, key, known))
        } else {
            careful(0)
        };
        self.write((key, known), deadline, first, careful).await
    }

    pub(super) async fn remove(&self, key: &CacheKey, guard: Guard, options: &RemoveOptions) -> Result<Answer> {
        let (name, version) = guard_args(guard);
        let (redis, begun) = (self.redis.within(options.deadline), Instant::now());
        let before = match options.min_age {
            // Rather later than earlier: what was there must not stay.
            Some(age) => self.moment(key, age, &redis).await?.latest,
            None => 0,
        };
        let mark = format::seal(unique(), self.schema, CodecId::RAW, format::REMOVED, &[]);
        let known = self.known(key);
        let call = |began| {
            let call = self.call(&REMOVE, key, known).arg(began).arg(name).arg(version.get());
            call.arg(before).arg(mark.as_ref()).arg(MARK.as_millis().to_string()).deadline()
        };
        let left = options.deadline.map(|deadline| deadline.saturating_sub(begun.elapsed()));
        self.write((key, known), left, call(0), call).await
    }

    /// What the clock of the server that has the key showed so long ago. Counted here and not when a script runs, which may
    /// wait for a connection, and must not take what comes meanwhile for older.
    async fn moment(&self, key: &CacheKey, ago: Duration, redis: &RedisClient) -> Result<Moment> {
        let (begun, mut moment) = (Instant::now(), Moment { earliest: 1, latest: u64::MAX });
        for _ in 0..MOST_READINGS {
            let asked = begun.elapsed();
            let now: u64 = NOW.key(self.group(key).generation_key()).run(redis, Idempotence::Idempotent).await?;
            let answered = begun.elapsed();
            // The server's clock showed this after it was asked and before it had answered. The narrowest says most.
            let (most, least) = (ago.saturating_add(answered), ago.saturating_add(asked));
            let (most, least) = (whole_micros(most), whole_micros(least));
            moment.earliest = moment.earliest.max(now.saturating_sub(most.saturating_add(most / DRIFT)));
            moment.latest = moment.latest.min(now.saturating_sub(least).max(1));
            if answered - asked < QUICK {
                break;
            }
        }
        Ok(moment)
    }

    pub(super) async fn touch(&self, key: &CacheKey, millis: u64, deadline: Option<Duration>) -> Result<Answer> {
        let known = self.known(key);
        let call = self.call(&TOUCH, key, known).arg(millis).deadline();
        let asked = Instant::now();
        let answer = call.run(&self.redis.within(deadline), Idempotence::Idempotent).await?;
        self.answer((key, known), asked, &answer)?.ok_or_else(unexpected_answer)
    }

    pub(super) async fn reserve(
        self: &Arc<Self>,
        redis: &RedisClient,
        key: &CacheKey,
        millis: u64,
        options: &ReserveOptions,
    ) -> Result<Reserved> {
        let writer = unique();
        let lease = format::seal(writer, self.schema, CodecId::RAW, format::LEASE, &[]);
        let replacing = options.replacing.map_or(0, Version::get);
        let (holding, token) = match options.holding {
            Holding::Share => ("share", 0),
            Holding::Alone => ("alone", 0),
            Holding::Renew(lease) => ("renew", lease.token().get()),
        };
        let known = self.known(key);
        let call = self.call(&RESERVE, key, known).arg(replacing).arg(millis).arg(lease.as_ref());
        let (call, asked) = (call.arg(holding).arg(token).deadline(), Instant::now());
        let redis = redis.clone();
        let asking = Box::pin(async move { call.run(&redis, Idempotence::Idempotent).await });
        let given = match options.holding {
            // It makes no lease.
            Holding::Renew(_) => asking.await,
            _ => {
                let (wire, key) = (Arc::clone(self), key.clone());
                let give_back = Box::new(move || {
                    let (wire, key) = (Arc::clone(&wire), key.clone());
                    Box::pin(async move { wire.give_back(&key, writer).await }) as _
                });
                Asking::new(asking, Lost { give_back, millis }).await
            }
        };
        let ToldOf(Told { status, version, generation }, record) = given?;
        let generation = generation.unwrap_or(known);
        self.group(key).note_if_any(generation, asked);
        let version = Version::new(version);
        match (status, record) {
            (DONE, _) => Ok(Reserved::Leased(version)),
            (HELD, _) => Ok(Reserved::Held(version)),
            (ENDED, _) => Ok(Reserved::Ended),
            (HIT, Some(record)) => Ok(Reserved::Hit { version, generation, record }),
            _ => Err(unexpected_answer()),
        }
    }

    /// Ends the lease of a reservation whose answer nobody got.
    pub(super) async fn give_back(&self, key: &CacheKey, writer: [u8; 8]) -> Result<()> {
        let call = self.call(&GIVE_BACK, key, self.known(key)).arg(&writer).deadline();
        call.run::<Told>(&self.redis, Idempotence::Idempotent).await.map(drop)
    }

    /// Raises the mark of a lock in every group: a script of one sees no other.
    pub(super) async fn raise(&self, fence: &Fence, deadline: Option<Duration>) -> Result<()> {
        let calls: Vec<_> = self.groups.iter().map(|group| raise(&group.mark_key(fence), fence)).collect();
        let answers = self.redis.within(deadline).run_many::<u8>(&calls, Idempotence::Idempotent).await;
        answers.into_iter().try_for_each(|answer| answer.map(drop))
    }

    /// Begins a new generation in every group, save in those that were cleared since: all that there is, is dead once this
    /// returns.
    pub(super) async fn clear(&self, since: Option<Instant>, deadline: Option<Duration>) -> Result<()> {
        let is_due = |group: &&Group| !since.is_some_and(|since| group.is_cleared_since(since));
        let due: Vec<_> = self.groups.iter().filter(is_due).collect();
        let calls: Vec<_> = due.iter().map(|group| CLEAR.key(group.generation_key()).deadline()).collect();
        let asked = Instant::now();
        // What it waits for in the end is of the same deadline, unless that is hardly longer.
        let limit = deadline.map(|deadline| deadline.saturating_sub(SETTLE).max(deadline / 2));
        let answers = self.redis.within(limit).run_many::<u64>(&calls, Idempotence::Idempotent).await;
        let (mut failed, mut first) = (0, None);
        for (group, answer) in due.iter().zip(answers) {
            match answer {
                Ok(generation) => {
                    group.note_cleared(asked);
                    group.note_if_any(generation, asked);
                }
                Err(error) => {
                    failed += 1;
                    // What may come right is told before what one server has not got: the caller keeps the clear then.
                    if first.as_ref().is_none_or(|first: &Error| first.kind() == ErrorKind::Unsupported) {
                        first = Some(error);
                    }
                }
            }
        }
        if failed < due.len() {
            tokio::time::sleep(SETTLE).await;
        }
        let Some(error) = first else { return Ok(()) };
        let message = format!("{failed} of the {GROUPS} groups of the cache were not cleared: {}", error.message());
        let summary = Error::new(error.kind(), message).with_backend("redis").with_retry(error.retry());
        Err(summary.with_source(error))
    }

    /// Runs a write. If nobody knows what became of it, it is run once more with the same id: the connector has waited until
    /// the first can't be executed any more, so the script sees whether it was, unless somebody else has written since. It takes
    /// no longer than the first, or a second.
    async fn write<'s>(
        &self,
        (key, known): (&CacheKey, u64),
        deadline: Option<Duration>,
        first: ScriptCall<'s>,
        again: impl Fn(u64) -> ScriptCall<'s>,
    ) -> Result<Answer> {
        let (redis, begun) = (self.redis.within(deadline), Instant::now());
        let unknown = match first.run(&redis, Idempotence::NotIdempotent).await {
            Ok(answer) => return self.answer((key, known), begun, &answer)?.ok_or_else(unexpected_answer),
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => error,
            Err(error) => return Err(error),
        };
        // Boxed, so that the usual future stays small.
        let settled = Box::pin(async move {
            let passed = begun.elapsed();
            let limit = deadline.map_or(passed.max(LEAST_REPEAT), |deadline| deadline.saturating_sub(passed));
            let redis = self.redis.within(Some(limit));
            let began = self.moment(key, begun.elapsed(), &redis).await.ok()?.earliest;
            let asked = Instant::now();
            let answer = again(began).run(&redis, Idempotence::NotIdempotent).await.ok()?;
            self.answer((key, known), asked, &answer).ok().flatten()
        });
        settled.await.ok_or(unknown)
    }

    /// What became of a call that had named the generation `known`; `None` if that can't be known.
    fn answer(&self, (key, known): (&CacheKey, u64), asked: Instant, told: &Told) -> Result<Option<Answer>> {
        self.group(key).note_if_any(told.generation.unwrap_or(known), asked);
        let version = Version::new(told.version);
        match told.status {
            DONE => Ok(Some(Answer::Done(version))),
            CONFLICT => Ok(Some(Answer::Conflict(Some(version).filter(|version| version.get() > 0)))),
            DOUBT => Ok(None),
            _ => Err(unexpected_answer()),
        }
    }

    /// The generation of a key's group as far as is known, or zero.
    fn known(&self, key: &CacheKey) -> u64 {
        self.group(key).last_seen().unwrap_or_default()
    }

    /// A call of a script on an entry, with what all of them are given.
    fn call<'s>(&self, script: &'s RedisScript, key: &CacheKey, known: u64) -> ScriptCall<'s> {
        let group = self.group(key);
        let call = script.key(group.entry_key(key).as_slice()).key(group.generation_key());
        call.arg(sole_schema(known, self.schema)).arg(known).arg(self.schema.0)
    }

    pub(super) fn server_of(&self, key: &CacheKey) -> Option<Arc<str>> {
        if !self.redis.is_cluster() {
            return None;
        }
        self.redis.server_of(self.group(key).generation_key())
    }

    fn group(&self, key: &CacheKey) -> &Group {
        &self.groups[group_of(key)]
    }
}

const fn guard_args(guard: Guard) -> (&'static str, Version) {
    match guard {
        Guard::Always => ("always", Version::new(0)),
        Guard::Absent => ("absent", Version::new(0)),
        Guard::Match(version) => ("match", version),
        Guard::Lease(lease) => ("lease", lease.token()),
    }
}

/// Who writes: 8 bytes that no other call has. A hash of a counter, by a key that is random in each process.
fn unique() -> [u8; 8] {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    KEY.hash_one(COUNTER.fetch_add(1, Ordering::Relaxed)).to_le_bytes()
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("redis", &self.redis).field("cache", &self.name).finish_non_exhaustive()
    }
}

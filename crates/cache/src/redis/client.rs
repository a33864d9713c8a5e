use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Key, Namespace, Result, Retry, SchemaId, Version};
use statehouse_redis::{Idempotence, KeySpace, RedisClient, RedisScript, ScriptCall, redis};

use super::envelope;
use crate::Condition;

macro_rules! entry_script {
    ($file:literal) => {
        LazyLock::new(|| RedisScript::new(concat!(include_str!("lua/entry.lua"), include_str!($file))))
    };
}

static SET: LazyLock<RedisScript> = entry_script!("lua/set.lua");
static REMOVE: LazyLock<RedisScript> = entry_script!("lua/remove.lua");
static TOUCH: LazyLock<RedisScript> = entry_script!("lua/touch.lua");
static RESERVE: LazyLock<RedisScript> = entry_script!("lua/reserve.lua");
static GENERATION: LazyLock<RedisScript> = LazyLock::new(|| RedisScript::new(include_str!("lua/generation.lua")));

/// How often an operation begins anew because the cache was cleared meanwhile.
const ATTEMPTS: u32 = 16;

/// What goes over the wire: the keys of one cache, its generation, and its scripts.
///
/// # Generations
/// The cache's generation is a key of its own. Every entry carries the generation that was current when its value was
/// read from its source, and is dead under any other; `clear` begins a new one. In a cluster the generation and the
/// entries are in different slots, so no script can look at both. Instead every operation reads the generation *while*
/// it runs: its answer counts only if the generation that it worked under was the current one at some moment of the
/// operation, else it begins anew. A write under an outdated generation does no harm: the scripts leave entries of a
/// later one alone, and what it writes is dead. Thus the generation that this process saw last saves the round trip
/// that would ask for it first.
pub(super) struct Wire {
    client: RedisClient,
    keys: KeySpace,
    generation_key: Vec<u8>,
    pub(super) schema: SchemaId,
    /// The last part of the keys of this schema, and of its neighbours.
    part: String,
    neighbours: Vec<String>,
    /// The generation that was seen last, 0 at first.
    seen: AtomicU64,
}

/// The generation that an operation works under.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Era {
    pub(super) generation: u64,
    certainty: Certainty,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Certainty {
    /// There may be a later one.
    Seen,
    /// It is the current one, although there is an entry of a later one: the server lost the later one.
    Newest,
}

/// What a script answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done(Version),
    Conflict(Option<Version>),
}

/// What the script of a reservation answers.
pub(super) enum Reserved {
    Hit { version: Version, envelope: Vec<u8> },
    Leased(Version),
}

impl Wire {
    pub(super) fn new(client: RedisClient, namespace: &Namespace, name: &str, schema: SchemaId) -> Result<Self> {
        let keys = KeySpace::new(namespace, "cache", name)?;
        let neighbours = [schema.0.checked_sub(1), schema.0.checked_add(1)];
        Ok(Self {
            generation_key: keys.tagged("", "generation"),
            keys,
            client,
            schema,
            part: schema.0.to_string(),
            neighbours: neighbours.into_iter().flatten().map(|number| number.to_string()).collect(),
            seen: AtomicU64::new(0),
        })
    }

    pub(super) const fn client(&self) -> &RedisClient {
        &self.client
    }

    /// Reads stored envelopes, and the generation that was current then.
    pub(super) async fn read(&self, keys: &[Key]) -> Result<(Option<u64>, Vec<Option<Vec<u8>>>)> {
        let entries: Vec<_> = keys.iter().map(|key| self.entry_key(key)).collect();
        let all: Vec<&[u8]> = std::iter::once(&self.generation_key).chain(&entries).map(Vec::as_slice).collect();
        let mut values = self.client.get_many(&all).await?.into_iter();
        let generation = self.see(values.next().flatten().as_deref());
        Ok((generation, values.collect()))
    }

    pub(super) async fn set(
        &self,
        key: &Key,
        era: Era,
        millis: u64,
        envelope: &[u8],
        condition: Condition,
    ) -> Result<Option<Answer>> {
        let (name, version) = condition_args(condition)?;
        let call = self.with_neighbours(self.call(&SET, key), key, condition);
        let call = era.args(call).arg(name).arg(version.get()).arg(millis).arg(envelope);
        self.run(call, condition).await
    }

    pub(super) async fn remove(&self, key: &Key, era: Era, condition: Condition) -> Result<Option<Answer>> {
        let (name, version) = condition_args(condition)?;
        let call = self.with_neighbours(self.call(&REMOVE, key), key, condition);
        self.run(era.args(call).arg(name).arg(version.get()), condition).await
    }

    pub(super) async fn touch(&self, key: &Key, era: Era, millis: u64) -> Result<Option<Answer>> {
        self.run(era.args(self.call(&TOUCH, key)).arg(millis), Condition::Always).await
    }

    pub(super) async fn reserve(
        &self,
        key: &Key,
        era: Era,
        millis: u64,
        replacing: Option<Version>,
    ) -> Result<Option<Reserved>> {
        let lease = envelope::lease(self.schema, era.generation);
        let replacing = replacing.map_or(0, Version::get);
        let call = era.args(self.call(&RESERVE, key)).arg(replacing).arg(millis).arg(lease.as_ref());
        let (status, version, envelope): (u8, u64, Option<Vec<u8>>) =
            call.run(&self.client, Idempotence::Idempotent).await?;
        match (status, envelope) {
            (OUTDATED, _) => Ok(None),
            (DONE, _) => Ok(Some(Reserved::Leased(Version::new(version)))),
            (HIT, Some(envelope)) => Ok(Some(Reserved::Hit { version: Version::new(version), envelope })),
            _ => Err(unexpected()),
        }
    }

    /// Begins a new generation: every entry and lease there is, is dead.
    pub(super) async fn next_generation(&self) -> Result<()> {
        let generation: u64 = self.generation_call("next").await?;
        self.seen.fetch_max(generation, Ordering::Relaxed);
        Ok(())
    }

    /// Does `attempt` under the current generation. It answers `None` if it met an entry of a later one.
    pub(super) async fn under_generation<T, F, Fut>(&self, attempt: F) -> Result<T>
    where
        F: Fn(Era) -> Fut,
        Fut: Future<Output = Result<Option<T>>>,
    {
        let mut era = Era::seen(match self.seen.load(Ordering::Relaxed) {
            0 => self.ensure_generation().await?,
            seen => seen,
        });
        for _ in 0..ATTEMPTS {
            let (answer, current) = tokio::join!(attempt(era), self.generation());
            let (answer, current) = (answer?, current?);
            let current = match current {
                Some(current) => current,
                None => self.ensure_generation().await?,
            };
            match answer {
                Some(answer) if current == era.generation => return Ok(answer),
                None if current == era.generation => era.certainty = Certainty::Newest,
                _ => era = Era::seen(current),
            }
        }
        let error = Error::new(ErrorKind::Unavailable, "the cache is cleared too often to be written to");
        Err(error.with_backend("redis").with_retry(Retry::After(Duration::from_millis(100))))
    }

    /// Does `attempt` under the given generation; `None` if that was not the current one, or has a successor.
    pub(super) async fn under<T>(
        &self,
        generation: u64,
        attempt: impl AsyncFnOnce(Era) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let (answer, current) = tokio::join!(attempt(Era::seen(generation)), self.generation());
        Ok(if current? == Some(generation) { answer? } else { answer.map(|_| None)? })
    }

    async fn generation(&self) -> Result<Option<u64>> {
        let command = redis::cmd("GET").arg(&self.generation_key).clone();
        let stored: Option<Vec<u8>> = self.client.query(&command, Idempotence::Idempotent).await?;
        Ok(self.see(stored.as_deref()))
    }

    async fn ensure_generation(&self) -> Result<u64> {
        let generation = self.generation_call("ensure").await?;
        self.seen.store(generation, Ordering::Relaxed);
        Ok(generation)
    }

    async fn generation_call(&self, what: &str) -> Result<u64> {
        GENERATION.key(self.generation_key.as_slice()).arg(what).run(&self.client, Idempotence::Idempotent).await
    }

    fn see(&self, stored: Option<&[u8]>) -> Option<u64> {
        let generation = std::str::from_utf8(stored?).ok()?.parse().ok().filter(|number| *number > 0)?;
        self.seen.store(generation, Ordering::Relaxed);
        Some(generation)
    }

    async fn run(&self, call: ScriptCall<'_>, condition: Condition) -> Result<Option<Answer>> {
        // Doing it twice has the effect of doing it once; under a condition the second time would be a conflict.
        let idempotence = match condition {
            Condition::Always => Idempotence::Idempotent,
            _ => Idempotence::NotIdempotent,
        };
        let (status, version): (u8, u64) = call.run(&self.client, idempotence).await?;
        let version = Version::new(version);
        match status {
            OUTDATED => Ok(None),
            DONE => Ok(Some(Answer::Done(version))),
            CONFLICT => Ok(Some(Answer::Conflict(Some(version).filter(|version| version.get() > 0)))),
            _ => Err(unexpected()),
        }
    }

    fn call<'s>(&self, script: &'s RedisScript, key: &Key) -> ScriptCall<'s> {
        script.key(self.entry_key(key).as_slice())
    }

    /// What a load stores is no news to the other schemas; every other write is.
    fn with_neighbours<'s>(&self, call: ScriptCall<'s>, key: &Key, condition: Condition) -> ScriptCall<'s> {
        if matches!(condition, Condition::Lease(_)) {
            return call;
        }
        self.neighbours.iter().fold(call, |call, part| call.key(self.keys.tagged(&**key, part).as_slice()))
    }

    fn entry_key(&self, key: &Key) -> Vec<u8> {
        self.keys.tagged(&**key, &self.part)
    }
}

/// The scripts' first answer; see `lua/entry.lua`.
const OUTDATED: u8 = 0;
const DONE: u8 = 1;
const CONFLICT: u8 = 2;
const HIT: u8 = 3;

impl Era {
    const fn seen(generation: u64) -> Self {
        Self { generation, certainty: Certainty::Seen }
    }

    fn args(self, call: ScriptCall<'_>) -> ScriptCall<'_> {
        call.arg(self.generation).arg(u8::from(self.certainty == Certainty::Newest))
    }
}

fn condition_args(condition: Condition) -> Result<(&'static str, Version)> {
    match condition {
        Condition::Always => Ok(("always", Version::default())),
        Condition::Absent => Ok(("absent", Version::default())),
        Condition::Match(version) => Ok(("match", version)),
        Condition::Lease(lease) => Ok(("lease", lease.token())),
    }
}

fn unexpected() -> Error {
    Error::new(ErrorKind::Unexpected, "a cache script gave an answer that it never gives").with_backend("redis")
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("client", &self.client)
            .field("prefix", &self.keys.prefix())
            .finish_non_exhaustive()
    }
}

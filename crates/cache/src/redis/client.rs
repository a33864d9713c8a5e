use std::fmt;
use std::sync::LazyLock;
use std::time::Instant;

use statehouse_core::{Error, ErrorKind, Namespace, Result, SchemaId, Version};
use statehouse_redis::{Idempotence, KeySpace, RedisClient, RedisScript, ScriptCall};

use super::envelope;
use super::generation::{Era, Generations};
use crate::{CacheKey, Condition, Holding, RemoveOptions, ReserveOptions};

macro_rules! entry_script {
    ($file:literal) => {
        LazyLock::new(|| RedisScript::new(concat!(include_str!("lua/entry.lua"), include_str!($file))))
    };
}

static SET: LazyLock<RedisScript> = entry_script!("lua/set.lua");
static REMOVE: LazyLock<RedisScript> = entry_script!("lua/remove.lua");
static TOUCH: LazyLock<RedisScript> = entry_script!("lua/touch.lua");
static RESERVE: LazyLock<RedisScript> = entry_script!("lua/reserve.lua");

/// What goes over the wire: the keys of one cache, its generation, and its scripts.
pub(super) struct Wire {
    client: RedisClient,
    keys: KeySpace,
    pub(super) generations: Generations,
    pub(super) schema: SchemaId,
    /// The last part of the keys of this schema, and of its neighbours.
    part: String,
    neighbours: Vec<String>,
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
    Held(Version),
    Ended,
}

impl Wire {
    pub(super) fn new(client: RedisClient, namespace: &Namespace, name: &str, schema: SchemaId) -> Result<Self> {
        let keys = KeySpace::new(namespace, "cache", name)?;
        let neighbours = [schema.0.checked_sub(1), schema.0.checked_add(1)];
        Ok(Self {
            generations: Generations::new(client.clone(), keys.tagged("", "generation")),
            keys,
            client,
            schema,
            part: schema.0.to_string(),
            neighbours: neighbours.into_iter().flatten().map(|number| number.to_string()).collect(),
        })
    }

    pub(super) const fn client(&self) -> &RedisClient {
        &self.client
    }

    /// Reads a stored envelope, and the generation that is current.
    pub(super) async fn read(&self, key: &CacheKey) -> Result<(Option<u64>, Option<Vec<u8>>)> {
        if let Some(generation) = self.generations.fresh() {
            return Ok((Some(generation), self.client.get(&self.entry_key(key)).await?));
        }
        // Boxed, so that the usual future stays small.
        let (generation, mut stored) = Box::pin(self.read_many(std::slice::from_ref(key))).await?;
        Ok((generation, stored.pop().flatten()))
    }

    /// Reads stored envelopes, and the generation that is current.
    pub(super) async fn read_many(&self, keys: &[CacheKey]) -> Result<(Option<u64>, Vec<Option<Vec<u8>>>)> {
        let entries: Vec<_> = keys.iter().map(|key| self.entry_key(key)).collect();
        if let Some(generation) = self.generations.fresh() {
            return Ok((Some(generation), self.client.get_many(&entries).await?));
        }
        let asked = Instant::now();
        let all: Vec<_> = std::iter::once(self.generations.key()).chain(entries.iter().map(Vec::as_slice)).collect();
        let mut stored = self.client.get_many(&all).await?.into_iter();
        let generation = self.generations.see(stored.next().flatten().as_deref(), asked);
        Ok((generation, stored.collect()))
    }

    pub(super) async fn set(
        &self,
        key: &CacheKey,
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

    pub(super) async fn remove(&self, key: &CacheKey, era: Era, options: RemoveOptions) -> Result<Option<Answer>> {
        let (name, version) = condition_args(options.condition)?;
        let age = options.min_age.map_or(0, |age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
        let call = self.with_neighbours(self.call(&REMOVE, key), key, options.condition);
        self.run(era.args(call).arg(name).arg(version.get()).arg(age), options.condition).await
    }

    pub(super) async fn touch(&self, key: &CacheKey, era: Era, millis: u64) -> Result<Option<Answer>> {
        self.run(era.args(self.call(&TOUCH, key)).arg(millis), Condition::Always).await
    }

    pub(super) async fn reserve(
        &self,
        key: &CacheKey,
        era: Era,
        millis: u64,
        options: ReserveOptions,
    ) -> Result<Option<Reserved>> {
        let lease = envelope::lease(self.schema, era.generation);
        let replacing = options.replacing.map_or(0, Version::get);
        let (holding, token) = match options.holding {
            Holding::Share => ("share", 0),
            Holding::Alone => ("alone", 0),
            Holding::Renew(lease) => ("renew", lease.token().get()),
        };
        let call = era.args(self.call(&RESERVE, key)).arg(replacing).arg(millis).arg(lease.as_ref());
        let call = call.arg(holding).arg(token);
        let (status, version, envelope): (u8, u64, Option<Vec<u8>>) =
            call.run(&self.client, Idempotence::Idempotent).await?;
        match (status, envelope) {
            (OUTDATED, _) => Ok(None),
            (DONE, _) => Ok(Some(Reserved::Leased(Version::new(version)))),
            (HELD, _) => Ok(Some(Reserved::Held(Version::new(version)))),
            (ENDED, _) => Ok(Some(Reserved::Ended)),
            (HIT, Some(envelope)) => Ok(Some(Reserved::Hit { version: Version::new(version), envelope })),
            _ => Err(unexpected()),
        }
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

    fn call<'s>(&self, script: &'s RedisScript, key: &CacheKey) -> ScriptCall<'s> {
        script.key(self.entry_key(key).as_slice())
    }

    /// What a load stores is no news to the other schemas; every other write is.
    fn with_neighbours<'s>(&self, call: ScriptCall<'s>, key: &CacheKey, condition: Condition) -> ScriptCall<'s> {
        if matches!(condition, Condition::Lease(_)) {
            return call;
        }
        self.neighbours.iter().fold(call, |call, part| call.key(self.keys.tagged(&**key, part).as_slice()))
    }

    fn entry_key(&self, key: &CacheKey) -> Vec<u8> {
        self.keys.tagged(&**key, &self.part)
    }
}

/// The scripts' first answer; see `lua/entry.lua`.
const OUTDATED: u8 = 0;
const DONE: u8 = 1;
const CONFLICT: u8 = 2;
const HIT: u8 = 3;
const HELD: u8 = 4;
const ENDED: u8 = 5;

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

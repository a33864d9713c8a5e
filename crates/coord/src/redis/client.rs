//! What is sent to Redis: one script for each operation, on keys of one slot.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use statehouse_core::time::{millis_rounded_up, whole_micros};
use statehouse_core::{Condition, EnvelopeError, Error, ErrorKind, Fence, Namespace, Result, Timestamp, Version, hex};
use statehouse_redis::{
    ENVELOPE_STAMP, Idempotence, KeySpace, REFUSE_STALE, RedisClient, RedisScript, ScriptCall, raise, script,
    unexpected_answer,
};

use crate::key::CoordKey;
use crate::operation::Operations;
use crate::options::{PageToken, PutOptions, ScanOptions};
use crate::outcome::{Page, PutOutcome, RemoveOutcome};
use crate::record::format::{Stored, unreadable};
use crate::record::{Record, WriteId};

pub(super) const OPERATION: Operations = Operations::of("redis");

static GET: LazyLock<RedisScript> = LazyLock::new(|| RedisScript::new(include_str!("lua/get.lua")));
static SCAN: LazyLock<RedisScript> = LazyLock::new(|| RedisScript::new(include_str!("lua/scan.lua")));
static PUT: LazyLock<RedisScript> = script!(ENVELOPE_STAMP, "lua/found.lua", "lua/put.lua");
static PUT_FENCED: LazyLock<RedisScript> = script!(REFUSE_STALE, ENVELOPE_STAMP, "lua/found.lua", "lua/put.lua");
static REMOVE: LazyLock<RedisScript> = script!(ENVELOPE_STAMP, "lua/found.lua", "lua/remove.lua");
static SWEEP: LazyLock<RedisScript> = script!("lua/sweep.lua");
static CLEAR: LazyLock<RedisScript> = script!("lua/clear.lua");
/// With a key, since another server of a cluster has another time.
static TIME: LazyLock<RedisScript> =
    LazyLock::new(|| RedisScript::new("local time = redis.call('TIME') return time[1] * 1000000 + time[2]"));

/// For how long the version of a record is remembered that is gone.
pub(super) const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// The condition that there is no record, or one of the value that follows.
const IN_PLACE_OF: &[u8] = b"absent or ";

/// What a script that writes answers: how it went, what it found, and the time.
type Written = (u8, Option<Vec<u8>>, u64);

/// What a scan answers: names, what is stored of each, the time, and whether there are more names.
type Scanned = (Vec<Vec<u8>>, Vec<Option<Vec<u8>>>, u64, u8);

/// The most bytes of a page, but for a record that is alone on it: a server puts it together while others wait.
const PAGE: u64 = 4 << 20;

/// The records of one namespace.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    redis: RedisClient,
    keys: KeySpace,
    namespace: Namespace,
}

impl Wire {
    pub(super) fn new(redis: RedisClient, namespace: &Namespace) -> Result<Self> {
        Ok(Self { redis, keys: KeySpace::new(namespace, "coord", "records")?, namespace: namespace.clone() })
    }

    pub(super) const fn redis(&self) -> &RedisClient {
        &self.redis
    }

    /// All keys have the namespace as their hash tag.
    pub(super) fn key(&self, part: &str) -> Vec<u8> {
        self.keys.tagged(self.namespace.as_str(), part)
    }

    pub(super) fn record(&self, key: &CoordKey) -> Vec<u8> {
        self.key(&format!("record:{key}"))
    }

    /// See [`REFUSE_STALE`].
    fn mark(&self, fence: &Fence) -> Vec<u8> {
        self.key(&format!("mark:{}", fence.mark()))
    }

    pub(super) async fn raise(&self, fence: &Fence, deadline: Option<Duration>) -> Result<()> {
        let raised: u8 =
            raise(&self.mark(fence), fence).run(&self.redis.within(deadline), Idempotence::Idempotent).await?;
        if raised == 1 { Ok(()) } else { Err(unexpected_answer()) }
    }

    fn index(&self) -> Vec<u8> {
        self.key("index")
    }

    pub(super) fn channel(&self) -> Vec<u8> {
        self.key("changes")
    }

    pub(super) async fn get(&self, key: &CoordKey, deadline: Option<Duration>) -> Result<Option<Record>> {
        let (found, now) = GET.key(self.record(key)).run(&self.redis.within(deadline), Idempotence::Idempotent).await?;
        Found::new(found, now).live()
    }

    /// If the answer is lost it is repeated, and known for its own by its id; if somebody else has written since, nobody
    /// knows.
    pub(super) async fn put(&self, key: &CoordKey, value: Bytes, options: &PutOptions) -> Result<PutOutcome> {
        let record = Stored::new(options.id()?, options.time_to_live, value).encode();
        self.redis.check_len(record.len())?;
        let script = if options.fence.is_some() { &PUT_FENCED } else { &PUT };
        let call = |repeats| {
            let on = match options.condition {
                Condition::Match(version) => version.get().to_le_bytes().to_vec(),
                _ if repeats => b"never".to_vec(),
                Condition::Absent => match &options.or_in_place_of {
                    Some(value) => [IN_PLACE_OF, value].concat(),
                    None => b"absent".to_vec(),
                },
                Condition::Always => Vec::new(),
            };
            let call = script.key(self.record(key)).key(self.index()).arg(&record[..]).arg(on);
            let call = call.arg(options.time_to_live.map_or(0, whole_micros)).arg(millis_rounded_up(REMEMBERED));
            let call = call.arg(key.as_str()).arg(self.channel()).deadline();
            match &options.fence {
                Some(fence) => call.fence(&self.mark(fence), fence),
                None => call,
            }
        };
        let redis = self.redis.within(options.deadline);
        let (answer, repeated) = run(&call(options.repeats), &call(true), &redis).await?;
        match answer {
            (stored @ (1 | 4), Some(version), _) => {
                if stored == 4 {
                    replaced();
                }
                Ok(PutOutcome::Stored(Version::new(number(&version)?)))
            }
            (0, found, now) => PutOutcome::refused(Found::new(found, now).live()?, options.repeats || repeated),
            (3, ..) => Err(unreadable(EnvelopeError::Corrupt)),
            _ => Err(unexpected_answer()),
        }
    }

    pub(super) async fn remove(
        &self,
        key: &CoordKey,
        version: Version,
        deadline: Option<Duration>,
    ) -> Result<RemoveOutcome> {
        let rest = Stored::removed(WriteId::generate()?).encode();
        let call = REMOVE.key(self.record(key)).key(self.index()).arg(&rest[..]).arg(&version.get().to_le_bytes());
        let call = call.arg(millis_rounded_up(REMEMBERED)).arg(key.as_str()).arg(self.channel()).deadline();
        let (answer, _) = run(&call, &call, &self.redis.within(deadline)).await?;
        match answer {
            (1, ..) => Ok(RemoveOutcome::Removed),
            (2, ..) => Ok(RemoveOutcome::Absent),
            (0, found, now) => {
                Ok(Found::new(found, now).live()?.map_or(RemoveOutcome::Absent, RemoveOutcome::Conflict))
            }
            (3, ..) => Err(unreadable(EnvelopeError::Corrupt)),
            _ => Err(unexpected_answer()),
        }
    }

    /// A page of the index, and the records that it names.
    pub(super) async fn scan(&self, options: &ScanOptions) -> Result<Page> {
        let redis = self.redis.within(options.deadline);
        let from = match &options.start {
            Some(token) => [b"(", &page_end(token)?[..]].concat(),
            None => [b"[", options.prefix.as_bytes()].concat(),
        };
        // No text has a byte 0xff.
        let to = [b"(", options.prefix.as_bytes(), b"\xff"].concat();
        let call = SCAN.key(self.index()).key(self.key("record:")).arg(from).arg(to).arg(options.limit);
        let call = call.arg(PAGE.min(self.redis.max_len())).arg(self.redis.max_len());
        let (names, found, now, more): Scanned = match call.run(&redis, Idempotence::Idempotent).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => return Err(self.clear(&redis, error).await),
            answer => answer?,
        };
        if found.len() != names.len() {
            return Err(unexpected_answer());
        }
        let last = names.last().filter(|_| more == 1);
        let next = last.map(|name| token_of(name));
        let (mut page, mut gone) = (Page::new(Vec::new(), next), Vec::new());
        for (name, bytes) in names.into_iter().zip(found) {
            let Some(key) = String::from_utf8(name).ok().and_then(|name| CoordKey::new(name).ok()) else { continue };
            let is_gone = bytes.is_none();
            page.add(&key, Found::new(bytes, now).live())?;
            if is_gone {
                gone.push(key);
            }
        }
        self.sweep(&redis, &gone).await;
        Ok(page)
    }

    /// Takes names out of the index whose records have expired and are forgotten. Puts and the next scan do what this one cannot.
    async fn sweep(&self, redis: &RedisClient, gone: &[CoordKey]) {
        if gone.is_empty() {
            return;
        }
        let call = gone.iter().fold(SWEEP.key(self.index()), |call, key| call.key(self.record(key)));
        let call = gone.iter().fold(call, |call, key| call.arg(key.as_str())).deadline();
        if let Err(error) = call.run::<u64>(redis, Idempotence::Idempotent).await {
            tracing::debug!(name: "coord.stale_names", %error, "names of records that are gone stay in the index until the next scan");
        }
    }

    /// Takes away what is no index, so that only this scan fails of it, by which it is told.
    async fn clear(&self, redis: &RedisClient, error: Error) -> Error {
        let cleared = CLEAR.key(self.index()).deadline().run::<u8>(redis, Idempotence::Idempotent).await;
        if matches!(cleared, Ok(1)) {
            replaced();
        }
        error
    }

    /// The time of the server that has the records.
    pub(super) async fn now(&self, deadline: Option<Duration>) -> Result<Timestamp> {
        let micros: u64 = TIME.key(self.index()).run(&self.redis.within(deadline), Idempotence::Idempotent).await?;
        Ok(Timestamp::from_micros(micros))
    }
}

/// With which a scan goes on behind a name. One that somebody else has put into the index may be no text, or a text that no record has for its
/// name: it stands there byte by byte, behind what is in no name of a record.
fn token_of(name: &[u8]) -> PageToken {
    match std::str::from_utf8(name).ok().filter(|name| CoordKey::new(*name).is_ok()) {
        Some(name) => PageToken::new(name),
        None => PageToken::new(["\0", &hex::encode(name)].concat()),
    }
}

/// The name behind which a scan goes on.
fn page_end(token: &PageToken) -> Result<Vec<u8>> {
    let Some(digits) = token.as_str().strip_prefix('\0') else { return Ok(token.as_str().as_bytes().to_vec()) };
    let bytes =
        digits.as_bytes().chunks(2).map(|pair| hex::decode::<1>(pair).map(|[byte]| byte)).collect::<Option<_>>();
    bytes
        .filter(|bytes: &Vec<u8>| !bytes.is_empty())
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "this is no token of a page of this store"))
}

/// What a script answers, and whether it was sent once more after an answer was lost.
async fn run(call: &ScriptCall<'_>, again: &ScriptCall<'_>, redis: &RedisClient) -> Result<(Written, bool)> {
    match call.run(redis, Idempotence::NotIdempotent).await {
        Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
            // What refuses this one, or does not answer it, says nothing of the first, which may have been made.
            again.run(redis, Idempotence::Idempotent).await.map(|answer| (answer, true)).map_err(|_| error)
        }
        answer => Ok((answer?, false)),
    }
}

fn replaced() {
    let advice = "something else was in the place of the index of records, which begins anew: a scan lacks those that were not put since";
    tracing::error!(name: "coord.index_replaced", "{advice}");
}

fn number(bytes: &[u8]) -> Result<u64> {
    bytes.try_into().map(u64::from_le_bytes).map_err(|_| unexpected_answer())
}

/// What is stored, as of a time of the server.
struct Found {
    bytes: Option<Bytes>,
    now: Timestamp,
}

impl Found {
    fn new(bytes: Option<Vec<u8>>, now: u64) -> Self {
        Self { bytes: bytes.map(Bytes::from), now: Timestamp::from_micros(now) }
    }

    fn live(self) -> Result<Option<Record>> {
        let Some(bytes) = self.bytes else { return Ok(None) };
        let stored = Stored::decode(bytes)?;
        let expires = stored.stamp.hard_expiry;
        if stored.is_removed || expires.is_some_and(|expires| expires <= self.now) {
            return Ok(None);
        }
        let left = expires.map(|expires| expires.since(self.now));
        Ok(Some(stored.record(left)))
    }
}

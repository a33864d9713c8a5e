//! What is sent to Redis: one script for each operation, on one key.

use std::sync::LazyLock;
use std::time::Duration;

use statehouse_core::time::{millis_rounded_up, whole_micros};
use statehouse_core::{Error, ErrorKind, Namespace, Result};
use statehouse_redis::redis::FromRedisValue;
use statehouse_redis::{Idempotence, KeySpace, RedisClient, RedisScript, ScriptCall, script, unexpected_answer};

use crate::full::IN_PLACE;
use crate::key::CoordKey;
use crate::signals::level::Level;
use crate::signals::operation::Operations;
use crate::signals::options::{AcquireOptions, AddOptions, RenewOptions, TakeOptions};
use crate::signals::outcome::{Acquired, Count, PermitId, Renewed, Taken};
use crate::signals::rate::Rate;

pub(super) const OPERATION: Operations = Operations::of("redis");

static ADD: LazyLock<RedisScript> = script!(IN_PLACE, "lua/add.lua");
static COUNT: LazyLock<RedisScript> = LazyLock::new(|| RedisScript::new(include_str!("lua/count.lua")));
static RESET: LazyLock<RedisScript> = script!("lua/reset.lua");
static TAKE: LazyLock<RedisScript> = script!(IN_PLACE, "lua/take.lua");
static ACQUIRE: LazyLock<RedisScript> = script!("lua/hold.lua", "lua/acquire.lua");
static RENEW: LazyLock<RedisScript> = script!("lua/hold.lua", "lua/renew.lua");
static RELEASE: LazyLock<RedisScript> = script!("lua/release.lua");
static PUBLISH: LazyLock<RedisScript> = script!(IN_PLACE, "lua/publish.lua");

/// The signals of one namespace.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    redis: RedisClient,
    keys: KeySpace,
}

impl Wire {
    pub(super) fn new(redis: RedisClient, namespace: &Namespace) -> Result<Self> {
        Ok(Self { redis, keys: KeySpace::new(namespace, "coord", "signals")? })
    }

    pub(super) const fn redis(&self) -> &RedisClient {
        &self.redis
    }

    fn key(&self, kind: &str, key: &CoordKey) -> Vec<u8> {
        self.keys.key([kind, key.as_str()].concat())
    }

    pub(super) fn channel(&self) -> Vec<u8> {
        self.keys.key("news")
    }

    /// Runs a script for a call with this deadline.
    async fn run<T: FromRedisValue>(
        &self,
        call: &ScriptCall<'_>,
        deadline: Option<Duration>,
        idempotence: Idempotence,
    ) -> Result<T> {
        let redis = self.redis.within(deadline);
        call.run(&redis, idempotence).await
    }

    pub(super) async fn add(&self, key: &CoordKey, more: i64, options: &AddOptions) -> Result<Count> {
        let lives = options.time_to_live.map_or(0, millis_rounded_up);
        let call = ADD.key(self.key("count:", key)).arg(more).arg(lives).deadline();
        match self.run(&call, options.deadline, Idempotence::NotIdempotent).await? {
            (1, value, left) => Ok(count(value, left)),
            (0, _, _) => Err(AddOptions::out_of_range()),
            _ => Err(unreadable()),
        }
    }

    pub(super) async fn count(&self, key: &CoordKey, deadline: Option<Duration>) -> Result<Option<Count>> {
        match self.run(&COUNT.key(self.key("count:", key)), deadline, Idempotence::Idempotent).await? {
            (1, value, left) => Ok(Some(count(value, left))),
            (0, _, _) => Ok(None),
            _ => Err(unreadable()),
        }
    }

    /// How many messages were published, as the server says that counts them.
    pub(super) async fn published(&self, deadline: Duration) -> Result<u64> {
        let call = COUNT.key(self.keys.key("published"));
        let (kind, count, _): (u8, i64, i64) = self.run(&call, Some(deadline), Idempotence::Idempotent).await?;
        u64::try_from(count).ok().filter(|_| kind < 3).ok_or_else(unreadable)
    }

    pub(super) async fn reset(&self, key: &CoordKey, deadline: Option<Duration>) -> Result<()> {
        let call = RESET.key(self.key("count:", key)).deadline();
        self.run::<u64>(&call, deadline, Idempotence::Idempotent).await.map(drop)
    }

    pub(super) async fn take(&self, key: &CoordKey, rate: Rate, options: &TakeOptions) -> Result<Taken> {
        let call = TAKE.key(self.key("limit:", key)).arg(&asked(rate, options.count)).deadline();
        let level: i64 = self.run(&call, options.deadline, Idempotence::NotIdempotent).await?;
        match level {
            0 => Err(unreadable()),
            _ => Ok(Level::taken(parts(level.unsigned_abs()), rate, options.count, level > 0)),
        }
    }

    pub(super) async fn acquire(&self, key: &CoordKey, id: PermitId, options: &AcquireOptions) -> Result<Acquired> {
        let call = ACQUIRE.key(self.key("permits:", key)).arg(&id.as_bytes()[..]).arg(whole_micros(options.lease));
        let call = call.arg(options.most).deadline();
        let answer: (u8, u32, u64) = self.run(&call, options.deadline, Idempotence::Idempotent).await?;
        match answer {
            (1, in_use, _) => Ok(Acquired::Held(in_use)),
            (0, in_use, left) => Ok(Acquired::Full { in_use, retry_after: Duration::from_micros(left) }),
            _ => Err(unreadable()),
        }
    }

    pub(super) async fn renew(&self, key: &CoordKey, id: PermitId, options: &RenewOptions) -> Result<Renewed> {
        let call = RENEW.key(self.key("permits:", key)).arg(&id.as_bytes()[..]).arg(whole_micros(options.lease));
        match self.run(&call.deadline(), options.deadline, Idempotence::Idempotent).await? {
            1 => Ok(Renewed::Held),
            0 => Ok(Renewed::Lost),
            _ => Err(unreadable()),
        }
    }

    pub(super) async fn release(&self, key: &CoordKey, id: PermitId, deadline: Option<Duration>) -> Result<()> {
        let call = RELEASE.key(self.key("permits:", key)).arg(&id.as_bytes()[..]).deadline();
        match self.run(&call, deadline, Idempotence::Idempotent).await? {
            0 | 1 => Ok(()),
            _ => Err(unreadable()),
        }
    }

    pub(super) async fn publish(&self, channel: &CoordKey, message: &[u8], deadline: Option<Duration>) -> Result<()> {
        let call = PUBLISH.key(self.keys.key("published")).arg(self.channel()).arg(channel.as_str()).arg(message);
        match self.run(&call.deadline(), deadline, Idempotence::NotIdempotent).await? {
            1 => Ok(()),
            4 => {
                let advice = "something else was in the place of the number of messages, which begins anew";
                tracing::error!(name: "coord.count_replaced", "{advice}");
                Ok(())
            }
            _ => Err(unexpected_answer()),
        }
    }
}

/// What is left is less than nothing of a counter that stays.
fn count(value: i64, left: i64) -> Count {
    Count::new(value, u64::try_from(left).ok().map(Duration::from_millis))
}

/// What a take is told, as its script reads it.
fn asked(rate: Rate, count: u32) -> [u8; 24] {
    let numbers = [rate.every(), f64::from(rate.burst()), f64::from(count)];
    let mut bytes = [0; 24];
    for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// How much is in a bucket, of which a take answers parts of 2^-32: at most a million, so that neither is rounded.
#[expect(clippy::cast_precision_loss, reason = "as said")]
fn parts(level: u64) -> f64 {
    level as f64 / f64::from(1 << 16) / f64::from(1 << 16)
}

fn unreadable() -> Error {
    Error::new(ErrorKind::Corrupt, "what is stored here is none of the signals of this version of statehouse")
}

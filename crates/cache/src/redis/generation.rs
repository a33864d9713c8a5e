use std::mem::replace;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use statehouse_core::{Error, ErrorKind, Result, Retry};
use statehouse_redis::{Idempotence, RedisClient, RedisScript, ScriptCall, redis};

static SCRIPT: LazyLock<RedisScript> = LazyLock::new(|| RedisScript::new(include_str!("lua/generation.lua")));

/// For how long a generation that was read may be used without reading it again.
const FRESH: Duration = Duration::from_millis(20);

/// From when on one caller reads it again, so that hundreds don't when it ends.
const RENEW: Duration = Duration::from_millis(10);

/// How long `clear` waits before it returns: longer than [`FRESH`] by more than two clocks' rates can differ.
const SETTLE: Duration = Duration::from_millis(22);

/// How often an operation begins anew because the cache was cleared meanwhile.
const ATTEMPTS: u32 = 16;

/// The generation of one cache: a key of its own.
///
/// Every entry carries the generation that was current when its value was read from its source, and is dead under any
/// other; `clear` begins a new one. In a cluster the generation and the entries are in different slots, so no script
/// can look at both, and reading it with every entry would double the work of a read. Instead:
///
/// - A generation may be used for 20 ms from when it was *asked for*. `clear` returns 22 ms after the new generation
///   was stored. An operation that begins after that began more than 20 ms after any request that could have been
///   answered with the old one, so it asks again. This compares durations and no clocks. (A machine that is suspended
///   with its monotonic clock stopped may use the old generation for those 20 ms after it goes on.)
/// - Under load that is one more request every 10 ms; otherwise the generation is read in the same round trip as the
///   entry.
/// - A write under a generation that has just been succeeded does no harm: the scripts leave entries of a later one
///   alone, and what it writes is dead.
pub(super) struct Generations {
    client: RedisClient,
    key: Vec<u8>,
    seen: Mutex<Option<Seen>>,
}

#[derive(Clone, Copy)]
struct Seen {
    generation: u64,
    /// When it was asked for.
    asked: Instant,
    /// Whether somebody reads it again.
    renewing: bool,
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

impl Generations {
    pub(super) const fn new(client: RedisClient, key: Vec<u8>) -> Self {
        Self { client, key, seen: Mutex::new(None) }
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The current generation, if that is known and it is not this caller's turn to read it again.
    pub(super) fn fresh(&self) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.as_mut()?;
        let age = seen.asked.elapsed();
        let turn = age > RENEW && !replace(&mut seen.renewing, true);
        (age <= FRESH && !turn).then_some(seen.generation)
    }

    /// Takes note of what is stored at [`key`](Self::key).
    pub(super) fn see(&self, stored: Option<&[u8]>, asked: Instant) -> Option<u64> {
        let generation = std::str::from_utf8(stored?).ok()?.parse().ok().filter(|number| *number > 0)?;
        self.note(generation, asked);
        Some(generation)
    }

    fn note(&self, generation: u64, asked: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none_or(|seen| seen.asked <= asked) {
            *seen = Some(Seen { generation, asked, renewing: false });
        }
    }

    /// Begins a new generation: every entry and lease there is, is dead once this returns.
    pub(super) async fn begin_next(&self) -> Result<()> {
        self.run("next").await?;
        tokio::time::sleep(SETTLE).await;
        Ok(())
    }

    /// Does `attempt` under the current generation, or where there is none (no entry lives then) under one that no entry
    /// has: nothing new is needed for a removal, which a full server would refuse.
    pub(super) async fn under_any<T, F, Fut>(&self, attempt: F) -> Result<T>
    where
        F: Fn(Era) -> Fut,
        Fut: Future<Output = Result<Option<T>>>,
    {
        if self.fresh().is_none()
            && self.current().await?.is_none()
            && let Some(answer) = attempt(Era { generation: 0, certainty: Certainty::Newest }).await?
        {
            return Ok(answer);
        }
        self.under_current(attempt).await
    }

    /// Does `attempt` under the current generation. It answers `None` if it met an entry of a later one.
    pub(super) async fn under_current<T, F, Fut>(&self, attempt: F) -> Result<T>
    where
        F: Fn(Era) -> Fut,
        Fut: Future<Output = Result<Option<T>>>,
    {
        if let Some(generation) = self.fresh()
            && let Some(answer) = attempt(Era::seen(generation)).await?
        {
            return Ok(answer);
        }
        let mut era = Era::seen(self.current_or_new().await?);
        for _ in 0..ATTEMPTS {
            let answer = attempt(era).await?;
            if let Some(answer) = answer {
                return Ok(answer);
            }
            let current = self.current_or_new().await?;
            era = if current == era.generation {
                Era { generation: current, certainty: Certainty::Newest }
            } else {
                Era::seen(current)
            };
        }
        let error = Error::new(ErrorKind::Unavailable, "the cache is cleared too often to be written to");
        Err(error.with_backend("redis").with_retry(Retry::After(SETTLE)))
    }

    /// Does `attempt` under the given generation; `None` if that is not the current one, or the attempt met a later.
    pub(super) async fn under<T>(
        &self,
        generation: u64,
        attempt: impl AsyncFnOnce(Era) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let current = match self.fresh() {
            Some(current) => Some(current),
            None => self.current().await?,
        };
        if current != Some(generation) {
            return Ok(None);
        }
        attempt(Era::seen(generation)).await
    }

    /// The generation as the server has it now; none if there is none.
    pub(super) async fn current(&self) -> Result<Option<u64>> {
        let asked = Instant::now();
        let stored: Option<Vec<u8>> =
            self.client.query(redis::cmd("GET").arg(&self.key), Idempotence::Idempotent).await?;
        Ok(self.see(stored.as_deref(), asked))
    }

    async fn current_or_new(&self) -> Result<u64> {
        match self.current().await? {
            Some(generation) => Ok(generation),
            None => self.run("ensure").await,
        }
    }

    async fn run(&self, what: &str) -> Result<u64> {
        let asked = Instant::now();
        let generation = SCRIPT.key(self.key.as_slice()).arg(what).run(&self.client, Idempotence::Idempotent).await?;
        // Zero: it was removed, because the server has no room for another.
        if generation > 0 {
            self.note(generation, asked);
        }
        Ok(generation)
    }
}

impl Era {
    const fn seen(generation: u64) -> Self {
        Self { generation, certainty: Certainty::Seen }
    }

    /// The first two arguments of every script on an entry.
    pub(super) fn args(self, call: ScriptCall<'_>) -> ScriptCall<'_> {
        call.arg(self.generation).arg(u8::from(self.certainty == Certainty::Newest))
    }
}

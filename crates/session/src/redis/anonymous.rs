//! How many sessions there are that nobody is logged in to, so that a flood of them fills no server.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use statehouse_core::{Error, ErrorKind, Namespace, Result, Timestamp};
use statehouse_redis::{Idempotence, KeySpace, RedisClient, RedisScript, script};

use crate::record::Record;

static COUNT: LazyLock<RedisScript> = script!("lua/count.lua");

/// How many sessions that nobody is logged in to there may be unless somebody says.
pub(super) const MAX_ANONYMOUS: u64 = 500_000;

/// How long a store keeps to itself what it has counted.
const EVERY: Duration = Duration::from_secs(1);

/// Into how many parts a timeout is divided. One of them is the most by which a session is counted for too long, at twice
/// its size, and twice their number is the most that the server keeps for one timeout.
const PARTS: u64 = 64;

/// The count of one store, and what it knows of those of the others.
///
/// A session lies in one slot of a cluster and the count in another, so that no script can change both, and a second round
/// trip for each session is more than the count is worth. So each store counts what it does itself, tells the server once a
/// second, and is answered what all of them have told. A number belongs to the second in which its sessions have expired,
/// so that nobody has to count those down.
#[derive(Debug)]
pub(super) struct Anonymous {
    redis: RedisClient,
    key: Vec<u8>,
    bound: u64,
    state: Mutex<State>,
}

/// By the second, since 1970, in which they have expired at the latest.
type Numbers = BTreeMap<u64, i64>;

#[derive(Debug, Default)]
struct State {
    /// What all stores have told the server, as of its last answer.
    known: Numbers,
    /// What is being told.
    sent: Numbers,
    /// What is still to be told.
    own: Numbers,
    /// Creates that are under way.
    reserved: u64,
    /// The server's time, and when it was that here.
    asked: Option<(Timestamp, Instant)>,
    /// Whether somebody is about to tell.
    tells: bool,
    /// How many were refused, while there are as many as there may be.
    refused: Option<u64>,
}

/// A place for one more session, given back unless it is used.
pub(super) struct Place<'a> {
    of: &'a Arc<Anonymous>,
    until: Option<u64>,
}

impl Anonymous {
    pub(super) fn new(redis: RedisClient, namespace: &Namespace, bound: u64) -> Result<Self> {
        let key = KeySpace::new(namespace, "session", "anonymous")?.key("count");
        Ok(Self { redis, key, bound, state: Mutex::default() })
    }

    /// The same count with another bound.
    pub(super) fn with_bound(&self, bound: u64) -> Self {
        Self { redis: self.redis.clone(), key: self.key.clone(), bound, state: Mutex::default() }
    }

    /// A place for another one.
    pub(super) fn take(self: &Arc<Self>) -> Result<Place<'_>> {
        let taken = self.lock().take(self.bound);
        if !matches!(taken, Ok(())) || self.lock().asked.is_none() {
            self.tell_soon();
        }
        taken.map(|()| Place { of: self, until: None })
    }

    /// Counts what a change made of a session, or of none, if nobody is logged in to it before or after.
    pub(super) fn changed(self: &Arc<Self>, before: Option<u64>, after: Option<u64>) {
        if before == after {
            return;
        }
        {
            let mut state = self.lock();
            before.into_iter().for_each(|second| *state.own.entry(second).or_default() -= 1);
            after.into_iter().for_each(|second| *state.own.entry(second).or_default() += 1);
        }
        self.tell_soon();
    }

    /// Nothing that runs under the lock leaves the state half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the server in the background, unless that is about to be done. At first at once, and then once a second.
    fn tell_soon(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let pause = {
            let mut state = self.lock();
            if std::mem::replace(&mut state.tells, true) {
                return;
            }
            state.asked.map_or(Duration::ZERO, |(_, asked)| EVERY.saturating_sub(asked.elapsed()))
        };
        runtime.spawn(Telling { of: Arc::downgrade(self), is_done: false }.run(pause));
    }

    /// Says whether there is more to tell by now.
    async fn tell(&self) -> bool {
        let sent = {
            let mut state = self.lock();
            state.sent = std::mem::take(&mut state.own);
            state.sent.clone()
        };
        let mut call = COUNT.key(&self.key[..]);
        for (second, more) in sent.iter().filter(|(_, more)| **more != 0) {
            call = call.arg(second).arg(more);
        }
        let answer: Result<(Vec<i64>, u64)> = call.deadline().run(&self.redis, Idempotence::NotIdempotent).await;
        if let Err(error) = &answer {
            tracing::debug!(name: "session.anonymous_not_counted", kind = %error.kind(), "the number of anonymous sessions could not be told");
        }
        self.lock().told(answer)
    }
}

/// The task that tells. If it ends before it is done, as with the runtime that it is on, who counts next begins another.
struct Telling {
    of: Weak<Anonymous>,
    is_done: bool,
}

impl Telling {
    async fn run(mut self, mut pause: Duration) {
        loop {
            tokio::time::sleep(pause).await;
            match self.of.upgrade() {
                Some(count) if count.tell().await => pause = EVERY,
                _ => break,
            }
        }
        self.is_done = true;
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(count) = self.of.upgrade().filter(|_| !self.is_done) {
            let mut state = count.lock();
            state.tells = false;
            // As where the answer is lost: it may have been told.
            state.sent.clear();
        }
    }
}

impl Place<'_> {
    /// There is a session in it that has expired in this second at the latest.
    pub(super) fn used(mut self, until: Option<u64>) {
        self.until = until;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.of.lock().reserved -= 1;
        self.of.changed(None, self.until);
    }
}

impl State {
    fn take(&mut self, bound: u64) -> Result<()> {
        let now = self.now();
        let there = self.number(now);
        if there >= bound {
            if self.refused.is_none() {
                tracing::warn!(
                    name: "session.anonymous_full",
                    there,
                    bound,
                    "sessions that nobody is logged in to are refused: there are as many as there may be"
                );
            }
            *self.refused.get_or_insert(0) += 1;
            return Err(full(bound));
        }
        // Where it is filled again as soon as one expires, that is no other state.
        if let Some(refused) = self.refused.filter(|_| there <= bound - bound / 8) {
            self.refused = None;
            tracing::info!(name: "session.anonymous_room", refused, "sessions that nobody is logged in to have room again");
        }
        self.reserved += 1;
        Ok(())
    }

    fn told(&mut self, answer: Result<(Vec<i64>, u64)>) -> bool {
        let sent = std::mem::take(&mut self.sent);
        match answer {
            Ok((left, now)) => {
                let pairs = left.chunks_exact(2).filter_map(|pair| Some((u64::try_from(pair[0]).ok()?, pair[1])));
                self.known = pairs.collect();
                self.asked = Some((Timestamp::from_micros(now), Instant::now()));
            }
            // What may have been told is not told again: known is better too little than for ever too much.
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {}
            Err(_) => sent.into_iter().for_each(|(second, more)| *self.own.entry(second).or_default() += more),
        }
        self.tells = !self.own.is_empty();
        self.tells
    }

    /// The second by the server's clock, or 0 if it was not asked yet.
    fn now(&self) -> u64 {
        self.asked.map_or(0, |(then, here)| (then + here.elapsed()).as_micros() / 1_000_000)
    }

    fn number(&mut self, now: u64) -> u64 {
        self.known.retain(|second, _| *second > now);
        let told = self.known.iter().chain(&self.sent).chain(&self.own);
        let live: i64 = told.filter(|(second, _)| **second > now).map(|(_, number)| number).sum();
        u64::try_from(live).unwrap_or(0) + self.reserved
    }
}

/// In which second the session has expired at the latest, if nobody is logged in to it.
pub(super) fn until(record: &Record) -> Option<u64> {
    let anonymous = record.principal().is_none();
    anonymous.then(|| second(record.expiry_if_unused(), record.idle_timeout()))
}

/// The end of the part of a timeout in which this time is.
pub(super) fn second(expires: Timestamp, timeout: Duration) -> u64 {
    let part = (timeout.as_secs() / PARTS).next_power_of_two();
    expires.as_micros().div_ceil(1_000_000).next_multiple_of(part)
}

fn full(bound: u64) -> Error {
    Error::full(format!(
        "there are as many sessions that nobody is logged in to as there may be: {bound} (setting max_anonymous)"
    ))
}

#[cfg(test)]
mod tests {
    use statehouse_core::Retry;

    use super::*;

    fn told(state: &mut State, left: &[i64], second: u64) {
        state.told(Ok((left.to_vec(), second * 1_000_000)));
    }

    #[test]
    fn a_session_is_counted_for_a_thirty_second_part_of_its_timeout_too_long_at_most() {
        for timeout in [1, 63, 64, 600, 1_800, 30 * 86_400] {
            let timeout = Duration::from_secs(timeout);
            for expires in [1_800_000_000_000_000, 1_800_000_001_000_001, 1_800_000_777_999_999] {
                let end = second(Timestamp::from_micros(expires), timeout) * 1_000_000;
                let longest = (timeout.as_secs() * 1_000_000 / 32).max(1_000_000);
                assert!((expires..=expires + longest).contains(&end), "{timeout:?} {expires} {end}");
            }
        }
        assert_eq!(second(Timestamp::from_micros(1_800_000_000_000_001), Duration::from_secs(600)), 1_800_000_016);
    }

    #[test]
    fn what_others_have_told_counts_until_it_has_expired() {
        let mut state = State::default();
        state.take(2).unwrap();
        told(&mut state, &[1_000_010, 1, 1_000_020, 5], 1_000_000);
        let error = state.take(7).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::FULL));
        assert!(error.to_string().contains("max_anonymous"), "{error}");
        told(&mut state, &[1_000_010, 1, 1_000_020, 5], 1_000_010);
        state.take(7).unwrap();
        assert_eq!(state.number(1_000_020), 2, "those that are under way");
    }

    #[test]
    fn what_is_not_told_is_kept_and_what_may_have_been_told_is_not() {
        for (kind, kept) in [(ErrorKind::Unavailable, 4), (ErrorKind::OutcomeUnknown, 1)] {
            let mut state = State { sent: Numbers::from([(9, 3)]), own: Numbers::from([(9, 1)]), ..State::default() };
            assert_eq!(state.number(0), 4);
            state.told(Err(Error::new(kind, "lost")));
            assert_eq!(state.number(0), kept, "{kind:?}");
        }
    }

    #[test]
    fn logins_of_sessions_that_were_counted_elsewhere_never_count_below_none() {
        let mut state = State { own: Numbers::from([(9, -3)]), ..State::default() };
        assert_eq!(state.number(0), 0);
        state.take(1).unwrap();
        assert!(state.take(1).is_err());
    }
}

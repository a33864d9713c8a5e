//! Which sessions are whose: the index of each principal, and the epochs.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use statehouse_core::time::{millis_rounded_up, whole_micros};
use statehouse_core::{ErrorKind, Namespace, Result, Timestamp};
use statehouse_redis::{Idempotence, KeySpace, RedisClient, RedisScript, ScriptCall, redis, script, unexpected_answer};

use super::answers::Answers;
use crate::principals::Login;
use crate::record::{Beyond, Limit, Principal, Record};
use crate::token::SessionKey;

static ENTER: LazyLock<RedisScript> = script!("lua/epoch.lua", "lua/enter.lua");
static LIST_IN: LazyLock<RedisScript> = script!("lua/epoch.lua", "lua/list_in.lua");
static REVOKE: LazyLock<RedisScript> = script!("lua/epoch.lua", "lua/revoke.lua");
static ADVANCE: LazyLock<RedisScript> = script!("lua/epoch.lua", "lua/advance.lua");

/// For how long a login counts that was let in and of which nothing more was heard. More than any call takes.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// For how long an epoch is kept: longer than a session lives that is in no index.
const KEPT: Duration = Duration::from_secs(3660 * 86_400);

/// How many sessions are asked for, or ended, or forgotten at once.
pub(super) const AT_ONCE: usize = 256;

/// What is no epoch any more, nor is what is greater: a script could not count on from there.
const NO_EPOCH: u64 = (1 << 53) - 1;

/// How far the epoch of everybody is ahead of the clock of its server, so that it is later than that of anybody on a server
/// whose clock is ahead.
const AHEAD: Duration = Duration::from_secs(3_600);

/// For how long it is taken for certain that the index has a session that was put there: a failover may lose it, or somebody else delete
/// the index, and another login may have taken it for one that has ended.
const LISTED_FOR: Duration = Duration::from_secs(60);

/// How many sessions a store remembers whose they are.
const REMEMBERED: usize = 8_192;

/// What of the sessions lies by principal: for each the hash tag is the principal, so that a script sees it together.
#[derive(Clone, Debug)]
pub(super) struct Principals {
    redis: RedisClient,
    answers: Arc<Answers>,
    keys: KeySpace,
    /// The epoch of everybody.
    everybody: Vec<u8>,
}

/// When the whole of a call is to be over, however many steps it has; without an end if nobody said one.
#[derive(Clone, Copy, Default)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// That of a call that begins now. An end that no clock reaches is none.
    pub(super) fn of(limit: Option<Duration>) -> Self {
        Self(limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    /// How much time is left for the next step.
    pub(super) fn left(self) -> Option<Duration> {
        self.0.map(|until| until.saturating_duration_since(Instant::now()))
    }
}

/// Whose a session is as far as is known, and the names of their epoch and of everybody's, where these lie on the same server: a script
/// sees with them whether it was revoked.
pub(super) struct Known {
    pub(super) principal: Principal,
    pub(super) epochs: [Vec<u8>; 2],
    /// The name of their index.
    pub(super) sessions: Vec<u8>,
}

/// The login that a script makes together with what it writes, where all of that lies on one server.
pub(super) struct Entry {
    /// The epochs of the principal and of everybody.
    epochs: [Vec<u8>; 2],
    sessions: Vec<u8>,
    entering: Vec<u8>,
    key: SessionKey,
    begun: u64,
    most: Option<u32>,
}

impl Entry {
    /// Adds the keys to a call on a session, behind those that say whether that was revoked, if it has them.
    pub(super) fn keys<'s>(&self, call: ScriptCall<'s>, is_known: bool) -> ScriptCall<'s> {
        let [own, everybody] = &self.epochs;
        let call = if is_known { call } else { call.key(&own[..]).key(&everybody[..]) };
        call.key(&self.sessions[..]).key(&self.entering[..]).key(&own[..])
    }

    /// Adds the last arguments but the deadline.
    pub(super) fn args<'s>(&self, call: ScriptCall<'s>) -> ScriptCall<'s> {
        let most = self.most.map(|most| most.to_string()).unwrap_or_default();
        call.arg(&self.key.as_bytes()[..]).arg(self.begun).arg(most)
    }
}

/// Whose login is to end, and only if it began before an epoch.
pub(super) struct Before<'a> {
    pub(super) principal: &'a Principal,
    pub(super) epoch: u64,
    /// The name of their index, where it lies on the same server.
    pub(super) sessions: Option<Vec<u8>>,
}

/// What is in an index. Some of it may have ended.
pub(super) struct Listed {
    pub(super) sessions: Vec<SessionKey>,
    /// Of logins under way: there may be no session yet.
    entering: Vec<SessionKey>,
}

impl Listed {
    /// Each once.
    pub(super) fn all(&self) -> Vec<SessionKey> {
        let mut keys = [&self.sessions[..], &self.entering[..]].concat();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Which of those that are no sessions any more the index is to forget: not a login that is under way, which has none yet and
    /// may list it before that.
    pub(super) fn without(&self, ended: Vec<SessionKey>) -> Vec<SessionKey> {
        let sessions: HashSet<_> = self.sessions.iter().collect();
        ended.into_iter().filter(|key| sessions.contains(key)).collect()
    }
}

/// Who is logged in to a session that a script has met.
pub(super) struct Owner {
    pub(super) principal: Principal,
    /// In which of their epochs the login began.
    pub(super) epoch: u64,
}

impl Owner {
    /// What is no principal is nobody.
    pub(super) fn read(principal: &[u8], epoch: u64) -> Option<Self> {
        let principal = Principal::new(std::str::from_utf8(principal).ok()?).ok()?;
        Some(Self { principal, epoch })
    }
}

/// A login to the session of a key.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) login: Login<'a>,
    pub(super) key: &'a SessionKey,
    pub(super) deadline: Deadline,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(login: Login<'a>, key: &'a SessionKey, deadline: Option<Duration>) -> Self {
        Self { login, key, deadline: Deadline::of(deadline) }
    }

    /// How much time is left.
    pub(super) fn left(&self) -> Option<Duration> {
        self.deadline.left()
    }
}

/// What was revoked last, of a principal's sessions and of everybody's.
#[derive(Clone, Copy)]
pub(super) struct Epochs {
    own: u64,
    everybody: u64,
}

impl Epochs {
    /// What no script takes for a number is none: see `epoch.lua`.
    pub(super) fn read([own, everybody]: &[Option<Vec<u8>>; 2]) -> Self {
        let number = |found: &Option<Vec<u8>>| {
            let digits = found.as_deref().filter(|found| found.len() <= 16 && found.iter().all(u8::is_ascii_digit))?;
            std::str::from_utf8(digits).ok()?.parse().ok().filter(|number| *number < NO_EPOCH)
        };
        Self { own: number(own).unwrap_or(0), everybody: number(everybody).unwrap_or(0) }
    }

    /// The epoch that the principal is in.
    pub(super) fn last(self) -> u64 {
        self.own.max(self.everybody)
    }

    /// When the session was revoked, if it was, or later: as far as is known.
    pub(super) fn ended(self, record: &Record) -> Option<Timestamp> {
        let everybody = (self.everybody, self.everybody.saturating_sub(whole_micros(AHEAD)));
        let ended = [(self.own, self.own), everybody].into_iter().filter(|(epoch, _)| record.is_revoked_in(*epoch));
        ended.map(|(_, began)| Timestamp::from_micros(began)).min()
    }
}

/// What a login is told that asks to be let in.
pub(super) enum Entered {
    /// The sessions of the principal were revoked since it began.
    Revoked,
    /// It may create its session, `beside` what is over where there is room without that.
    In { beside: bool },
    /// There are as many as there may be: these, and logins under way.
    Full(Vec<SessionKey>),
}

impl Principals {
    pub(super) fn new(redis: RedisClient, answers: Arc<Answers>, namespace: &Namespace) -> Result<Self> {
        let everybody = KeySpace::new(namespace, "session", "everybody")?.key("epoch");
        Ok(Self { redis, answers, keys: KeySpace::new(namespace, "session", "principals")?, everybody })
    }

    /// The sessions, the logins under way, and the epoch.
    fn keys_of(&self, principal: &Principal) -> [Vec<u8>; 3] {
        ["sessions", "entering", "epoch"].map(|part| self.keys.tagged(principal.as_str(), part))
    }

    /// What says in which epoch a principal is.
    pub(super) fn epochs_of(&self, principal: &Principal) -> [Vec<u8>; 2] {
        [self.keys.tagged(principal.as_str(), "epoch"), self.everybody.clone()]
    }

    /// For scripts, where all lies on one server.
    pub(super) fn known(&self, principal: Principal) -> Known {
        Known { epochs: self.epochs_of(&principal), sessions: self.index_of(&principal), principal }
    }

    /// For scripts, where all lies on one server.
    pub(super) fn entry(&self, login: Attempt<'_>) -> Entry {
        let Login { principal, epoch, limit } = login.login;
        let [sessions, entering, _] = self.keys_of(principal);
        let (epochs, most) = (self.epochs_of(principal), limit.map(|limit| limit.max));
        Entry { epochs, sessions, entering, key: *login.key, begun: epoch, most }
    }

    fn index_of(&self, principal: &Principal) -> Vec<u8> {
        self.keys.tagged(principal.as_str(), "sessions")
    }

    /// Of a login of the principal that began before this epoch.
    pub(super) fn before<'a>(&self, principal: &'a Principal, epoch: u64) -> Before<'a> {
        let sessions = (!self.redis.is_cluster()).then(|| self.index_of(principal));
        Before { principal, epoch, sessions }
    }

    /// The epochs of the principal.
    pub(super) async fn epochs(&self, principal: &Principal, deadline: Option<Duration>) -> Result<Epochs> {
        let (keys, redis) = (self.epochs_of(principal), self.redis.within(deadline));
        let found = if self.redis.is_cluster() {
            let (own, all) = tokio::join!(self.get(&keys[0], &redis), self.get(&keys[1], &redis));
            [own?, all?]
        } else {
            let mut command = redis::cmd("MGET");
            command.arg(&keys[0][..]).arg(&keys[1][..]);
            let both = pin!(redis.query::<[Option<Vec<u8>>; 2]>(&command, Idempotence::Idempotent));
            self.answers.read(&keys[0], both).await?
        };
        Ok(Epochs::read(&found))
    }

    /// Of an epoch. What is no string was put there by somebody else, and is none.
    async fn get(&self, key: &[u8], redis: &RedisClient) -> Result<Option<Vec<u8>>> {
        match self.answers.read(key, pin!(redis.get(key))).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
            found => found,
        }
    }

    /// Runs what is not repeated by anybody else, on the keys of a principal, of which this is one.
    async fn run<T: redis::FromRedisValue>(
        &self,
        key: &[u8],
        call: ScriptCall<'_>,
        idempotence: Idempotence,
        deadline: Option<Duration>,
    ) -> Result<T> {
        let (call, redis) = (call.deadline(), self.redis.within(deadline));
        self.answers.write(key, pin!(call.run(&redis, idempotence))).await
    }

    async fn remove(&self, key: &[u8], members: &[SessionKey], deadline: Option<Duration>) -> Result<()> {
        let mut command = redis::cmd("ZREM");
        command.arg(key);
        for member in members {
            command.arg(&member.as_bytes()[..]);
        }
        let redis = self.redis.within(deadline);
        self.answers.write(key, pin!(redis.query(&command, Idempotence::Idempotent))).await
    }

    /// Asks whether the principal may have one more session beside those that are not `over`, and keeps a place for it.
    pub(super) async fn enter(
        &self,
        (principal, key): (&Principal, &SessionKey),
        begun: u64,
        (limit, evicts): (Limit, bool),
        over: &[SessionKey],
        deadline: Option<Duration>,
    ) -> Result<Entered> {
        let [sessions, entering, epoch] = self.keys_of(principal);
        let call = ENTER.key(&sessions[..]).key(entering).key(epoch).arg(&key.as_bytes()[..]);
        let call = call.arg(whole_micros(UNDER_WAY)).arg(begun).arg(limit.max);
        let over: Vec<u8> = over.iter().flat_map(|key| *key.as_bytes()).collect();
        let call = call.arg(u8::from(evicts && limit.beyond == Beyond::EvictOldest)).arg(&over[..]);
        let answer: (u8, Vec<Vec<u8>>, u8) = self.run(&sessions, call, Idempotence::Idempotent, deadline).await?;
        match answer {
            (0, ..) => Ok(Entered::Revoked),
            (1, _, is_full) => Ok(Entered::In { beside: is_full == 0 }),
            (2, others, _) => Ok(Entered::Full(read_keys(&others))),
            _ => Err(unexpected_answer()),
        }
    }

    /// Puts a session into the principal's index, or back into it. Answers the principal's own epoch, and which sessions are to
    /// end for it, if there may be no more than so many.
    pub(super) async fn list_in(
        &self,
        (principal, key): (&Principal, &SessionKey),
        ends: Timestamp,
        most: Option<u32>,
        deadline: Option<Duration>,
    ) -> Result<(u64, Vec<SessionKey>)> {
        let [sessions, entering, epoch] = self.keys_of(principal);
        let call = LIST_IN.key(&sessions[..]).key(entering).key(epoch);
        let most = most.map(|most| most.to_string()).unwrap_or_default();
        let call = call.arg(&key.as_bytes()[..]).arg(ends.as_micros()).arg(most);
        let answer: (u64, Vec<Vec<u8>>) = self.run(&sessions, call, Idempotence::Idempotent, deadline).await?;
        Ok((answer.0, read_keys(&answer.1)))
    }

    /// What is in the index of the principal, and what is under way.
    pub(super) async fn listed(&self, principal: &Principal, deadline: Option<Duration>) -> Result<Listed> {
        let [sessions, entering, _] = self.keys_of(principal);
        let mut both = redis::pipe();
        for key in [&sessions, &entering] {
            both.cmd("ZRANGE").arg(&key[..]).arg(0).arg(-1);
        }
        let redis = self.redis.within(deadline);
        let listed = pin!(redis.pipeline(&both, Idempotence::Idempotent));
        let answer: (Vec<Vec<u8>>, Vec<Vec<u8>>) = self.answers.read(&sessions, listed).await?;
        Ok(Listed { sessions: read_keys(&answer.0), entering: read_keys(&answer.1) })
    }

    /// Takes out of the index what is no session of the principal any more.
    pub(super) async fn forget(
        &self,
        principal: &Principal,
        keys: &[SessionKey],
        deadline: Option<Duration>,
    ) -> Result<()> {
        let sessions = self.index_of(principal);
        for keys in keys.chunks(AT_ONCE) {
            self.remove(&sessions, keys, deadline).await?;
        }
        Ok(())
    }

    /// Takes a login out that was let in and has created nothing.
    pub(super) async fn leave(
        &self,
        (principal, key): (&Principal, &SessionKey),
        deadline: Option<Duration>,
    ) -> Result<()> {
        let [_, entering, _] = self.keys_of(principal);
        self.remove(&entering, &[*key], deadline).await
    }

    /// Begins another epoch of the principal, or of everybody. Answers it.
    pub(super) async fn revoke(&self, principal: Option<&Principal>, deadline: Deadline) -> Result<u64> {
        if let Some(principal) = principal {
            let [epoch, keeping] = self.numbers_of(principal);
            return self.next([epoch, keeping], Idempotence::NotIdempotent, deadline).await;
        }
        let call = REVOKE.key(&self.everybody[..]).arg(1).arg(whole_micros(AHEAD)).arg(millis_rounded_up(KEPT));
        self.run(&self.everybody, call, Idempotence::NotIdempotent, deadline.left()).await
    }

    /// A number for the session of the principal that is to stay while all others end. No other is given it, and each
    /// revocation that begins later begins a later epoch, whatever becomes of this one.
    pub(super) async fn keep(&self, principal: &Principal, deadline: Deadline) -> Result<u64> {
        let [epoch, keeping] = self.numbers_of(principal);
        self.next([keeping, epoch], Idempotence::Idempotent, deadline).await
    }

    /// The epoch of a principal, and what was last given to a session that stays.
    fn numbers_of(&self, principal: &Principal) -> [Vec<u8>; 2] {
        ["epoch", "keeping"].map(|part| self.keys.tagged(principal.as_str(), part))
    }

    /// Writes a number later than both, and than everybody's epoch.
    async fn next(&self, [written, other]: [Vec<u8>; 2], idempotence: Idempotence, deadline: Deadline) -> Result<u64> {
        let call = REVOKE.key(&written[..]).key(other);
        // In a cluster that lies elsewhere, and what was there a moment ago is as good: a login that has begun since is later.
        let (call, least) = match self.redis.is_cluster() {
            true => {
                let everybody = self.get(&self.everybody, &self.redis.within(deadline.left())).await?;
                (call, Epochs::read(&[None, everybody]).last() + 1)
            }
            false => (call.key(&self.everybody[..]), 1),
        };
        let call = call.arg(least).arg(0).arg(millis_rounded_up(KEPT));
        self.run(&written, call, idempotence, deadline.left()).await
    }

    /// Begins the epoch of this number, which a session was given that stays. Answers the epoch, or `None` if meanwhile another
    /// one was given a later number.
    pub(super) async fn advance(
        &self,
        principal: &Principal,
        number: u64,
        deadline: Option<Duration>,
    ) -> Result<Option<u64>> {
        let [epoch, keeping] = self.numbers_of(principal);
        let call = ADVANCE.key(&epoch[..]).key(keeping).arg(number).arg(millis_rounded_up(KEPT));
        let epoch: u64 = self.run(&epoch, call, Idempotence::Idempotent, deadline).await?;
        Ok((epoch > 0).then_some(epoch))
    }
}

/// What is no key was put there by somebody else.
pub(super) fn read_keys(found: &[Vec<u8>]) -> Vec<SessionKey> {
    found.iter().filter_map(|bytes| Some(SessionKey::from_bytes(bytes[..].try_into().ok()?))).collect()
}

/// Whose the sessions are that a store has met lately, so that one round trip asks for a session and for the epoch of its
/// principal. It may forget any, and what it says is looked at again.
pub(super) struct Met {
    slots: Box<[Mutex<Option<Meeting>>]>,
    hasher: RandomState,
}

#[derive(Clone)]
struct Meeting {
    key: SessionKey,
    principal: Principal,
    /// When it was put into the index, and until when it is there: a login may move the end of its session.
    listed: Option<(Instant, Timestamp)>,
}

impl Default for Met {
    fn default() -> Self {
        Self { slots: (0..REMEMBERED).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl std::fmt::Debug for Met {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Met")
    }
}

impl Met {
    /// Nothing that runs under the lock leaves a slot half changed.
    fn slot(&self, key: &SessionKey) -> MutexGuard<'_, Option<Meeting>> {
        let at = usize::try_from(self.hasher.hash_one(key)).unwrap_or(0) % self.slots.len();
        self.slots[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn principal_of(&self, key: &SessionKey) -> Option<Principal> {
        self.slot(key).as_ref().filter(|met| met.key == *key).map(|met| met.principal.clone())
    }

    pub(super) fn note(&self, key: &SessionKey, principal: &Principal) {
        let mut slot = self.slot(key);
        if !slot.as_ref().is_some_and(|met| met.key == *key && met.principal == *principal) {
            *slot = Some(Meeting { key: *key, principal: principal.clone(), listed: None });
        }
    }

    /// Whether it is certain that the index has it, with an end of its session that is no earlier.
    pub(super) fn is_listed(&self, key: &SessionKey, principal: &Principal, ends: Timestamp) -> bool {
        let slot = self.slot(key);
        let met = slot.as_ref().filter(|met| met.key == *key && met.principal == *principal);
        met.and_then(|met| met.listed).is_some_and(|(at, until)| until == ends && at.elapsed() < LISTED_FOR)
    }

    pub(super) fn note_listed(&self, key: &SessionKey, principal: &Principal, ends: Timestamp) {
        let listed = Some((Instant::now(), ends));
        *self.slot(key) = Some(Meeting { key: *key, principal: principal.clone(), listed });
    }

    /// As it is once so much time has passed.
    #[cfg(test)]
    pub(super) fn age(&self, key: &SessionKey) {
        if let Some(met) = &mut *self.slot(key) {
            met.listed = met.listed.and_then(|(at, ends)| Some((at.checked_sub(LISTED_FOR)?, ends)));
        }
    }
}

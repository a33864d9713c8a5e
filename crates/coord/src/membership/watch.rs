use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use statehouse_core::{Result, Version};
use tokio::time::sleep;

use super::beat::may_not;
use super::format::{GROUP, Kept, PREFIX, all};
use super::info::MemberInfo;
use super::member::{Member, MemberId};
use super::pace::Pace;
use super::pulse::{MOMENT, Pulse};
use crate::api::CoordStore;
use crate::beats::BeatsOptions;
use crate::capability::SERVER_TIME;
use crate::key::CoordKey;
use crate::record::Record;

/// Looks at the members again and again: made by [`Membership::watch`](crate::Membership::watch).
///
/// Each look is a scan of their records, in pages, and a list of who beats. A process that is a member itself is told with each of its
/// beats whether there is a reason to look. It remembers what it has seen, so that what has not changed is not read
/// again, and so that it can tell [when](Member::heard) a member spoke.
#[derive(Clone)]
pub struct MemberWatch {
    store: Arc<dyn CoordStore>,
    heartbeat: Option<Duration>,
    seen: BTreeMap<CoordKey, Sighting>,
    /// When the look before began.
    looked: Option<Instant>,
    told: Option<Vec<(MemberId, Arc<MemberInfo>)>>,
    /// When there is a reason to look again, as far as the last look tells.
    due: Option<Instant>,
    /// The last change that it has seen; none where some of them do not beat.
    changes: Option<Version>,
    pulse: Pulse,
}

#[derive(Clone)]
struct Sighting {
    version: Version,
    value: Bytes,
    id: MemberId,
    lives: Duration,
    /// For how long its record stays when it does not count any more.
    outlives: Duration,
    label: Arc<str>,
    info: Arc<MemberInfo>,
    heard: Option<Instant>,
}

impl MemberWatch {
    pub(super) fn new(store: Arc<dyn CoordStore>, heartbeat: Option<Duration>, pulse: Pulse) -> Self {
        let seen = BTreeMap::new();
        Self { store, heartbeat, seen, looked: None, told: None, due: None, changes: None, pulse }
    }

    /// The members as they are now, by their ids. Whoever looks is among them if it has joined.
    ///
    /// # Errors
    /// What the store says; the next look is as good as the first.
    pub async fn look(&mut self) -> Result<Vec<Member>> {
        self.due = None;
        let begun = Instant::now();
        let pace = Pace::of(&*self.store, self.heartbeat)?;
        // Before the records: what changes between the two has another number then.
        let (changes, living) = self.beats(pace.patience()).await?;
        let records = all(&*self.store, PREFIX, pace.patience()).await?;
        // What a store can do may be known only once it was asked.
        let (pace, tells_time) = (Pace::of(&*self.store, self.heartbeat)?, self.store.capabilities().has(SERVER_TIME));
        let (mut seen, mut all_beat) = (BTreeMap::new(), true);
        let mut members: BTreeMap<MemberId, Member> = BTreeMap::new();
        for (key, record) in records {
            // What is no member, or one of a version that is not known, has no say.
            let Some(mut sighting) = self.sight(&key, &record) else { continue };
            let beat = living.get(&key).copied();
            // Its member beats no more.
            // To whom beats are not shown each counts until its record is over, as to builds that know none.
            let by_itself = if changes.is_some() { sighting.by_itself(&record) } else { record.expires_in };
            let Some(expires_in) = beat.max(by_itself) else { continue };
            all_beat &= beat.is_some();
            // One that is over later than a word lasts is of before the server's clock went back: nobody knows when that was.
            if tells_time && expires_in <= sighting.lives {
                // By the store's time it is so old now, which is after the look began.
                let age = sighting.lives.saturating_sub(expires_in);
                sighting.heard = sighting.heard.max(begun.checked_sub(age));
            }
            let member = sighting.member(expires_in);
            // A member that has lost its place and taken another has one more for a while.
            members.entry(member.id).and_modify(|known| known.prefer(&member)).or_insert(member);
            seen.insert(key, sighting);
        }
        self.changes = changes.filter(|_| all_beat);
        (self.seen, self.looked) = (seen, Some(begun));
        let members: Vec<_> = members.into_values().collect();
        let ends = members.iter().map(|member| member.expires_in).min().unwrap_or(Duration::MAX);
        // A moment later: the store is asked when it is over.
        self.due = begun.checked_add(pace.look(members.len()).min(ends.saturating_add(MOMENT)));
        Ok(members)
    }

    /// The last change, and after how long who beats is over; neither where beats are not counted, or not shown to this user.
    async fn beats(&self, patience: Duration) -> Result<(Option<Version>, BTreeMap<CoordKey, Duration>)> {
        let options = BeatsOptions::default().with_deadline(patience);
        match self.store.beats_with(&CoordKey::new(GROUP)?, options).await {
            Ok(beats) => Ok((Some(beats.changes), beats.living.into_iter().collect())),
            Err(error) if may_not(&error) => Ok((None, BTreeMap::new())),
            Err(error) => Err(error),
        }
    }

    /// The members as soon as they are not as they were when this was called before: one more, one less, or one that says
    /// something else. The first call returns at once. It looks at each second heartbeat, and when one may be gone; in a process that
    /// is a member, where beats are counted, when there is a reason to. Dropping the future loses nothing.
    ///
    /// ```
    /// # use statehouse_coord::{Coordination, MemberInfo, MemoryCoordStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let coord = Coordination::new(std::sync::Arc::new(MemoryCoordStore::new()));
    /// let mut watch = coord.membership().watch();
    /// assert!(watch.next().await?.is_empty());
    /// let joined = coord.membership().join(MemberInfo::new("clinic 1.4.0")).await?;
    /// assert_eq!(watch.next().await?[0].id, joined.id());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What the store says; the next call looks again, at once.
    pub async fn next(&mut self) -> Result<Vec<Member>> {
        loop {
            let mut beats = self.pulse.listen();
            while !self.rest().is_zero() {
                tokio::select! {
                    () = sleep(self.rest()) => {}
                    () = beats.felt() => {}
                }
            }
            let members = self.look().await?;
            let now: Vec<_> = members.iter().map(|member| (member.id, Arc::clone(&member.info))).collect();
            if self.told.as_ref() != Some(&now) {
                self.told = Some(now);
                return Ok(members);
            }
        }
    }

    /// How long there is no reason to look again, as far as is known now. Who is a member is told with each of its beats that
    /// there is none for longer, or that there is one.
    #[must_use]
    pub fn rest(&self) -> Duration {
        self.due().map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()))
    }

    fn due(&self) -> Option<Instant> {
        let (due, looked) = (self.due?, self.looked?);
        let (Some(seen), Some(felt)) = (self.changes, self.pulse.felt().filter(|felt| felt.at > looked)) else {
            return Some(due);
        };
        let Ok(pace) = Pace::of(&*self.store, self.heartbeat) else { return Some(due) };
        if felt.changes != seen {
            // Not with each of many who come at once.
            return Some(due.min(looked + pace.heartbeat));
        }
        let next = (felt.at + pace.heartbeat * 2).min(looked + pace.believed());
        Some(felt.ends.map_or(next, |ends| ends.min(next)))
    }

    /// A moment at which the members were, as far as is known, what they were at the last look: that one, or a beat since then
    /// that was told that nothing had changed.
    ///
    /// ```
    /// # use statehouse_coord::{Coordination, MemoryCoordStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let coord = Coordination::new(std::sync::Arc::new(MemoryCoordStore::new()));
    /// let mut watch = coord.membership().watch();
    /// assert!(watch.as_of().is_none());
    /// let members = watch.look().await?;
    /// assert!(members.is_empty() && watch.as_of().is_some());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn as_of(&self) -> Option<Instant> {
        let felt = self.pulse.felt().filter(|felt| Some(felt.changes) == self.changes).map(|felt| felt.at);
        self.looked.max(felt.filter(|_| self.looked.is_some()))
    }

    fn sight(&self, key: &CoordKey, record: &Record) -> Option<Sighting> {
        let known = self.seen.get(key);
        if let Some(known) = known.filter(|known| known.version == record.version) {
            return Some(known.clone());
        }
        let mut sighting = match known.filter(|known| known.value == record.value) {
            Some(known) => Sighting { version: record.version, ..known.clone() },
            None => Sighting::read(record)?,
        };
        // It is not older than the look before.
        sighting.heard = known.and(self.looked);
        Some(sighting)
    }
}

impl Sighting {
    fn read(record: &Record) -> Option<Self> {
        let kept = Kept::decode(&record.value).ok()?;
        let (id, lives, outlives) = (kept.id().ok()?, kept.lives(), kept.outlives());
        let (label, info) = (kept.label.as_str().into(), Arc::new(kept.info));
        let (version, value) = (record.version, record.value.clone());
        Some(Self { version, value, id, lives, outlives, label, info, heard: None })
    }

    /// For how long it counts because its record was put, whether or not anybody beats.
    fn by_itself(&self, record: &Record) -> Option<Duration> {
        record.expires_in?.checked_sub(self.outlives).filter(|left| !left.is_zero())
    }

    fn member(&self, expires_in: Duration) -> Member {
        Member {
            id: self.id,
            label: Arc::clone(&self.label),
            info: Arc::clone(&self.info),
            heard: self.heard,
            expires_in,
        }
    }
}

impl Member {
    /// Of two records of one member the one that was written later counts.
    fn prefer(&mut self, other: &Self) {
        if other.expires_in > self.expires_in {
            *self = other.clone();
        }
    }
}

impl fmt::Debug for MemberWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberWatch").field("members", &self.seen.len()).finish_non_exhaustive()
    }
}

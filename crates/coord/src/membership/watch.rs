use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use statehouse_core::{Result, Version};
use tokio::time::sleep;

use super::format::{Kept, PREFIX, all};
use super::info::MemberInfo;
use super::member::{Member, MemberId};
use super::pace::Pace;
use crate::api::CoordStore;
use crate::capability::SERVER_TIME;
use crate::key::CoordKey;
use crate::record::Record;

/// Looks at the members again and again: made by [`Membership::watch`](crate::Membership::watch).
///
/// Each look is a scan of their records, in pages. It remembers what it has seen, so that what has not changed is not read
/// again, and so that it can tell [when](Member::heard) a member spoke.
#[derive(Clone)]
pub struct MemberWatch {
    store: Arc<dyn CoordStore>,
    heartbeat: Option<Duration>,
    seen: BTreeMap<CoordKey, Sighting>,
    /// When the look before began.
    looked: Option<Instant>,
    told: Option<Vec<(MemberId, Arc<MemberInfo>)>>,
    /// When there is a reason to look again.
    due: Option<Instant>,
}

#[derive(Clone)]
struct Sighting {
    version: Version,
    value: Bytes,
    id: MemberId,
    lives: Duration,
    label: Arc<str>,
    info: Arc<MemberInfo>,
    heard: Option<Instant>,
}

impl MemberWatch {
    pub(super) fn new(store: Arc<dyn CoordStore>, heartbeat: Option<Duration>) -> Self {
        Self { store, heartbeat, seen: BTreeMap::new(), looked: None, told: None, due: None }
    }

    /// The members as they are now, by their ids. Whoever looks is among them if it has joined.
    ///
    /// # Errors
    /// What the store says; the next look is as good as the first.
    pub async fn look(&mut self) -> Result<Vec<Member>> {
        let begun = Instant::now();
        let patience = Pace::of(&*self.store, self.heartbeat)?.patience();
        let records = all(&*self.store, PREFIX, patience).await?;
        // What a store can do may be known only once it was asked.
        let (pace, tells_time) = (Pace::of(&*self.store, self.heartbeat)?, self.store.capabilities().has(SERVER_TIME));
        let mut seen = BTreeMap::new();
        let mut members: BTreeMap<MemberId, Member> = BTreeMap::new();
        for (key, record) in records {
            // What is no member, or one of a version that is not known, has no say.
            let Some(sighting) = self.sight(&key, &record, begun, tells_time) else { continue };
            let member = sighting.member(&record);
            // A member that has lost its place and taken another has one more for a while.
            members.entry(member.id).and_modify(|known| known.prefer(&member)).or_insert(member);
            seen.insert(key, sighting);
        }
        (self.seen, self.looked) = (seen, Some(begun));
        let members: Vec<_> = members.into_values().collect();
        let ends = members.iter().map(|member| member.expires_in).min().unwrap_or(Duration::MAX);
        // A moment later: the store is asked when it is over.
        self.due = begun.checked_add(pace.look(members.len()).min(ends.saturating_add(Duration::from_millis(5))));
        Ok(members)
    }

    /// The members as soon as they are not as they were when this was called before: one more, one less, or one that says
    /// something else. The first call returns at once. It looks at each second heartbeat, and when one may be gone. Dropping the
    /// future loses nothing.
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
            if let Some(due) = self.due {
                sleep(due.saturating_duration_since(Instant::now())).await;
            }
            self.due = None;
            let members = self.look().await?;
            let now: Vec<_> = members.iter().map(|member| (member.id, Arc::clone(&member.info))).collect();
            if self.told.as_ref() != Some(&now) {
                self.told = Some(now);
                return Ok(members);
            }
        }
    }

    /// How long there is no reason to look again after the last look.
    #[must_use]
    pub fn rest(&self) -> Duration {
        self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()))
    }

    fn sight(&self, key: &CoordKey, record: &Record, begun: Instant, tells_time: bool) -> Option<Sighting> {
        let known = self.seen.get(key);
        if let Some(known) = known.filter(|known| known.version == record.version) {
            return Some(known.clone());
        }
        let mut sighting = match known.filter(|known| known.value == record.value) {
            Some(known) => Sighting { version: record.version, ..known.clone() },
            None => Sighting::read(record)?,
        };
        let age = sighting.lives.saturating_sub(record.expires_in?);
        // By the store's time it is so old now, which is after the look began; else it is not older than the look before.
        sighting.heard = if tells_time { begun.checked_sub(age) } else { known.and(self.looked) };
        Some(sighting)
    }
}

impl Sighting {
    fn read(record: &Record) -> Option<Self> {
        let kept = Kept::decode(&record.value).ok()?;
        let (id, lives) = (kept.id().ok()?, kept.lives());
        let (label, info) = (kept.label.as_str().into(), Arc::new(kept.info));
        Some(Self { version: record.version, value: record.value.clone(), id, lives, label, info, heard: None })
    }

    fn member(&self, record: &Record) -> Member {
        Member {
            id: self.id,
            label: Arc::clone(&self.label),
            info: Arc::clone(&self.info),
            heard: self.heard,
            expires_in: record.expires_in.unwrap_or(self.lives),
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

//! Being a member: taking a place, saying again and again that one is there, and leaving.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use statehouse_core::{Condition, Error, ErrorKind, Result, Retry, Version};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::epochs::{Behind, behind};
use super::format::{Kept, PLACES, PREFIX, all, place};
use super::info::MemberInfo;
use super::member::MemberId;
use super::pace::Pace;
use super::pulse::Pulse;
use crate::api::CoordStore;
use crate::away::is_away;
use crate::beats::BeatOptions;
use crate::key::CoordKey;
use crate::leases::Lessee;
use crate::options::{GetOptions, PutOptions, RemoveOptions};
use crate::outcome::{PutOutcome, RemoveOutcome};
use crate::record::{Record, WriteId};
use crate::settled::put_settled;
use crate::term::{Moment, Term};

/// What a member knows of itself.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// For how long others count on it, if it says nothing more: counted from when its last word was sent.
    pub(super) listed: Term,
    /// What it has told.
    pub(super) info: MemberInfo,
    pub(super) behind: Option<Behind>,
}

/// What the record of a member says.
#[derive(Debug)]
struct Said {
    value: Bytes,
    /// When it was put, at the earliest.
    put: Instant,
    /// The others have been told to look.
    is_told: bool,
}

/// One incarnation of a process.
#[derive(Debug)]
pub(super) struct Beat {
    store: Arc<dyn CoordStore>,
    /// Where the epochs are.
    epochs: Arc<dyn CoordStore>,
    pub(super) id: MemberId,
    pub(super) label: Arc<str>,
    pub(super) pace: Pace,
    info: watch::Receiver<MemberInfo>,
    leases: Lessee,
    place: Option<(CoordKey, Version)>,
    /// A place that it may have taken, though it was not told.
    trying: Option<CoordKey>,
    /// It has not looked whether it is behind since it came, or came back.
    is_unchecked: bool,
    /// What its record says, as far as it knows; where beats are counted.
    said: Option<Said>,
    /// When it said last that it is there, and that counted.
    counted: Option<Moment>,
    pulse: Pulse,
}

/// How often it says a word anew: where another word of it was stored, or it was forgotten.
const TURNS: usize = 4;

/// How often another place is tried because somebody else was faster.
const TRIES: usize = 32;

/// A place is drawn from so many free ones, so that those who come at the same time seldom want the same.
const CHOICE: usize = 16;

/// How long leaving may take. If it does not succeed, the time to live ends it.
const LEAVE: Duration = Duration::from_millis(800);

impl Beat {
    pub(super) fn new(
        (store, epochs): (Arc<dyn CoordStore>, Arc<dyn CoordStore>),
        (id, label, pace, info): (MemberId, Arc<str>, Pace, watch::Receiver<MemberInfo>),
        leases: Lessee,
        pulse: Pulse,
    ) -> Self {
        let (place, trying, said, counted) = (None, None, None, None);
        Self { store, epochs, id, label, pace, info, leases, place, trying, is_unchecked: true, said, counted, pulse }
    }

    /// Says once that it is there.
    ///
    /// # Errors
    /// What prevented it.
    pub(super) async fn beat(&mut self) -> Result<Standing> {
        let kept = Kept::new(self.id, &self.label, self.pace, &self.info.borrow_and_update());
        let (value, sent, put) = (kept.encode()?, Moment::now(), Instant::now());
        // Whoever was forgotten meanwhile comes back, whatever an answer says of that.
        self.is_unchecked |= self.counted.is_some_and(|counted| counted.passed() > self.pace.lives());
        if self.is_told(&value) && put < self.renewed_at() && self.say(BeatOptions::again).await? {
            self.counted = Some(sent);
            return Ok(self.standing(sent, kept.info));
        }
        match self.put_own(&value).await {
            Err(error) if error.retry() == Retry::FULL => return self.stand_by(sent, error).await,
            put => put?,
        }
        if self.pace.beats {
            self.tell_others(value, put).await?;
        }
        self.counted = Some(sent);
        Ok(self.standing(sent, kept.info))
    }

    /// The store has no room for what it says now: what it said before stands, and it is there.
    async fn stand_by(&mut self, sent: Moment, error: Error) -> Result<Standing> {
        let Some(Said { value, put, .. }) = self.said.as_ref().filter(|_| self.pace.beats) else { return Err(error) };
        let (value, mut put) = (value.clone(), *put);
        let (info, now) = (Kept::decode(&value)?.info, Instant::now());
        if now >= self.renewed_at() {
            self.put_own(&value).await?;
            put = now;
        }
        self.tell_others(value, put).await?;
        self.counted = Some(sent);
        Ok(self.standing(sent, info))
    }

    fn is_told(&self, value: &Bytes) -> bool {
        self.pace.beats && self.said.as_ref().is_some_and(|said| said.is_told && said.value == *value)
    }

    fn renewed_at(&self) -> Instant {
        self.said.as_ref().map_or_else(Instant::now, |said| said.put + self.pace.renewed())
    }

    /// After its record was put: unless that says what it said before, the others are to look.
    async fn tell_others(&mut self, value: Bytes, put: Instant) -> Result<()> {
        let goes_on = self.is_told(&value) && self.say(BeatOptions::again).await?;
        // That much stands, whether the others are told of it by now or with the next word.
        self.said = Some(Said { value: value.clone(), put, is_told: false });
        if goes_on || self.say(BeatOptions::anew).await? {
            self.said = Some(Said { value, put, is_told: true });
        } else if self.pace.beats {
            return Err(Error::new(ErrorKind::Unavailable, "the record of this member was gone as soon as it was put"));
        }
        Ok(())
    }

    /// Whether that counts. Who may not beat puts its record each time.
    async fn say(&mut self, kind: fn(Duration) -> BeatOptions) -> Result<bool> {
        let Some((key, version)) = &self.place else { return Ok(false) };
        let sent = std::time::Instant::now();
        let options = kind(self.pace.lives()).with_deadline(self.pace.patience());
        match self.store.beat_with(key, *version, options).await {
            Ok(beaten) => {
                self.pulse.feel(sent, &beaten);
                if !beaten.was_there {
                    // It has come, or it was silent for so long that it was forgotten: the others are to be told anew.
                    self.is_unchecked = true;
                    self.said.iter_mut().for_each(|said| said.is_told = false);
                }
                Ok(beaten.is_there)
            }
            Err(error) if may_not(&error) => {
                tracing::debug!(name: "coord.member_without_beats", %error, "a member puts its record with each heartbeat");
                (self.pace.beats, self.said) = (false, None);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Its record says this.
    async fn put_own(&mut self, value: &Bytes) -> Result<()> {
        for _ in 0..TURNS {
            let Some((key, version)) = self.place.clone() else {
                if self.take_place(value).await? {
                    return Ok(());
                }
                continue;
            };
            match self.put(&key, value, Condition::Match(version)).await? {
                PutOutcome::Stored(version) => {
                    self.place = Some((key, version));
                    return Ok(());
                }
                // What a word before has left, whose answer was lost.
                PutOutcome::Conflict(Some(record)) if self.is_own(&record) => {
                    self.place = Some((key, record.version));
                    self.said.iter_mut().for_each(|said| (said.value, said.is_told) = (record.value.clone(), false));
                }
                // It has been silent for so long that it was forgotten.
                PutOutcome::Conflict(_) => (self.place, self.said, self.is_unchecked) = (None, None, true),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the record of this member was changed again and again"))
    }

    fn standing(&self, sent: Moment, info: MemberInfo) -> Standing {
        Standing { listed: Term::new(sent, self.pace.lives()), info, behind: None }
    }

    /// Looks whether it is still wanted, once it has said that it came, or came back: whoever raises an epoch looks for members
    /// after it has said that.
    ///
    /// # Errors
    /// What prevented it; it is to look again.
    pub(super) async fn check(&mut self, standing: &mut Standing) -> Result<()> {
        if self.is_unchecked {
            standing.behind = behind(&*self.epochs, &standing.info, self.pace.patience()).await?;
            self.is_unchecked = false;
        }
        Ok(())
    }

    fn is_own(&self, record: &Record) -> bool {
        Kept::decode(&record.value).and_then(|kept| kept.id()).is_ok_and(|id| id == self.id)
    }

    async fn put(&self, key: &CoordKey, value: &Bytes, condition: Condition<Version>) -> Result<PutOutcome> {
        let lives = self.pace.record().unwrap_or_else(|| self.pace.lives());
        let options = PutOptions::default().with_condition(condition).with_time_to_live(lives);
        let options = options.with_deadline(self.pace.patience());
        put_settled(&*self.store, key, value, WriteId::generate()?, options).await
    }

    /// Whether it has said what it is; if not, it has found a place of its own, where that is to be said. One that something else stands
    /// in is left alone.
    async fn take_place(&mut self, value: &Bytes) -> Result<bool> {
        let mut unusable = BTreeSet::new();
        for byte in self.id.as_bytes().iter().cycle().take(TRIES) {
            let records = all(&*self.store, PREFIX, self.pace.patience()).await?;
            // One whose answer was lost.
            if let Some((key, own)) = records.iter().find(|(_, record)| self.is_own(record)) {
                self.place = Some((key.clone(), own.version));
                return Ok(false);
            }
            let taken: BTreeSet<&str> = records.iter().filter_map(|(key, _)| key.strip_prefix(PREFIX)).collect();
            let is_free = |number: &u32| !unusable.contains(number) && !taken.contains(number.to_string().as_str());
            let free = (0..PLACES).filter(is_free);
            let free: Vec<_> = free.take(CHOICE).collect();
            let Some(number) = free.get(usize::from(*byte) % free.len().max(1)) else { break };
            let key = place(*number)?;
            self.trying = Some(key.clone());
            let put = match self.put(&key, value, Condition::Absent).await {
                Err(error) if error.kind() == ErrorKind::Corrupt => None,
                // It may have been made: that is found out, or ended, later.
                put => Some(put?),
            };
            self.trying = None;
            match put {
                Some(PutOutcome::Stored(version)) => {
                    self.place = Some((key, version));
                    return Ok(true);
                }
                Some(PutOutcome::Conflict(_)) => {}
                None => drop(unusable.insert(*number)),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "others have taken every place of a member that was tried"))
    }

    /// Says again and again that it is there, until it is to leave.
    pub(super) async fn keep(mut self, standing: watch::Sender<Standing>, mut stop: oneshot::Receiver<()>) {
        let mut last = Instant::now();
        let mut due = last + self.pace.heartbeat;
        let mut is_told = false;
        let mut info = self.info.clone();
        info.mark_unchanged();
        let mut leases = self.leases.clone();
        loop {
            let beat = async {
                tokio::select! {
                    () = sleep_until(due) => {}
                    () = changed(&mut info) => sleep_until(due.min(last + self.pace.gap())).await,
                }
                info.mark_unchanged();
                last = Instant::now();
                let mut standing = self.beat().await?;
                if let Err(error) = self.check(&mut standing).await {
                    tracing::debug!(name: "coord.member_unchecked", %error, "whether this replica is behind is looked for with the next word");
                }
                Ok(standing)
            };
            let beaten = tokio::select! {
                biased;
                _ = &mut stop => break,
                () = leases.closed() => break,
                beaten = beat => beaten,
            };
            due = last + if beaten.is_ok() { self.pace.heartbeat } else { self.pace.heartbeat / 4 };
            tell(&standing, beaten, &mut is_told);
        }
        self.leave().await;
    }

    /// First, so that who hears of it finds no record that nobody beats for. If it is not heard, the time to live ends it.
    async fn say_last(&self) {
        self.pulse.stops();
        if let (true, Some((key, version))) = (self.pace.beats, &self.place) {
            let _unheard = self.store.beat_with(key, *version, BeatOptions::last().with_deadline(LEAVE / 2)).await;
        }
    }

    /// Nobody counts on it any more.
    pub(super) async fn leave(&self) {
        let until = Instant::now() + LEAVE;
        self.say_last().await;
        let (key, mut version) = match (&self.place, &self.trying) {
            (Some((key, version)), _) => (key, *version),
            (None, Some(key)) => match self.store.get_with(key, GetOptions::default().with_deadline(LEAVE)).await {
                Ok(Some(record)) if self.is_own(&record) => (key, record.version),
                _ => return,
            },
            (None, None) => return,
        };
        for _ in 0..3 {
            let left = until.saturating_duration_since(Instant::now());
            let options = RemoveOptions::default().with_deadline(left);
            match self.store.remove_with(key, version, options).await {
                Ok(RemoveOutcome::Conflict(record)) if self.is_own(&record) => version = record.version,
                Ok(_) => return,
                Err(error) if left.is_zero() || !is_away(&error) => {
                    tracing::debug!(name: "coord.member_not_left", %error, "a member is forgotten after its time to live");
                    return;
                }
                Err(_) => {
                    let options = GetOptions::default().with_deadline(left);
                    if let Ok(Some(record)) = self.store.get_with(key, options).await {
                        version = if self.is_own(&record) { record.version } else { return };
                    }
                }
            }
        }
    }
}

/// Whether this store, or this user of it, has no beats.
pub(super) fn may_not(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported)
}

/// Waits for a change; for ever, if nobody can change it any more.
async fn changed(info: &mut watch::Receiver<MemberInfo>) {
    if info.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// One line when others cannot count on it any more, and one when they can again.
fn tell(standing: &watch::Sender<Standing>, beaten: Result<Standing>, is_told: &mut bool) {
    match beaten {
        Ok(now) => {
            if let Some(behind) = &now.behind
                && standing.borrow().behind.is_none()
            {
                tracing::error!(name: "coord.member_behind", kind = behind.kind, epoch = behind.epoch, "{behind}");
            }
            if std::mem::take(is_told) {
                tracing::info!(name: "coord.member_back", "the others count on this replica again");
            }
            standing.send_modify(|before| {
                let behind = now.behind.clone().or_else(|| before.behind.take());
                *before = Standing { behind, ..now };
            });
        }
        Err(error) if !*is_told && standing.borrow().listed.is_over() => {
            *is_told = true;
            tracing::warn!(name: "coord.member_forgotten", %error, "the others do not count on this replica any more");
        }
        Err(error) => tracing::debug!(name: "coord.member_not_heard", %error, "a heartbeat was not stored"),
    }
}

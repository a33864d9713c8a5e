use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use statehouse_core::{Condition, Error, ErrorKind, Fence, Guarded, Result, Version};

use super::epochs::{Behind, decode, encode, key, raising_key};
use super::member::Member;
use super::pace::Pace;
use super::watch::MemberWatch;
use crate::api::{CoordStore, CoordStoreExt as _};
use crate::lock::{durable, raise_all};
use crate::options::{PutOptions, WaitOptions};
use crate::outcome::PutOutcome;
use crate::record::WriteId;
use crate::settled::put_settled;
use crate::term::{Moment, Term};

/// Which format of something the members write: made by [`Membership::epoch`](crate::Membership::epoch).
///
/// A deploy that brings a new format runs beside the build before for a while, which could not read it. So the new build
/// writes the old format until no member is left that knows only that; then the epoch is raised, and all write the new
/// one.
///
/// # Behavior
/// - An epoch **only rises**. It is zero until it is raised for the first time. Its record is in the store of coordination and
///   has no time to live.
/// - It is **raised** only while every member [knows](crate::MemberInfo::knows) the format. A member that says nothing of
///   this kind is from before it. Who joins at that time is either seen, and the epoch stays, or is told that it is behind.
/// - **Who is behind is told**: a build that does not know the epoch's format cannot [join](crate::Membership::join);
///   one that was cut off or stood still for so long that it was forgotten is told when it comes back
///   ([`Joined::behind`](crate::Joined::behind)), and by [`allows`](Self::allows), within a heartbeat.
/// - **What that cannot do**: members are a hint. A process that was forgotten while it stood still may send one more write
///   before it learns of anything. Where that would do harm, the store refuses it: it is [named](Self::guards), and what is written
///   there carries the [fence](Self::fence) of its format.
///
/// ```
/// use statehouse_coord::{MemberInfo, Raised};
/// # use statehouse_coord::{Coordination, MemoryCoordStore};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let coord = Coordination::new(std::sync::Arc::new(MemoryCoordStore::new()));
/// let membership = coord.membership();
/// let joined = membership.join(MemberInfo::new("clinic 2.0.0").with_formats("notes", 1..=2)).await?;
/// let epoch = membership.epoch("notes", 1..=2);
/// assert!(!epoch.allows(2).await?, "an older build may be there"); // so format 1 is written
/// assert_eq!(epoch.raise().await?, Raised::Now);
/// assert!(epoch.allows(2).await?);
/// # joined.leave().await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Epoch {
    store: Arc<dyn CoordStore>,
    members: MemberWatch,
    heartbeat: Option<Duration>,
    kind: String,
    formats: RangeInclusive<u32>,
    known: Arc<Mutex<Option<(Moment, u32)>>>,
    guarded: Vec<Arc<dyn Guarded>>,
}

/// What became of raising an epoch.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum Raised {
    /// It was raised.
    Now,
    /// It was there already, or higher.
    Already,
    /// These members do not know the format. To be tried again when they are gone.
    Waiting(Vec<Member>),
}

/// Two that wait are equal if they wait for the same members.
impl PartialEq for Raised {
    fn eq(&self, other: &Self) -> bool {
        let ids = |members: &[Member]| members.iter().map(|member| member.id).collect::<Vec<_>>();
        match (self, other) {
            (Self::Waiting(one), Self::Waiting(another)) => ids(one) == ids(another),
            (Self::Now, Self::Now) | (Self::Already, Self::Already) => true,
            _ => false,
        }
    }
}

/// For how long others wait for who raises an epoch, and died meanwhile.
const RAISING: Duration = Duration::from_secs(10);

/// How often raising begins anew because somebody else has raised it, or is about to.
const TRIES: usize = 8;

impl Epoch {
    pub(super) fn new(
        store: Arc<dyn CoordStore>,
        members: MemberWatch,
        heartbeat: Option<Duration>,
        kind: &str,
        formats: RangeInclusive<u32>,
    ) -> Self {
        let (known, guarded) = (Arc::default(), Vec::new());
        Self { store, members, heartbeat, kind: kind.to_owned(), formats, known, guarded }
    }

    /// Names a store that refuses what is written in a format below the epoch, as [`Lock::guards`](crate::Lock::guards) does for
    /// former holders; several may be named. Whoever [raises](Self::raise) the epoch must name the same, and whoever writes there says
    /// in which format ([`fence`](Self::fence)).
    ///
    /// ```
    /// use statehouse_coord::MemberInfo;
    /// # use std::sync::Arc;
    /// # use statehouse_coord::{Coordination, MemoryCoordStore};
    /// # use statehouse_core::{ErrorKind, Namespace};
    /// # use statehouse_filestore::{Files, MemoryFileStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    /// # let notes = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("notes")?);
    /// let membership = coord.membership();
    /// let joined = membership.join(MemberInfo::new("clinic 2.0.0").with_formats("notes", 1..=2)).await?;
    /// let epoch = membership.epoch("notes", 1..=2).guards(&notes);
    /// notes.put("a", "as before").fenced(&epoch.fence(1)?).await?;
    /// epoch.raise().await?;
    /// notes.put("a", "the new one").fenced(&epoch.fence(2)?).await?;
    ///
    /// // A process of the build before, which stood still meanwhile.
    /// let late = notes.put("a", "as before").fenced(&epoch.fence(1)?).await;
    /// assert_eq!(late.unwrap_err().kind(), ErrorKind::Fenced);
    /// # joined.leave().await;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn guards(mut self, store: &(impl Guarded + Clone)) -> Self {
        self.guarded.push(Arc::new(store.clone()));
        self
    }

    /// What a write in this format carries: it is refused as [`ErrorKind::Fenced`] once the epoch is above that, in a store that is
    /// [guarded](Self::guards); and as of the first write in a newer format there. To be written in is what is
    /// [allowed](Self::allows): a write in a format that is not refuses what others may still write.
    ///
    /// Who is refused though its build knows the newer format has not heard of it yet, and asks for the [current](Self::current)
    /// one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the kind is no name.
    pub fn fence(&self, format: u32) -> Result<Fence> {
        Ok(Fence::new(key(&self.kind)?.as_key().clone(), Version::new(format.into())))
    }

    /// The format that is written, as the store has it now; zero if it was never raised.
    ///
    /// # Errors
    /// What the store says; [`ErrorKind::InvalidInput`] if the kind is no name.
    pub async fn current(&self) -> Result<u32> {
        Ok(self.read().await?.1)
    }

    /// Whether this format may be written: the epoch has reached it. What is known is asked for once in a heartbeat, however
    /// often this is asked.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`], with [`Behind`] as its source, if the epoch is above all that this build knows: then it may
    /// write nothing any more. Else as [`current`](Self::current).
    pub async fn allows(&self, format: u32) -> Result<bool> {
        let epoch = match self.remembered()? {
            Some(epoch) => epoch,
            None => self.current().await?,
        };
        if epoch > *self.formats.end() {
            let newest = Some(*self.formats.end());
            return Err(Behind { kind: self.kind.clone(), epoch, newest }.into());
        }
        Ok(format <= epoch)
    }

    /// Raises it to the newest format that this build knows, if every member knows that. To be called again while it is
    /// [`Waiting`](Raised::Waiting), when the [members](MemberWatch::next) are others.
    ///
    /// The stores that it [guards](Self::guards) refuse what is below it when this has returned, also where it was raised
    /// [already](Raised::Already).
    ///
    /// # Errors
    /// What the stores say; [`ErrorKind::Unsupported`] where the records of coordination may be forgotten, and of a store that is
    /// guarded and keeps no marks. After an error it may have been raised, and is to be called again.
    pub async fn raise(&self) -> Result<Raised> {
        let to = *self.formats.end();
        for _ in 0..TRIES {
            let (version, epoch) = self.read().await?;
            durable(&*self.store)?;
            if epoch >= to {
                self.raise_marks(epoch).await?;
                return Ok(Raised::Already);
            }
            // So that of many who call it nobody waits for a turn in vain.
            let old = self.old_members(to).await?;
            if !old.is_empty() {
                return Ok(Raised::Waiting(old));
            }
            // Said before it is looked who is there: who joins says that it is there before it looks whether this is said.
            let term = Term::new(Moment::now(), RAISING / 2);
            let Some(raising) = self.say(to).await? else { continue };
            let raised = self.raise_from(version, to, term).await;
            // If it fails, the time to live ends it.
            let _unsaid = self.store.remove(&raising_key(&self.kind)?, raising).await;
            match raised? {
                Some(Raised::Now) => return self.raise_marks(to).await.map(|()| Raised::Now),
                Some(raised) => return Ok(raised),
                None => continue,
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "others have written this epoch again and again"))
    }

    /// None if somebody else was faster.
    async fn raise_from(&self, version: Option<Version>, to: u32, term: Term) -> Result<Option<Raised>> {
        let old = self.old_members(to).await?;
        if !old.is_empty() {
            return Ok(Some(Raised::Waiting(old)));
        }
        let left = term.left();
        if left.is_zero() {
            return Err(Error::new(ErrorKind::Timeout, "the members were not read in time; the epoch is as it was"));
        }
        let options = PutOptions::default().with_condition(version.map_or(Condition::Absent, Condition::Match));
        let options = options.with_deadline(left.min(self.patience()?));
        let put = put_settled(&*self.store, &key(&self.kind)?, &encode(to), WriteId::generate()?, options).await?;
        if matches!(put, PutOutcome::Conflict(_)) {
            return Ok(None);
        }
        self.remember(to);
        tracing::info!(name: "coord.epoch_raised", kind = self.kind, epoch = to, "every member writes a newer format from now on");
        Ok(Some(Raised::Now))
    }

    /// After the epoch: whoever would refuse what others may still write does harm, and whoever is late is called again.
    async fn raise_marks(&self, epoch: u32) -> Result<()> {
        match raise_all(&self.guarded, &self.fence(epoch)?).await {
            // It was raised further meanwhile.
            Err(error) if error.kind() == ErrorKind::Fenced => Ok(()),
            raised => raised,
        }
    }

    /// Those who do not know the format.
    async fn old_members(&self, to: u32) -> Result<Vec<Member>> {
        let members = self.members.clone().look().await?;
        Ok(members.into_iter().filter(|member| !member.info.knows(&self.kind, to)).collect())
    }

    /// Says that it is about to be raised, by one at a time: it is taken back by whoever has said it, and must be there until then.
    async fn say(&self, to: u32) -> Result<Option<Version>> {
        let options = PutOptions::default().with_condition(Condition::Absent).with_time_to_live(RAISING);
        let options = options.with_deadline(self.patience()?);
        let key = raising_key(&self.kind)?;
        match put_settled(&*self.store, &key, &encode(to), WriteId::generate()?, options).await? {
            PutOutcome::Stored(version) => Ok(Some(version)),
            PutOutcome::Conflict(other) => {
                let options = WaitOptions::default().with_limit(RAISING / 2);
                self.store.wait_with(&key, other.map(|other| other.version), options).await;
                Ok(None)
            }
        }
    }

    async fn read(&self) -> Result<(Option<Version>, u32)> {
        let found = self.store.get(&key(&self.kind)?).await?;
        let epoch = found.as_ref().map_or(Ok(0), |record| decode(&record.value))?;
        self.remember(epoch);
        Ok((found.map(|record| record.version), epoch))
    }

    fn patience(&self) -> Result<Duration> {
        Ok(Pace::of(&*self.store, self.heartbeat)?.patience())
    }

    fn remembered(&self) -> Result<Option<u32>> {
        let fresh_for = Pace::of(&*self.store, self.heartbeat)?.heartbeat;
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.filter(|(at, _)| at.passed() < fresh_for).map(|(_, epoch)| epoch))
    }

    /// It never falls, so that the greatest that was heard of is true.
    fn remember(&self, epoch: u32) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = known.map_or(epoch, |(_, known)| known.max(epoch));
        *known = Some((Moment::now(), epoch));
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoch").field("kind", &self.kind).field("formats", &self.formats).finish_non_exhaustive()
    }
}

//! Who is there.

mod beat;
mod epoch;
mod epochs;
mod format;
mod info;
mod joined;
mod member;
mod pace;
mod pulse;
mod watch;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Clock, Result};

use self::beat::Beat;
pub use self::epoch::{Epoch, Raised};
pub use self::epochs::Behind;
pub use self::info::{MemberInfo, MemberState};
pub use self::joined::Joined;
pub use self::member::{Member, MemberId};
use self::pace::Pace;
pub(crate) use self::pulse::Pulse;
pub use self::watch::MemberWatch;
use crate::api::{CoordStore, CoordStoreExt as _};
use crate::capability::{SERVER_TIME, SHARED};
use crate::leases::Leases;

/// The replicas that are there: made by [`Coordination::membership`](crate::Coordination::membership).
///
/// It is a **hint**, for health, for a page that shows them, and for decisions that may be wrong for a moment. It excludes
/// nobody: what only one may do is done under a [`Lock`](crate::Lock).
///
/// # Behavior
/// - A member is one **incarnation** of a process: its id is drawn when it joins. It has one record, and says again at each
///   heartbeat that it is there, which counts for three. Where the store counts [beats](crate::CoordStore#behavior) that is one, and
///   the record is put when it says something else, and after twenty heartbeats.
/// - Who **joins** is seen by all who [watch](Self::watch) within two heartbeats, and who is **killed** is gone for them after
///   its time to live. Who [leaves](Joined::leave), or whose program [ends](crate::Coordination::close), is gone at once.
/// - What a member [says](MemberInfo) of itself is told at once when it changes, and within an eighth of a heartbeat if it
///   changes often.
/// - A member that stood still or was cut off is forgotten, and comes back under its id when it can.
/// - **Clocks** of hosts have no say: the store decides what has expired.
///
/// # Cost
/// | store | heartbeat | a beat | a look, while somebody watches |
/// | --- | --- | --- | --- |
/// | memory, Redis | 2 s | one script | in a process that is a member, when a beat is told of a change, and after thirty heartbeats; else at each second heartbeat: a list of who beats, and one scan for each 500 members |
/// | files that nobody shares | 2 s | one put | one scan, at each second heartbeat |
/// | files that are shared: S3 | 60 s | two requests | a listing, and one request for each member; once in 15 s for each of them |
///
/// On S3 that is at most one request in ten seconds for each replica, up to 39 of them; a member that was killed is there for
/// three minutes, and for a replica that has just come, for three more.
///
/// ```
/// use std::sync::Arc;
/// use statehouse_coord::{Coordination, MemberInfo, MemberState, MemoryCoordStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
/// let membership = coord.membership().heartbeat(std::time::Duration::from_secs(1)); // the same for all
/// let joined = membership.join(MemberInfo::new("clinic 1.4.0").with_fingerprint("feed", "2026-04")).await?;
/// joined.update(|info| info.state = MemberState::Ready)?;
///
/// let members = membership.members().await?;
/// assert_eq!((members.len(), members[0].id), (1, joined.id()));
/// joined.leave().await;
/// assert!(membership.members().await?.is_empty());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Membership {
    store: Arc<dyn CoordStore>,
    epochs: Arc<dyn CoordStore>,
    label: Arc<str>,
    leases: Leases,
    heartbeat: Option<Duration>,
    pulse: Pulse,
}

impl Membership {
    pub(crate) fn new(
        store: Arc<dyn CoordStore>,
        epochs: Arc<dyn CoordStore>,
        label: Arc<str>,
        leases: Leases,
        pulse: Pulse,
    ) -> Self {
        Self { store, epochs, label, leases, heartbeat: None, pulse }
    }

    /// How often a member says that it is there: a tenth of a second at least and ten minutes at most. Unless it is set, it is
    /// as the table says. It should be the same for all.
    #[must_use]
    pub fn heartbeat(self, heartbeat: Duration) -> Self {
        Self { heartbeat: Some(heartbeat), ..self }
    }

    /// Joins, in a tokio runtime: from now on this process is a member, until that is dropped.
    ///
    /// # Errors
    /// What the store says; [`Unsupported`](statehouse_core::ErrorKind::Unsupported), with [`Behind`] as its source, if the
    /// others write a format that this build does not know (see [`Epoch`]);
    /// [`TooLarge`](statehouse_core::ErrorKind::TooLarge) if it says too much of itself;
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for the heartbeat.
    pub async fn join(&self, info: MemberInfo) -> Result<Joined> {
        let leases = self.leases.join();
        leases.check()?;
        // What a store can do, and so how fast it is, may be known only once it was asked.
        self.store.now().await?;
        let pace = Pace::of(&*self.store, self.heartbeat)?;
        let (id, (told, info)) = (MemberId::generate()?, tokio::sync::watch::channel(info));
        let (store, epochs, label) = (Arc::clone(&self.store), Arc::clone(&self.epochs), Arc::clone(&self.label));
        let member = (id, label, pace, info);
        let beat = Beat::new((store, epochs), member, leases, self.pulse.clone());
        Joined::begin(beat, told, self.watch()).await
    }

    /// The members as the store has them now, by their ids.
    ///
    /// # Errors
    /// What the store says.
    pub async fn members(&self) -> Result<Vec<Member>> {
        self.watch().look().await
    }

    /// Looks at them again and again.
    #[must_use]
    pub fn watch(&self) -> MemberWatch {
        MemberWatch::new(Arc::clone(&self.store), self.heartbeat, self.pulse.clone())
    }

    /// By how many microseconds a clock is ahead of the store's, or behind it if that is negative; only as far as is sure, since
    /// the answer was on its way for a while. None where the store tells no time of its own, or nobody shares it.
    ///
    /// # Errors
    /// What the store says.
    pub async fn clock_offset(&self, clock: &dyn Clock) -> Result<Option<i64>> {
        let sent = clock.now().as_micros();
        let stored = self.store.now().await?.as_micros();
        let received = clock.now().as_micros();
        let has = self.store.capabilities();
        if !(has.has(SERVER_TIME) && has.has(SHARED)) {
            return Ok(None);
        }
        let signed = |micros: u64| i64::try_from(micros).unwrap_or(i64::MAX);
        let [least, most] = [sent, received].map(|own| signed(own) - signed(stored));
        Ok(Some(if least > 0 { least } else { most.min(0) }))
    }

    /// Which format of this kind is written, of those that this build knows.
    #[must_use]
    pub fn epoch(&self, kind: &str, formats: RangeInclusive<u32>) -> Epoch {
        Epoch::new(Arc::clone(&self.epochs), self.watch(), self.heartbeat, kind, formats)
    }
}

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_core::Result;

use crate::api::CoordStore;
use crate::key::CoordKey;
use crate::leases::Leases;
use crate::lock::{self, Lock, LockKind, LockList};
use crate::membership::{Membership, Pulse};
use crate::run_once::{self, Revision, RunOnce, Runs};
use crate::schedule::{self, Delivery, Schedule};
use crate::signals::{AbsentSignals, Signals};
use crate::single_use::SingleUse;
use crate::state::SharedState;

/// What replicas do together: the handle that an application uses. Clones share the store.
///
/// ```
/// use std::sync::Arc;
/// use statehouse_coord::{Coordination, MemoryCoordStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
/// let guard = coord.lock("nightly-export").await?;
/// guard.run(async { Ok::<_, statehouse_core::Error>(()) }).await?; // dropped if the lock is lost
/// guard.release().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Coordination {
    store: Arc<dyn CoordStore>,
    signals: Arc<dyn Signals>,
    members: Option<Arc<dyn CoordStore>>,
    label: Arc<str>,
    leases: Leases,
    pulse: Pulse,
}

impl Coordination {
    /// Over this store, called by the name of the host and the number of the process, unless it is [called](Self::with_label) otherwise.
    #[must_use]
    pub fn new(store: Arc<dyn CoordStore>) -> Self {
        let label = format!("{} {}", host(), std::process::id()).into();
        let signals = Arc::new(AbsentSignals::new("there are no signals: give them to Coordination::with_signals"));
        Self { store, signals, members: None, label, leases: Leases::default(), pulse: Pulse::default() }
    }

    /// With signals, for counters, limits, permits and messages.
    #[must_use]
    pub fn with_signals(self, signals: Arc<dyn Signals>) -> Self {
        Self { signals, ..self }
    }

    /// The signals; every call of them is [`Unsupported`](statehouse_core::ErrorKind::Unsupported) if there are none.
    #[must_use]
    pub fn signals(&self) -> &Arc<dyn Signals> {
        &self.signals
    }

    /// The records of members are in another store than the others: one that is faster, and may forget.
    ///
    /// ```
    /// # use statehouse_coord::{Coordination, MemberInfo, MemoryCoordStore};
    /// # use std::sync::Arc;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let (bucket, redis) = (MemoryCoordStore::new(), MemoryCoordStore::new());
    /// let coord = Coordination::new(Arc::new(bucket)).with_members(Arc::new(redis)); // a beat in a bucket is dear
    /// let _joined = coord.membership().join(MemberInfo::new("clinic 1.4.0")).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_members(self, store: Arc<dyn CoordStore>) -> Self {
        Self { members: Some(store), pulse: Pulse::default(), ..self }
    }

    /// The replicas that are there.
    #[must_use]
    pub fn membership(&self) -> Membership {
        let members = self.members.as_ref().unwrap_or(&self.store);
        let (members, epochs, label) = (Arc::clone(members), Arc::clone(&self.store), Arc::clone(&self.label));
        Membership::new(members, epochs, label, self.leases.clone(), self.pulse.clone())
    }

    /// What others are told of this replica while it holds what they want: for people, and not for telling replicas apart. At
    /// most a hundred bytes of it are kept. Where a replica owns state that cannot be shared, it may be its address: whoever finds
    /// the [lock busy](crate::Busy::holder), or asks for all [locks](Self::locks), knows where to send a request.
    #[must_use]
    pub fn with_label(self, label: impl AsRef<str>) -> Self {
        let label = label.as_ref();
        let end = (0..=label.len().min(100)).rev().find(|end| label.is_char_boundary(*end)).unwrap_or(0);
        Self { label: label[..end].into(), ..self }
    }

    /// Its locks and permits are given back with the others of these.
    #[must_use]
    pub fn with_leases(self, leases: Leases) -> Self {
        Self { leases, ..self }
    }

    pub(crate) const fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Gives back every lock and permit that this handle and its clones have, at the end of a program: see [`Leases::close`].
    pub async fn close(&self) {
        self.leases.close().await;
    }

    /// The store below.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn CoordStore> {
        &self.store
    }

    /// The lock of this name: up to 180 bytes of text as [`CoordKey`] takes it. Awaiting it acquires it.
    pub fn lock(&self, name: &str) -> Lock {
        self.locked(CoordKey::of(LockKind::Lock.prefix(), name))
    }

    /// Who has which lock now, also of what is run once and of what is done every so often: for those who operate it. Each kind is
    /// a scan, and what is told may be over.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use statehouse_coord::{Coordination, LockKind, MemoryCoordStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let coord = Coordination::new(Arc::new(MemoryCoordStore::new())).with_label("10.0.0.7:8080");
    /// let guard = coord.lock("nightly-export").await?;
    /// let locks = coord.locks().await?.locks;
    /// assert_eq!((locks[0].kind, &*locks[0].name, &*locks[0].holder), (LockKind::Lock, "nightly-export", "10.0.0.7:8080"));
    /// guard.release().await?;
    /// assert!(coord.locks().await?.locks.is_empty());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`CoordStore`] says.
    pub async fn locks(&self) -> Result<LockList> {
        lock::list(&*self.store).await
    }

    fn locked(&self, key: Result<CoordKey>) -> Lock {
        Lock::new(Arc::clone(&self.store), key, self.label.to_string(), self.leases.clone())
    }

    /// What is to be run once in the fleet, under this name.
    pub fn run_once(&self, name: &str, revision: Revision) -> RunOnce {
        let lock = self.locked(CoordKey::of(LockKind::Run.prefix(), name));
        RunOnce::new(
            Arc::clone(&self.store),
            CoordKey::of(run_once::KIND, name),
            lock,
            self.label.to_string(),
            revision,
        )
    }

    /// What was run once in the fleet, for those who operate it: to be listed, and to be reset.
    #[must_use]
    pub fn runs(&self) -> Runs {
        Runs::new(Arc::clone(&self.store), self.label.to_string(), self.leases.clone())
    }

    /// What is to be done every so often, once in the fleet, under this name.
    pub fn schedule(&self, name: &str, every: Duration, delivery: Delivery) -> Schedule {
        let lock = self.locked(CoordKey::of(LockKind::Schedule.prefix(), name));
        Schedule::new(Arc::clone(&self.store), CoordKey::of(schedule::KIND, name), lock, every, delivery)
    }

    /// Tokens of this kind, each to be accepted once and remembered for so long.
    #[must_use]
    pub fn single_use(&self, name: &str, time_to_live: Duration) -> SingleUse {
        SingleUse::new(Arc::clone(&self.store), name, time_to_live)
    }

    /// Requests of this kind, each to be answered once: a layer for a tower service. Of each request the principal is named,
    /// whose keys are apart from those of all others; where there is none, the request is passed on as it is.
    #[cfg(feature = "tower")]
    pub fn idempotency(
        &self,
        name: &str,
        principal: impl Fn(&http::request::Parts) -> Option<String> + Send + Sync + 'static,
    ) -> crate::IdempotencyLayer {
        crate::IdempotencyLayer::new(Arc::clone(&self.store), name, principal)
    }

    /// Values that replicas share, under this name: a word without a slash. Their keys may have some.
    #[must_use]
    pub fn state<T: Serialize + DeserializeOwned>(&self, name: &str) -> SharedState<T> {
        SharedState::new(Arc::clone(&self.store), name)
    }
}

/// What the system calls this host: the name of a container, too.
fn host() -> String {
    #[cfg(unix)]
    let name = Some(rustix::system::uname().nodename().to_string_lossy().into_owned());
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").ok();
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "process".to_owned())
}

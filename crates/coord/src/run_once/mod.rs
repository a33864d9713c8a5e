//! Something that runs once in the fleet.

mod format;
mod run;
mod runs;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::policy::Backoff;
use statehouse_core::{Error, ErrorKind, Guarded, Result, Version};
use tokio::time::sleep;

use self::format::RunState;
pub use self::format::{Revision, RunPhase, RunStatus};
pub use self::run::Run;
pub(crate) use self::runs::KIND;
pub use self::runs::{RunList, RunReport, Runs};
use crate::api::{CoordStore, CoordStoreExt as _};
use crate::away::is_away;
use crate::key::CoordKey;
use crate::lock::{Guard, Lock, LockError};

/// How long one wait for the replica that runs it lasts, before what it has done is looked at.
const WAIT: Duration = Duration::from_secs(30);

/// The pauses after a failure, of the body or of the store.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// What is to be run once in the fleet, such as a migration or a preload: made by
/// [`Coordination::run_once`](crate::Coordination::run_once).
///
/// # Behavior
/// - One replica at a time runs the body; it is **done** once, which is recorded. It may be begun more than once: a replica
///   may be killed, or lose its [lock](crate::Lock), before that is recorded. So the body must be able to go on after it was
///   cut short.
/// - **Revisions** only rise: whoever comes with one that is done is told so, whoever comes with an older one that there
///   is a newer, and neither runs anything. Another digest under the same number is a mistake, and an error.
/// - A replica that **takes over** has the checkpoint that was saved last, with the number of its attempt.
/// - The others **wait** until it is done, and say nothing.
/// - A body that **fails** is tried again, by whichever replica is next, after a pause of one second that doubles up to a
///   minute; the log of the replica that ran it says why, and [`status`](Self::status).
/// - A store that is **away** is waited for, however long that takes. If it is when the body is over, that is recorded as soon as
///   it is back, and the body is not begun again as long as the lock is held.
/// - **Cancellation**: a body may stop waiting for what it notes; that is noted or not, and the next note goes on from there.
/// - **Operators** list what was run, and have it run again: see [`Runs`].
///
/// ```
/// use std::sync::Arc;
/// use statehouse_coord::{Coordination, MemoryCoordStore, Ran, Revision, Run};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
/// let april = || coord.run_once("terminology", Revision::new(202_604, "sha256:4a7d1e")).attempts(3);
/// let load = async |run: Run| {
///     let from = run.checkpoint().map_or(0, |checkpoint| usize::from(checkpoint[0]));
///     for batch in from..3 {
///         // … and then:
///         run.save(vec![batch as u8 + 1], batch as u64 + 1, 3).await?;
///     }
///     Ok::<(), statehouse_core::Error>(())
/// };
/// assert_eq!(april().run(load).await?, Ran::Now { attempt: 1 });
/// assert_eq!(april().run(load).await?, Ran::AlreadyDone);
/// assert_eq!(coord.run_once("terminology", Revision::new(202_603, "")).run(load).await?, Ran::NewerExists);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is run until `run` is awaited"]
pub struct RunOnce {
    store: Arc<dyn CoordStore>,
    key: Result<CoordKey>,
    lock: Lock,
    label: String,
    revision: Revision,
    attempts: Option<u32>,
}

/// What became of a run, for this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "this replica may not be the one that ran it"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum Ran {
    /// This replica ran it.
    Now {
        /// Which attempt it was.
        attempt: u32,
    },
    /// It was done, before or while this replica waited.
    AlreadyDone,
    /// A newer revision is done or under way. This program is older than what is stored.
    NewerExists,
}

/// How one turn ended.
enum Turn {
    Ended(Ran),
    /// The body failed.
    Failed(Error),
    /// Somebody else had it, or took over: look again.
    Again,
}

/// How a body ended that did not succeed.
enum Cut<E> {
    Lost,
    Failed(E),
}

impl<E> From<Error> for Cut<E> {
    fn from(_: Error) -> Self {
        Self::Lost
    }
}

impl RunOnce {
    pub(crate) fn new(
        store: Arc<dyn CoordStore>,
        key: Result<CoordKey>,
        lock: Lock,
        label: String,
        revision: Revision,
    ) -> Self {
        Self { store, key, lock, label, revision, attempts: None }
    }

    /// Names a store that the body writes to, as [`Lock::guards`] does: what an attempt before this one still writes there
    /// fenced is refused before this one begins.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use statehouse_coord::{Coordination, MemoryCoordStore, Revision, Run};
    /// use statehouse_core::Namespace;
    /// use statehouse_filestore::{Files, MemoryFileStore};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    /// let files = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("terminology")?);
    /// let load = async |run: Run| files.put("codes", "I21").fenced(&run).await.map(drop);
    /// coord.run_once("terminology", Revision::new(202_604, "d")).guards(&files).run(load).await?;
    /// # Ok(()) }
    /// ```
    pub fn guards(mut self, store: &(impl Guarded + Clone)) -> Self {
        self.lock = self.lock.guards(store);
        self
    }

    /// After how long another replica takes over from one that was killed, as [`Lock::lease`]; 15 seconds at first.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lock = self.lock.lease(lease);
        self
    }

    /// How often this replica tries a body that fails, before it gives up with the body's error. Without end at first.
    pub fn attempts(mut self, most: u32) -> Self {
        self.attempts = Some(most);
        self
    }

    /// Which revision it is.
    pub const fn revision(&self) -> &Revision {
        &self.revision
    }

    /// What is known of the run, whatever its revision; none if it was never begun.
    ///
    /// # Errors
    /// As [`CoordStore`] says.
    pub async fn status(&self) -> Result<Option<RunStatus>> {
        Ok(self.read().await?.map(|(_, state)| state.status))
    }

    /// Runs the body unless it is done; returns when it is.
    ///
    /// # Errors
    /// [`ErrorKind::LoadFailed`] with what the body failed with, after so many [attempts](Self::attempts);
    /// [`ErrorKind::Conflict`] if the revision has another digest, [`ErrorKind::Unsupported`] on a store that is shared and not
    /// durable; what the store refuses, such as [`ErrorKind::PermissionDenied`]. Not that the store is away: that is waited for.
    pub async fn run<E, F>(self, body: impl Fn(Run) -> F) -> Result<Ran>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<(), E>>,
    {
        let pauses = || Backoff::new(PAUSES[0], PAUSES[1]);
        let (mut failing, mut away, mut failures) = (pauses(), pauses(), 0);
        loop {
            match self.turn(&body, &mut failing).await {
                Ok(Turn::Ended(ran)) => return Ok(ran),
                Ok(Turn::Again) => away = pauses(),
                Ok(Turn::Failed(error)) => {
                    (away, failures) = (pauses(), failures + 1);
                    if self.attempts.is_some_and(|most| failures >= most) {
                        return Err(error);
                    }
                }
                Err(error) if is_away(&error) => {
                    tracing::debug!(name: "coord.run_waits", %error, "a run that is done once waits for its store");
                    sleep(away.pause()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn turn<E, F>(&self, body: &impl Fn(Run) -> F, backoff: &mut Backoff) -> Result<Turn>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<(), E>>,
    {
        if let Some(ran) = self.settled(self.read().await?.as_ref())? {
            return Ok(Turn::Ended(ran));
        }
        let guard = match self.lock.clone().wait(WAIT).await {
            Ok(guard) => guard,
            Err(LockError::Busy(_)) => return Ok(Turn::Again),
            Err(LockError::Failed(error)) => return Err(error),
        };
        let before = self.read().await?;
        let turn = match self.settled(before.as_ref())? {
            Some(ran) => Turn::Ended(ran),
            None => self.attempt(&guard, before, body).await?,
        };
        if matches!(turn, Turn::Failed(_)) && self.attempts != Some(1) {
            // Nobody tries it in the meantime, and another replica may be next.
            tokio::select! {
                () = guard.lost() => {}
                () = sleep(backoff.pause()) => {}
            }
        }
        // What was recorded is recorded, whatever becomes of the lock.
        if let Err(error) = guard.release().await {
            tracing::debug!(name: "coord.run_lock_kept", %error, "the lock of a run ends with its lease");
        }
        Ok(turn)
    }

    async fn attempt<E, F>(
        &self,
        guard: &Guard,
        before: Option<(Version, RunState)>,
        body: &impl Fn(Run) -> F,
    ) -> Result<Turn>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<(), E>>,
    {
        let (version, state) = self.next(before);
        let Some(run) = Run::begin(&self.store, self.key()?, version, state, guard.fence()).await? else {
            return Ok(Turn::Again);
        };
        let attempt = run.attempt();
        tracing::info!(name: "coord.run_begun", run = self.key()?.as_str(), attempt, "a run that is done once has begun");
        match guard.run(async { body(run.clone()).await.map_err(Cut::Failed) }).await {
            Ok(()) if ended(guard, &run, None).await? => Ok(Turn::Ended(Ran::Now { attempt })),
            Ok(()) | Err(Cut::Lost) => Ok(Turn::Again),
            Err(Cut::Failed(error)) => {
                let (error, run_name) = (error.into(), self.key()?.as_str());
                tracing::warn!(name: "coord.run_failed", run = run_name, attempt, %error, "a run that is done once has failed");
                if !ended(guard, &run, Some(shortened(&error.to_string()))).await? {
                    return Ok(Turn::Again);
                }
                let message = format!("attempt {attempt} of a run failed");
                Ok(Turn::Failed(Error::new(ErrorKind::LoadFailed, message).with_key(self.key()?).with_source(error)))
            }
        }
    }

    /// What stands in the record while this attempt runs: of an attempt before at the same revision, its checkpoint.
    fn next(&self, before: Option<(Version, RunState)>) -> (Option<Version>, RunState) {
        let version = before.as_ref().map(|(version, _)| *version);
        let same = before.map(|(_, state)| state).filter(|state| state.status.revision == self.revision);
        let mut status = same.as_ref().map_or_else(
            || RunStatus {
                revision: self.revision.clone(),
                phase: RunPhase::Running,
                attempt: 0,
                done: 0,
                total: 0,
                holder: String::new(),
                error: None,
            },
            |same| same.status.clone(),
        );
        status.phase = RunPhase::Running;
        status.attempt = status.attempt.saturating_add(1);
        status.holder.clone_from(&self.label);
        (version, RunState { status, checkpoint: same.and_then(|same| same.checkpoint) })
    }

    /// Whether there is nothing to run.
    fn settled(&self, found: Option<&(Version, RunState)>) -> Result<Option<Ran>> {
        if self.revision.digest().len() > 100 {
            return Err(Error::invalid_input("the digest of a revision has at most 100 bytes"));
        }
        let Some(status) = found.map(|(_, state)| &state.status) else { return Ok(None) };
        let (theirs, ours) = (&status.revision, &self.revision);
        if theirs.number() > ours.number() {
            return Ok(Some(Ran::NewerExists));
        }
        if theirs.number() == ours.number() && theirs.digest() != ours.digest() {
            let message = format!(
                "revision {} was begun with the digest {:?}, and this program has {:?}: give it another number",
                ours.number(),
                theirs.digest(),
                ours.digest()
            );
            return Err(Error::new(ErrorKind::Conflict, message).with_key(self.key()?));
        }
        Ok((theirs == ours && status.phase == RunPhase::Done).then_some(Ran::AlreadyDone))
    }

    fn key(&self) -> Result<&CoordKey> {
        self.key.as_ref().map_err(Clone::clone)
    }

    async fn read(&self) -> Result<Option<(Version, RunState)>> {
        let found = self.store.get(self.key()?).await?;
        found.map(|record| Ok((record.version, RunState::decode(&record.value)?))).transpose()
    }
}

/// Writes how it ended, as soon as the store is there if the lock is held until then. False if another replica has taken over.
async fn ended(guard: &Guard, run: &Run, failure: Option<String>) -> Result<bool> {
    match guard.persist(|| run.end(failure.clone())).await {
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
        written => written.map(|()| true),
    }
}

fn shortened(text: &str) -> String {
    let end = (0..=text.len().min(500)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}

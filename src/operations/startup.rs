//! What an application does before requests are welcome.

use std::fmt::{self, Display};
use std::sync::Arc;

use crate::lifecycle::{Lifecycle, Progress, Step, Task};

/// How often is looked at what another replica has done of it.
#[cfg(feature = "coord")]
const FOLLOWING: std::time::Duration = std::time::Duration::from_secs(1);

/// Something that has to be done before requests are welcome, for example a terminology that is loaded: made by
/// [`Operations::startup`](super::Operations::startup). Until it is [finished](Self::finish) `/started` and `/ready` say how
/// far it is. If it is dropped before that, nobody will finish it, and they say so.
///
/// ```
/// use statehouse::{Config, Services};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse::Result<()> {
/// let services = Services::open(Config::in_memory()).await?;
/// let loading = services.operations().startup("terminology");
/// for done in [1_000, 2_000, 3_000] {
///     loading.progress(done, 3_000);
/// }
/// assert_eq!(loading.to_string(), "terminology: 3000 of 3000");
/// loading.finish();
/// assert!(loading.is_finished());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Startup(Arc<Task>);

impl Startup {
    pub(super) fn of(lifecycle: &Lifecycle, name: &str) -> Self {
        Self(lifecycle.add(name.to_owned()))
    }

    /// So much of it is done.
    pub fn progress(&self, done: u64, total: u64) {
        self.0.change(|progress| {
            (progress.done, progress.total) = (done, total);
            progress.step = Step::Running;
        });
    }

    /// It did not work out, and is tried again. What is said here stands in the answers of probes: no secret.
    pub fn failed(&self, why: impl Display) {
        let why = why.to_string();
        tracing::warn!(name: "startup.failed", task = self.0.name, error = why, "not started yet; trying again");
        self.0.change(|progress| progress.step = Step::Failed(why));
    }

    /// It is done.
    pub fn finish(&self) {
        self.0.change(|progress| progress.step = Step::Finished);
    }

    /// Runs this [once in the fleet](statehouse_coord::RunOnce), and is finished when it is done, here or elsewhere: until then
    /// the probes of every replica say how far whoever runs it [is](statehouse_coord::Run::progress), and why an attempt failed.
    ///
    /// ```
    /// use statehouse::coord::{Revision, Run};
    /// use statehouse::{Config, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// let services = Services::open(Config::in_memory()).await?;
    /// let seeding = services.operations().startup("seed");
    /// let seed = services.coordination().run_once("seed", Revision::new(1, ""));
    /// let load = async |run: Run| {
    ///     for done in 1..=3 {
    ///         // … and then:
    ///         run.save(vec![done], u64::from(done), 3).await?;
    ///     }
    ///     Ok::<(), statehouse::Error>(())
    /// };
    /// seeding.run_once(seed, load).await?; // of a program: in a task of its own, before it serves
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`RunOnce::run`](statehouse_coord::RunOnce::run). Then nobody finishes it, and the probes say why.
    #[cfg(feature = "coord")]
    pub async fn run_once<E, F>(
        self,
        work: statehouse_coord::RunOnce,
        body: impl Fn(statehouse_coord::Run) -> F,
    ) -> statehouse_core::Result<statehouse_coord::Ran>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: Future<Output = Result<(), E>>,
    {
        let followed = work.clone();
        let follow = async {
            loop {
                // Who cannot be asked says nothing new.
                if let Ok(Some(status)) = followed.status().await
                    && status.revision == *followed.revision()
                {
                    self.follow(&status);
                }
                tokio::time::sleep(FOLLOWING).await;
            }
        };
        let ran = tokio::select! {
            ran = work.run(body) => ran,
            never = follow => never,
        };
        match &ran {
            Ok(_) => self.finish(),
            Err(error) => {
                // With its causes: the body's own words among them.
                let why = format!("{error:?}");
                tracing::error!(name: "startup.given_up", task = self.0.name, error = why, "this replica will not start");
                self.0.change(|progress| progress.step = Step::Failed(why));
            }
        }
        ran
    }

    #[cfg(feature = "coord")]
    fn follow(&self, status: &statehouse_coord::RunStatus) {
        self.0.change(|progress| {
            (progress.done, progress.total) = (status.done, status.total);
            progress.step = match &status.error {
                Some(why) if status.phase == statehouse_coord::RunPhase::Failed => Step::Failed(why.clone()),
                _ => Step::Running,
            };
        });
    }

    /// Whether it is done.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.progress().step == Step::Finished
    }

    /// How much of it is done, of how much; both are zero until that is [said](Self::progress).
    #[must_use]
    pub fn done(&self) -> (u64, u64) {
        let Progress { done, total, .. } = self.0.progress();
        (done, total)
    }
}

/// Its name and how far it is.
impl Display for Startup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe(&self.0.name, &self.0.progress()))
    }
}

impl Drop for Startup {
    fn drop(&mut self) {
        self.0.change(|progress| {
            let why = if let Step::Failed(why) = &mut progress.step { Some(std::mem::take(why)) } else { None };
            progress.step = Step::Abandoned(why);
        });
    }
}

/// How far it is, in words.
pub(super) fn describe(name: &str, progress: &Progress) -> String {
    let Progress { step, done, total, .. } = progress;
    match step {
        Step::Waiting => format!("{name}: not begun"),
        Step::Running if *total == 0 => format!("{name}: under way"),
        Step::Running => format!("{name}: {done} of {total}"),
        Step::Failed(why) => format!("{name}: tried again after {why}"),
        Step::Finished => format!("{name}: finished"),
        Step::Abandoned(None) => format!("{name}: abandoned, nobody will finish it"),
        Step::Abandoned(Some(why)) => format!("{name}: abandoned, nobody will finish it, after {why}"),
    }
}

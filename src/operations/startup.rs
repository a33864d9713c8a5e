//! What an application does before requests are welcome.

use std::fmt::{self, Display};
use std::sync::Arc;

use crate::lifecycle::{Lifecycle, Progress, Step, Task};

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
        self.0.change(|progress| progress.step = Step::Abandoned);
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
        Step::Abandoned => format!("{name}: abandoned, nobody will finish it"),
    }
}

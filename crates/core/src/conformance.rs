//! What the conformance suites of the services share: how a backend is brought, and how its cases are listed and run.
//!
//! A service crate lists its cases once, in the macro that it offers; [`conformance_tests`](crate::conformance_tests)
//! makes a test of each, and [`conformance_run`](crate::conformance_run) the function that finds one by its name. The
//! cases themselves are private, so that one that was written and not listed is dead code, which no suite compiles with.

use std::sync::Arc;
use std::time::Duration;

use crate::{Capabilities, Capability};

pub mod fenced;
pub mod fuzz;
mod observed;
mod race;
#[cfg(feature = "metrics")]
mod recorder;

pub use observed::{Spans, Warnings};
pub use race::{RACERS, race};
#[cfg(feature = "metrics")]
pub use recorder::Recorder;

/// A store under test, of a case's own: how to reach it, and how its time passes.
pub trait Backend: Send + Sync + Sized {
    /// The service as a trait object, such as `dyn Cache`.
    type Service: ?Sized + Send + Sync;

    /// A handle to the store, which is empty at first and which nobody else uses: the same store each time, as from
    /// another process if it is shared by processes. All are dropped before [`reopen`](Self::reopen).
    fn service(&self) -> impl Future<Output = Arc<Self::Service>> + Send;

    /// What it can do. Cases that need more are left out, and say so.
    fn capabilities(&self) -> impl Future<Output = Capabilities> + Send;

    /// Lets time pass for the store: moves its clock, or sleeps.
    fn pass_time(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Another store beside it, empty. Suites that ask for it say so.
    fn another(&self) -> impl Future<Output = Self> + Send {
        async { panic!("this suite asks for another store beside the one under test: implement Backend::another") }
    }

    /// Another store of the same kind that keeps no more than so many. Suites that ask for it say so.
    fn bounded(&self, most: usize) -> impl Future<Output = Arc<Self::Service>> + Send {
        async move { panic!("this suite asks for a store of at most {most}: implement Backend::bounded") }
    }

    /// Closes the store and opens it again. Asked of what is [`DURABLE`](crate::capability::DURABLE) only.
    fn reopen(&mut self) -> impl Future<Output = ()> + Send {
        async { panic!("what is durable can be opened again: implement Backend::reopen") }
    }

    /// The step in which cases let time pass: as short as the store can tell apart without being late.
    fn step(&self) -> Duration {
        Duration::from_millis(200)
    }
}

/// Whether the backend has what a case needs. Prints the case as skipped if it has not.
#[expect(clippy::print_stdout, reason = "a skipped case must be visible in the test's output")]
pub async fn applies(backend: &impl Backend, case: &str, needs: &[Capability]) -> bool {
    let capabilities = backend.capabilities().await;
    let missing = needs.iter().find(|capability| !capabilities.has(**capability));
    if let Some(missing) = missing {
        println!("skipped by capability: {case} needs {}", missing.name());
    }
    missing.is_none()
}

/// Makes a `#[tokio::test]` of each case that a suite lists. `$run` is the suite's function, `$backend` an expression for
/// the future of a fresh [`Backend`](crate::conformance::Backend).
#[macro_export]
macro_rules! conformance_tests {
    ([$run:expr, $backend:expr] $($case:ident [$($needs:expr),*];)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $case() {
            $run($backend.await, stringify!($case)).await;
        }
    )*};
    ([$run:expr, $backend:expr] $($case:ident [$($needs:expr),*];)* @ $($more:ident [$($more_needs:expr),*];)*) => {
        $crate::conformance_tests! { [$run, $backend] $($case [];)* $($more [];)* }
    };
}

/// Writes the function `run` of a suite: it runs the case of a name on a backend of this service, unless that lacks
/// what the case needs. `$with` hands the backend to the case, if something is to be done around that; not to those that are
/// listed behind an `@`.
#[macro_export]
macro_rules! conformance_run {
    ([$service:ty] $($case:ident $needs:tt;)*) => {
        $crate::conformance_run! { @run [$service] backend $($case $needs [$case(&mut backend)];)* }
    };
    ([$service:ty, $with:path] $($case:ident $needs:tt;)*) => {
        $crate::conformance_run! { [$service, $with] $($case $needs;)* @ }
    };
    ([$service:ty, $with:path] $($case:ident $needs:tt;)* @ $($bare:ident $bare_needs:tt;)*) => {
        $crate::conformance_run! {
            @run [$service] backend
            $($case $needs [$with(&mut backend, $case)];)*
            $($bare $bare_needs [$bare(&mut backend)];)*
        }
    };
    (@run [$service:ty] $backend:ident $($case:ident [$($needs:expr),*] [$call:expr];)*) => {
        /// Runs the case of this name, or prints which capability the backend lacks for it.
        ///
        /// # Panics
        /// If the backend does not do what the case says, or there is no such case.
        #[allow(clippy::unnecessary_mut_passed, reason = "some cases open the store again, and most do not")]
        pub async fn run<B: $crate::conformance::Backend<Service = $service>>(mut $backend: B, case: &str) {
            match case {
                $(stringify!($case) => {
                    if $crate::conformance::applies(&$backend, case, &[$($needs),*]).await {
                        Box::pin($call).await;
                    }
                })*
                _ => panic!("the suite has no case {case:?}"),
            }
        }
    };
}

/// How many rounds a test of races or faults runs: `short`, or `soak` where `STATEHOUSE_SOAK` is set, as
/// `cargo xtask soak` sets it.
#[must_use]
pub fn rounds(short: usize, soak: usize) -> usize {
    if std::env::var_os("STATEHOUSE_SOAK").is_some_and(|value| !value.is_empty()) { soak } else { short }
}

//! Guards: what they are, and how they are run.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::servers::Servers;
use crate::side_by_side::Binaries;
use crate::workspace::{self, Package};
use crate::{Result, test};

/// The guard that others run beside.
pub(crate) const TESTS: &str = "tests";

/// One thing that must hold.
pub(crate) struct Guard {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) when: When,
    run: fn(&Shared) -> Result<Outcome>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum When {
    InTurn,
    /// What only compiles: beside the tests, which wait most of their time. At the lowest priority, so that they do
    /// not wait for it.
    BesideTests,
    /// Only where it is asked for: what builds everything once more with another toolchain.
    ByName,
}

pub(crate) enum Outcome {
    Held,
    /// What it needs is not to be had on this machine: said, and no failure.
    NotRun(String),
}

pub(crate) const fn guard(name: &'static str, what: &'static str, run: fn(&Shared) -> Result<Outcome>) -> Guard {
    Guard { name, what, when: When::InTurn, run }
}

pub(crate) const fn beside(name: &'static str, what: &'static str, run: fn(&Shared) -> Result<Outcome>) -> Guard {
    Guard { name, what, when: When::BesideTests, run }
}

pub(crate) const fn by_name(name: &'static str, what: &'static str, run: fn(&Shared) -> Result<Outcome>) -> Guard {
    Guard { name, what, when: When::ByName, run }
}

pub(crate) fn held(result: Result) -> Result<Outcome> {
    result.map(|()| Outcome::Held)
}

/// `Some` says what is missing.
pub(crate) fn skippable(result: Result<Option<String>>) -> Result<Outcome> {
    result.map(|missing| missing.map_or(Outcome::Held, Outcome::NotRun))
}

/// What several guards need is made once, by the first of them.
#[derive(Default)]
pub(crate) struct Shared {
    read: OnceLock<Result<(Vec<Package>, PathBuf)>>,
    prepared: OnceLock<Result<(Binaries, Servers)>>,
    closing: Mutex<Vec<String>>,
}

impl Shared {
    pub(crate) fn packages(&self) -> Result<&[Package]> {
        let read = self.read.get_or_init(workspace::read).as_ref();
        read.map(|(packages, _)| packages.as_slice()).map_err(String::clone)
    }

    pub(crate) fn prepared(&self) -> Result<&(Binaries, Servers)> {
        self.prepared.get_or_init(|| test::prepare(&["--locked"])).as_ref().map_err(String::clone)
    }

    pub(crate) fn closing(&self) -> MutexGuard<'_, Vec<String>> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a guard.
pub(crate) struct Done {
    pub(crate) name: &'static str,
    took: Duration,
    pub(crate) outcome: Result<Outcome>,
}

pub(crate) fn run_all(guards: Vec<&Guard>, shared: &Shared) -> Vec<Done> {
    let tested = guards.iter().any(|guard| guard.name == TESTS);
    let (beside, in_turn): (Vec<_>, Vec<_>) =
        guards.into_iter().partition(|guard| tested && guard.when == When::BesideTests);
    let mut summary = Vec::new();
    let mut beside = Some(beside);
    thread::scope(|scope| {
        let mut compiling = None;
        for guard in in_turn {
            if let Some(beside) = beside.take_if(|_| guard.name == TESTS) {
                compiling = Some(scope.spawn(|| {
                    // Of this thread and of what it starts. Where it cannot be had, all take longer.
                    let _ = rustix::process::nice(19);
                    beside.into_iter().map(|guard| run_one(guard, shared)).collect::<Vec<_>>()
                }));
            }
            summary.push(run_one(guard, shared));
        }
        let compiled = compiling.map(|compiling| compiling.join().unwrap_or_else(|panic| resume_unwind(panic)));
        summary.extend(compiled.into_iter().flatten());
    });
    summary
}

fn run_one(guard: &Guard, shared: &Shared) -> Done {
    println!("\n== {}: {}", guard.name, guard.what);
    let start = Instant::now();
    let outcome = (guard.run)(shared);
    match &outcome {
        Ok(Outcome::Held) => {}
        Ok(Outcome::NotRun(why)) | Err(why) => println!("{}: {why}", guard.name),
    }
    Done { name: guard.name, took: start.elapsed(), outcome }
}

pub(crate) fn print(summary: &[Done], whole: Duration) {
    println!("\n== summary");
    for Done { name, took, outcome } in summary {
        let word = match outcome {
            Ok(Outcome::Held) => "ok",
            Ok(Outcome::NotRun(_)) => "not run",
            Err(_) => "FAILED",
        };
        println!("{name:18} {word:8} {:7.1} s", took.as_secs_f64());
    }
    println!("{:18} {:8} {:7.1} s", "all", "", whole.as_secs_f64());
    for Done { name, outcome, .. } in summary {
        if let Err(why) = outcome {
            println!("\n{name} FAILED: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_beside_the_tests_is_in_the_summary_with_or_without_them() {
        let guards = [
            guard("first", "", |_| Ok(Outcome::Held)),
            beside("failing", "", |_| Err("broken".to_owned())),
            guard(TESTS, "", |_| Ok(Outcome::Held)),
        ];
        let failed = |guards: Vec<&Guard>| {
            let done = run_all(guards, &Shared::default());
            done.iter().map(|done| (done.name, done.outcome.is_err())).collect::<Vec<_>>()
        };
        let expected = [("first", false), (TESTS, false), ("failing", true)];
        assert_eq!(failed(guards.iter().collect()), expected);
        assert_eq!(failed(guards[..2].iter().collect()), [("first", false), ("failing", true)]);
    }
}

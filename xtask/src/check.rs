//! `cargo xtask check`: everything that must hold before a change is merged, as guards with names.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use statehouse_testkit::find_program;

use crate::run::{cargo, command, loudly, quietly};
use crate::servers::Servers;
use crate::side_by_side::Binaries;
use crate::workspace::{self, BENCH, Package};
use crate::{Result, install, packages, readmes, signatures, test, toolchains};

/// One thing that must hold.
struct Guard {
    name: &'static str,
    what: &'static str,
    when: When,
    run: fn(&Shared) -> Result<Outcome>,
}

#[derive(Clone, Copy, PartialEq)]
enum When {
    InTurn,
    /// What only compiles: beside the tests, which wait most of their time. At the lowest priority, so that they do
    /// not wait for it.
    BesideTests,
    /// Only where it is asked for: what builds everything once more with another toolchain.
    ByName,
}

enum Outcome {
    Held,
    /// What it needs is not to be had on this machine: said, and no failure.
    NotRun(String),
}

const TESTS: &str = "tests";

/// In the order in which they run: what takes seconds first.
const GUARDS: [Guard; 18] = [
    guard("format", "rustfmt has nothing to change", |_| held(loudly(&mut cargo(["fmt", "--all", "--check"])))),
    guard("readmes", "each package's README is its crate documentation", |_| held(readmes::check())),
    guard("licences", "cargo-deny: licences, sources, banned crates", |_| held(deny("bans licenses sources"))),
    guard("advisories", "cargo-deny: known vulnerabilities; reported, and never a failure", |_| advisories()),
    beside("clippy", "no warning in any target with all features", |_| held(clippy())),
    beside("documentation", "rustdoc has no warning: no link is broken", |_| held(documentation())),
    by_name(
        "signatures",
        "foreign types in public signatures are listed; public types are Send, Sync and Unpin",
        |shared| held(signatures::check(shared.packages()?)),
    ),
    guard("packages", "what would be published: metadata, licence files, sizes", |shared| {
        held(packages::check(shared.packages()?))
    }),
    beside("features", "each package compiles without features, and with each one alone", |shared| {
        held(each_feature(shared.packages()?))
    }),
    beside("without-features", "what is said about a feature that is not compiled in", |_| held(without_features())),
    guard("build", "the tests compile; servers start meanwhile", |shared| shared.prepared().map(|_| Outcome::Held)),
    guard("examples", "every example ends by itself and well", |shared| held(run_examples(shared))),
    guard(TESTS, "every test, against real servers", |shared| held(tests(shared))),
    guard("doc-tests", "every example in the documentation runs", |shared| held(doc_tests(shared))),
    guard("fuzz", "every fuzz target for 10 seconds, after its corpus", |shared| held(fuzz(shared))),
    by_name("platforms", "core and memory backends compile for Windows, everything for macOS", |_| {
        skippable(toolchains::platforms())
    }),
    by_name("rust-version", "each package compiles with the Rust that it states", |shared| {
        skippable(toolchains::rust_version(shared.packages()?))
    }),
    by_name("minimal-versions", "the libraries compile with the oldest dependencies that they allow", |_| {
        skippable(toolchains::minimal_versions())
    }),
];

const fn guard(name: &'static str, what: &'static str, run: fn(&Shared) -> Result<Outcome>) -> Guard {
    Guard { name, what, when: When::InTurn, run }
}

const fn beside(name: &'static str, what: &'static str, run: fn(&Shared) -> Result<Outcome>) -> Guard {
    Guard { name, what, when: When::BesideTests, run }
}

const fn by_name(name: &'static str, what: &'static str, run: fn(&Shared) -> Result<Outcome>) -> Guard {
    Guard { name, what, when: When::ByName, run }
}

fn held(result: Result) -> Result<Outcome> {
    result.map(|()| Outcome::Held)
}

/// `Some` says what is missing.
fn skippable(result: Result<Option<String>>) -> Result<Outcome> {
    result.map(|missing| missing.map_or(Outcome::Held, Outcome::NotRun))
}

/// What several guards need is made once, by the first of them.
#[derive(Default)]
struct Shared {
    read: OnceLock<Result<(Vec<Package>, PathBuf)>>,
    prepared: OnceLock<Result<(Binaries, Servers)>>,
    closing: Mutex<Vec<String>>,
}

impl Shared {
    fn packages(&self) -> Result<&[Package]> {
        let read = self.read.get_or_init(workspace::read).as_ref();
        read.map(|(packages, _)| packages.as_slice()).map_err(String::clone)
    }

    fn prepared(&self) -> Result<&(Binaries, Servers)> {
        self.prepared.get_or_init(|| test::prepare(&["--locked"])).as_ref().map_err(String::clone)
    }

    fn closing(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs every guard even after one has failed, so that one run shows all there is to mend.
pub(crate) fn check(args: &[&str]) -> Result {
    if args == ["--list"] {
        for Guard { name, what, when, .. } in &GUARDS {
            let when = match when {
                When::InTurn => "",
                When::BesideTests => " (beside the tests)",
                When::ByName => " (only by name: before a release)",
            };
            println!("{name:18} {what}{when}");
        }
        return Ok(());
    }
    if let Some(unknown) = args.iter().find(|arg| GUARDS.iter().all(|guard| guard.name != **arg)) {
        return Err(format!("there is no guard {unknown:?}: cargo xtask check --list names them"));
    }
    let chosen = |guard: &&Guard| match args {
        [] => guard.when != When::ByName,
        names => names.contains(&guard.name),
    };
    let (start, shared) = (Instant::now(), Shared::default());
    let summary = run_all(GUARDS.iter().filter(chosen).collect(), &shared);
    print(&summary, start.elapsed());
    test::print_closing(&shared.closing());
    let failed: Vec<_> = summary.iter().filter(|done| done.outcome.is_err()).map(|done| done.name).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

/// What became of a guard.
struct Done {
    name: &'static str,
    took: Duration,
    outcome: Result<Outcome>,
}

fn run_all(guards: Vec<&Guard>, shared: &Shared) -> Vec<Done> {
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

fn print(summary: &[Done], whole: Duration) {
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
}

fn clippy() -> Result {
    let args = ["clippy", "--workspace", "--exclude", BENCH, "--all-features", "--all-targets", "--locked"];
    loudly(cargo(args).args(["--", "-D", "warnings"]))
}

/// Without features, and with each one alone; without the features that development dependencies bring.
fn each_feature(packages: &[Package]) -> Result {
    let published = packages.iter().filter(|package| package.published && package.has_library);
    let mut failed = Vec::new();
    for package in published.filter(|package| !package.features.is_empty()) {
        // One that begins with an underscore is only ever switched on by others.
        let alone = package.features.iter().map(String::as_str).filter(|feature| !feature.starts_with('_'));
        for feature in [""].into_iter().chain(alone) {
            let args = ["check", "--quiet", "--locked", "--lib", "--no-default-features", "--package", &package.name];
            let checked = loudly(cargo(args).args(["--features", feature]));
            failed.extend(checked.err().map(|_| format!("{} with feature {feature:?}", package.name)));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("do not compile: {}", failed.join(", "))) }
}

/// All other tests are built with all features.
fn without_features() -> Result {
    let packages = ["--package", "statehouse", "--package", "statehouse-redis"];
    loudly(cargo(["test", "--quiet", "--locked", "--lib", "--no-default-features"]).args(packages))
}

/// With the features that the tests bring, so that what was checked for clippy is not checked once more.
fn documentation() -> Result {
    let args = ["doc", "--workspace", "--exclude", BENCH, "--no-deps", "--all-features", "--locked"];
    loudly(cargo(args).env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny(what: &str) -> Result {
    install::ensure(&install::LINTERS)?;
    let program = find_program("cargo-deny", &[]).map_err(|error| error.to_string())?;
    let args = ["--all-features", "--locked", "check"].into_iter().chain(what.split(' '));
    quietly(&mut command(program, args)).map(drop)
}

/// They come from a database in the network, and change without a change here.
fn advisories() -> Result<Outcome> {
    Ok(deny("advisories").map_or_else(Outcome::NotRun, |()| Outcome::Held))
}

/// The examples that building the tests has built: each ends by itself and needs no server.
fn run_examples(shared: &Shared) -> Result {
    let packages = shared.packages()?;
    let built = shared.prepared()?.0.target().join("debug/examples");
    let examples = packages.iter().filter(|package| package.name != BENCH).flat_map(|package| &package.examples);
    let run = |example: &String| {
        println!("{example}");
        quietly(&mut command(built.join(example), [""; 0])).err()
    };
    let failed: Vec<_> = examples.filter_map(run).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

fn tests(shared: &Shared) -> Result {
    let (binaries, servers) = shared.prepared()?;
    let (closing, result) = binaries.run(&servers.variables(), &[]);
    shared.closing().extend(closing);
    result
}

fn doc_tests(shared: &Shared) -> Result {
    let (closing, result) = test::documented(&["--locked"], &shared.prepared()?.1);
    shared.closing().extend(closing);
    result
}

fn fuzz(shared: &Shared) -> Result {
    let (binaries, servers) = shared.prepared()?;
    let mut variables = servers.variables();
    variables.push(("STATEHOUSE_FUZZ_SECONDS", "10".to_owned()));
    binaries.run(&variables, &["fuzz_", "--nocapture"]).1
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

    #[test]
    fn an_unknown_guard_is_refused_before_anything_runs() {
        let error = check(&["format", "formt"]).unwrap_err();
        assert!(error.contains("\"formt\"") && error.contains("--list"), "{error}");
        let mut names: Vec<_> = GUARDS.iter().map(|guard| guard.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), GUARDS.len(), "each has a name of its own");
    }
}

//! `cargo xtask check`: everything that must hold before a change is merged, as guards with names.

use std::time::Instant;

use statehouse_testkit::find_program;

use crate::guard::{Guard, Outcome, Shared, TESTS, When, beside, by_name, guard, held, print, run_all, skippable};
use crate::run::{cargo, command, loudly, quietly};
use crate::workspace::{BENCH, Package};
use crate::{Result, install, packages, readmes, signatures, test, toolchains};

/// In the order in which they run: what takes seconds first.
const GUARDS: [Guard; 20] = [
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
    guard("orders", "what synchronises by hand, in many orders of its threads", |shared| held(orders(shared))),
    guard("fuzz", "every fuzz target for 10 seconds, after its corpus", |shared| held(fuzz(shared))),
    by_name("platforms", "core and memory backends compile for Windows, everything for macOS", |_| {
        skippable(toolchains::platforms())
    }),
    by_name("rust-version", "each package compiles with the Rust that it states", |shared| {
        skippable(toolchains::rust_version(shared.packages()?))
    }),
    by_name("semver", "nothing that was released is broken without a version that says so", |shared| {
        skippable(toolchains::semver(shared.packages()?))
    }),
    by_name("minimal-versions", "the libraries compile with the oldest dependencies that they allow", |_| {
        skippable(toolchains::minimal_versions())
    }),
];

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

fn clippy() -> Result {
    let args = ["clippy", "--workspace", "--exclude", BENCH, "--all-features", "--all-targets", "--locked"];
    loudly(cargo(args).args(["--", "-D", "warnings"]))
}

/// Without features, and with each one alone; without the features that development dependencies bring.
fn each_feature(packages: &[Package]) -> Result {
    let published = packages.iter().filter(|package| package.published);
    let mut failed = Vec::new();
    for package in published.filter(|package| !package.features.is_empty()) {
        // One that begins with an underscore is only ever switched on by others.
        let alone = package.features.iter().map(String::as_str).filter(|feature| !feature.starts_with('_'));
        for feature in [""].into_iter().chain(alone) {
            let target = if package.has_library { "--lib" } else { "--bins" };
            let args = ["check", "--quiet", "--locked", target, "--no-default-features", "--package", &package.name];
            let checked = loudly(cargo(args).args(["--features", feature]));
            failed.extend(checked.err().map(|_| format!("{} with feature {feature:?}", package.name)));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("do not compile: {}", failed.join(", "))) }
}

/// All other tests are built with all features. What this builds is run once, and need not be fast.
fn without_features() -> Result {
    let args = ["test", "--quiet", "--locked", "--lib", "--package", "statehouse-without-features"];
    loudly(cargo(args).args(["--config", r#"profile.dev.package."*".opt-level=0"#]))
}

/// With the features that the tests bring, so that what was checked for clippy is not checked once more: the examples
/// need them.
fn documentation() -> Result {
    let args = ["doc", "--workspace", "--exclude", BENCH, "--no-deps", "--all-features", "--locked"];
    loudly(
        cargo(args)
            .args(["--lib", "--examples", "--bin", "clinic", "--bin", "xtask"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
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

/// In `soak` in forty times as many.
fn orders(shared: &Shared) -> Result {
    let (binaries, servers) = shared.prepared()?;
    let (closing, result) = binaries.within(&["crates/interleavings/"]).run(&servers.variables(), &["orders_of_"]);
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
    fn an_unknown_guard_is_refused_before_anything_runs() {
        let error = check(&["format", "formt"]).unwrap_err();
        assert!(error.contains("\"formt\"") && error.contains("--list"), "{error}");
        let mut names: Vec<_> = GUARDS.iter().map(|guard| guard.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), GUARDS.len(), "each has a name of its own");
    }
}

//! `cargo xtask check`: everything that must hold before a change is merged.

use std::time::{Duration, Instant};

use statehouse_testkit::find_program;

use crate::run::{cargo, command, loudly, quietly};
use crate::workspace::{self, BENCH, Package};
use crate::{Result, install, test};

/// Packages of our own that are not published: their features are nobody's interface.
const INTERNAL: [&str; 4] = [BENCH, "clinic-fleet", "statehouse-testkit", "xtask"];

/// How each step went, in order.
#[derive(Default)]
struct Summary(Vec<(&'static str, Duration, Result)>);

impl Summary {
    fn step<T>(&mut self, name: &'static str, step: impl FnOnce() -> Result<T>) -> Option<T> {
        println!("\n== {name}");
        let start = Instant::now();
        let (value, result) = match step() {
            Ok(value) => (Some(value), Ok(())),
            Err(error) => {
                println!("{error}");
                (None, Err(error))
            }
        };
        self.0.push((name, start.elapsed(), result));
        value
    }

    fn print(&self) {
        println!("\n== summary");
        for (name, time, result) in &self.0 {
            let result = if result.is_ok() { "ok" } else { "FAILED" };
            println!("{name:30} {result:6} {:7.1} s", time.as_secs_f64());
        }
    }

    fn result(self) -> Result {
        match self.0.into_iter().find(|(.., result)| result.is_err()) {
            Some((name, ..)) => Err(format!("{name} failed")),
            None => Ok(()),
        }
    }
}

/// Runs every step even after one has failed, so that one run shows all there is to mend.
pub(crate) fn check() -> Result {
    let mut summary = Summary::default();
    summary.step("format", || loudly(&mut cargo(["fmt", "--all", "--check"])));
    let read = summary.step("cargo metadata", workspace::read);
    summary.step("clippy", clippy);
    summary.step("each feature alone", || each_feature(read.as_ref().map_or(&[], |(packages, _)| packages)));
    summary.step("tests without features", without_features);
    summary.step("documentation", documentation);
    summary.step("licences and sources", deny);
    let servers = summary.step("build tests, start servers", || test::prepare(&["--locked"]));
    if let Some((packages, target)) = &read {
        summary.step("examples", || run_examples(packages, &target.join("debug/examples")));
    }
    let mut closing = Vec::new();
    if let Some(servers) = &servers {
        summary.step("tests", || {
            let result;
            (closing, result) = test::run(servers, &["--locked"], &[]);
            result
        });
    }
    summary.print();
    test::print_closing(&closing);
    summary.result()
}

fn clippy() -> Result {
    let args = ["clippy", "--workspace", "--exclude", BENCH, "--all-features", "--all-targets", "--locked"];
    loudly(cargo(args).args(["--", "-D", "warnings"]))
}

/// Without features, and with each one alone; without the features that development dependencies bring.
fn each_feature(packages: &[Package]) -> Result {
    let published = packages.iter().filter(|package| !INTERNAL.contains(&package.name.as_str()) && package.has_library);
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

/// What is said about a feature that is not compiled in. All other tests are built with all features.
fn without_features() -> Result {
    let packages = ["--package", "statehouse", "--package", "statehouse-redis"];
    loudly(cargo(["test", "--quiet", "--locked", "--lib", "--no-default-features"]).args(packages))
}

fn documentation() -> Result {
    let args = ["doc", "--workspace", "--exclude", BENCH, "--no-deps", "--all-features", "--locked"];
    loudly(cargo(args).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Advisories are left out: they need a database from the network, and change without a change here.
fn deny() -> Result {
    install::ensure(&install::LINTERS)?;
    let program = find_program("cargo-deny", &[]).map_err(|error| error.to_string())?;
    quietly(&mut command(program, ["--all-features", "--locked", "check", "bans", "licenses", "sources"])).map(drop)
}

/// Runs the examples that building the tests has built: each ends by itself and needs no server.
fn run_examples(packages: &[Package], built: &std::path::Path) -> Result {
    let examples = packages.iter().filter(|package| package.name != BENCH).flat_map(|package| &package.examples);
    let run = |example: &String| {
        println!("{example}");
        quietly(&mut command(built.join(example), [""; 0])).err()
    };
    let failed: Vec<_> = examples.filter_map(run).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

//! `cargo xtask soak`: the tests against races and faults with as many rounds as they were written for, and the clinic
//! under load for as long as one likes.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::run::{cargo, keeping, loudly};
use crate::workspace::{self, BENCH};
use crate::{Result, USAGE, install, sabotage, test};

/// Makes tests take the long form of their rounds; `statehouse_core::conformance::rounds` reads it.
const SOAK: (&str, &str) = ("STATEHOUSE_SOAK", "1");

/// `[NAME] [--json FILE]`, `[NAME] --sabotage`, or `clinic [--minutes 20]`.
pub(crate) fn soak(args: &[&str]) -> Result {
    match args {
        ["--sabotage"] => sabotage::run(""),
        [name, "--sabotage"] if !name.starts_with('-') => sabotage::run(name),
        [] => tests("", None),
        ["--json", file] => tests("", Some(file)),
        ["clinic"] => clinic(20),
        ["clinic", "--minutes", minutes] => match minutes.parse() {
            Ok(minutes @ 1..=1_440) => clinic(minutes),
            _ => Err("--minutes is 1 to 1440".to_owned()),
        },
        [name] if !name.starts_with('-') => tests(name, None),
        [name, "--json", file] if !name.starts_with('-') => tests(name, Some(file)),
        _ => Err(format!("unknown arguments of soak\n\n{USAGE}")),
    }
}

/// All tests whose name contains `name`. Their figures are printed, and are in `file`.
fn tests(name: &str, file: Option<&str>) -> Result {
    let (_, servers) = test::prepare(&[])?;
    let mut command = cargo(["test", "--workspace", "--exclude", BENCH, "--all-features", "--no-fail-fast", "--"]);
    command.arg("--nocapture").args((!name.is_empty()).then_some(name)).envs(servers.variables()).envs([SOAK]);
    let (lines, result) = keeping(&mut command, |line| line.starts_with("test ") || line.starts_with("figure: "));
    if let Some(file) = file {
        let report = json!({ "filter": name, "passed": result.is_ok(), "lines": lines });
        fs::write(file, format!("{report:#}\n")).map_err(|error| format!("{file}: {error}"))?;
    }
    test::print_closing(&lines);
    result
}

/// The application under people and hostile visitors: what it holds must not grow with the requests.
fn clinic(minutes: u64) -> Result {
    install::ensure(&install::SERVERS)?;
    loudly(&mut cargo(["build", "--package", "clinic", "--features", "replicas"]))?;
    let clinic = workspace::target().join("debug/clinic");
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let soak = clinic_fleet::soak(&clinic, Duration::from_secs(60 * minutes), |line| println!("{line}"));
    runtime.block_on(soak).map_err(|error| error.to_string())
}

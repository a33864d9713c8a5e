//! `cargo xtask soak`: the tests against races and faults with as many rounds as they were written for.

use std::fs;

use serde_json::json;

use crate::run::{cargo, keeping};
use crate::workspace::BENCH;
use crate::{Result, USAGE, sabotage, test};

/// Makes tests take the long form of their rounds; `statehouse_core::conformance::rounds` reads it.
const SOAK: (&str, &str) = ("STATEHOUSE_SOAK", "1");

/// `[NAME] [--json FILE]`, or `[NAME] --sabotage`.
pub(crate) fn soak(args: &[&str]) -> Result {
    match args {
        ["--sabotage"] => sabotage::run(""),
        [name, "--sabotage"] if !name.starts_with('-') => sabotage::run(name),
        [] => tests("", None),
        ["--json", file] => tests("", Some(file)),
        [name] if !name.starts_with('-') => tests(name, None),
        [name, "--json", file] if !name.starts_with('-') => tests(name, Some(file)),
        _ => Err(format!("unknown arguments of soak\n\n{USAGE}")),
    }
}

/// All tests whose name contains `name`. Their figures are printed, and are in `file`.
fn tests(name: &str, file: Option<&str>) -> Result {
    let servers = test::prepare(&[])?;
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

//! `cargo xtask fuzz`: the parsers of untrusted bytes under inputs that nobody would write. Targets are tests whose names
//! begin with `fuzz_`; their inputs are in the folder `fuzz` of their package.

use crate::coverage::coverage;
use crate::run::{cargo, keeping};
use crate::workspace::BENCH;
use crate::{Result, test};

/// `[TARGET] [--seconds N | --runs N] [--coverage]`
pub(crate) fn fuzz(args: &[&str]) -> Result {
    if let [args @ .., "--coverage"] = args {
        let (target, limit) = options(args)?;
        return coverage(target, &limit);
    }
    let (target, limit) = options(args)?;
    let mut command =
        cargo(["test", "--workspace", "--exclude", BENCH, "--all-features", "--release", "--no-fail-fast"]);
    command.args(["--lib", "--bins", "--tests", "--", "--nocapture"]).arg(format!("fuzz_{target}")).envs([limit]);
    let (lines, result) = keeping(&mut command, |line| line.starts_with("figure: fuzz"));
    test::print_closing(&lines);
    result?;
    if lines.is_empty() { Err(format!("there is no target whose name begins with {target:?}")) } else { Ok(()) }
}

/// The beginning of the target's name, and the variable that says for how long.
fn options<'a>(args: &[&'a str]) -> Result<(&'a str, (&'static str, String))> {
    let (target, limit) = match args {
        [target, rest @ ..] if !target.starts_with('-') => (*target, rest),
        rest => ("", rest),
    };
    let number = |text: &str| text.replace('_', "").parse::<u64>().map_err(|_| format!("{text:?} is no number"));
    let limit = match limit {
        [] => ("STATEHOUSE_FUZZ_SECONDS", 10),
        ["--seconds", seconds] => ("STATEHOUSE_FUZZ_SECONDS", number(seconds)?),
        ["--runs", runs] => ("STATEHOUSE_FUZZ_RUNS", number(runs)?),
        _ => return Err("fuzz takes a target, --seconds N or --runs N, and at the end --coverage".to_owned()),
    };
    Ok((target, (limit.0, limit.1.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_and_a_limit_are_read_and_mistakes_are_named() {
        let of = |name, value: &str| (name, value.to_owned());
        assert_eq!(options(&[]), Ok(("", of("STATEHOUSE_FUZZ_SECONDS", "10"))));
        assert_eq!(options(&["key", "--runs", "10_000_000"]), Ok(("key", of("STATEHOUSE_FUZZ_RUNS", "10000000"))));
        assert_eq!(options(&["--seconds", "3"]), Ok(("", of("STATEHOUSE_FUZZ_SECONDS", "3"))));
        assert!(options(&["--seconds", "x"]).unwrap_err().contains("\"x\""));
        assert!(options(&["--minutes", "3"]).unwrap_err().contains("--seconds"));
    }
}

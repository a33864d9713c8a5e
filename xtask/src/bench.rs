//! `cargo xtask bench`: builds the benchmarks in the release profile, installs the servers they need, and runs them.

use crate::run::{cargo, loudly};
use crate::workspace::{self, BENCH};
use crate::{Result, install};

pub(crate) fn bench(args: &[&str]) -> Result {
    check(args)?;
    install::ensure(&install::SERVERS)?;
    match args {
        ["clinic", rest @ ..] => clinic(rest),
        _ => loudly(cargo(["run", "--release", "--quiet", "--locked", "--package", BENCH, "--"]).args(args)),
    }
}

/// What would be refused after minutes of building is refused before.
fn check(args: &[&str]) -> Result {
    let lacks_file = |at: usize| args.get(at + 1).is_none_or(|file| file.starts_with("--"));
    match args.iter().position(|arg| *arg == "--json") {
        Some(at) if lacks_file(at) => {
            Err("--json needs the name of a file to write: cargo xtask bench [SERVICE] [--quick] [--json FILE]"
                .to_owned())
        }
        _ => Ok(()),
    }
}

/// The application, and the program that measures it.
fn clinic(args: &[&str]) -> Result {
    loudly(&mut cargo(["build", "--release", "--locked", "--package", "clinic", "--features", "replicas"]))?;
    let clinic = workspace::target().join("release/clinic");
    loudly(cargo(["run", "--release", "--locked", "--package", "clinic-fleet", "--"]).arg(clinic).args(args))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_without_a_file_is_refused_before_anything_is_built() {
        for args in [&["cache", "--json"][..], &["--json", "--quick"], &["clinic", "--quick", "--json"]] {
            assert!(check(args).unwrap_err().contains("--json needs the name of a file"), "{args:?}");
        }
        for args in [&["cache", "--json", "rows.json"][..], &["--quick"], &[]] {
            assert_eq!(check(args), Ok(()), "{args:?}");
        }
    }
}

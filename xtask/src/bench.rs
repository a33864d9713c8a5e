//! `cargo xtask bench`: builds the benchmarks in the release profile, installs the servers they need, and runs them.

use crate::run::{cargo, loudly};
use crate::workspace::{self, BENCH};
use crate::{Result, install};

pub(crate) fn bench(args: &[&str]) -> Result {
    install::ensure(&install::SERVERS)?;
    match args {
        ["clinic", rest @ ..] => clinic(rest),
        _ => loudly(cargo(["run", "--release", "--quiet", "--locked", "--package", BENCH, "--"]).args(args)),
    }
}

/// The application, and the program that measures it.
fn clinic(args: &[&str]) -> Result {
    loudly(&mut cargo(["build", "--release", "--locked", "--package", "clinic", "--features", "replicas"]))?;
    let clinic = workspace::target().join("release/clinic");
    loudly(cargo(["run", "--release", "--locked", "--package", "clinic-fleet", "--"]).arg(clinic).args(args))
}

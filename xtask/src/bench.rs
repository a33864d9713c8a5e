//! `cargo xtask bench`: builds the benchmarks in the release profile, installs the servers they need, and runs them.

use crate::run::{cargo, loudly};
use crate::workspace::BENCH;
use crate::{Result, install};

pub(crate) fn bench(args: &[&str]) -> Result {
    install::ensure(&install::SERVERS)?;
    loudly(cargo(["run", "--release", "--quiet", "--locked", "--package", BENCH, "--"]).args(args))
}

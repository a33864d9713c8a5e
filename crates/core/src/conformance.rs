//! What the conformance suites of the services share.

pub mod fuzz;
mod observed;
#[cfg(feature = "metrics")]
mod recorder;

pub use observed::Warnings;
#[cfg(feature = "metrics")]
pub use recorder::Recorder;

/// How many rounds a test of races or faults runs: `short`, or `soak` where `STATEHOUSE_SOAK` is set, as
/// `cargo xtask soak` sets it.
#[must_use]
pub fn rounds(short: usize, soak: usize) -> usize {
    if std::env::var_os("STATEHOUSE_SOAK").is_some_and(|value| !value.is_empty()) { soak } else { short }
}

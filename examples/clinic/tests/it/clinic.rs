//! One clinic on one machine.

use std::path::Path;

use statehouse_testkit::{Program, ProgramBuilder};
use tokio::sync::OnceCell;

pub(crate) const PATH: &str = env!("CARGO_BIN_EXE_clinic");

/// A clinic with everything in this folder.
pub(crate) fn builder(data: &Path) -> ProgramBuilder {
    let builder = Program::builder("clinic", PATH).arg("--listen").arg("{address}").arg("--data").arg(data);
    builder.env("CLINIC_DRAIN", "0").ready_at("/live")
}

/// Starts a clinic with everything in this folder; returns when the terminology is there.
pub(crate) async fn start(data: &Path) -> Program {
    builder(data).ready_at("/ready").start().await
}

/// One that tests use side by side, each with patients of its own. It keeps everything in the folder that the testkit
/// made for it and removes with it, since nothing is dropped at the end of the tests.
pub(crate) async fn shared() -> &'static Program {
    static SHARED: OnceCell<Program> = OnceCell::const_new();
    SHARED.get_or_init(|| start(Path::new("data"))).await
}

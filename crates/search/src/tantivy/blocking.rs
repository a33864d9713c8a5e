//! Work that waits for the disk.

use std::time::Duration;

use statehouse_core::Result;

use crate::work::{Stop, away};
/// Runs work on the runtime's blocking threads.
pub(super) async fn blocking<T: Send + 'static>(
    operation: statehouse_core::Operation,
    timeout: Option<Duration>,
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> Result<T> {
    operation.during(away(timeout, work)).await
}

use std::time::Duration;

/// What one client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) head: Duration,
    pub(super) stall: Duration,
    pub(super) connections: usize,
}

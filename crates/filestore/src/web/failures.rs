//! What the log says of answers that fail.

use std::sync::LazyLock;
use std::time::Duration;

use statehouse_core::policy::Occasional;
use statehouse_core::{Error, ErrorKind, SystemClock};

/// How many such failures a line tells of, if there is to be one. An outage fails every request: there is a line for the first, and
/// then one in ten seconds. What is of one file is always told.
pub(super) fn to_be_told(error: &Error) -> Option<u64> {
    static FAILURES: Occasional = Occasional::new(Duration::from_secs(10));
    static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::default);
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Unexpected => Some(1),
        _ => FAILURES.happened(&*CLOCK),
    }
}

//! Errors of Redis come mapped from `statehouse-redis`, the only place that knows its client's.

use statehouse_core::{Error, ErrorKind};

/// A script of ours answered what it cannot.
pub(super) fn unexpected() -> Error {
    Error::new(ErrorKind::Unexpected, "the server answered something that the script does not say")
        .with_backend("redis")
}

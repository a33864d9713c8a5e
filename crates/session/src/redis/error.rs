//! Errors of Redis come mapped from `statehouse-redis`, the only place that knows its client's. Here they are told which
//! operation failed.

use statehouse_core::{Error, ErrorKind};

pub(super) fn within(operation: &'static str) -> impl Fn(Error) -> Error {
    move |error| error.with_backend("redis").with_operation(operation)
}

/// A script of ours answered what it cannot.
pub(super) fn unexpected(operation: &'static str) -> Error {
    within(operation)(Error::new(ErrorKind::Unexpected, "the server answered something that the script does not say"))
}

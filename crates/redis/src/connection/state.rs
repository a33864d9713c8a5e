//! What is in a link's slot.

use std::time::Duration;

use redis::RedisError;
use tokio::time::Instant;

use crate::connection::stream::Bounded;

#[derive(Default)]
pub(super) struct State {
    /// Counts up with every connection made, so that a late complaint about an old one does not break a new one.
    pub(super) generation: u64,
    pub(super) connection: Option<Bounded>,
    pub(super) repairing: bool,
    pub(super) failures: u64,
    pub(super) failure: Option<RedisError>,
    pub(super) broken_at: Option<Instant>,
    /// How long it took to make the connection.
    pub(super) took: Duration,
}

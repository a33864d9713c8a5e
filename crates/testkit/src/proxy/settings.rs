use std::num::NonZeroU64;
use std::time::Duration;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Direction {
    /// Requests: from the client to the server.
    ToServer,
    /// Answers: from the server to the client.
    ToClient,
}

/// The faults in force.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) target: String,
    /// Grows with each reset: a connection that was there before ends.
    pub(super) resets: u64,
    pub(super) strip: Strip,
    to_server: LaneSettings,
    to_client: LaneSettings,
}

/// HTTP request headers to remove.
#[derive(Clone, Debug, Default)]
pub(super) struct Strip {
    /// Lowercase names.
    pub(super) names: Vec<String>,
    /// Signs what is left of a signed S3 request.
    pub(super) secret_key: Option<String>,
}

/// The faults of one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneSettings {
    pub(super) hold: bool,
    pub(super) delay: Duration,
    pub(super) truncation: Option<Truncation>,
    /// Bytes per second on each connection.
    pub(super) rate: Option<NonZeroU64>,
}

/// `bytes` more on each connection; the `id` tells a connection that the count begins anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Truncation {
    pub(super) id: u64,
    pub(super) bytes: u64,
}

impl Settings {
    pub(super) fn new(target: String) -> Self {
        let (to_server, to_client) = Default::default();
        Self { target, resets: 0, strip: Strip::default(), to_server, to_client }
    }

    pub(super) const fn lane(&self, direction: Direction) -> &LaneSettings {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    pub(super) const fn lane_mut(&mut self, direction: Direction) -> &mut LaneSettings {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }

    pub(super) fn heal(&mut self) {
        let (target, resets) = (std::mem::take(&mut self.target), self.resets);
        *self = Self { resets, ..Self::new(target) };
    }
}

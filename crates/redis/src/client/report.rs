//! What the servers say of themselves, for people.

use std::time::Duration;

use redis::{Value, cmd, from_redis_value};
use statehouse_core::{Clock as _, Result, SystemClock, Timestamp};
use tokio::time::Instant;

use crate::client::RedisClient;
use crate::client::health::policy_of;
use crate::clock::timestamp;
use crate::config::Address;
use crate::failure::Failure;
use crate::node::Node;
use crate::node::info::{EvictionPolicy, Persistence, release};

/// What one server that takes writes says of itself: made by [`RedisClient::report`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerReport {
    /// `host:port`; none of a caller's pool.
    pub address: Option<String>,
    /// What it is, for example `Redis 7.2.4`; none if it does not tell.
    pub version: Option<String>,
    /// What it does when its memory is full.
    pub eviction: EvictionPolicy,
    /// What is there again after it was stopped.
    pub persistence: Persistence,
    /// How its clock differs from this machine's; none if this user may not ask for the time.
    pub clock: Option<ClockDifference>,
}

/// How a server's clock differs from this machine's, as one exchange has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockDifference {
    /// By how many microseconds the server's is ahead; negative if it is behind.
    pub ahead_micros: i64,
    /// How far off that may be: half of what the exchange took.
    pub uncertainty: Duration,
}

impl ClockDifference {
    /// Of a server that said a time somewhere between two moments here.
    fn between(asked: Timestamp, said: Timestamp, answered: Timestamp) -> Self {
        let signed = |time: Timestamp| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let took = signed(answered).saturating_sub(signed(asked)).max(0);
        let middle = signed(asked).saturating_add(took / 2);
        let uncertainty = Duration::from_micros(took.unsigned_abs().div_ceil(2));
        Self { ahead_micros: signed(said).saturating_sub(middle), uncertainty }
    }

    /// By how many milliseconds the server's is ahead; negative if it is behind.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people, who read the first digits")]
    pub fn ahead_millis(&self) -> f64 {
        self.ahead_micros as f64 / 1e3
    }

    /// Whether the clocks differ by more than this, however the exchange was delayed.
    #[must_use]
    pub fn exceeds(&self, limit: Duration) -> bool {
        Duration::from_micros(self.ahead_micros.unsigned_abs()).saturating_sub(self.uncertainty) > limit
    }
}

impl RedisClient {
    /// What each server that takes writes says of itself: for a page or a command that shows it. Of a cluster, those that
    /// answer.
    ///
    /// # Errors
    /// As [`query`](Self::query). What a server does not tell is unknown, and not an error.
    pub async fn report(&self) -> Result<Vec<ServerReport>> {
        let until = self.deadline(0);
        self.of_those_that_answer(|node| async move { report_of(&node, until).await }).await
    }
}

async fn report_of(node: &Node, until: Instant) -> Result<ServerReport, Failure> {
    let info = node.ask(cmd("INFO").arg("server"), until).await?;
    let info: String = info.and_then(|info| from_redis_value(info).ok()).unwrap_or_default();
    Ok(ServerReport {
        address: node.address().map(Address::to_string),
        version: release(&info),
        eviction: policy_of(node, until).await?,
        persistence: node.persistence(until).await?,
        clock: clock_of(node, until).await?,
    })
}

/// The connection is open by now, so that only the exchange itself takes time.
async fn clock_of(node: &Node, until: Instant) -> Result<Option<ClockDifference>, Failure> {
    let asked = SystemClock::default().now();
    let said: Option<Value> = node.ask(&cmd("TIME"), until).await?;
    let answered = SystemClock::default().now();
    let said = said.and_then(|said| timestamp(said).ok());
    Ok(said.map(|said| ClockDifference::between(asked, said, answered)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_certain_only_beyond_what_the_exchange_took() {
        let at = Timestamp::from_micros;
        let ahead = ClockDifference::between(at(10_000_000), at(13_000_000), at(12_000_000));
        assert_eq!((ahead.ahead_micros, ahead.uncertainty), (2_000_000, Duration::from_secs(1)));
        assert!(!ahead.exceeds(Duration::from_secs(1)) && ahead.exceeds(Duration::from_millis(999)));
        let behind = ClockDifference::between(at(10_000_000), at(7_000_000), at(10_000_000));
        assert_eq!((behind.ahead_micros, behind.uncertainty), (-3_000_000, Duration::ZERO));
        assert!(behind.exceeds(Duration::from_secs(1)));
        // This machine's clock was set back in between.
        let odd = ClockDifference::between(at(10_000_000), at(9_000_000), at(9_000_000));
        assert_eq!((odd.ahead_micros, odd.uncertainty), (-1_000_000, Duration::ZERO));
    }
}

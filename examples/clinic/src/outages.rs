//! What is out of reach or refuses its work, said once when it begins and once when it is over, however many requests failed in
//! between.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// It is over when nothing has failed for so long.
const OVER_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Outage {
    began: Instant,
    last: Instant,
    failed: u64,
}

/// Whether it does not answer, or what it answers is that somebody must set it up otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    Away,
    Refuses,
}

type Which = (&'static str, How);

#[derive(Debug)]
struct Outages(BTreeMap<Which, Outage>);

static OUTAGES: Mutex<Outages> = Mutex::new(Outages(BTreeMap::new()));

impl Outages {
    /// Whether this is the first failure of an outage.
    fn failed(&mut self, which: Which, now: Instant) -> bool {
        let outage = self.0.entry(which).or_insert(Outage { began: now, last: now, failed: 0 });
        outage.failed += 1;
        outage.last = now;
        outage.failed == 1
    }

    /// Those that are over: what was out of reach, for how long, and how many requests failed.
    fn over(&mut self, now: Instant) -> Vec<(&'static str, Duration, u64)> {
        let is_over = |outage: &Outage| now.saturating_duration_since(outage.last) >= OVER_AFTER;
        let over: Vec<_> = self.0.iter().filter(|(_, outage)| is_over(outage)).collect();
        let over: Vec<_> =
            over.iter().map(|((what, _), outage)| (*what, outage.last - outage.began, outage.failed)).collect();
        self.0.retain(|_, outage| !is_over(outage));
        over
    }
}

/// A request failed because this is out of reach.
pub(crate) fn failed(what: &'static str, error: &dyn Display) {
    if is_first((what, How::Away)) {
        tracing::warn!(what, %error, "out of reach; more of these are counted, not logged");
    }
}

/// A request failed because this refuses its work until somebody sets it up otherwise.
pub(crate) fn refused(what: &'static str, error: &dyn Display) {
    if is_first((what, How::Refuses)) {
        tracing::error!(what, %error, "refuses its work; more of these are counted, not logged");
    }
}

fn is_first(which: Which) -> bool {
    OUTAGES.lock().unwrap_or_else(PoisonError::into_inner).failed(which, Instant::now())
}

/// Says when an outage is over.
pub(crate) async fn watch() {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let over = OUTAGES.lock().unwrap_or_else(PoisonError::into_inner).over(Instant::now());
        for (what, lasted, failed) in over {
            tracing::info!(what, ?lasted, failed, "nothing fails any more");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_said_once_and_its_end_with_a_count() {
        let mut outages = Outages(BTreeMap::new());
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let (redis, s3) = (("redis", How::Away), ("s3", How::Away));
        assert!(outages.failed(redis, at(0)));
        assert!((1..=863).all(|failure| !outages.failed(redis, at(failure / 31))));
        assert!(outages.failed(s3, at(20)), "another one");
        assert_eq!(outages.over(at(26)), [("s3", Duration::ZERO, 1)]);
        assert_eq!(outages.over(at(27) + OVER_AFTER), [("redis", Duration::from_secs(27), 864)]);
        assert!(outages.over(at(99)).is_empty() && outages.failed(redis, at(99)), "the next one is said again");
        assert!(outages.failed(("redis", How::Refuses), at(99)), "it answers now, and refuses");
    }
}

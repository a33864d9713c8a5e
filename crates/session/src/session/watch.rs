//! What is said in the log of what goes wrong again and again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use statehouse_core::Error;

/// An outage is a line when it begins and one when it is over; a token that opens nothing is a line a minute.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// How often the store could not be reached since it last was.
    away: AtomicU64,
    unknown: Often,
    refused: Often,
}

impl Watch {
    /// The store could not be reached.
    pub(super) fn failed(&self, error: &Error) {
        if self.away.fetch_add(1, Ordering::Relaxed) == 0 {
            let kind = error.kind();
            let message = "the session store cannot be reached; more of these are counted, not logged";
            tracing::warn!(name: "session.store_away", kind = %kind, %error, "{message}");
        }
    }

    /// The store was reached.
    pub(super) fn reached(&self) {
        // The usual case is one load.
        if self.away.load(Ordering::Relaxed) == 0 {
            return;
        }
        let failed = self.away.swap(0, Ordering::Relaxed);
        if failed > 0 {
            tracing::info!(name: "session.store_back", failed, "the session store is reached again");
        }
    }

    /// A request brought a token of which the store knows nothing: of a session that is over, or guessed.
    pub(super) fn unknown_token(&self) {
        if let Some(times) = self.unknown.happened(Instant::now()) {
            tracing::info!(name: "session.unknown_token", times, "unknown session token; more of these are counted");
        }
    }

    /// A request brought the token of a session that has another one by now, and not for a moment only.
    pub(super) fn refused_token(&self) {
        if let Some(times) = self.refused.happened(Instant::now()) {
            let message = "session token with an old or a wrong verifier refused; more of these are counted";
            tracing::warn!(name: "session.refused_token", times, "{message}");
        }
    }
}

/// What has no end, such as single requests of others: told at first, and then once a minute with how often it was.
#[derive(Debug, Default)]
struct Often(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    since: u64,
}

impl Often {
    const PAUSE: Duration = Duration::from_secs(60);

    /// How often it was since the last line, with this one, if there is to be a line now.
    fn happened(&self, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.since += 1;
        let due = told.last.is_none_or(|last| now.saturating_duration_since(last) >= Self::PAUSE);
        due.then(|| {
            told.last = Some(now);
            std::mem::take(&mut told.since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_told_once_a_minute_with_how_often_it_was() {
        let (often, start) = (Often::default(), Instant::now());
        let told = |seconds| (0..100).filter_map(|_| often.happened(start + Duration::from_secs(seconds))).collect();
        let lines: [Vec<u64>; 4] = [told(0), told(59), told(60), told(61)];
        assert_eq!(lines, [vec![1], vec![], vec![200], vec![]]);
    }
}

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a request usually takes: about the median of those there were.
///
/// A pause by the request before would be as long as the slowest ones have others wait: while whoever met one sleeps, the others
/// go on without it, one of them many times in a row.
#[derive(Debug, Default)]
pub(super) struct Usual(AtomicU64);

/// By one part in so many it follows each request.
const STEP: u64 = 16;

impl Usual {
    /// Takes note of a request, and says how long one usually takes. Of those at the same time one may not count.
    pub(super) fn note(&self, took: Duration) -> Duration {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(STEP);
        let usual = match self.0.load(Ordering::Relaxed) {
            0 => took,
            before if took < before => (before - before / STEP).max(took),
            before => before.saturating_add(before / STEP).min(took),
        };
        self.0.store(usual, Ordering::Relaxed);
        Duration::from_nanos(usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_about_the_median_whatever_the_slowest_take() {
        let usual = Usual::default();
        assert_eq!(usual.note(Duration::from_millis(300)), Duration::from_millis(300), "the first");
        let mut now = Duration::ZERO;
        for number in 0..1_000 {
            now = usual.note(Duration::from_micros(if number % 10 == 0 { 50_000 } else { 200 + number % 7 }));
        }
        assert!(now > Duration::from_micros(180) && now < Duration::from_micros(240), "{now:?}");
        for _ in 0..100 {
            now = usual.note(Duration::from_millis(5));
        }
        assert_eq!(now, Duration::from_millis(5));
        assert_eq!(Usual::default().note(Duration::MAX), Duration::from_nanos(u64::MAX), "nothing overflows");
    }
}

use std::fmt;

/// A version issued by a store, never by a client: `max(previous + 1, the store's clock in microseconds)`.
///
/// Versions of one key only rise, also across a delete and a new create, as long as the store's clock does not run
/// backwards further than the time between the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// A version from its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The version that a write at `now` (microseconds since the Unix epoch) gets after this one.
    ///
    /// ```
    /// use statehouse_core::Version;
    ///
    /// let version = Version::new(1_000).next(5_000);
    /// assert_eq!((version.get(), version.next(4_000).get()), (5_000, 5_001), "also while the clock stands still");
    /// ```
    #[must_use]
    pub const fn next(self, now: u64) -> Self {
        let least = self.0.saturating_add(1);
        Self(if now > least { now } else { least })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise_even_when_the_clock_stands_still_or_runs_back() {
        assert_eq!(Version::new(0).next(100).get(), 100);
        assert_eq!(Version::new(100).next(100).get(), 101);
        assert_eq!(Version::new(100).next(7).get(), 101);
    }
}

use std::time::Duration;

use crate::key::CoordKey;
use crate::signals::{Rate, Taken};

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecidedBy {
    /// The store, for all replicas.
    Store,
    /// This replica, by its share, since the store is away.
    Replica,
    /// Nobody, since the store is away: all are allowed, or all refused.
    Nobody,
}

/// Whether something may be done.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use = "it may have been refused"]
pub struct Decision {
    pub(super) name: CoordKey,
    pub(super) rate: Rate,
    /// What was taken, and what may be.
    pub taken: Taken,
    /// Who decided.
    pub by: DecidedBy,
}

impl Decision {
    /// Whether it may be done.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.taken.is_allowed()
    }

    /// The fields of a response that tell the client: `RateLimit-Policy` and `RateLimit` as of
    /// [draft-ietf-httpapi-ratelimit-headers-10](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/), where
    /// the store or the replica knows, and `Retry-After` of what is refused.
    ///
    /// The quota `q` is the burst, and its window `w` the whole seconds in which as many come again, left out below one; `r`
    /// is what remains, and `t` after how many seconds it is the burst.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let (name, taken) = (quoted(&self.name), self.taken);
        let window = match self.rate.window().as_secs() {
            0 => String::new(),
            seconds => format!(";w={seconds}"),
        };
        let is_known = self.by != DecidedBy::Nobody;
        let policy = is_known.then(|| ("ratelimit-policy", format!("{name};q={}{window}", self.rate.burst())));
        let left = format!("{name};r={};t={}", taken.remaining, seconds(taken.reset_after));
        let limit = is_known.then_some(("ratelimit", left));
        let retry = taken.retry_after.map(|wait| ("retry-after", seconds(wait).max(1).to_string()));
        [policy, limit, retry].into_iter().flatten()
    }
}

/// Rounded up, so that nobody comes too early.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// As a string of a structured field (RFC 9651), which is of ASCII.
fn quoted(name: &str) -> String {
    let visible = |character: char| if matches!(character, ' '..='~') { character } else { '?' };
    let text: String = name.chars().map(visible).collect();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(name: &str, taken: Taken, by: DecidedBy) -> Vec<(&'static str, String)> {
        let rate = Rate::new(100, Duration::from_secs(60)).unwrap().with_burst(10).unwrap();
        Decision { name: CoordKey::new(name).unwrap(), rate, taken, by }.headers().collect()
    }

    #[test]
    fn the_headers_are_those_of_the_draft() {
        let refused = Taken::new(10, 0, Some(Duration::from_millis(600)), Duration::from_millis(5_001));
        let headers = decision("é\"\\", refused, DecidedBy::Store);
        let expected =
            [("ratelimit-policy", r#""?\"\\";q=10;w=6"#), ("ratelimit", r#""?\"\\";r=0;t=6"#), ("retry-after", "1")];
        assert_eq!(headers, expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(decision("a", refused, DecidedBy::Nobody), [("retry-after", "1".to_owned())]);
    }
}

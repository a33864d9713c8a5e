//! Who beats in Redis.

use std::sync::LazyLock;
use std::time::Duration;

use statehouse_core::time::{millis_rounded_up, whole_micros};
use statehouse_core::{Result, Timestamp, Version};
use statehouse_redis::{Idempotence, RedisScript, script, unexpected_answer};

use super::client::{REMEMBERED, Wire};
use crate::beats::{BeatKind, BeatOptions, Beaten, Beats};
use crate::full::IN_PLACE;
use crate::key::CoordKey;

static BEAT: LazyLock<RedisScript> = script!(IN_PLACE, "lua/beat.lua");
static BEATS: LazyLock<RedisScript> = LazyLock::new(|| RedisScript::new(include_str!("lua/beats.lua")));

/// What the script says of it, the last change, and after how many microseconds the first is over; fewer than none if nobody was
/// there.
type Answer = (u8, u64, i64);

/// The bits of what the script says.
const WAS_THERE: u8 = 1;
const IS_THERE: u8 = 2;
const REPLACED: u8 = 4;

impl Wire {
    fn beating(&self, group: &str) -> Vec<u8> {
        self.key(&format!("beats:{group}"))
    }

    /// Made twice it is as if it were made once, so that it is sent again if its answer is lost.
    pub(super) async fn beat(&self, key: &CoordKey, version: Version, options: &BeatOptions) -> Result<Beaten> {
        let kind = match options.kind {
            BeatKind::Again => "again",
            BeatKind::Anew => "anew",
            BeatKind::Last => "last",
        };
        let call = BEAT.key(self.record(key)).key(self.beating(key.group())).arg(key.as_str());
        let call = call.arg(&version.get().to_le_bytes()).arg(kind).arg(whole_micros(options.lives));
        let call = call.arg(millis_rounded_up(REMEMBERED)).deadline();
        let answer: Answer = call.run(&self.redis().within(options.deadline), Idempotence::Idempotent).await?;
        let (said, changes, ends_in) = answer;
        if said & REPLACED != 0 {
            let advice =
                "something else was in the place of who beats, which begins anew: each comes back with its next beat";
            tracing::error!(name: "coord.beats_replaced", "{advice}");
        }
        let ends_in = u64::try_from(ends_in).ok().map(Duration::from_micros);
        let flags = (said & WAS_THERE != 0, said & IS_THERE != 0);
        Ok(Beaten::new(flags, Version::new(changes), ends_in))
    }

    pub(super) async fn beats(&self, group: &str, deadline: Option<Duration>) -> Result<Beats> {
        let call = BEATS.key(self.beating(group));
        let (found, now): (Vec<Vec<u8>>, u64) =
            call.run(&self.redis().within(deadline), Idempotence::Idempotent).await?;
        let now = Timestamp::from_micros(now);
        let mut beats = Beats::default();
        for pair in found.chunks(2) {
            let [name, number] = pair else { return Err(unexpected_answer()) };
            // What no beat has said is nobody's.
            let Some(number) = micros(number) else { continue };
            if name.is_empty() {
                beats.changes = Version::new(number);
                continue;
            }
            let end = Timestamp::from_micros(number);
            let key = String::from_utf8_lossy(name);
            if let Some(key) = CoordKey::new(key).ok().filter(|_| end > now) {
                beats.living.push((key, end.since(now)));
            }
        }
        Ok(beats)
    }
}

/// A score. That of the changes is negative.
fn micros(score: &[u8]) -> Option<u64> {
    let score = std::str::from_utf8(score).ok().and_then(|text| text.parse::<f64>().ok());
    let whole = score.map(f64::abs).filter(|score| *score < 9e15).map(|score| format!("{score:.0}"));
    whole.and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read_as_servers_write_them() {
        for (score, number) in
            [("-1796000000000001", 1_796_000_000_000_001), ("1.796e+15", 1_796_000_000_000_000), ("0", 0)]
        {
            assert_eq!(micros(score.as_bytes()), Some(number));
        }
        for wrong in ["", "inf", "nan", "x", "1e300"] {
            assert_eq!(micros(wrong.as_bytes()), None, "{wrong}");
        }
    }
}

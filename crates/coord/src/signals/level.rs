//! The arithmetic of a limit, as the script of Redis has it.

use std::time::Duration;

use super::outcome::Taken;
use super::rate::Rate;

/// How much is in a bucket that leaks, as of a time in microseconds: one that is absent is empty.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Level {
    pub(super) level: f64,
    pub(super) at: u64,
}

/// What is less than this is of rounding, not of anybody who came too early.
const ROUNDING: f64 = 1e-6;

impl Level {
    /// What is in it after a take, and what to answer.
    pub(super) fn take(self, rate: Rate, count: u32, now: u64) -> (Self, Taken) {
        let leaked = micros(now.saturating_sub(self.at)) / rate.every();
        let before = (self.level - leaked).clamp(0.0, f64::from(rate.burst()));
        let after = before + f64::from(count);
        let is_taken = after - f64::from(rate.burst()) <= ROUNDING;
        let level = if is_taken { after } else { before };
        (Self { level, at: now }, Self::taken(level, rate, count, is_taken))
    }

    /// What to answer to a take, after which so much is in it.
    pub(super) fn taken(level: f64, rate: Rate, count: u32, is_taken: bool) -> Taken {
        let (every, burst) = (rate.every(), f64::from(rate.burst()));
        let retry_after = (!is_taken).then(|| time((level + f64::from(count) - burst) * every));
        Taken::new(rate.burst(), whole(burst - level + ROUNDING), retry_after, time(level * every))
    }

    /// When it is empty again.
    pub(super) fn empty_at(self, rate: Rate) -> u64 {
        let left = time(self.level * rate.every());
        self.at.saturating_add(statehouse_core::time::whole_micros(left)).saturating_add(1)
    }
}

/// Exact for the next 285 years.
#[expect(clippy::cast_precision_loss, reason = "as said")]
const fn micros(time: u64) -> f64 {
    time as f64
}

fn time(micros: f64) -> Duration {
    Duration::from_micros(rounded(micros.ceil()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of floats saturates")]
const fn rounded(number: f64) -> u64 {
    number as u64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of floats saturates")]
const fn whole(number: f64) -> u32 {
    number as u32
}

//! Until when a server may run what it is sent, by that server's clock.
//!
//! A connection that is given up may hold bytes that are delivered when the network heals, long after the caller was told
//! that the write failed. So a write carries the time after which its script refuses it. That time has to be one of the
//! server's clock, and never later than the moment, as that clock shows it, at which the caller is told:
//!
//! - A reading is `S`, what the server answered to `TIME`, and `R`, the time here when that answer had *arrived*. The
//!   server's clock showed `S` before `R`, so at `R` it showed `S` or more.
//! - Who is told at `U` by the clock here may have the request run until `S + (U - R)` by the server's: when the server's
//!   clock shows that, it is `U` here, or earlier. By how much earlier is what the answer to `TIME` took on its way.
//! - Both clocks may run at different rates, so that a five-hundredth of `U - R` is taken off.
//! - Times here are monotonic. If this machine is suspended and its clock stands still, `U` is later than it seems, and the
//!   limit is too early rather than too late.
//!
//! The other side is that a request may come too late though its caller still waits. Then nothing was done, the server
//! says so, its clock is read again, and the request is sent again.
//!
//! A server whose clock is *set back* between the reading and the run would run a request by as much too late. No reading is
//! used for longer than ten seconds: once it is seven seconds old, the clock is read again in the same round trip as the next
//! request; an older one than ten, or none, is a round trip of its own. Each connection has its own reading, so that after a reconnect
//! or a failover, also behind one address, the clock is read anew.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use redis::{ParsingError, Value, from_redis_value};
use statehouse_core::Timestamp;
use statehouse_core::time::whole_micros;
use tokio::time::Instant;

/// For how long a reading is used without reading again: so long that who writes every two seconds seldom asks for the time
/// besides, and so short that who writes at all has seldom to wait for it.
const FRESH: Duration = Duration::from_secs(7);

/// For how long a reading is used at all.
const USABLE: Duration = Duration::from_secs(10);

/// One part in so many is what two clocks' rates may differ by. Quartz and NTP stay below a thousandth.
const DRIFT: i64 = 500;

/// What is known of the clock of the server at the other end of one connection.
pub(crate) struct Clock {
    created: Instant,
    /// What the server's clock showed, at the least, when this was created: microseconds since 1970.
    zero: AtomicI64,
    /// When the last answer had arrived, in microseconds since `created`. Zero if there was none.
    read: AtomicU64,
}

/// The latest time at which a request may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latest {
    /// Microseconds since 1970 by the server's clock.
    pub(crate) micros: i64,
    /// Whether the clock should be read again with the request.
    pub(crate) stale: bool,
}

impl Default for Clock {
    fn default() -> Self {
        Self { created: Instant::now(), zero: AtomicI64::new(0), read: AtomicU64::new(0) }
    }
}

impl Clock {
    /// What the server answered to `TIME`, which has just arrived.
    pub(crate) fn note(&self, answer: Value) -> Result<(), ParsingError> {
        self.note_at(timestamp(answer)?, Instant::now());
        Ok(())
    }

    fn note_at(&self, said: Timestamp, arrived: Instant) {
        // Rounded up: a reading that seems later makes limits earlier.
        let arrived = whole_micros(arrived.saturating_duration_since(self.created)) + 1;
        self.zero.store(signed(said.as_micros()).saturating_sub(signed(arrived)), Ordering::Relaxed);
        self.read.store(arrived, Ordering::Release);
    }

    /// The reading was wrong, or the clock was set.
    pub(crate) fn forget(&self) {
        self.read.store(0, Ordering::Release);
    }

    /// Until when a request may run whose caller is told at `until`. `None` if the clock has to be read first.
    pub(crate) fn latest(&self, until: Instant) -> Option<Latest> {
        self.latest_at(until, Instant::now())
    }

    fn latest_at(&self, until: Instant, now: Instant) -> Option<Latest> {
        let read = self.read.load(Ordering::Acquire);
        let zero = self.zero.load(Ordering::Relaxed);
        let age = now.checked_duration_since(self.created + Duration::from_micros(read)).unwrap_or_default();
        if read == 0 || age > USABLE {
            return None;
        }
        let until = signed(whole_micros(until.saturating_duration_since(self.created)));
        let drift = until.saturating_sub(signed(read)).max(0) / DRIFT;
        Some(Latest { micros: zero.saturating_add(until).saturating_sub(drift), stale: age > FRESH })
    }
}

fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

/// Reads the answer to `TIME`: seconds and microseconds, which somebody in between may have garbled.
pub(crate) fn timestamp(time: Value) -> Result<Timestamp, ParsingError> {
    let (seconds, micros): (u64, u64) = from_redis_value(time)?;
    let whole = seconds.checked_mul(1_000_000).filter(|_| micros < 1_000_000);
    // What fits is a time up to the year 292,000.
    let now = whole.and_then(|whole| whole.checked_add(micros)).filter(|now| i64::try_from(*now).is_ok());
    now.map(Timestamp::from_micros).ok_or_else(|| "a time that cannot be".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// A server whose clock shows a million seconds when the connection is made, and what it shows later.
    struct Server {
        clock: Clock,
        begun: Instant,
    }

    impl Server {
        fn new() -> Self {
            let clock = Clock::default();
            Self { begun: clock.created, clock }
        }

        fn shows(&self, after: Duration) -> i64 {
            1_000_000_000_000 + signed(whole_micros(after))
        }

        /// Reads the clock: the server looked at it after `looked`, and its answer came after `arrived`.
        fn read(&self, looked: Duration, arrived: Duration) {
            let said = u64::try_from(self.shows(looked)).unwrap();
            self.clock.note_at(Timestamp::from_micros(said), self.begun + arrived);
        }

        fn latest(&self, until: Duration, now: Duration) -> Option<Latest> {
            self.clock.latest_at(self.begun + until, self.begun + now)
        }
    }

    #[test]
    fn nothing_may_run_after_its_caller_is_told() {
        for way in [0, 1, 80, 700] {
            let server = Server::new();
            server.read(MILLI, MILLI * (1 + way));
            for left in [1, 10, 500, 1000, 3000] {
                let (now, until) = (MILLI * (2 + way), MILLI * (2 + way + left));
                let latest = server.latest(until, now).unwrap();
                assert!(latest.micros < server.shows(until), "{way} ms on the way, {left} ms left: {latest:?}");
                let lost = server.shows(until) - latest.micros - signed(whole_micros(MILLI * way));
                assert!(lost <= 2 + signed(whole_micros(MILLI * (left + 1))) / DRIFT, "{lost} µs are given away");
            }
        }
    }

    #[test]
    fn a_server_whose_clock_runs_slower_is_allowed_no_more() {
        let server = Server::new();
        server.read(Duration::ZERO, Duration::ZERO);
        let until = Duration::from_secs(12);
        let latest = server.latest(until, Duration::from_secs(9)).unwrap();
        let slow = server.shows(Duration::ZERO) + signed(whole_micros(until - until / 1000));
        assert!(latest.micros < slow, "{latest:?}");
    }

    #[test]
    fn a_reading_is_renewed_after_seven_seconds_and_dropped_after_ten() {
        let server = Server::new();
        assert_eq!(server.latest(MILLI * 5, MILLI), None, "nothing was read");
        server.read(MILLI, MILLI * 2);
        let stale = |now| server.latest(MILLI * now + MILLI, MILLI * now).map(|latest| latest.stale);
        assert_eq!((stale(6900), stale(7100), stale(9900), stale(10_100)), (Some(false), Some(true), Some(true), None));
        server.clock.forget();
        assert_eq!(server.latest(MILLI * 5, MILLI * 3), None);
    }

    #[test]
    fn a_garbled_time_is_an_error() {
        let time = |parts: &[&str]| Value::Array(parts.iter().map(|part| Value::BulkString((*part).into())).collect());
        assert_eq!(timestamp(time(&["1767225600", "5"])).unwrap(), Timestamp::from_micros(1_767_225_600_000_005));
        let garbled = [
            time(&["18446744073709551615", "0"]),
            time(&["18446744073709", "999999"]),
            time(&["9223372036855", "0"]),
            time(&["1767225600", "18446744073709551615"]),
            time(&["1767225600", "1000000"]),
            time(&["-1", "0"]),
            time(&["1767225600"]),
            time(&[]),
            Value::Int(5),
            Value::Nil,
        ];
        for time in garbled {
            assert!(timestamp(time.clone()).is_err(), "{time:?}");
        }
    }
}

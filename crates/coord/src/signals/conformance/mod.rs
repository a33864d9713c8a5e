//! One suite that every backend passes: the "Behavior" of [`Signals`], case by case.
//!
//! To test a backend of your own, enable the feature `conformance`, say how one is made and how its time passes, and
//! expand the suite in a test module:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use statehouse_coord::{MemoryConfig, MemorySignals, Signals};
//! use statehouse_core::conformance::Backend;
//! use statehouse_core::{Capabilities, ManualClock};
//!
//! struct InMemory { clock: ManualClock, signals: Arc<MemorySignals> }
//!
//! impl Backend for InMemory {
//!     type Service = dyn Signals;
//!
//!     async fn service(&self) -> Arc<dyn Signals> { Arc::<MemorySignals>::clone(&self.signals) }
//!     async fn capabilities(&self) -> Capabilities { self.signals.capabilities() }
//!     async fn pass_time(&self, time: Duration) { self.clock.advance(time) }
//!     async fn another(&self) -> Self { in_memory() }
//!     fn step(&self) -> Duration { Duration::from_secs(60) }
//! }
//!
//! fn in_memory() -> InMemory {
//!     let clock = ManualClock::default();
//!     let signals = MemorySignals::with_config(MemoryConfig::default().with_clock(clock.clone()));
//!     InMemory { signals: Arc::new(signals), clock }
//! }
//!
//! statehouse_coord::signals_conformance!(async { in_memory() });
//!
//! # #[tokio::main]
//! # async fn main() {
//! // One case alone:
//! statehouse_coord::signals::conformance::run(in_memory(), "a_permit_that_is_renewed_is_held").await;
//! # }
//! ```

#![deny(dead_code, reason = "a case that is not listed")]

mod counters;
mod kit;
mod limits;
mod messages;
mod permits;

use self::counters::*;
use self::limits::*;
use self::messages::*;
use self::permits::*;
#[doc(hidden)]
pub use statehouse_core::conformance_tests;

use super::Signals;

/// Emits a test for each case; `$backend` is an expression for the future of a fresh
/// [`Backend`](statehouse_core::conformance::Backend). The calling crate needs `tokio` with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! signals_conformance {
    ($backend:expr) => {
        $crate::signals_conformance! {
            @cases [$crate::signals::conformance::conformance_tests] [$crate::signals::conformance::run, $backend]
        }
    };
    (@cases [$($then:tt)*] $with:tt) => {
        $($then)*! { $with
            a_counter_is_the_sum_of_what_was_added [];
            sixteen_who_add_at_once_each_have_a_sum_of_their_own [];
            a_counter_lives_as_long_as_the_add_said_that_began_it [];
            a_counter_without_a_time_to_live_stays [];
            a_reset_removes_a_counter_and_is_idempotent [];
            an_add_that_would_leave_the_range_changes_nothing [];
            times_that_no_backend_keeps_are_refused [];
            a_burst_is_served_and_what_is_more_is_told_when_to_come_again [];
            whoever_comes_again_when_told_to_is_served [];
            of_sixteen_who_take_at_once_no_more_are_served_than_the_burst [];
            many_are_taken_whole_or_not_at_all [];
            a_limit_that_nobody_takes_from_is_whole_again [];
            another_rate_holds_from_its_first_take_on [];
            rates_that_no_backend_keeps_are_refused [];
            no_more_permits_are_held_than_the_call_says [];
            of_sixteen_who_want_one_of_five_permits_five_have_one [];
            an_id_that_holds_a_permit_has_it_anew [];
            a_release_frees_a_permit_and_is_idempotent [];
            a_permit_is_over_after_its_lease_and_a_renewal_does_not_bring_it_back [];
            a_permit_that_is_renewed_is_held [];
            permits_that_no_backend_gives_are_refused [];
            a_subscriber_hears_resync_and_then_every_message_in_order [$crate::capability::SUBSCRIBE];
            every_subscriber_hears_a_message [$crate::capability::SUBSCRIBE];
            a_subscriber_is_ready_when_it_comes_back_after_the_resync [$crate::capability::SUBSCRIBE];
            a_subscriber_that_is_too_slow_hears_resync [$crate::capability::SUBSCRIBE];
            the_largest_message_is_heard_and_a_larger_one_refused [$crate::capability::SUBSCRIBE];
            of_one_name_counters_limits_and_permits_have_nothing_to_do_with_each_other [];
            other_signals_beside_have_their_own_names [$crate::capability::SUBSCRIBE];
            a_store_that_works_is_up [];
        }
    };
}

crate::signals_conformance! { @cases [statehouse_core::conformance_run] [dyn Signals] }

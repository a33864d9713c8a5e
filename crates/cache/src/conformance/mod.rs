//! The suite that every backend passes. One behavior of the [`Cache`] contract per case.
//!
//! A backend passes only how to make a cache, how to make another one beside it, and how time passes:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use statehouse_cache::{Cache, MemoryCache, MemoryConfig};
//! use statehouse_core::conformance::Backend;
//! use statehouse_core::{Capabilities, ManualClock};
//!
//! struct InMemory { clock: ManualClock, cache: MemoryCache }
//!
//! impl InMemory {
//!     fn new(clock: ManualClock) -> Self {
//!         Self { cache: MemoryCache::new(MemoryConfig::default().with_clock(clock.clone())), clock }
//!     }
//! }
//!
//! impl Backend for InMemory {
//!     type Service = dyn Cache;
//!
//!     async fn service(&self) -> Arc<dyn Cache> { Arc::new(self.cache.clone()) }
//!     async fn capabilities(&self) -> Capabilities { self.cache.capabilities() }
//!     async fn another(&self) -> Self { Self::new(self.clock.clone()) }
//!     async fn pass_time(&self, time: Duration) { self.clock.advance(time) }
//! }
//!
//! statehouse_cache::cache_conformance!(async { InMemory::new(ManualClock::default()) });
//!
//! # #[tokio::main]
//! # async fn main() {
//! // One case alone:
//! statehouse_cache::conformance::run(InMemory::new(ManualClock::default()), "a_lease_stores_once").await;
//! # }
//! ```

#![deny(dead_code, reason = "a case that is not listed")]

mod conditions;
mod entries;
mod expiry;
mod fenced;
mod kit;
mod late;
mod leases;
mod races;

use self::conditions::*;
use self::entries::*;
use self::expiry::*;
use self::fenced::*;
use self::late::*;
use self::leases::*;
use self::races::*;
#[doc(hidden)]
pub use statehouse_core::conformance_tests;

use crate::Cache;

/// Emits a `#[tokio::test]` for each case of the suite; `$backend` is an expression for the future of a fresh
/// [`Backend`](statehouse_core::conformance::Backend). The calling crate needs `tokio` with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! cache_conformance {
    ($backend:expr) => {
        $crate::cache_conformance! { @cases [$crate::conformance::conformance_tests] [$crate::conformance::run, $backend] }
    };
    (@cases [$($then:tt)*] $with:tt) => {
        $($then)*! { $with
            get_of_a_missing_key_is_none [];
            a_set_is_read_back_whole [];
            get_many_keeps_order_length_and_duplicates [];
            a_set_replaces_value_codec_version_and_time_to_live [];
            versions_rise_across_overwrite_removal_and_expiry [];
            set_if_absent_stores_only_the_first [];
            set_if_version_stores_only_on_that_version [];
            of_sixteen_racing_creators_one_wins_in_200_rounds [];
            of_sixteen_racing_updaters_one_wins [];
            remove_of_a_missing_key_is_ok [];
            remove_takes_the_entry_away [];
            remove_if_version_removes_only_that_version [];
            remove_on_the_condition_absent_is_refused [];
            an_entry_expires [];
            touch_prolongs_and_shortens_and_keeps_the_rest [];
            touch_never_brings_an_entry_back [];
            a_time_to_live_out_of_range_is_refused_and_nothing_written [];
            a_value_that_is_too_long_is_refused_and_nothing_written [];
            clear_ends_every_entry_and_later_ones_live [];
            clear_leaves_other_caches_alone [];
            keys_that_look_alike_are_different [];
            reserve_of_a_live_entry_is_a_hit [];
            a_lease_stores_once [];
            a_lease_is_no_entry [];
            a_lease_together_with_a_condition_is_refused [];
            two_reservations_share_a_lease_and_the_first_to_store_wins [];
            a_set_during_a_load_wins_over_it [];
            a_removal_during_a_load_ends_it [];
            a_clear_during_a_load_ends_it [];
            a_lease_expires [];
            a_lease_can_be_given_back [];
            reserve_replacing_a_version_counts_it_as_absent [];
            a_lease_that_is_held_is_left_to_its_holder [];
            a_lease_is_renewed_only_while_it_lives [];
            a_late_removal_leaves_what_is_newer [];
            a_late_removal_ends_what_was_being_loaded_before [];
            a_late_removal_of_no_age_takes_what_was_set_a_moment_ago [];
            no_read_gives_what_was_loaded_before_a_removal [];
            no_read_gives_what_was_loaded_before_a_clear [];
            a_cancelled_set_leaves_the_old_entry_or_the_new_one [];
            every_handle_sees_every_write [$crate::capability::SHARED];
            a_clear_by_one_handle_reaches_every_other [$crate::capability::SHARED];
            a_deadline_that_is_kept_changes_nothing [];
            a_store_that_works_is_up [];
            a_former_holder_is_refused [$crate::capability::FENCED];
            a_mark_only_rises [$crate::capability::FENCED];
            marks_are_of_their_locks [$crate::capability::FENCED];
            no_write_is_made_once_the_mark_has_risen [$crate::capability::FENCED_AT_ONCE];
            a_former_holder_is_refused_for_every_key_and_after_a_clear [$crate::capability::FENCED];
            a_fence_goes_together_with_a_condition [$crate::capability::FENCED];
            a_fence_is_not_ignored_by_who_keeps_no_marks [];
        }
    };
}

crate::cache_conformance! { @cases [statehouse_core::conformance_run] [dyn Cache] }

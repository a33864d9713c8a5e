//! One suite that every backend passes: the "Behavior" of [`CoordStore`], case by case.
//!
//! To test a backend of your own, enable the feature `conformance`, say how one is made and how its time passes, and
//! expand the suite in a test module:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use statehouse_coord::{CoordStore, MemoryConfig, MemoryCoordStore};
//! use statehouse_core::conformance::Backend;
//! use statehouse_core::{Capabilities, ManualClock};
//!
//! struct InMemory { clock: ManualClock, store: Arc<MemoryCoordStore> }
//!
//! impl Backend for InMemory {
//!     type Service = dyn CoordStore;
//!
//!     async fn service(&self) -> Arc<dyn CoordStore> { Arc::<MemoryCoordStore>::clone(&self.store) }
//!     async fn capabilities(&self) -> Capabilities { self.store.capabilities() }
//!     async fn pass_time(&self, time: Duration) { self.clock.advance(time) }
//!     async fn another(&self) -> Self { in_memory() }
//!     fn step(&self) -> Duration { Duration::from_secs(60) }
//! }
//!
//! fn in_memory() -> InMemory {
//!     let clock = ManualClock::default();
//!     let store = MemoryCoordStore::with_config(MemoryConfig::default().with_clock(clock.clone()));
//!     InMemory { store: Arc::new(store), clock }
//! }
//!
//! statehouse_coord::coord_conformance!(async { in_memory() });
//!
//! # #[tokio::main]
//! # async fn main() {
//! // One case alone:
//! statehouse_coord::conformance::run(in_memory(), "a_remove_is_idempotent").await;
//! # }
//! ```

#![deny(dead_code, reason = "a case that is not listed")]

mod beats;
mod expiry;
mod fenced;
mod kit;
mod records;
mod scans;
mod versions;
mod waits;

use self::beats::*;
use self::expiry::*;
use self::fenced::*;
use self::records::*;
use self::scans::*;
use self::versions::*;
use self::waits::*;
#[doc(hidden)]
pub use statehouse_core::conformance_tests;

use crate::api::CoordStore;

/// Emits a test for each case; `$backend` is an expression for the future of a fresh
/// [`Backend`](statehouse_core::conformance::Backend). The calling crate needs `tokio` with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! coord_conformance {
    ($backend:expr) => {
        $crate::coord_conformance! { @cases [$crate::conformance::conformance_tests] [$crate::conformance::run, $backend] }
    };
    (@cases [$($then:tt)*] $with:tt) => {
        $($then)*! { $with
            a_record_is_read_as_it_was_put [];
            an_absent_record_is_absent_for_every_method [];
            a_put_if_absent_finds_what_is_there [];
            a_put_on_another_version_answers_what_is_there_and_changes_nothing [];
            a_record_that_counts_as_none_is_replaced_or_told_and_any_other_stands [];
            of_sixteen_racing_puts_on_one_version_one_is_made [];
            of_sixteen_racing_creators_one_wins [];
            sixteen_counters_lose_no_step [];
            a_remove_of_another_version_removes_nothing [];
            a_remove_is_idempotent [];
            what_was_removed_can_be_put_again [];
            keys_of_any_text_are_told_apart [];
            the_largest_value_is_kept_and_a_larger_one_refused [];
            what_no_backend_takes_is_refused_before_anything_is_written [];
            another_store_has_its_own_records [];
            versions_rise_with_every_put_and_over_a_remove [];
            versions_rise_over_an_expiry [];
            a_version_is_not_below_the_time [];
            a_record_that_is_as_it_was_before_has_another_version [];
            a_put_that_is_repeated_is_known_and_made_once [];
            a_put_that_is_repeated_after_others_have_written_is_no_conflict [];
            a_put_that_is_repeated_brings_nothing_back_and_replaces_nobodys [];
            a_record_says_how_long_it_lives [];
            an_expired_record_is_absent_for_every_method [];
            a_put_makes_a_record_live_anew [];
            a_put_without_a_time_to_live_makes_a_record_stay [];
            a_claim_of_a_stranger_counts_for_its_time_and_is_free_then [];
            a_token_is_accepted_once_or_refused_where_it_would_stay_or_be_forgotten [];
            a_scan_has_every_record_of_its_prefix_once [];
            what_was_removed_or_has_expired_is_not_scanned [];
            what_is_there_all_the_time_is_scanned_while_others_come_and_go [];
            a_wait_ends_when_the_record_changes [];
            a_wait_ends_when_the_record_is_removed [];
            a_wait_for_what_has_changed_already_returns_at_once [];
            a_wait_ends_at_its_limit [];
            a_deadline_that_is_kept_changes_nothing [];
            a_store_that_works_is_up [];
            a_former_holder_is_refused [$crate::capability::FENCED];
            a_mark_only_rises [$crate::capability::FENCED];
            marks_are_of_their_locks [$crate::capability::FENCED];
            no_write_is_made_once_the_mark_has_risen [$crate::capability::FENCED_AT_ONCE];
            a_fence_is_not_ignored_by_who_keeps_no_marks [];
            a_beat_counts_until_its_time_is_over [$crate::capability::BEATS];
            a_beat_is_of_a_record_at_its_version [$crate::capability::BEATS];
            changes_of_a_group_are_counted_and_beats_that_go_on_are_none [$crate::capability::BEATS];
            beats_of_groups_and_of_stores_are_apart [$crate::capability::BEATS];
            of_hundreds_that_are_over_none_is_counted [$crate::capability::BEATS];
            beats_are_refused_by_who_counts_none_and_so_is_what_nobody_takes [];
            records_survive_a_restart [$crate::capability::DURABLE];
            marks_survive_a_restart [$crate::capability::DURABLE, $crate::capability::FENCED];
        }
    };
}

crate::coord_conformance! { @cases [statehouse_core::conformance_run] [dyn CoordStore] }

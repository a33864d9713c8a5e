//! One suite that every backend passes: the "Behavior" of [`SessionStore`], case by case.
//!
//! To test a backend of your own, enable the feature `conformance`, say how one is made and how its time passes, and
//! expand the suite in a test module:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use statehouse_core::conformance::Backend;
//! use statehouse_core::{Capabilities, ManualClock};
//! use statehouse_session::{MemoryConfig, MemorySessionStore, SessionStore};
//!
//! struct InMemory { clock: ManualClock, store: Arc<MemorySessionStore> }
//!
//! impl Backend for InMemory {
//!     type Service = dyn SessionStore;
//!
//!     async fn service(&self) -> Arc<dyn SessionStore> { Arc::<MemorySessionStore>::clone(&self.store) }
//!     async fn capabilities(&self) -> Capabilities { self.store.capabilities() }
//!     async fn pass_time(&self, time: Duration) { self.clock.advance(time) }
//!     async fn bounded(&self, sessions: usize) -> Arc<dyn SessionStore> {
//!         let config = MemoryConfig::default().with_clock(self.clock.clone()).with_max_sessions(sessions).expect("some");
//!         Arc::new(MemorySessionStore::with_config(config))
//!     }
//!     fn step(&self) -> Duration { Duration::from_secs(60) }
//! }
//!
//! fn in_memory() -> InMemory {
//!     let clock = ManualClock::default();
//!     let store = MemorySessionStore::with_config(MemoryConfig::default().with_clock(clock.clone()));
//!     InMemory { store: Arc::new(store), clock }
//! }
//!
//! statehouse_session::session_conformance!(async { in_memory() });
//!
//! # #[tokio::main]
//! # async fn main() {
//! // One case alone:
//! statehouse_session::conformance::run(in_memory(), "a_deleted_session_does_not_come_back").await;
//! # }
//! ```

#![deny(dead_code, reason = "a case that is not listed")]

mod cookies;
mod deletions;
mod ends;
mod entering;
mod expiry;
mod fenced;
mod kit;
mod principals;
mod records;
mod remembered;
mod requests;
mod rotations;

use self::cookies::*;
use self::deletions::*;
use self::ends::*;
use self::entering::*;
use self::expiry::*;
use self::fenced::*;
use self::principals::*;
use self::records::*;
use self::remembered::*;
use self::requests::*;
use self::rotations::*;
#[doc(hidden)]
pub use statehouse_core::conformance_tests;

use crate::api::SessionStore;

/// Emits a test for each case; `$backend` is an expression for the future of a fresh
/// [`Backend`](statehouse_core::conformance::Backend). The calling crate needs `tokio` with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! session_conformance {
    ($backend:expr) => {
        $crate::session_conformance! { @cases [$crate::conformance::conformance_tests] [$crate::conformance::run, $backend] }
    };
    (@cases [$($then:tt)*] $with:tt) => {
        $($then)*! { $with
            a_created_session_is_loaded_as_it_was [];
            a_taken_key_is_refused_and_its_session_stays [];
            of_sixteen_racing_creators_of_one_key_one_wins [];
            an_unknown_key_loads_nothing_and_creates_nothing [];
            a_save_applies_its_delta_and_raises_the_version [];
            a_save_on_an_old_version_is_a_conflict_and_answers_the_current_session [];
            a_save_that_changes_nothing_writes_nothing [];
            a_save_of_a_missing_session_is_gone_and_creates_nothing [];
            sixteen_parallel_requests_lose_no_attribute [];
            attributes_of_any_codec_are_kept_byte_for_byte [];
            a_large_session_is_kept [];
            an_attribute_ends_by_the_stores_clock_and_the_others_stay [];
            an_attribute_that_is_set_again_ends_as_it_then_says [];
            an_attribute_ends_among_the_changes_of_parallel_requests [];
            a_rotation_changes_the_verifier_and_not_the_times [];
            a_rotation_applies_its_delta_in_the_same_step [];
            a_privilege_change_refuses_the_old_verifier_and_its_writes_in_flight [];
            a_renewal_accepts_the_old_verifier_for_its_grace_only [];
            a_create_that_is_repeated_is_known_and_another_is_not [];
            a_change_that_is_repeated_after_others_is_known_and_made_once [];
            a_browser_that_does_not_get_a_renewed_token_stays_logged_in [];
            a_request_that_arrives_after_a_login_begins_a_session_beside_it [];
            a_login_and_a_logout_end_the_sessions_of_all_cookies_that_the_browser_sent [];
            of_sixteen_racing_rotations_one_wins [];
            a_login_is_dated_by_the_store [];
            a_touch_slides_the_idle_timeout_and_not_the_version [];
            a_load_does_not_slide_the_idle_timeout [];
            a_save_slides_the_idle_timeout [];
            when_a_session_was_last_used_is_known_also_near_its_absolute_end [];
            an_idle_session_is_gone_for_every_method [];
            the_absolute_expiry_stands_against_touches_saves_and_rotations [];
            a_deleted_session_does_not_come_back [];
            a_deletion_is_remembered_and_an_expiry_is_not [];
            a_request_under_way_when_its_session_is_deleted_begins_no_other [];
            a_request_that_arrives_after_the_deletion_of_its_session_begins_another_beside_the_cookie [];
            what_somebody_else_left_is_removed_by_a_login_in_any_case [];
            updates_of_one_attribute_by_twenty_tasks_are_all_kept [];
            of_256_writers_at_once_none_fails [];
            a_message_is_taken_by_one_of_sixteen_requests [];
            a_rotation_may_change_the_idle_timeout [];
            an_anonymous_session_lives_for_a_shorter_time_until_somebody_logs_in [];
            whoever_is_remembered_stays_so_until_the_next_login [];
            a_login_may_be_remembered_for_longer_than_the_configuration_keeps_others [];
            a_flood_of_anonymous_sessions_is_bounded_and_keeps_nobody_from_logging_in [];
            a_delete_is_idempotent [];
            a_delete_is_refused_to_a_holder_whose_verifier_is_not_accepted [];
            a_delete_among_parallel_writes_is_final [];
            timeouts_of_zero_are_refused [];
            a_deadline_that_is_kept_changes_nothing [];
            a_store_that_works_is_up [];
            a_list_has_every_session_of_a_principal_and_no_other [$crate::capability::PRINCIPALS];
            a_revoked_session_is_gone_and_the_others_stay [$crate::capability::PRINCIPALS];
            all_sessions_of_a_principal_end_together_and_a_later_login_stands [$crate::capability::PRINCIPALS];
            all_sessions_but_one_end_together [$crate::capability::PRINCIPALS];
            all_sessions_but_one_end_also_where_that_one_is_none_of_theirs [$crate::capability::PRINCIPALS];
            all_sessions_of_everybody_end_together [$crate::capability::PRINCIPALS];
            a_login_may_load_and_begin_at_once [$crate::capability::PRINCIPALS];
            a_login_that_began_before_a_revocation_does_not_stand [$crate::capability::PRINCIPALS];
            of_logins_among_a_revocation_none_stands_that_began_before [$crate::capability::PRINCIPALS];
            of_64_parallel_logins_with_a_limit_of_one_one_is_left [$crate::capability::PRINCIPALS];
            the_oldest_makes_room_or_the_next_is_refused_and_what_has_ended_does_not_count [$crate::capability::PRINCIPALS];
            what_is_over_by_a_limits_timeouts_does_not_count_and_ends [$crate::capability::PRINCIPALS];
            what_is_over_ends_where_it_is_in_the_way_of_a_login_that_is_made [$crate::capability::PRINCIPALS];
            whoever_is_remembered_is_listed_and_counted_for_as_long [$crate::capability::PRINCIPALS];
            a_login_that_is_not_made_ends_no_other_session [$crate::capability::PRINCIPALS];
            what_is_revoked_is_remembered_as_a_deletion [$crate::capability::PRINCIPALS];
            what_is_revoked_is_gone_for_every_method [$crate::capability::PRINCIPALS];
            who_keeps_no_principals_says_so [];
            a_former_holder_is_refused [$crate::capability::FENCED];
            a_mark_only_rises [$crate::capability::FENCED];
            marks_are_of_their_locks [$crate::capability::FENCED];
            no_write_is_made_once_the_mark_has_risen [$crate::capability::FENCED_AT_ONCE];
            a_former_holder_neither_rotates_nor_deletes [$crate::capability::FENCED];
            a_fence_is_not_ignored_by_who_keeps_no_marks [];
            sessions_survive_a_restart [$crate::capability::DURABLE];
        }
    };
}

crate::session_conformance! { @cases [statehouse_core::conformance_run] [dyn SessionStore] }

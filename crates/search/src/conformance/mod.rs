//! What every backend must do, one behavior per case, and the macro that makes a test of each.
//!
//! A backend passes how to make an index with the suite's schema, and another one beside it:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use statehouse_core::Capabilities;
//! use statehouse_core::conformance::Backend;
//! # #[cfg(feature = "tantivy")]
//! # mod example {
//! # use super::*;
//! use statehouse_search::conformance::{run, schema};
//! use statehouse_search::{SearchIndex, TantivyConfig};
//!
//! struct InMemory(Arc<dyn SearchIndex>);
//!
//! async fn in_memory() -> InMemory {
//!     InMemory(Arc::new(TantivyConfig::memory().open(schema()).await.expect("an index")))
//! }
//!
//! impl Backend for InMemory {
//!     type Service = dyn SearchIndex;
//!
//!     async fn service(&self) -> Arc<dyn SearchIndex> { Arc::clone(&self.0) }
//!     async fn capabilities(&self) -> Capabilities { self.0.capabilities() }
//!     async fn another(&self) -> Self { in_memory().await }
//!     async fn pass_time(&self, time: Duration) { tokio::time::sleep(time).await }
//! }
//!
//! statehouse_search::search_conformance!(in_memory());
//!
//! # pub async fn main() {
//! // One case alone:
//! run(in_memory().await, "ties_are_broken_by_id").await;
//! # }
//! # }
//! # #[tokio::main]
//! # async fn main() {
//! #     #[cfg(feature = "tantivy")]
//! #     example::main().await;
//! # }
//! ```

#![deny(dead_code, reason = "a case that is not listed")]

mod collapse;
mod counts;
mod evolution;
mod fenced;
mod finding;
mod functions;
mod generations;
mod kit;
mod lasting;
mod queries;
mod reading;
mod results;
mod rows;
mod suggest;
mod synonyms;
mod totals;
mod writes;

use self::collapse::*;
use self::counts::*;
use self::evolution::*;
use self::fenced::*;
use self::finding::*;
use self::functions::*;
use self::generations::*;
pub use self::kit::schema;
use self::lasting::*;
pub use self::lasting::{Worn, requests};
use self::queries::*;
use self::reading::*;
use self::results::*;
use self::rows::*;
use self::suggest::*;
use self::synonyms::*;
use self::totals::*;
use self::writes::*;
#[doc(hidden)]
pub use statehouse_core::conformance_tests;

use crate::SearchIndex;

/// Emits a test for each case of the suite; `$backend` is an expression for the future of a fresh
/// [`Backend`](statehouse_core::conformance::Backend), whose index has the suite's [`schema`](crate::conformance::schema). The
/// calling crate needs `tokio` with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! search_conformance {
    ($backend:expr) => {
        $crate::search_conformance! { @cases [$crate::conformance::conformance_tests] [$crate::conformance::run, $backend] }
    };
    (@cases [$($then:tt)*] $with:tt) => {
        $($then)*! { $with
            a_written_document_is_returned_as_it_was_given [];
            a_missing_document_is_none [];
            a_get_sees_a_write_before_searches_do [];
            a_get_sees_a_delete_before_searches_do [];
            a_search_sees_a_write_that_waited_for_it [];
            a_search_sees_what_a_stale_write_that_waited_found [];
            refresh_makes_queued_writes_visible [];
            a_logged_write_is_seen_and_answered_as_any_other [];
            an_upsert_replaces_the_whole_document [];
            outcomes_say_created_updated_deleted_and_not_found [];
            an_older_version_never_replaces_a_newer_one [];
            an_older_delete_removes_nothing [];
            a_deleted_document_does_not_come_back_by_an_older_write [];
            a_write_without_a_version_counts_on [];
            a_delete_without_a_version_counts_on_from_nothing [];
            a_delete_with_its_version_lets_the_next_one_in [];
            a_bulk_with_an_operation_that_was_not_applied_does_not_pass_its_check [];
            a_typed_write_that_came_too_late_is_an_error_unless_allowed [];
            operations_of_one_bulk_take_effect_in_order [];
            one_bad_document_fails_alone [];
            a_term_over_the_limit_is_refused [];
            an_empty_bulk_is_ok [];
            match_finds_any_of_the_terms_best_first [];
            match_with_and_needs_every_term [];
            minimum_match_counts_and_takes_shares [];
            fuzzy_match_finds_misspelt_words [];
            fuzzy_match_keeps_the_prefix_it_is_told [];
            fuzzy_words_with_a_similar_term_in_common_add_up [];
            many_fuzzy_words_share_the_terms_that_are_allowed [];
            multi_match_takes_the_best_field_or_the_sum [];
            phrase_needs_the_order_and_slop_loosens_it [];
            a_phrase_does_not_cross_values [];
            prefix_finds_beginnings_of_terms [];
            an_exact_word_is_before_its_completions_and_misspellings [];
            wildcard_finds_terms_that_fit_a_pattern [];
            phrase_prefix_completes_the_last_word_of_a_phrase [];
            phrase_prefix_stands_for_as_many_terms_as_it_is_told [];
            a_fields_value_is_a_factor_of_the_score [];
            a_score_decays_with_the_distance_of_a_value [];
            a_function_multiplies_is_added_or_replaces [];
            a_function_that_cannot_be_the_same_everywhere_is_refused [];
            a_word_finds_its_synonyms [];
            synonyms_score_as_what_fits_best [];
            a_document_is_found_by_synonyms_of_the_index [];
            synonyms_of_the_index_make_no_text_longer [];
            other_synonyms_of_the_index_need_a_reindex [$crate::capability::REINDEX];
            misspelt_words_are_corrected_by_those_of_the_index [$crate::capability::SUGGEST];
            popular_words_are_suggested_for_rare_ones [$crate::capability::SUGGEST];
            what_cannot_be_corrected_is_refused [$crate::capability::SUGGEST];
            words_over_the_limits_are_left_as_they_are [$crate::capability::SUGGEST];
            who_corrects_no_words_says_so [];
            match_prefix_completes_only_an_open_last_word [];
            starts_with_words_takes_beginnings_in_any_order [];
            whatever_a_person_types_is_a_query [];
            a_sub_field_of_beginnings_finds_what_is_being_typed [];
            term_is_exact_and_normalized_on_keywords [];
            terms_finds_any_of_the_values [];
            range_has_open_and_closed_ends_on_every_type [];
            exists_finds_values_even_without_terms [];
            ids_finds_documents_by_id [];
            bool_combines_must_should_filter_and_must_not [];
            bool_needs_the_minimum_of_should [];
            constant_and_dis_max_score_as_they_say [];
            all_and_none_find_all_and_nothing [];
            words_are_found_by_their_stem_and_without_accents [];
            a_text_may_hold_every_code_point [];
            words_are_stemmed_alike_in_every_script [];
            ties_are_broken_by_id [];
            sort_orders_numbers_keywords_and_dates [];
            sort_puts_missing_values_where_it_is_told [];
            sort_takes_the_least_or_the_largest_of_several_values [];
            pages_join_without_gaps_and_totals_are_exact [];
            a_projection_returns_only_what_it_names [];
            highlights_mark_what_matched [];
            count_is_exact [];
            a_total_is_counted_up_to_a_number [];
            hits_do_not_depend_on_how_far_the_total_is_counted [];
            what_is_counted_besides_is_exact_whatever_the_total [];
            all_hits_come_whatever_the_total [$crate::capability::POINT_IN_TIME];
            a_total_over_the_limit_is_refused [];
            facets_count_the_values_of_all_that_match [];
            a_post_filter_narrows_the_hits_and_not_what_is_counted [];
            pages_behind_a_cursor_keep_to_a_post_filter [];
            all_hits_keep_to_a_post_filter [$crate::capability::POINT_IN_TIME];
            facets_count_numbers_dates_and_truth_values [];
            ranges_are_counted_from_a_bound_on_and_before_the_next [];
            what_cannot_be_counted_is_refused [];
            histograms_of_numbers_have_buckets_of_one_width [];
            histograms_of_dates_have_buckets_of_days_weeks_months_and_years [];
            stats_sum_up_every_value [];
            collapsed_hits_are_the_first_of_each_group [$crate::capability::COLLAPSE];
            what_is_counted_is_not_collapsed [$crate::capability::COLLAPSE];
            a_hit_of_several_groups_is_refused [$crate::capability::COLLAPSE];
            what_cannot_be_collapsed_is_refused [$crate::capability::COLLAPSE];
            who_collapses_no_hits_says_so [];
            what_cannot_be_computed_is_refused [];
            unknown_fields_and_wrong_types_are_refused [];
            what_a_field_cannot_do_is_unsupported [];
            queries_too_deep_or_too_wide_are_refused [];
            requests_over_a_limit_are_refused_with_the_numbers [];
            the_terms_of_all_texts_count_together [];
            options_out_of_range_are_refused [];
            options_that_contradict_each_other_are_refused [];
            a_window_over_the_limit_is_refused [];
            pages_behind_a_cursor_are_those_that_from_gives [];
            a_cursor_is_a_place_that_may_travel_as_text [];
            a_cursor_of_another_request_is_refused [];
            all_hits_come_once_and_in_order [$crate::capability::POINT_IN_TIME];
            writes_meanwhile_show_in_nothing_that_is_read [$crate::capability::POINT_IN_TIME];
            a_change_of_generations_shows_in_nothing_that_is_read [$crate::capability::POINT_IN_TIME, $crate::capability::REINDEX];
            a_state_that_is_no_longer_held_is_a_conflict [$crate::capability::POINT_IN_TIME];
            who_reads_may_pause_for_longer_than_a_page_may_take [$crate::capability::POINT_IN_TIME];
            what_does_not_fit_all_hits_is_refused [$crate::capability::POINT_IN_TIME];
            all_hits_of_a_closed_index_say_so [$crate::capability::POINT_IN_TIME];
            who_holds_no_state_says_so [];
            a_store_that_works_is_up [];
            a_former_holder_is_refused [$crate::capability::FENCED];
            a_mark_only_rises [$crate::capability::FENCED];
            marks_are_of_their_locks [$crate::capability::FENCED];
            no_write_is_made_once_the_mark_has_risen [$crate::capability::FENCED_AT_ONCE];
            a_former_holder_deletes_nothing_whatever_its_versions [$crate::capability::FENCED];
            a_fence_is_not_ignored_by_who_keeps_no_marks [];
            a_closed_index_says_so [];
            a_call_with_a_deadline_in_the_past_ends_or_says_so [];
            a_merge_leaves_every_document_as_it_was [];
            scores_do_not_depend_on_what_was_replaced_and_deleted [$crate::capability::LIVE_STATISTICS];
            scores_behind_a_merge_are_those_of_a_fresh_index [];
            the_order_of_fields_is_no_difference [];
            a_new_field_is_added_in_place [];
            a_removed_field_is_unused_and_stays [];
            an_added_field_forgets_no_delete [];
            what_needs_a_reindex_is_refused_and_names_its_fields [];
            who_has_no_generations_says_so [];
            a_reindex_makes_of_stored_documents_those_of_another_schema [$crate::capability::REINDEX];
            what_is_written_during_a_reindex_is_in_both_generations [$crate::capability::REINDEX];
            a_rollback_loses_nothing_and_may_be_rolled_forward_again [$crate::capability::REINDEX];
            a_generation_is_not_used_before_it_holds_what_the_live_one_does [$crate::capability::REINDEX];
            a_reindex_that_gave_up_is_told_as_unfinished [$crate::capability::REINDEX];
            the_number_of_a_generation_is_never_used_again [$crate::capability::REINDEX];
            the_number_of_a_generation_survives_it [$crate::capability::REINDEX, $crate::capability::DURABLE];
            rows_never_take_the_place_of_what_was_written_since [$crate::capability::REINDEX];
            what_was_written_without_a_version_stays_whatever_version_a_row_has [$crate::capability::REINDEX];
            rows_are_all_that_a_generation_is_filled_from [$crate::capability::REINDEX];
            rows_bring_what_was_deleted_before_they_were_read [$crate::capability::REINDEX];
            rows_of_an_earlier_time_are_in_no_generation [$crate::capability::REINDEX];
            what_is_copied_is_committed_without_anybody_asking [$crate::capability::REINDEX];
            what_is_not_stored_is_not_copied_but_comes_from_rows [$crate::capability::REINDEX];
            a_reindex_that_was_not_finished_is_nothing_to_go_back_to [$crate::capability::REINDEX];
            a_generation_that_is_not_being_filled_is_not_written_alone [$crate::capability::REINDEX];
            what_one_generation_cannot_hold_is_in_neither [$crate::capability::REINDEX];
            what_a_generation_that_is_filled_from_rows_cannot_hold_is_in_neither [$crate::capability::REINDEX];
            a_refresh_shows_what_was_written_by_every_handle [$crate::capability::REINDEX];
            a_reindex_that_somebody_else_has_done_is_done [$crate::capability::REINDEX];
            a_change_of_generations_that_is_late_is_in_doubt [$crate::capability::REINDEX];
            a_reindex_that_was_cut_off_is_gone_on_with [$crate::capability::REINDEX, $crate::capability::DURABLE];
            added_fields_survive_a_restart [$crate::capability::DURABLE];
            what_was_acknowledged_survives_a_restart [$crate::capability::DURABLE];
            versions_of_deletes_survive_a_restart [$crate::capability::DURABLE];
            what_was_logged_survives_a_restart [$crate::capability::DURABLE];
        }
    };
}

crate::search_conformance! { @cases [statehouse_core::conformance_run] [dyn SearchIndex] }

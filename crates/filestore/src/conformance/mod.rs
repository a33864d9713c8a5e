//! The contract of [`FileStore`] as tests that every backend runs.
//!
//! ```
//! use statehouse_filestore::MemoryFileStore;
//! use statehouse_filestore::conformance::{Store, run};
//!
//! statehouse_filestore::filestore_conformance!(async { Store::new(MemoryFileStore::new()) });
//!
//! # #[tokio::main]
//! # async fn main() {
//! // One case alone:
//! run(Store::new(MemoryFileStore::new()), "namespaces_are_apart").await;
//! # }
//! ```
//!
//! Each case works in a random namespace of its own and removes what it made. Cases that a store's capabilities rule
//! out are printed as such.

#![deny(dead_code, reason = "a case that is not listed")]

mod conditions;
mod fenced;
mod headers;
mod kit;
mod lists;
mod moves;
mod names;
mod puts;
mod reading;
mod reads;
mod staged;
mod unchanged;
mod writes;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use statehouse_core::conformance::Backend;
#[doc(hidden)]
pub use statehouse_core::conformance_tests;
use statehouse_core::{Capabilities, Result};

use self::conditions::*;
use self::fenced::*;
use self::headers::*;
use self::kit::{clear, fresh};
use self::lists::*;
use self::moves::*;
use self::names::*;
use self::puts::*;
use self::reading::*;
use self::reads::*;
use self::staged::*;
use self::unchanged::*;
use self::writes::*;
use crate::api::FileStore;
use crate::files::Files;
use crate::memory::MemoryFileStore;

/// Opens the store of a case.
type Open = Box<dyn Fn() -> BoxFuture<'static, Arc<dyn FileStore>> + Send + Sync>;

/// A store under test. What it holds does not change with time.
pub struct Store {
    store: Arc<dyn FileStore>,
    open: Option<Open>,
}

impl Store {
    /// The store of one case; several may be of one folder or bucket. For one that is not durable.
    pub fn new(store: impl FileStore + 'static) -> Self {
        Self { store: Arc::new(store), open: None }
    }

    /// The store of one case, which is opened in this way, and once more where a case is about that.
    ///
    /// ```
    /// use statehouse_filestore::MemoryFileStore;
    /// use statehouse_filestore::conformance::{Store, run};
    ///
    /// # #[tokio::main]
    /// # async fn main() {
    /// let open = || async { MemoryFileStore::new() };
    /// run(Store::opened_by(open).await, "deleting_a_missing_file_is_ok").await;
    /// # }
    /// ```
    pub async fn opened_by<S, F>(open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        S: FileStore + 'static,
        F: Future<Output = S> + Send + 'static,
    {
        let open = move || -> BoxFuture<'static, Arc<dyn FileStore>> {
            let opened = open();
            Box::pin(async move { Arc::new(opened.await) as Arc<dyn FileStore> })
        };
        Self { store: open().await, open: Some(Box::new(open)) }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.store).finish()
    }
}

impl Backend for Store {
    type Service = dyn FileStore;

    async fn service(&self) -> Arc<dyn FileStore> {
        Arc::clone(&self.store)
    }

    async fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn pass_time(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn reopen(&mut self) {
        let open = self.open.as_ref().expect("a durable store is given to the suite by `Store::opened_by`");
        // What goes with the last handle goes before.
        self.store = Arc::new(MemoryFileStore::new());
        self.store = open().await;
    }
}

/// Emits a test for each case of the suite; `$backend` is an expression for the future of a fresh
/// [`Backend`](statehouse_core::conformance::Backend). The calling crate needs `tokio` with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! filestore_conformance {
    ($backend:expr) => {
        $crate::filestore_conformance! { @cases [$crate::conformance::conformance_tests] [$crate::conformance::run, $backend] }
    };
    (@cases [$($then:tt)*] $with:tt) => {
        $($then)*! { $with
            a_file_reads_back_with_its_metadata [$crate::capability::METADATA];
            an_empty_file_is_a_file [$crate::capability::METADATA];
            a_put_replaces_the_file_and_its_metadata [$crate::capability::METADATA];
            a_stream_of_unknown_length_reads_back [$crate::capability::METADATA];
            a_stream_that_borrows_is_stored_as_it_comes [$crate::capability::METADATA];
            a_file_in_parts_reads_back_with_its_digest [$crate::capability::METADATA];
            a_broken_promise_about_the_body_leaves_nothing [];
            a_stream_that_fails_in_a_late_part_leaves_the_old_file [];
            a_dropped_put_leaves_nothing [];
            options_that_no_backend_takes_are_refused [];
            a_copy_keeps_content_and_metadata [$crate::capability::METADATA];
            a_file_keeps_its_disposition_and_cache_control [$crate::capability::CONTENT_HEADERS];
            the_longest_disposition_and_cache_control_read_back [$crate::capability::CONTENT_HEADERS, $crate::capability::METADATA];
            what_would_be_another_header_is_refused [];
            deleting_a_missing_file_is_ok [];
            a_create_of_an_existing_file_is_refused_and_changes_nothing [$crate::capability::CREATE_IF_ABSENT, $crate::capability::METADATA];
            of_16_racing_creators_exactly_one_wins_200_times [$crate::capability::CREATE_IF_ABSENT];
            a_replace_needs_the_current_etag [$crate::capability::REPLACE_IF_MATCH];
            racing_replaces_lose_no_update [$crate::capability::REPLACE_IF_MATCH];
            conditions_hold_for_files_in_parts [$crate::capability::CONDITIONAL_PARTS];
            of_racing_creators_of_a_file_in_parts_exactly_one_wins [$crate::capability::CONDITIONAL_PARTS];
            an_etag_is_of_one_put [$crate::capability::ETAG_PER_PUT, $crate::capability::REPLACE_IF_MATCH];
            a_condition_holds_again_where_and_only_where_the_etag_is_the_same_again [$crate::capability::REPLACE_IF_MATCH];
            a_delete_needs_the_current_etag [$crate::capability::DELETE_IF_MATCH];
            a_conditional_copy_needs_its_target_as_expected [$crate::capability::CREATE_IF_ABSENT, $crate::capability::REPLACE_IF_MATCH];
            reading_a_missing_file_is_not_found [];
            ranges_are_cut_to_the_file [];
            a_range_behind_the_end_is_told_from_a_bad_one [];
            the_most_metadata_there_may_be_reads_back [$crate::capability::METADATA];
            a_read_needs_the_etag_it_asks_for [];
            what_the_reader_has_is_not_modified [];
            times_of_reads_count_in_whole_seconds [];
            conditions_of_reads_are_looked_at_in_the_order_of_http [];
            readers_see_the_old_file_or_the_new_one [];
            an_etag_changes_with_the_content [];
            a_file_and_files_below_its_name_coexist [$crate::capability::NESTED_FILES];
            names_that_differ_in_case_or_unicode_form_are_different [];
            odd_names_read_back_and_are_listed [];
            what_was_put_is_listed_whatever_its_name [];
            a_listing_is_complete_ordered_and_paged [];
            a_listing_has_more_than_a_thousand_files [];
            a_listing_of_one_level_gathers_what_is_below [];
            a_listing_may_begin_behind_any_text [];
            a_listing_of_any_prefix_behind_any_text_has_what_it_should [];
            files_that_stay_are_listed_whatever_is_written_meanwhile [];
            one_level_behind_any_text_lists_what_is_greater [];
            common_prefixes_are_names_that_the_handle_takes [];
            namespaces_are_apart [];
            errors_name_a_file_as_the_application_does [];
            a_put_whose_source_is_silent_ends_by_its_deadline [];
            a_call_that_is_in_time_is_not_ended_by_its_deadline [];
            a_former_holder_is_refused [$crate::capability::FENCED];
            a_mark_only_rises [$crate::capability::FENCED];
            marks_are_of_their_locks [$crate::capability::FENCED];
            no_write_is_made_once_the_mark_has_risen [$crate::capability::FENCED_AT_ONCE];
            a_former_holder_neither_streams_nor_copies_nor_deletes [$crate::capability::FENCED];
            a_fence_is_not_ignored_by_who_keeps_no_marks [];
            what_is_not_answered_by_a_server_is_not_signed_in_advance [];
            a_reader_goes_anywhere_in_a_file [$crate::capability::METADATA];
            a_reader_never_mixes_two_states_of_a_file [];
            a_reader_says_what_it_cannot_open [];
            what_is_written_to_a_writer_is_stored_when_it_is_finished [$crate::capability::METADATA];
            a_writer_that_is_shut_down_has_stored_the_file [];
            a_writer_is_told_that_its_condition_does_not_hold [$crate::capability::CREATE_IF_ABSENT];
            a_writer_that_is_dropped_leaves_nothing [];
            a_writer_that_fails_leaves_the_old_file [];
            progress_is_told [];
            a_renamed_file_keeps_all_but_its_name [$crate::capability::METADATA, $crate::capability::DELETE_IF_MATCH];
            a_conditional_rename_needs_its_target_as_expected [$crate::capability::DELETE_IF_MATCH, $crate::capability::CREATE_IF_ABSENT, $crate::capability::REPLACE_IF_MATCH];
            a_rename_that_could_delete_another_state_is_refused [];
            many_files_are_deleted_and_no_others [$crate::capability::NESTED_FILES];
            a_stage_is_out_of_sight_until_it_is_committed [$crate::capability::STAGED];
            a_committed_stage_keeps_its_disposition_and_cache_control [$crate::capability::STAGED, $crate::capability::CONTENT_HEADERS];
            a_stage_that_was_discarded_is_gone [$crate::capability::STAGED];
            the_condition_of_a_stage_is_decided_by_its_commit [$crate::capability::STAGED, $crate::capability::CONDITIONAL_PARTS];
            of_commits_and_a_discard_one_wins [$crate::capability::STAGED];
            a_stage_is_listed_with_its_age_until_it_is_decided [$crate::capability::STAGED];
            a_sweep_ends_stages_as_it_is_told [$crate::capability::STAGED, $crate::capability::CONDITIONAL_PARTS];
            a_file_is_swept_when_its_time_is_over_and_not_before [$crate::capability::TIME_TO_LIVE, $crate::capability::STAGED];
            what_a_store_cannot_stage_or_keep_for_a_time_it_refuses [];
            a_store_that_works_is_up [];
            @ what_was_put_survives_a_restart [$crate::capability::DURABLE];
            a_stage_survives_a_restart [$crate::capability::DURABLE, $crate::capability::STAGED];
        }
    };
}

crate::filestore_conformance! { @cases [statehouse_core::conformance_run] [dyn FileStore, with_files] }

/// Runs a case in a namespace that nobody else uses, and removes what it made.
async fn with_files<F>(backend: &mut impl Backend<Service = dyn FileStore>, case: impl FnOnce(Files) -> F)
where
    F: Future<Output = Result<()>>,
{
    let files = fresh(&backend.service().await);
    case(files.clone()).await.unwrap_or_else(|error| panic!("{error} ({error:?})"));
    clear(&files).await.unwrap_or_else(|error| panic!("clearing failed: {error}"));
}

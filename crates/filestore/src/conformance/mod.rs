//! The contract of [`FileStore`] as tests that every backend runs.
//!
//! ```
//! mod memory {
//!     use std::sync::Arc;
//!     use statehouse_filestore::{FileStore, MemoryFileStore};
//!
//!     statehouse_filestore::conformance_suite!(|| async { Arc::new(MemoryFileStore::new()) as Arc<dyn FileStore> });
//! }
//! ```
//!
//! Each case works in a random namespace of its own and removes what it made. Cases that a store's capabilities rule
//! out are printed as such.

mod conditions;
mod kit;
mod lists;
mod names;
mod puts;
mod reads;

use std::sync::Arc;

use statehouse_core::{Capability, Result};

pub use self::conditions::*;
use self::kit::{clear, fresh};
pub use self::lists::*;
pub use self::names::*;
pub use self::puts::*;
pub use self::reads::*;
use crate::api::FileStore;
use crate::files::Files;

/// One `#[tokio::test]` for each behavior of the contract, given how to make a store: a closure without arguments that
/// returns a future of an `Arc<dyn FileStore>`.
#[macro_export]
macro_rules! conformance_suite {
    ($make:expr) => {
        $crate::conformance_suite! { @cases $make;
            a_file_reads_back_with_its_metadata [METADATA],
            an_empty_file_is_a_file [METADATA],
            a_put_replaces_the_file_and_its_metadata [METADATA],
            a_stream_of_unknown_length_reads_back [METADATA],
            a_stream_that_borrows_is_stored_as_it_comes [METADATA],
            a_file_in_parts_reads_back_with_its_digest [METADATA],
            a_broken_promise_about_the_body_leaves_nothing [],
            a_stream_that_fails_in_a_late_part_leaves_the_old_file [],
            a_dropped_put_leaves_nothing [],
            options_that_no_backend_takes_are_refused [],
            a_copy_keeps_content_and_metadata [METADATA],
            deleting_a_missing_file_is_ok [],
            a_create_of_an_existing_file_is_refused_and_changes_nothing [CREATE_IF_ABSENT, METADATA],
            of_16_racing_creators_exactly_one_wins_200_times [CREATE_IF_ABSENT],
            a_replace_needs_the_current_etag [REPLACE_IF_MATCH],
            racing_replaces_lose_no_update [REPLACE_IF_MATCH],
            conditions_hold_for_files_in_parts [CONDITIONAL_PARTS],
            of_racing_creators_of_a_file_in_parts_exactly_one_wins [CONDITIONAL_PARTS],
            a_delete_needs_the_current_etag [DELETE_IF_MATCH],
            a_conditional_copy_needs_its_target_as_expected [CREATE_IF_ABSENT, REPLACE_IF_MATCH],
            reading_a_missing_file_is_not_found [],
            ranges_are_cut_to_the_file [],
            a_range_behind_the_end_is_told_from_a_bad_one [],
            a_read_needs_the_etag_it_asks_for [],
            readers_see_the_old_file_or_the_new_one [],
            an_etag_changes_with_the_content [],
            a_file_and_files_below_its_name_coexist [NESTED_FILES],
            names_that_differ_in_case_or_unicode_form_are_different [],
            odd_names_read_back_and_are_listed [],
            what_was_put_is_listed_whatever_its_name [],
            a_listing_is_complete_ordered_and_paged [],
            a_listing_has_more_than_a_thousand_files [],
            a_listing_of_one_level_gathers_what_is_below [],
            a_listing_may_begin_behind_any_text [],
            one_level_behind_any_text_lists_what_is_greater [],
            common_prefixes_are_names_that_the_handle_takes [],
            namespaces_are_apart [],
            a_put_whose_source_is_silent_ends_by_its_deadline [],
            a_call_that_is_in_time_is_not_ended_by_its_deadline [],
            a_store_that_works_is_up [],
        }
    };
    (@cases $make:expr; $($case:ident [$($capability:ident),*],)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let store = ($make)().await;
            let needs = &[$($crate::capability::$capability),*];
            $crate::conformance::run(store, stringify!($case), needs, $crate::conformance::$case).await;
        }
    )* };
}

/// Runs one case, or prints which capability the store lacks for it.
#[expect(clippy::print_stdout, reason = "a case that is left out must be seen in the test's output")]
pub async fn run<F>(store: Arc<dyn FileStore>, case: &str, needs: &[Capability], body: impl FnOnce(Files) -> F)
where
    F: Future<Output = Result<()>>,
{
    let has = store.capabilities();
    if let Some(missing) = needs.iter().find(|capability| !has.has(**capability)) {
        println!("{case}: ruled out, the store lacks {}", missing.name());
        return;
    }
    let files = fresh(&store);
    body(files.clone()).await.unwrap_or_else(|error| panic!("{case}: {error} ({error:?})"));
    clear(&files).await.unwrap_or_else(|error| panic!("{case}: clearing failed: {error}"));
}

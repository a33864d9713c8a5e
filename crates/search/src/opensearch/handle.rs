//! What a handle of an index asks by.

use std::sync::atomic::{AtomicBool, Ordering};

use statehouse_core::{Error, ErrorKind, Result, Retry};

pub(super) fn check_open(closed: &AtomicBool) -> Result<()> {
    if !closed.load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unavailable, "the index is closed").with_retry(Retry::Never))
}

pub(super) fn search_path(alias: &str, preference: &str, several_shards: bool) -> String {
    // Term statistics of all shards are gathered first, so that scores do not depend on the shard.
    let kind = if several_shards { "&search_type=dfs_query_then_fetch" } else { "" };
    format!("/{alias}/_search?allow_partial_search_results=false&preference={preference}{kind}")
}

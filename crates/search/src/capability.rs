//! What one backend can do that another may not.

use statehouse_core::Capability;
pub use statehouse_core::capability::{DURABLE, FENCED, FENCED_AT_ONCE, SHARED};

/// Statistics come from all documents at once, so that scores do not depend on where a document lies.
pub const GLOBAL_STATISTICS: Capability =
    Capability::new("global_statistics", "scores do not depend on how documents are spread");

/// All hits of a request can be read of one state of the index, whatever is written meanwhile.
pub const POINT_IN_TIME: Capability =
    Capability::new("point_in_time", "all hits can be read of one state of the index");

/// Another generation of the index can be filled beside the live one, take its place at once, and give it back.
pub const REINDEX: Capability = Capability::new("reindex", "it can be indexed anew while it is read and written");

/// Only living documents count in statistics, at any time: scores are those of an index that was built of them alone.
pub const LIVE_STATISTICS: Capability =
    Capability::new("live_statistics", "scores do not depend on what was replaced and deleted");

/// Words that were typed can be corrected by those of the index.
pub const SUGGEST: Capability = Capability::new("suggest", "words can be corrected by those of the index");

/// Of the hits with the same value of a field only the first can be returned.
pub const COLLAPSE: Capability = Capability::new("collapse", "hits can be collapsed by a field");

//! What one backend can do that another may not.

use statehouse_core::Capability;

/// Every replica sees the same index.
pub const SHARED: Capability = Capability::new("shared", "every replica sees the same index");

/// The index is there after the process ends.
pub const PERSISTENT: Capability = Capability::new("persistent", "the index outlives the process");

/// Statistics come from all documents at once, so that scores do not depend on where a document lies.
pub const GLOBAL_STATISTICS: Capability =
    Capability::new("global_statistics", "scores do not depend on how documents are spread");

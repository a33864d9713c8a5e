//! What one backend can do that another may not.

use statehouse_core::Capability;
pub use statehouse_core::capability::{DURABLE, FENCED, FENCED_AT_ONCE, SHARED};

/// Puts and copies with [`Condition::Absent`](crate::Condition::Absent).
pub const CREATE_IF_ABSENT: Capability =
    Capability::new("create_if_absent", "of racing creators of one file exactly one wins");
/// Puts and copies with [`Condition::Match`](crate::Condition::Match).
pub const REPLACE_IF_MATCH: Capability =
    Capability::new("replace_if_match", "a file is replaced only if it has the expected etag");
/// Conditions on content that is stored in parts because it is too long for one request.
pub const CONDITIONAL_PARTS: Capability =
    Capability::new("conditional_parts", "conditions hold also for files that are stored in parts");
/// Deletes with [`DeleteOptions::if_match`](crate::DeleteOptions::if_match).
pub const DELETE_IF_MATCH: Capability =
    Capability::new("delete_if_match", "a file is deleted only if it has the expected etag");
/// Files below another file's name. S3 servers that keep plain files as they are named have none, and MinIO takes
/// them and leaves them out of listings.
pub const NESTED_FILES: Capability = Capability::new("nested_files", "a and a/b can both be files");

/// Content types, metadata of the application's own, and the SHA-256. Some stores that `object_store` reaches keep
/// nothing with a file, its own `LocalFileSystem` among them.
pub const METADATA: Capability = Capability::new("metadata", "content type, metadata and digest are kept with a file");

/// [Content dispositions](crate::PutOptions::content_disposition) and [cache controls](crate::PutOptions::cache_control).
pub const CONTENT_HEADERS: Capability =
    Capability::new("content_headers", "content disposition and cache control are kept with a file");

/// An [etag](crate::ETag) of its own for each put. Without it the etag is the content's, as on S3: a condition on a state
/// that was replaced holds again when the same content is there again.
pub const ETAG_PER_PUT: Capability =
    Capability::new("etag_per_put", "each put gives the file another etag, also one of the same content");

/// Requests that are signed in advance: [`FileStore::presign_with`](crate::FileStore::presign_with).
pub const PRESIGNED: Capability =
    Capability::new("presigned", "the store's own server answers requests that were signed in advance");

/// Files that are stored out of sight and become visible by a later commit: [`FileStore::stage_with`](crate::FileStore::stage_with).
pub const STAGED: Capability =
    Capability::new("staged", "a file can be stored out of sight and made visible by a later commit");

/// Files that a sweep removes when their time is over: [`PutOptions::time_to_live`](crate::PutOptions::time_to_live).
pub const TIME_TO_LIVE: Capability =
    Capability::new("time_to_live", "a file may have a time to live, after which a sweep removes it");

/// Every capability there is.
pub const ALL: [Capability; 15] = [
    CREATE_IF_ABSENT,
    REPLACE_IF_MATCH,
    CONDITIONAL_PARTS,
    DELETE_IF_MATCH,
    NESTED_FILES,
    METADATA,
    CONTENT_HEADERS,
    ETAG_PER_PUT,
    PRESIGNED,
    STAGED,
    TIME_TO_LIVE,
    DURABLE,
    SHARED,
    FENCED,
    FENCED_AT_ONCE,
];

//! Files for applications that run as more than one replica: one contract in memory, on disk, on S3 and on Azure.
//!
//! ```
//! use std::sync::Arc;
//! use statehouse_core::Namespace;
//! use statehouse_filestore::{Body, Files, MemoryFileStore, PutOutcome};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> statehouse_core::Result<()> {
//! // In memory here; a directory or a bucket behaves alike, see `open`.
//! let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
//!
//! let stored = scans.put("p42/chest.dcm", "DICM…").content_type("application/dicom").await?;
//! assert_eq!(scans.put("p42/chest.dcm", "other").if_absent().await?, PutOutcome::Conflict);
//!
//! // Only if nobody changed it in between
//! let corrected = scans.put("p42/chest.dcm", "DICM, corrected").if_match(&stored.etag).await?;
//! assert!(corrected.stored().is_some());
//! assert_eq!(scans.get("p42/chest.dcm").range(..4).bytes().await?, "DICM");
//!
//! // A stream of unknown length, stored as it comes and visible when it has ended well
//! let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>("abc"), Ok("def")]);
//! let stored = scans.put("p42/notes.txt", Body::from_stream(pieces)).await?;
//! assert_eq!(scans.head("p42/notes.txt").await?.sha256, stored.sha256);
//!
//! assert_eq!(scans.list("p42/").await?.entries.len(), 2);
//! # Ok(())
//! # }
//! ```
//!
#![cfg_attr(
    feature = "http",
    doc = r#"
Over HTTP, a get answers a request with its ranges and preconditions, [`FileServer`] serves a namespace, and [`SignedUrls`] lets a browser
read or store one file for a while:

```
use axum::{Router, body::Body, http::Request};
# use std::sync::Arc;
# use statehouse_core::{KeyRing, Namespace, Secret};
# use statehouse_filestore::{FileServer, Files, MemoryFileStore, SignedUrls};
# use tower::ServiceExt;
# #[tokio::main(flavor = "current_thread")]
# async fn main() -> Result<(), Box<dyn std::error::Error>> {
# let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
# let secret = Secret::new("s".repeat(32));
let urls = SignedUrls::new(scans, KeyRing::new("2026-11", secret)?, "/scans");
let app: Router = Router::new().nest_service("/scans", FileServer::signed(urls.clone()));

let upload = urls.put("p42/knee.png").content_type("image/png").max_len(10 << 20).url()?;
let request = Request::put(upload).header("content-type", "image/png").body(Body::from("pixels"))?;
assert_eq!(app.clone().oneshot(request).await?.status(), 200);
let download = urls.get("p42/knee.png").url()?;
let request = Request::get(download).header("range", "bytes=0-1").body(Body::empty())?;
assert_eq!(app.oneshot(request).await?.status(), 206);
# Ok(()) }
```
"#
)]
//!
//! # Concepts
//! A [`Files`] handle is one namespace of a [`FileStore`]. A [`FileKey`] is a name with slashes; there are no
//! directories to create or remove. A file is stored whole or not at all, with its content type, the application's own
//! metadata and its SHA-256, and replaced, never changed in place. A [`Condition`] makes a write depend on what is
//! there, decided by the store in one step; one that does not hold is an answer, `Conflict` in the write's outcome, and no
//! error. An [`ETag`] names one state of one file.
//!
//! # What it is not
//! Not a file system: no directories, links, permissions, appends or writes into the middle. Not a cache: nothing
//! is dropped for room, and a file that has a time to live is there until a [sweep](Files::sweep) finds that it is over.
//!
//! # Backends and capabilities
//! | | [`MemoryFileStore`] | [`LocalFileStore`] | [`ObjectFileStore`] (features `s3`, `azure`) |
//! | --- | --- | --- | --- |
//! | create if absent, replace if match | yes | yes, across processes | if the server honours it: probed when opened |
//! | conditions on files stored in parts | yes | yes | S3, Azure: probed; a store that is brought along: no |
//! | delete if match | yes | yes | S3, Azure: probed; a store that is brought along: no |
//! | `a` and `a/b` both files | yes | yes | probed |
//! | content type, metadata and digest are kept | yes | yes | S3, Azure: yes; a store that is brought along: probed |
//! | content disposition and cache control are kept: [`CONTENT_HEADERS`](capability::CONTENT_HEADERS) | yes | yes | S3, Azure: yes; a store that is brought along: probed |
//! | writes under a lock: [`FENCED`](capability::FENCED) | yes, at once | yes, at once, across processes | if all conditions above hold, but for what was on its way |
//! | requests signed in advance, for its own server | no | no | S3: yes; Azure: of name, verb and time; a store that is brought along: no |
//! | files staged and committed later: [`STAGED`](capability::STAGED) | yes | yes, across processes | S3: yes, conditions as those of files in parts; Azure and a store that is brought along: no |
//! | a time to live for each file | yes | yes | S3, Azure: yes; a store that is brought along: no |
//! | durable | no | yes (file and directory synced) | S3, Azure: yes; else as who brings the store along says |
//! | shared by replicas | no | no | S3, Azure: yes; else as who brings the store along says |
//!
//! What a backend lacks is refused with `Unsupported`, never approximated. [`open`] takes any of them by URL.
//!
//! # Features
//! | feature | adds | cost |
//! | --- | --- | --- |
//! | (none) | memory and local disk | `tokio` without I/O, `rustix`, `sha2` |
//! | `http` | `FileServer`, answers to HTTP requests, uploads, signed URLs | `hmac`, `http`, `httpdate`, `percent-encoding`, `subtle`, `tower-service` |
//! | `object-store` | `AsObjectStore`: the files handed out as an `ObjectStore` of `object_store` | `object_store` without its clients |
//! | `azure` | `ObjectFileStore` in Azure Blob Storage, with what `s3` adds | as `s3` |
//! | `s3` | `ObjectFileStore`: S3, and what else `object_store` reaches | `object_store`, `reqwest`, `rustls` with `ring` |
//! | `conformance` | the suite for testing a backend of your own | no further crates |
//!
//! None is on by default.
//!
//! # Errors
//! [`statehouse_core::Error`] throughout; what each kind means is in the documentation of [`FileStore`].
//!
//! # Consistency and durability
//! A reader sees the last acknowledged write or a later one, whole. On disk an acknowledged write has been synced with
//! its directory; on S3 and Azure it has been acknowledged by the server. If the answer to a write was lost, the store reads back
//! whether it was applied and otherwise says `OutcomeUnknown`.
//!
//! # Logs and metrics
//! With the feature `metrics` of statehouse-core, besides the durations of operations:
//!
//! | counter | by | counts |
//! | --- | --- | --- |
//! | `statehouse.filestore.content` | `backend`, `direction`: `stored` or `read` | bytes of files, as they were stored or as their reader took them |
//! | `statehouse.filestore.conflicts` | `backend`, `operation` | writes whose condition did not hold |
//! | `statehouse.filestore.retries` | `reason`: `not_sent`, `unanswered`, or the answer's status | requests to S3 and Azure that were sent again |
//!
//! Keys are in none of them.
//!
//! Spans are those that [`statehouse_core::span`] describes: an operation of a backend, and in it `s3.request` or `azure.request` around
//! each try of a request to S3 or Azure.
//!
//! # Testing your own backend
//! With the feature `conformance` the macro `filestore_conformance!` makes one test for each behavior of the contract; a
//! backend passes only how to make an empty store.

#[cfg(feature = "object-store")]
mod adapter;
mod api;
mod blocking;
mod body;
pub mod capability;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod connect;
mod contended;
mod content;
mod counters;
mod deadline;
mod described;
mod digest;
pub mod disposition;
mod files;
mod io;
mod key;
mod layered;
mod listing;
#[cfg(unix)]
pub mod local;
mod media_type;
pub mod memory;
mod meta;
#[cfg(feature = "s3")]
pub mod object;
mod operation;
mod options;
mod outcome;
mod stage;
#[cfg(feature = "http")]
mod web;

#[cfg(feature = "object-store")]
pub use adapter::AsObjectStore;
pub use api::FileStore;
pub use body::Body;
pub use connect::{check, open};
pub use content::Object;
pub use digest::Digest;
pub use files::{
    Check, Checked, Copy, Decision, Delete, DeleteMany, FileReader, FileWriter, Files, Get, Head, Interrupted, List,
    Mirror, Mirrored, Put, Rename, StagedFile, Sweep,
};
pub use key::FileKey;
pub use layered::LayeredFileStore;
#[cfg(unix)]
pub use local::{Access, Durability, LocalConfig, LocalFileStore, Permissions};
pub use memory::{MemoryConfig, MemoryFileStore};
pub use meta::{ETag, Entry, Meta, Stored};
#[cfg(feature = "azure")]
pub use object::{AzureConfig, AzureCredentials};
#[cfg(feature = "s3")]
pub use object::{ObjectConfig, ObjectFileStore, Probe, S3Config};
pub use options::{
    BeyondEnd, ByteRange, CommitOptions, Condition, CopyOptions, DeleteOptions, Depth, DiscardOptions, GetOptions,
    HeadOptions, ListOptions, Page, PageToken, PresignOptions, Presigned, PutOptions, StagesOptions, Start,
    SweepOptions, Verb,
};
pub use outcome::{CommitOutcome, DeleteOutcome, Deleted, DeletedMany, DiscardOutcome, PutOutcome, ReadOutcome, Swept};
pub use stage::{Stage, StageId, Staged};
#[cfg(feature = "http")]
pub use web::{
    Disposition, FileBody, FileServer, Respond, SignGet, SignPut, SignedUrls, UnsupportedType, UploadLimits,
    error_response,
};

//! The log of a generation: what was acknowledged as logged and no commit holds yet.
//!
//! It is files `log-000001` beside the segments, of which one is written to. What a commit says besides its segments names a
//! file and how many of its bytes the commit holds: what stands behind that, and in later files, is done once more when the folder is opened.
//! Each record says what is so of a document, so that it may be done any number of times. Behind a commit the
//! files that it holds go, and the next one is made when it is needed, whole from the first moment: under another name, synced, and renamed.

mod disk;
mod files;
mod format;
mod sync;

#[cfg(test)]
pub(super) use self::disk::Instead;
pub(super) use self::files::{Held, Log};
pub(super) use self::format::{Entry, Frame};
pub(super) use self::sync::Unsynced;

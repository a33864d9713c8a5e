//! What the cases have in common.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use statehouse_core::{ErrorKind, Namespace, Result};

use crate::api::FileStore;
use crate::body::Body;
use crate::files::Files;
use crate::meta::Stored;
use crate::outcome::PutOutcome;

/// A handle on a namespace that nobody else uses.
pub(super) fn fresh(store: &Arc<dyn FileStore>) -> Files {
    let nonce = crate::digest::hex(&crate::digest::nonce().expect("random numbers"));
    Files::new(Arc::clone(store), Namespace::new(format!("test.{nonce}")).expect("a namespace"))
}

pub(super) async fn clear(files: &Files) -> Result<()> {
    let entries: Vec<_> = files.list("").stream().try_collect().await?;
    for entry in entries {
        let _ = files.store().delete_with(&entry.key, Default::default()).await?;
    }
    assert_eq!(names(files, "").await?, Vec::<String>::new(), "something is left");
    Ok(())
}

pub(super) async fn names(files: &Files, prefix: &str) -> Result<Vec<String>> {
    let entries: Vec<_> = files.list(prefix).stream().try_collect().await?;
    Ok(entries.iter().map(|entry| files.name(&entry.key).expect("in the namespace").to_owned()).collect())
}

/// Bytes that are not the same anywhere.
pub(super) fn noise(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = (0..len.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let mut bytes: Vec<u8> = words.collect();
    bytes.truncate(len);
    bytes.into()
}

/// A body of unknown length.
pub(super) fn streamed(content: &Bytes, piece: usize) -> Body {
    let pieces: Vec<_> =
        (0..content.len()).step_by(piece).map(|at| content.slice(at..content.len().min(at + piece))).collect();
    Body::from_stream(futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)))
}

/// What was stored by a write whose condition holds.
pub(super) fn done(outcome: PutOutcome) -> Stored {
    outcome.stored().expect("the condition holds")
}

/// The kind of the error in one of `std::io`.
pub(super) fn told<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err()?.get_ref()?.downcast_ref::<statehouse_core::Error>().map(statehouse_core::Error::kind)
}

pub(super) fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

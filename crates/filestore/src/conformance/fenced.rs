//! Writes under a lock.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::conformance::fenced::{self, Writes, holder};
use statehouse_core::{ErrorKind, Fence, Guarded, Result};

use super::kit::{kind, streamed};
use crate::capability::FENCED;
use crate::files::Files;

const PATIENCE: Duration = Duration::from_secs(30);

impl Writes for Files {
    async fn raise(&self, fence: &Fence) -> Result<()> {
        Guarded::raise(self, fence, PATIENCE).await
    }

    async fn write(&self, text: &str, fence: Option<&Fence>) -> Result<()> {
        let put = self.put("a", text.to_owned());
        match fence {
            Some(fence) => put.fenced(fence).await.map(drop),
            None => put.await.map(drop),
        }
    }

    async fn read(&self) -> Option<String> {
        match self.get("a").bytes().await {
            Ok(bytes) => Some(String::from_utf8(bytes.to_vec()).expect("text")),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("{error:?}"),
        }
    }
}

pub(super) async fn a_former_holder_is_refused(files: Files) -> Result<()> {
    fenced::a_former_holder_is_refused(&files).await;
    Ok(())
}

pub(super) async fn a_mark_only_rises(files: Files) -> Result<()> {
    fenced::a_mark_only_rises(&files).await;
    Ok(())
}

pub(super) async fn marks_are_of_their_locks(files: Files) -> Result<()> {
    fenced::marks_are_of_their_locks(&files).await;
    // And of their namespaces.
    let other = Files::new(Arc::clone(files.store()), files.namespace().child("other")?);
    Writes::raise(&other, &holder("apart", 9)).await?;
    files.write("here", Some(&holder("apart", 1))).await
}

pub(super) async fn no_write_is_made_once_the_mark_has_risen(files: Files) -> Result<()> {
    fenced::no_write_is_made_once_the_mark_has_risen(Arc::new(files)).await;
    Ok(())
}

pub(super) async fn a_former_holder_neither_streams_nor_copies_nor_deletes(files: Files) -> Result<()> {
    let (first, second) = (holder("export", 5), holder("export", 9));
    let stored = files.put("a", "as it was").fenced(&first).await?;
    Writes::raise(&files, &second).await?;
    let stream = streamed(&vec![7; 700 << 10].into(), 64 << 10);
    assert_eq!(kind(files.put("a", stream).fenced(&first).await), Some(ErrorKind::Fenced));
    assert_eq!(kind(files.copy("a", "b").fenced(&first).await), Some(ErrorKind::Fenced));
    assert_eq!(kind(files.delete("a").fenced(&first).await), Some(ErrorKind::Fenced));
    assert_eq!(kind(files.delete("absent").fenced(&first).await), Some(ErrorKind::Fenced));
    assert!(files.head("a").await?.etag == stored.etag && !files.exists("b").await?);
    files.copy("a", "b").fenced(&second).await?;
    files.delete("a").fenced(&second).await?;
    assert!(files.exists("b").await? && !files.exists("a").await?);
    Ok(())
}

pub(super) async fn a_fence_is_not_ignored_by_who_keeps_no_marks(files: Files) -> Result<()> {
    if files.store().capabilities().has(FENCED) {
        return Ok(());
    }
    let fence = holder("export", 1);
    assert_eq!(kind(Writes::raise(&files, &fence).await), Some(ErrorKind::Unsupported));
    // Not by the handle, and not by the store.
    assert_eq!(kind(files.put("a", "x").fenced(&fence).await), Some(ErrorKind::Unsupported));
    let options = crate::options::PutOptions::default().with_fence(&fence);
    assert_eq!(kind(files.store().put_with(&files.key("a")?, "x".into(), options).await), Some(ErrorKind::Unsupported));
    let options = crate::options::DeleteOptions::default().with_fence(&fence);
    assert_eq!(kind(files.store().delete_with(&files.key("a")?, options).await), Some(ErrorKind::Unsupported));
    assert!(!files.exists("a").await?);
    Ok(())
}

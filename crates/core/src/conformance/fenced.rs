//! What every service has in common that can be guarded by a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{ErrorKind, Fence, Key, Result, Version};

/// How one thing of a service is written under a fence, and read. For the suites of the services.
pub trait Writes: Send + Sync + 'static {
    /// Raises the mark.
    fn raise(&self, fence: &Fence) -> impl Future<Output = Result<()>> + Send;

    /// Writes this text.
    fn write(&self, text: &str, fence: Option<&Fence>) -> impl Future<Output = Result<()>> + Send;

    /// The text that is there.
    fn read(&self) -> impl Future<Output = Option<String>> + Send;
}

/// The holder of the lock of this name that has this token.
#[must_use]
pub fn holder(lock: &str, token: u64) -> Fence {
    // Tokens are versions, which are times.
    Fence::new(Key::new(format!("lock/{lock}")).expect("a good name"), Version::new(1_700_000_000_000_000 + token))
}

async fn is_refused(writes: &impl Writes, fence: &Fence) {
    let error = writes.write("late", Some(fence)).await.expect_err("a former holder has written");
    assert!(error.kind() == ErrorKind::Fenced && !error.is_retryable(), "{error:?}");
}

async fn reads(writes: &impl Writes, text: &str) {
    assert_eq!(writes.read().await.as_deref(), Some(text));
}

/// A former holder is refused once the mark is raised, be it that nobody has written since, and changes nothing.
///
/// # Panics
/// If it is not so.
pub async fn a_former_holder_is_refused(writes: &impl Writes) {
    let (first, second) = (holder("export", 5), holder("export", 9));
    writes.raise(&first).await.expect("the first");
    writes.write("first", Some(&first)).await.expect("a holder");
    writes.write("again", Some(&first)).await.expect("a holder");
    writes.raise(&second).await.expect("its successor");
    is_refused(writes, &first).await;
    reads(writes, "again").await;
    writes.write("second", Some(&second)).await.expect("a holder");
    is_refused(writes, &first).await;
    reads(writes, "second").await;
}

/// A mark only rises, by writes as well.
///
/// # Panics
/// If it is not so.
pub async fn a_mark_only_rises(writes: &impl Writes) {
    let (first, second, third) = (holder("export", 5), holder("export", 9), holder("export", 10));
    writes.write("second", Some(&second)).await.expect("a write that raises the mark");
    let error = writes.raise(&first).await.expect_err("the mark is higher");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error:?}");
    is_refused(writes, &first).await;
    writes.raise(&second).await.expect("as it is");
    writes.raise(&third).await.expect("one higher");
    is_refused(writes, &second).await;
    reads(writes, "second").await;
}

/// Other locks, and writes without a fence, have nothing to do with a mark.
///
/// # Panics
/// If it is not so.
pub async fn marks_are_of_their_locks(writes: &impl Writes) {
    writes.raise(&holder("export", 9)).await.expect("a mark");
    for other in ["import", "export/a", "Export", "ex%70ort", "é"] {
        writes.write(other, Some(&holder(other, 1))).await.expect("another lock");
        reads(writes, other).await;
    }
    writes.write("unfenced", None).await.expect("no lock");
    reads(writes, "unfenced").await;
    is_refused(writes, &holder("export", 8)).await;
}

/// Of writes under way when the mark is raised none is made afterwards.
///
/// # Panics
/// If it is not so.
pub async fn no_write_is_made_once_the_mark_has_risen(writes: Arc<impl Writes>) {
    for round in 0..10 {
        let (first, second) = (holder("race", 2 * round), holder("race", 2 * round + 1));
        let written = Arc::new(AtomicU64::new(0));
        let racers: Vec<_> = (0..4)
            .map(|racer| {
                let (writes, first, written) = (Arc::clone(&writes), first.clone(), Arc::clone(&written));
                tokio::spawn(async move {
                    for count in 0_u64.. {
                        match writes.write(&format!("{round} {racer} {count}"), Some(&first)).await {
                            Ok(()) => written.fetch_add(1, Ordering::Relaxed),
                            Err(error) if error.kind() == ErrorKind::Fenced => return,
                            Err(error) => panic!("{error:?}"),
                        };
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        while written.load(Ordering::Relaxed) < 8 {
            tokio::task::yield_now().await;
            assert!(!racers.iter().any(|racer| racer.is_finished()), "refused although nobody has raised the mark");
        }
        writes.raise(&second).await.expect("the successor");
        let seen = writes.read().await;
        for racer in racers {
            racer.await.expect("no panic");
        }
        assert_eq!(writes.read().await, seen, "written after the mark was raised");
    }
}

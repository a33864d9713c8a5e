//! A disk whose calls do not return: those who set a deadline are answered by it.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use statehouse_core::{ErrorKind, Namespace};
use statehouse_filestore::{Body, Files, LocalFileStore};
use tokio::runtime::Builder;

/// Longer than what is read at once if the system has it in memory.
const LONG: usize = 100 << 10;

const SOON: Duration = Duration::from_millis(200);

/// By when a call is answered on a machine that is busy with other tests.
const ANSWERED: Duration = Duration::from_secs(20);

/// The disk is a runtime's only thread that may wait, and something else keeps it.
#[test]
fn every_verb_ends_by_the_deadline_of_its_call_on_a_disk_that_hangs() {
    let runtime = Builder::new_multi_thread().worker_threads(2).max_blocking_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (release, hold) = channel::<()>();
    runtime.block_on(async {
        let store = LocalFileStore::open(folder.path()).await.unwrap();
        let files = Files::new(Arc::new(store), Namespace::new("it").unwrap());
        let etag = files.put("long", vec![7; LONG]).await.unwrap().etag;
        files.put("short", "x").await.unwrap();
        let (holds, held) = tokio::sync::oneshot::channel();
        let hanging = tokio::task::spawn_blocking(move || {
            holds.send(()).unwrap();
            let _ = hold.recv();
        });
        held.await.unwrap();
        assert_verbs_end(&files, &etag).await;
        drop(release);
        hanging.await.unwrap();
        // What was asked for goes on, be it a write whose caller has gone, and nothing is held that others need.
        let long = files.get("long").bytes().await.unwrap().len();
        assert!([LONG, 1].contains(&long), "{long}");
        files.put("after", "y").await.unwrap();
        assert_eq!(files.get("after").bytes().await.unwrap(), "y");
    });
}

async fn assert_verbs_end(files: &Files, etag: &statehouse_filestore::ETag) {
    let begun = Instant::now();
    let stream = || Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(vec![7; 9 << 20])]));
    let key = statehouse_filestore::FileKey::new(format!("{}/long", files.namespace())).unwrap();
    let head = statehouse_filestore::HeadOptions::default().with_deadline(SOON);
    let calls = async {
        tokio::join!(
            async { files.put("a", "y").deadline(SOON).await.map(drop) },
            async { files.put("a", stream()).deadline(SOON).await.map(drop) },
            async { files.put("long", "y").if_match(etag).deadline(SOON).await.map(drop) },
            async { files.get("long").deadline(SOON).await.map(drop) },
            async { files.store().head_with(&key, head).await.map(drop) },
            async { files.list("").deadline(SOON).await.map(drop) },
            async { files.delete("b").deadline(SOON).await.map(drop) },
            async { files.copy("short", "c").deadline(SOON).await.map(drop) },
        )
    };
    let (put, parts, replace, get, head, list, delete, copy) =
        tokio::time::timeout(ANSWERED, calls).await.expect("every call is answered");
    let reads = [("get", get), ("head", head), ("list", list)];
    let writes = [("put", put), ("parts", parts), ("replace", replace), ("delete", delete), ("copy", copy)];
    for (verb, result) in reads {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Timeout, "{verb}");
    }
    for (verb, result) in writes {
        let kind = result.unwrap_err().kind();
        assert!([ErrorKind::Timeout, ErrorKind::OutcomeUnknown].contains(&kind), "{verb}: {kind:?}");
    }
    assert!(begun.elapsed() >= SOON);
    // It is in memory, and needs no disk.
    #[cfg(target_os = "linux")]
    assert_eq!(files.get("short").deadline(ANSWERED).bytes().await.unwrap(), "x");
}

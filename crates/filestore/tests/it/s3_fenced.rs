//! Under a lock on S3: what a former holder had on its way when its successor acquired the lock.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use statehouse_core::conformance::fenced::holder;
use statehouse_core::{ErrorKind, Guarded as _, Result};
use statehouse_filestore::{Files, ObjectFileStore};
use statehouse_testkit::{Direction, FaultProxy, S3Server};
use tokio::sync::oneshot;

use crate::s3::{config, files, is_answered};

const PATIENCE: Duration = Duration::from_secs(30);

/// The same files, directly and through a proxy.
async fn two_ways(server: &S3Server, proxy: &FaultProxy) -> (Files, Files) {
    let direct = files(ObjectFileStore::open_s3(config(server)).await.unwrap());
    let patient = config(server).with_endpoint(proxy.url(&server.endpoint())).with_timeouts(PATIENCE * 2, PATIENCE * 2);
    let far = ObjectFileStore::open_s3(patient).await.unwrap();
    let far = Files::new(Arc::new(far), direct.namespace().clone());
    (direct, far)
}

/// Holds back what the former holder sends, behind its looks at the mark and the file, while somebody else does something.
async fn on_its_way(
    proxy: &FaultProxy,
    write: impl Future<Output = Result<()>>,
    meanwhile: impl Future<Output = ()>,
) -> Result<()> {
    let before = proxy.counts().command("HEAD");
    // Time enough to hold back what follows the answer, though that comes at once when all is let go.
    proxy.delay(Direction::ToClient, Duration::from_secs(2));
    let overtake = async {
        let seen = loop {
            let counts = proxy.counts();
            if counts.command("HEAD") != before {
                break counts;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        proxy.delay(Direction::ToServer, PATIENCE);
        proxy.delay(Direction::ToClient, PATIENCE);
        is_answered(proxy, &seen).await;
        meanwhile.await;
        proxy.delay(Direction::ToClient, Duration::ZERO);
        proxy.delay(Direction::ToServer, Duration::ZERO);
    };
    tokio::join!(write, overtake).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_s3_what_was_on_its_way_is_refused_where_the_successor_has_written() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let (direct, far) = two_ways(server, &proxy).await;
    for name in ["new", "replaced", "deleted"] {
        let lock = format!("export of {name}");
        let (first, second) = (holder(&lock, 5), holder(&lock, 9));
        if name != "new" {
            far.put(name, "of the first").fenced(&first).await.unwrap();
        }
        let write = async {
            match name {
                "deleted" => far.delete(name).fenced(&first).await.map(drop),
                _ => far.put(name, "late").fenced(&first).await.map(drop),
            }
        };
        let overtake = async {
            direct.raise(&second, PATIENCE).await.unwrap();
            direct.put(name, "of the second").fenced(&second).await.unwrap();
        };
        let late = on_its_way(&proxy, write, overtake).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Fenced, "{name}: {late:?}");
        assert_eq!(direct.get(name).bytes().await.unwrap(), "of the second", "{name}");
    }
}

/// By the file itself, though the mark is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_s3_a_file_says_under_which_token_it_was_stored() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let (direct, far) = two_ways(server, &proxy).await;
    let lock = format!("export {:?}", direct.namespace());
    let (first, second) = (holder(&lock, 5), holder(&lock, 9));
    let write = async { far.put("today", "late").fenced(&first).await.map(drop) };
    // Raised by the write alone, between the look at the mark and that at the file.
    let before = proxy.counts().command("GET");
    proxy.delay(Direction::ToClient, Duration::from_secs(5));
    let overtake = async {
        while proxy.counts().command("GET") == before {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        direct.put("today", "of the second").fenced(&second).await.unwrap();
        proxy.delay(Direction::ToClient, Duration::ZERO);
    };
    let late = tokio::join!(write, overtake).0.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced, "{late:?}");
    assert_eq!(direct.get("today").bytes().await.unwrap(), "of the second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_s3_a_stream_looks_at_the_mark_once_more_when_it_has_ended() {
    let server = S3Server::shared().await;
    let direct = files(ObjectFileStore::open_s3(config(server)).await.unwrap());
    let lock = format!("export {:?}", direct.namespace());
    let (first, second) = (holder(&lock, 5), holder(&lock, 9));
    let ((begun, has_begun), (end, has_ended)) = (oneshot::channel(), oneshot::channel());
    let pieces = futures_util::stream::once(async { Ok::<_, std::io::Error>("the beginning, ") }).chain(
        futures_util::stream::once(async {
            begun.send(()).unwrap();
            has_ended.await.unwrap();
            Ok("and the end")
        }),
    );
    let write = async { direct.put_stream("today", pieces).fenced(&first).await.map(drop) };
    let overtake = async {
        has_begun.await.unwrap();
        direct.raise(&second, PATIENCE).await.unwrap();
        end.send(()).unwrap();
    };
    let late = tokio::join!(write, overtake).0.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced, "{late:?}");
    assert!(!direct.exists("today").await.unwrap());
}

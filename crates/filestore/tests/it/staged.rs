//! Stages and what is kept for a time, beside faults: lost answers, sweeps, power cuts, and servers that end uploads themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use statehouse_core::{Error, ErrorKind, Namespace, Result};
use statehouse_filestore::{
    Body, CommitOptions, CommitOutcome, Decision, DiscardOutcome, FileStore, Files, LocalFileStore, ObjectFileStore,
    PutOutcome, StagesOptions, Swept,
};
use statehouse_testkit::{Direction, FaultProxy, S3Server};

use crate::s3::{config, files};

const SECOND: Duration = Duration::from_secs(1);

fn body() -> Body {
    let pieces = (0..9).map(|n| Ok::<_, std::io::Error>(vec![n; 1 << 20]));
    Body::from_stream(futures_util::stream::iter(pieces))
}

async fn listed(server: &S3Server, prefix: &str) -> Vec<String> {
    let target = format!("/{}?list-type=2&prefix={}", server.bucket(), prefix.replace('/', "%2F"));
    let text = server.request("GET", &target, &[], b"").await.unwrap().text();
    text.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned()).collect()
}

/// Or only busy.
fn is_away(error: &Error) -> bool {
    [ErrorKind::Unavailable, ErrorKind::Timeout].contains(&error.kind())
}

/// What is answered once no connection is left that was broken before: the client tries nothing again.
async fn told<T>(ask: impl AsyncFn() -> Result<T>) -> T {
    let begun = Instant::now();
    loop {
        match ask().await {
            Err(error) if is_away(&error) && begun.elapsed() < SECOND * 60 => {
                tokio::time::sleep(SECOND / 20).await;
            }
            answer => return answer.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_or_discard_whose_answer_is_lost_is_told_by_the_next() {
    let server = S3Server::start().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(&server).with_endpoint(proxy.url(&server.endpoint())).with_retries(0);
    let files = files(ObjectFileStore::open_s3(config.with_timeouts(SECOND * 4, SECOND * 4)).await.unwrap());
    for (name, discards) in [("a", false), ("b", true)] {
        let staged = files.put(name, body()).stage().await.unwrap();
        proxy.black_hole_way(Direction::ToClient);
        let options = CommitOptions::default().with_deadline(Duration::from_secs(3));
        let lost = match discards {
            true => staged.clone().discard().await.map(drop),
            false => files.store().commit_with(&files.key(name).unwrap(), staged.id(), options).await.map(drop),
        };
        assert!(lost.is_err());
        proxy.reset_connections();
        proxy.heal();
        if discards {
            let again = told(async || staged.clone().discard().await).await;
            assert!(matches!(again, DiscardOutcome::Discarded | DiscardOutcome::Absent), "{again:?}");
            assert_eq!(told(async || staged.commit().await).await, CommitOutcome::Gone);
        } else {
            let outcome = told(async || staged.commit().await).await;
            assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
            assert_eq!(files.get(name).await.unwrap().verify_sha256().bytes().await.unwrap().len(), 9 << 20);
        }
    }
}

/// Records of stages, and what a store tries when it is opened, come and go in the same place all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_staged_while_others_open_the_store() {
    let server = S3Server::shared().await;
    let files = files(ObjectFileStore::open_s3(config(server)).await.unwrap());
    let each = statehouse_core::conformance::rounds(100, 2_000);
    let opening = tokio::spawn(async move {
        loop {
            ObjectFileStore::open_s3(config(server)).await.unwrap();
        }
    });
    let tasks = (0..2).map(|task| {
        let files = files.clone();
        tokio::spawn(async move {
            for n in 0..each {
                let name = format!("{task}-{n}");
                let staged = files.put(&name, name.clone()).stage().await.unwrap();
                let outcome = staged.commit().await.unwrap();
                assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    opening.abort();
}

/// However old: only who is told what the database says ends one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sweep_takes_a_stage_or_what_it_needs() {
    let server = S3Server::start().await;
    let store = Arc::new(ObjectFileStore::open_s3(config(&server)).await.unwrap());
    let files = Files::new(Arc::clone(&store) as Arc<dyn FileStore>, Namespace::new("swept").unwrap());
    let (long, short) = (files.put("long", body()).stage().await.unwrap(), files.put("é", "x").stage().await.unwrap());
    let gone = files.put("gone", body()).stage().await.unwrap();
    // What somebody has begun who ended before all of it was there.
    let begun = server.request("POST", &format!("/{}/swept/long?uploads=", server.bucket()), &[], b"").await.unwrap();
    assert!(begun.text().contains("<UploadId>"));
    let swept = store.sweep(Duration::ZERO).await.unwrap();
    assert_eq!((swept.uploads, swept.digests), (1, 0));
    assert_eq!(gone.discard().await.unwrap(), DiscardOutcome::Discarded);
    assert_eq!(listed(&server, ".statehouse/sha256/").await.len(), 1, "a digest goes with its stage");
    for staged in [&long, &short] {
        assert!(matches!(staged.commit().await.unwrap(), CommitOutcome::Committed(_)));
    }
    assert!(files.get("long").await.unwrap().verify_sha256().bytes().await.is_ok());
    assert_eq!(store.sweep(Duration::ZERO).await.unwrap(), Swept::default());
    assert_eq!(listed(&server, ".statehouse/staged/").await, [""; 0]);
}

/// As a rule of the bucket does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_whose_upload_the_server_has_ended_is_gone() {
    let server = S3Server::start().await;
    let store = ObjectFileStore::open_s3(config(&server).with_timeouts(SECOND, SECOND)).await.unwrap();
    let files = Files::new(Arc::new(store), Namespace::new("ended").unwrap());
    let staged = files.put("a", "content").stage().await.unwrap();
    let uploads = server.request("GET", &format!("/{}?uploads=", server.bucket()), &[], b"").await.unwrap().text();
    let upload = uploads.split("<UploadId>").nth(1).unwrap().split("</UploadId>").next().unwrap();
    let target = format!("/{}/ended/a?uploadId={upload}", server.bucket());
    server.request("DELETE", &target, &[], b"").await.unwrap();
    assert_eq!(staged.commit().await.unwrap(), CommitOutcome::Gone);
    assert!(!files.exists("a").await.unwrap());
    assert_eq!(listed(&server, ".statehouse/staged/").await, [""; 0], "no sweep has to look at it again");
}

/// The server's etag is of the content: what was replaced has its etag again when the same is put again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_beside_the_same_content_put_again_is_not_gone() {
    const STEP: Duration = Duration::from_millis(200);
    let server = S3Server::start().await;
    let proxy = FaultProxy::start(server.address());
    let slow = config(&server).with_endpoint(proxy.url(&server.endpoint())).with_retries(0);
    let slow = files(ObjectFileStore::open_s3(slow.with_timeouts(SECOND * 20, SECOND * 20)).await.unwrap());
    let direct =
        Files::new(Arc::new(ObjectFileStore::open_s3(config(&server)).await.unwrap()), slow.namespace().clone());
    let first = direct.put("a", "first").await.unwrap();
    let staged = slow.put("a", "staged").if_match(&first.etag).stage().await.unwrap();
    direct.put("a", "second").await.unwrap();
    proxy.delay(Direction::ToClient, STEP);
    let stage = staged.clone();
    let commit = tokio::spawn(async move { stage.commit().await });
    // It has seen the second, and then looks at what became of it.
    tokio::time::sleep(STEP * 7 / 2).await;
    direct.put("a", "first").await.unwrap();
    let outcome = commit.await.unwrap().unwrap();
    proxy.heal();
    // It may have been slower than that.
    if outcome == CommitOutcome::Conflict {
        assert!(matches!(staged.commit().await.unwrap(), CommitOutcome::Committed(_)));
    } else {
        assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
    }
    assert_eq!(direct.get("a").bytes().await.unwrap(), "staged");
}

/// As if whoever has committed it was killed before its record was removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_that_was_committed_and_replaced_is_gone_though_its_record_is_left() {
    let server = S3Server::start().await;
    let store = ObjectFileStore::open_s3(config(&server).with_timeouts(SECOND, SECOND)).await.unwrap();
    let files = Files::new(Arc::new(store), Namespace::new("left").unwrap());
    let before = files.put("a", "before").await.unwrap();
    let stages = [
        files.put("a", "staged").if_match(&before.etag).stage().await,
        files.put("b", "staged").if_absent().stage().await,
    ];
    for (name, staged) in ["a", "b"].into_iter().zip(stages) {
        let staged = staged.unwrap();
        let path = listed(&server, ".statehouse/staged/").await.into_iter().find(|path| path.contains(name)).unwrap();
        let target = format!("/{}/{path}", server.bucket());
        let record = server.request("GET", &target, &[], b"").await.unwrap();
        assert!(matches!(staged.commit().await.unwrap(), CommitOutcome::Committed(_)));
        files.put(name, "newer").await.unwrap();
        server.request("PUT", &target, &[], record.text().as_bytes()).await.unwrap();
        assert_eq!(staged.commit().await.unwrap(), CommitOutcome::Gone, "{name}");
        assert!(!listed(&server, ".statehouse/staged/").await.contains(&path), "no sweep has to look at it again");
        assert_eq!(files.get(name).bytes().await.unwrap(), "newer");
    }
}

/// Neither a record that is damaged nor one that is nobody's ends the sweep of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_of_a_stage_is_told_and_can_be_discarded() {
    let server = S3Server::start().await;
    let store = ObjectFileStore::open_s3(config(&server)).await.unwrap();
    let files = Files::new(Arc::new(store), Namespace::new("damaged").unwrap());
    let (staged, sound) = (files.put("a", "x").stage().await.unwrap(), files.put("b", "x").stage().await.unwrap());
    let record = format!("/{}/.statehouse/staged/damaged/a/{}", server.bucket(), staged.id());
    server.request("PUT", &record, &[], b"statehouse stage 1\nx\n").await.unwrap();
    let foreign = format!("/{}/.statehouse/staged/damaged/what-is-this", server.bucket());
    server.request("PUT", &foreign, &[], b"x").await.unwrap();
    assert_eq!(staged.commit().await.unwrap_err().kind(), ErrorKind::Corrupt);
    let sweep = || files.sweep().grace(Duration::ZERO).uploads_after(Duration::ZERO);
    let failed = sweep().decide(|_, _| async { Ok(Decision::Commit) }).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Corrupt);
    assert!(files.exists("b").await.unwrap(), "the others are ended");
    let swept = sweep().decide(|_, _| async { Ok(Decision::Discard) }).await.unwrap();
    assert_eq!((swept.discarded, swept.uploads), (1, 1), "and its upload goes with it");
    assert_eq!(staged.commit().await.unwrap(), CommitOutcome::Gone);
    assert!(matches!(sound.commit().await.unwrap(), CommitOutcome::Committed(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_stage_on_a_disk_can_be_discarded() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("files");
    let store: Arc<dyn FileStore> = Arc::new(LocalFileStore::open(&root).await.unwrap());
    let files = Files::new(store, Namespace::new("n").unwrap());
    let staged = files.put("a", "content").stage().await.unwrap();
    let path = root.join(format!(".statehouse/staged/{}", staged.id()));
    std::fs::write(&path, b"torn").unwrap();
    assert_eq!(staged.clone().commit().await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(staged.clone().discard().await.unwrap(), DiscardOutcome::Discarded);
    assert!(!path.exists());
    assert_eq!(staged.commit().await.unwrap(), CommitOutcome::Gone);
}

/// The clock of whoever stores a file says only when a sweep has to look at it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_kept_for_its_time_by_the_servers_clock() {
    let server = S3Server::start().await;
    let store = ObjectFileStore::open_s3(config(&server)).await.unwrap();
    let files = Files::new(Arc::new(store), Namespace::new("kept").unwrap());
    files.put("a", "x").time_to_live(SECOND * 3600).await.unwrap();
    files.put("b", "x").time_to_live(SECOND).await.unwrap();
    files.put("c", "x").await.unwrap();
    // As replicas write them whose clocks are behind, and of files that are not there, or have no such time.
    for (name, due) in [("a", 1), ("b", 1), ("c", 1), ("absent", 1), ("b", 9_999_999_999_u64)] {
        let target = format!("/{}/.statehouse/expires/{due:012}/kept/{name}", server.bucket());
        server.request("PUT", &target, &[], b"").await.unwrap();
    }
    let begun = Instant::now();
    while files.exists("b").await.unwrap() && begun.elapsed() < SECOND * 30 {
        let _swept = files.sweep().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let marker = ".statehouse/expires/000000000001/kept/b";
    assert_eq!(listed(&server, marker).await, [marker], "the file of a young one may be on its way");
    let names: Vec<_> = files.list("").stream().try_collect().await.unwrap();
    assert_eq!(names.iter().map(|entry| files.name(&entry.key).unwrap()).collect::<Vec<_>>(), ["a", "c"]);
    let swept = files.sweep().uploads_after(Duration::ZERO).await.unwrap();
    assert_eq!(swept.expired, 0);
    let left = listed(&server, ".statehouse/expires/").await;
    let is_due = |name: &String| name.starts_with(".statehouse/expires/000000000001/");
    assert!((2..=3).contains(&left.len()) && !left.iter().any(is_due), "what is not due: {left:?}");
}

/// Each put writes one, also one that is refused then, and each costs every sweep a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_file_that_is_kept_anew_again_and_again_one_reminder_is_left() {
    let server = S3Server::start().await;
    let store = ObjectFileStore::open_s3(config(&server)).await.unwrap();
    let files = Files::new(Arc::new(store), Namespace::new("kept").unwrap());
    files.put("a", "x").time_to_live(SECOND * 3600).await.unwrap();
    assert_eq!(files.put("a", "y").time_to_live(SECOND).if_absent().await.unwrap(), PutOutcome::Conflict);
    let folder = ".statehouse/expires/";
    // As puts of some time ago have left them; and without its own, as after a restore.
    for name in listed(&server, folder).await {
        server.request("DELETE", &format!("/{}/{name}", server.bucket()), &[], b"").await.unwrap();
    }
    for due in 1..=9 {
        let target = format!("/{}/{folder}{due:012}/kept/a", server.bucket());
        server.request("PUT", &target, &[], b"").await.unwrap();
    }
    assert_eq!(files.sweep().await.unwrap().expired, 0);
    assert_eq!(listed(&server, folder).await.len(), 9, "the file of a young one may be on its way");
    assert_eq!(files.sweep().uploads_after(Duration::ZERO).await.unwrap().expired, 0);
    let left = listed(&server, folder).await;
    let end = files.head("a").await.unwrap().expires.unwrap().as_micros() / 1_000_000;
    assert_eq!(left, [format!("{folder}{end:012}/kept/a")]);
    assert_eq!(files.get("a").bytes().await.unwrap(), "x");
}

/// A power cut may bring back the name that a stage had before it was committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_that_comes_back_is_known_for_what_was_committed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("files");
    let store: Arc<dyn FileStore> = Arc::new(LocalFileStore::open(&root).await.unwrap());
    let files = Files::new(store, Namespace::new("n").unwrap());
    for discards in [false, true] {
        let staged = files.put("a", "content").stage().await.unwrap();
        let stage = root.join(format!(".statehouse/staged/{}", staged.id()));
        let kept = root.join(".statehouse/kept");
        std::fs::hard_link(&stage, &kept).unwrap();
        let committed = staged.commit().await.unwrap();
        assert!(matches!(committed, CommitOutcome::Committed(_)));
        std::fs::rename(&kept, &stage).unwrap();
        let of_all = StagesOptions::new("n/");
        assert_eq!(files.store().stages_with(of_all.clone()).await.unwrap().len(), 1);
        match discards {
            false => assert_eq!(staged.commit().await.unwrap(), committed),
            true => assert_eq!(staged.discard().await.unwrap(), DiscardOutcome::Committed),
        }
        assert_eq!(files.store().stages_with(of_all).await.unwrap(), []);
        assert_eq!(files.get("a").bytes().await.unwrap(), "content");
    }
}

/// A commit is a change like any other for whoever asks what has changed since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_as_old_as_its_commit_and_what_is_no_stage_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("files");
    let files = Files::new(Arc::new(LocalFileStore::open(&root).await.unwrap()), Namespace::new("n").unwrap());
    let staged = files.put("dir/a", "new").stage().await.unwrap();
    let before = files.put("dir/a", "old").await.and(Ok(files.head("dir/a").await.unwrap().modified)).unwrap();
    std::fs::write(root.join(".statehouse/staged/00112233445566778899aabbccddeeff"), "foreign").unwrap();
    std::fs::write(root.join(".statehouse/staged/readme"), "foreign").unwrap();
    assert_eq!(files.store().stages_with(StagesOptions::default()).await.unwrap().len(), 1);
    assert!(matches!(staged.commit().await.unwrap(), CommitOutcome::Committed(_)));
    assert!(files.head("dir/a").await.unwrap().modified >= before);
    assert_eq!(files.sweep().await.unwrap(), Swept::default());
    let foreign = files.commit("dir/a", "00112233445566778899aabbccddeeff".parse().unwrap()).await.unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::Corrupt);
}

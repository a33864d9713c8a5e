//! Readers and writers, beside faults.

use std::io::SeekFrom;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use statehouse_core::layer::Layer;
use statehouse_core::{Capabilities, Error, ErrorKind, Health, Namespace, Result};
use statehouse_filestore::{
    Body, CopyOptions, DeleteOptions, DeleteOutcome, FileKey, FileStore, FileWriter, Files, GetOptions, HeadOptions,
    LayeredFileStore, ListOptions, LocalFileStore, MemoryFileStore, Meta, Object, ObjectFileStore, Page, PutOptions,
    PutOutcome, ReadOutcome, Swept,
};
use statehouse_testkit::{FaultProxy, S3Server};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::s3::{config, files};
use crate::s3_leftovers::no_uploads;

const MIB: usize = 1 << 20;

/// Bytes of which no two MiB are alike.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 31 + at / MIB * 7 + at / 251) % 256).unwrap()).collect()
}

fn told(error: &std::io::Error) -> Option<ErrorKind> {
    error.get_ref()?.downcast_ref::<Error>().map(Error::kind)
}

async fn through(proxy: &FaultProxy, server: &S3Server) -> Files {
    let config = config(server).with_endpoint(proxy.url(&server.endpoint())).with_part_size(5 << 20);
    files(ObjectFileStore::open_s3(config).await.unwrap())
}

/// In the middle of a whole read, and of one behind a seek.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_goes_on_under_the_same_etag_when_its_connection_breaks() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = through(&proxy, server).await;
    // Behind a seek also what is read when all of the windows were not enough.
    let content = content(32 * MIB);
    files.put("a", content.clone()).await.unwrap();
    for from in [0, 2 * MIB] {
        let mut reader = files.get("a").reader().await.unwrap();
        if from > 0 {
            reader.seek(SeekFrom::Start(from as u64)).await.unwrap();
        }
        let mut read = vec![0; MIB];
        reader.read_exact(&mut read).await.unwrap();
        for _ in 0..3 {
            proxy.reset_connections();
            let mut more = vec![0; 3 * MIB];
            reader.read_exact(&mut more).await.unwrap();
            read.append(&mut more);
        }
        reader.read_to_end(&mut read).await.unwrap();
        assert!(read == content[from..], "{} bytes from {from}", read.len());
    }
    files.delete("a").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_whose_connection_breaks_never_goes_on_with_another_state() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = through(&proxy, server).await;
    files.put("a", vec![1; 20 * MIB]).await.unwrap();
    let mut reader = files.get("a").reader().await.unwrap();
    assert_eq!(reader.read_u8().await.unwrap(), 1);
    files.put("a", vec![2; 20 * MIB]).await.unwrap();
    proxy.reset_connections();
    let (mut read, mut piece) = (1, vec![0; MIB]);
    let error = loop {
        match reader.read(&mut piece).await {
            Ok(0) => panic!("{read} bytes, and no error"),
            Ok(len) => assert!(piece[..len].iter().all(|byte| *byte == 1), "a mixture behind {read} bytes"),
            Err(error) => break error,
        }
        read = reader.position();
    };
    assert_eq!(told(&error), Some(ErrorKind::Conflict), "{error:?}");
    // Also by a seek to the same place: that state is gone.
    reader.seek(SeekFrom::Current(0)).await.unwrap();
    assert_eq!(told(&reader.read_u8().await.unwrap_err()), Some(ErrorKind::Conflict));
    files.delete("a").await.unwrap();
}

/// And says why, until a seek begins anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_reads_on_from_where_it_was_when_the_server_is_back() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let base = config(server).with_endpoint(proxy.url(&server.endpoint())).with_retries(0);
    let files = files(
        ObjectFileStore::open_s3(base.with_timeouts(Duration::from_secs(1), Duration::from_secs(1))).await.unwrap(),
    );
    let content = content(9 * MIB);
    files.put("a", content.clone()).await.unwrap();
    let mut reader = files.get("a").reader().await.unwrap();
    let mut read = vec![0; 1000];
    reader.read_exact(&mut read).await.unwrap();
    proxy.cut();
    reader.seek(SeekFrom::Start(4000)).await.unwrap();
    let failed = loop {
        match reader.read(&mut [0; 100_000]).await {
            Ok(0) => panic!("the end, at {}", reader.position()),
            Ok(_) => {}
            Err(error) => break told(&error),
        }
    };
    assert!(matches!(failed, Some(ErrorKind::Unavailable | ErrorKind::Timeout)), "{failed:?}");
    proxy.heal();
    assert_eq!(told(&reader.read_u8().await.unwrap_err()), failed, "it is not forgotten");
    let at = reader.seek(SeekFrom::Current(0)).await.unwrap();
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).await.unwrap();
    assert!(rest == content[usize::try_from(at).unwrap()..], "from {at}");
    files.delete("a").await.unwrap();
}

/// Parts that have left, and what has not.
async fn begin(files: &Files) -> FileWriter {
    let mut writer = files.put("a", "").writer();
    writer.write_all(&content(12 * MIB)).await.unwrap();
    writer.flush().await.unwrap();
    writer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_dropped_leaves_nothing_in_a_bucket() {
    let server = S3Server::start().await;
    let proxy = FaultProxy::start(server.address());
    let files = through(&proxy, &server).await;
    drop(begin(&files).await);
    no_uploads(&server).await;
    // Where nobody can abort it, a sweep does.
    let writer = begin(&files).await;
    proxy.cut();
    drop(writer);
    let elsewhere = ObjectFileStore::open_s3(config(&server)).await.unwrap();
    let swept = elsewhere.sweep(Duration::ZERO).await.unwrap();
    assert!(swept.uploads >= 1 && swept.digests == 0, "{swept:?}");
    proxy.heal();
    no_uploads(&server).await;
    assert!(!files.exists("a").await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_dropped_leaves_nothing_on_a_disk() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("files");
    let store: Arc<dyn FileStore> = Arc::new(LocalFileStore::open(&root).await.unwrap());
    let files = Files::new(store, Namespace::new("n").unwrap());
    files.put("a", "old").await.unwrap();
    drop(begin(&files).await);
    let hidden = || {
        std::fs::read_dir(root.join("n+"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".statehouse-"))
    };
    let start = std::time::Instant::now();
    while hidden().count() > 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", hidden().collect::<Vec<_>>());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(files.sweep().await.unwrap(), Swept::default());
    assert_eq!(files.get("a").bytes().await.unwrap(), "old");
}

/// Nothing else runs here, so nobody takes what is written.
#[tokio::test]
async fn a_writer_takes_no_more_than_the_store_does() {
    let files = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("n").unwrap());
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&taken);
    let mut writer = files.put("a", "").progress(move |bytes| counted.store(bytes, Ordering::Relaxed)).writer();
    let (content, mut written) = (content(4 * MIB), 0);
    while let Some(some) = writer.write(&content[written..]).now_or_never() {
        written += some.unwrap();
        assert!(written <= 256 << 10, "{written} bytes wait in memory");
    }
    assert_eq!((written > 0, taken.load(Ordering::Relaxed)), (true, 0));
    writer.write_all(&content[written..]).await.unwrap();
    assert_eq!(writer.finish().await.unwrap().len, content.len() as u64);
    assert!(files.get("a").bytes().await.unwrap() == content);
}

/// It has been told that this is the end.
#[tokio::test]
async fn a_writer_that_is_dropped_while_it_is_finished_may_still_store_the_file_and_only_whole() {
    let files = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("n").unwrap());
    let mut seen = Vec::new();
    for polls in 1..20 {
        let mut writer = files.put("a", "").writer();
        writer.write_all(b"content").await.unwrap();
        let mut finish = Box::pin(writer.finish());
        let mut is_done = false;
        for _ in 0..polls {
            // The put goes on before each, and not behind the last.
            tokio::task::yield_now().await;
            is_done = is_done || futures_util::poll!(&mut finish).is_ready();
            if is_done {
                break;
            }
        }
        drop(finish);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let stored = files.get("a").bytes().await;
        assert!(stored.as_ref().map_or(true, |bytes| bytes == "content"), "{stored:?} after {polls} polls");
        seen.push((is_done, stored.is_ok()));
        files.delete("a").await.unwrap();
    }
    assert_eq!(seen[0], (false, false), "it was not told of the end: {seen:?}");
    assert!(seen.contains(&(false, true)), "it was told of the end: {seen:?}");
    assert!(seen.iter().all(|(is_done, is_stored)| *is_stored || !*is_done), "{seen:?}");
}

/// A store ends who is silent, and this one is not.
#[tokio::test(start_paused = true)]
async fn what_is_written_little_by_little_is_not_kept_back() {
    let files = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("n").unwrap());
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&taken);
    let mut writer = files.put("a", "").progress(move |bytes| counted.store(bytes, Ordering::Relaxed)).writer();
    for written in 1..=10 {
        writer.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(taken.load(Ordering::Relaxed) + 1 >= written, "{taken:?} of {written}");
    }
    assert_eq!(writer.finish().await.unwrap().len, 10);
}

/// Who tries again after an error must not take it for a whole file.
#[tokio::test]
async fn a_reader_of_a_damaged_file_says_so_whatever_is_sought() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("files");
    let store: Arc<dyn FileStore> = Arc::new(LocalFileStore::open(&root).await.unwrap());
    let files = Files::new(store, Namespace::new("n").unwrap());
    files.put("a", vec![7; 3 * MIB]).await.unwrap();
    let path = root.join("n+/a");
    let mut written = std::fs::read(&path).unwrap();
    written[MIB] = 8;
    std::fs::write(&path, written).unwrap();
    let mut reader = files.get("a").reader().await.unwrap();
    let mut read = Vec::new();
    let error = reader.read_to_end(&mut read).await.unwrap_err();
    assert_eq!((told(&error), error.kind()), (Some(ErrorKind::Corrupt), std::io::ErrorKind::InvalidData));
    assert_eq!(error.get_ref().unwrap().downcast_ref::<Error>().unwrap().key(), Some("a"));
    for to in [SeekFrom::Current(0), SeekFrom::Start(0), SeekFrom::End(-1), SeekFrom::End(10)] {
        reader.seek(to).await.unwrap();
        assert_eq!(told(&reader.read(&mut [0; 10]).await.unwrap_err()), Some(ErrorKind::Corrupt), "{to:?}");
    }
    files.delete("a").await.unwrap();
}

/// Reads that count how many requests they are.
#[derive(Debug)]
struct Gets(Arc<AtomicU64>);

impl Layer for Gets {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        self.0.fetch_add(u64::from(operation == "filestore.get"), Ordering::Relaxed);
        work.await
    }
}

/// Forwards and backwards.
#[tokio::test]
async fn a_seek_within_the_piece_that_was_read_last_costs_nothing() {
    let gets = Arc::new(AtomicU64::new(0));
    let store = LayeredFileStore::new(Arc::new(MemoryFileStore::new()), Gets(Arc::clone(&gets)));
    let files = Files::new(Arc::new(store), Namespace::new("n").unwrap());
    let content = content(3000);
    files.put("a", content.clone()).await.unwrap();
    let mut reader = files.get("a").reader().await.unwrap();
    for at in [0, 2000, 10, 2999, 0, 3000, 1500] {
        reader.seek(SeekFrom::Start(at)).await.unwrap();
        let mut read = vec![0; 1000.min(3000 - usize::try_from(at).unwrap())];
        reader.read_exact(&mut read).await.unwrap();
        assert!(content[usize::try_from(at).unwrap()..].starts_with(&read), "at {at}");
    }
    assert_eq!(gets.load(Ordering::Relaxed), 1);
    reader.seek(SeekFrom::Start(4000)).await.unwrap();
    assert_eq!(reader.read(&mut [0; 10]).await.unwrap(), 0);
    reader.seek(SeekFrom::Start(100)).await.unwrap();
    assert_eq!(reader.read_u8().await.unwrap(), content[100]);
    assert_eq!(gets.load(Ordering::Relaxed), 2, "a place outside is asked for anew");
}

/// A backend of somebody's own, which gives other bytes than those that it is asked for, and lists other files.
#[derive(Debug)]
struct Wrong(MemoryFileStore, Change, AtomicUsize);

#[async_trait::async_trait]
impl FileStore for Wrong {
    async fn put_with(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<PutOutcome> {
        self.0.put_with(key, body, options).await
    }

    async fn get_with(&self, key: &FileKey, options: GetOptions) -> Result<ReadOutcome<Object>> {
        // Else who asks without end is waited for without end.
        assert!(self.2.fetch_add(1, Ordering::Relaxed) < 100, "it is asked again and again");
        let object = self.0.get_with(key, options).await?.unconditional()?;
        Ok(ReadOutcome::Found(self.1(object).await))
    }

    async fn head_with(&self, key: &FileKey, options: HeadOptions) -> Result<ReadOutcome<Meta>> {
        self.0.head_with(key, options).await
    }

    async fn list_with(&self, options: ListOptions) -> Result<Page> {
        // All there is, whatever it is asked for.
        self.0.list_with(ListOptions::new("").with_start(options.start)).await
    }

    async fn delete_with(&self, key: &FileKey, options: DeleteOptions) -> Result<DeleteOutcome> {
        self.0.delete_with(key, options).await
    }

    async fn copy_with(&self, from: &FileKey, to: &FileKey, options: CopyOptions) -> Result<PutOutcome> {
        self.0.copy_with(from, to, options).await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn health(&self) -> Health {
        self.0.health().await
    }
}

async fn with_bytes(object: Object, change: fn(Vec<u8>) -> Vec<u8>) -> Object {
    let (meta, range) = (object.meta().clone(), object.range().clone());
    let bytes = change(object.bytes().await.unwrap().to_vec());
    Object::from_checked_bytes(meta, range, bytes.into())
}

/// What a backend makes of an answer.
type Change = fn(Object) -> BoxFuture<'static, Object>;

#[tokio::test]
async fn a_reader_of_a_backend_that_gives_other_bytes_than_it_is_asked_for_fails() {
    let wrongs: [(&str, Change); 4] = [
        ("nothing", |object| with_bytes(object, |_| Vec::new()).boxed()),
        ("too little", |object| with_bytes(object, |bytes| bytes[1..].to_vec()).boxed()),
        ("too much", |object| with_bytes(object, |bytes| [bytes, vec![0]].concat()).boxed()),
        ("another range", |object| {
            let (meta, range) = (object.meta().clone(), object.range().clone());
            let moved = range.start + 1..range.end + 1;
            let bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
            std::future::ready(Object::from_checked_bytes(meta, moved, bytes.into())).boxed()
        }),
    ];
    for (wrong, change) in wrongs {
        let store = Arc::new(Wrong(MemoryFileStore::new(), change, AtomicUsize::new(0)));
        let files = Files::new(store, Namespace::new("n").unwrap());
        files.put("a", content(MIB)).await.unwrap();
        for from in [0, 1000] {
            let mut reader = files.get("a").reader().await.unwrap();
            reader.seek(SeekFrom::Start(from)).await.unwrap();
            let error = reader.read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(told(&error), Some(ErrorKind::Corrupt), "{wrong} from {from}: {error:?}");
        }
    }
}

/// As one reads a file into memory of its length: nobody asks for what is behind it.
#[tokio::test]
async fn a_reader_that_is_read_for_its_length_is_told_of_damage() {
    let change: Change = |object| {
        let changed = async {
            let (meta, range) = (object.meta().clone(), object.range().clone());
            let mut bytes = object.bytes().await.unwrap().to_vec();
            bytes[MIB / 2] ^= 1;
            let pieces: Vec<_> = bytes.chunks(1000).map(|piece| Ok(bytes::Bytes::copy_from_slice(piece))).collect();
            Object::new(meta, range, Box::pin(futures_util::stream::iter(pieces)))
        };
        changed.boxed()
    };
    let store = Arc::new(Wrong(MemoryFileStore::new(), change, AtomicUsize::new(0)));
    let files = Files::new(store, Namespace::new("n").unwrap());
    files.put("a", content(MIB)).await.unwrap();
    let mut reader = files.get("a").reader().await.unwrap();
    let error = reader.read_exact(&mut vec![0; MIB]).await.unwrap_err();
    assert_eq!(told(&error), Some(ErrorKind::Corrupt));
    let pieces: Vec<_> = futures_util::StreamExt::collect(files.get("a").stream().await.unwrap()).await;
    let (last, before) = pieces.split_last().unwrap();
    assert_eq!(last.as_ref().unwrap_err().kind(), ErrorKind::Corrupt);
    let told: usize = before.iter().map(|piece| piece.as_ref().unwrap().len()).sum();
    assert!(told < MIB, "nobody takes it for the whole");
}

#[tokio::test]
async fn a_delete_of_a_prefix_deletes_nothing_outside_of_it_whatever_the_store_lists() {
    let store =
        Arc::new(Wrong(MemoryFileStore::new(), |object| std::future::ready(object).boxed(), AtomicUsize::new(0)));
    for (namespace, outside) in [("n", "q/1"), ("m", "p/1")] {
        let files = Files::new(Arc::clone(&store) as Arc<dyn FileStore>, Namespace::new(namespace).unwrap());
        files.put(outside, "content").await.unwrap();
        let n = Files::new(Arc::clone(&store) as Arc<dyn FileStore>, Namespace::new("n").unwrap());
        assert_eq!(n.delete_prefix("p/").await.unwrap_err().kind(), ErrorKind::Unexpected);
        assert!(files.exists(outside).await.unwrap());
        files.delete(outside).await.unwrap();
    }
}

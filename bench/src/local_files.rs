//! The local store beside what one writes by hand and beside `object_store`'s directory.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use statehouse_core::Namespace;
use statehouse_filestore::local::LocalConfig;
use statehouse_filestore::{Durability, Files, LocalFileStore};

use crate::harness::{Bar, Case, Harness};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const FILES: usize = 64;
const READS: u32 = 2_048;
const WRITES: u32 = 256;
const SIZE: usize = 4096;
const LISTED: usize = 100_000;
const LARGE: usize = 256 << 20;
const BUFFER: usize = 1 << 20;

/// Ours, and a plain directory beside it on the same disk.
struct Both {
    ours: Files,
    relaxed: Files,
    plain: PathBuf,
    object: Arc<LocalFileSystem>,
}

impl Both {
    async fn open(folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let plain = folder.join("plain");
        fs::create_dir(&plain)?;
        let object = Arc::new(LocalFileSystem::new_with_prefix(&plain)?);
        let ours = Files::new(Arc::new(LocalFileStore::open(folder.join("ours")).await?), Namespace::new("bench")?);
        // For preparing many files: what is read does not depend on it.
        let config = LocalConfig::new(folder.join("ours")).with_durability(Durability::Relaxed);
        let relaxed = Files::new(Arc::new(LocalFileStore::open_with(config).await?), Namespace::new("bench")?);
        Ok(Self { ours, relaxed, plain, object })
    }
}

pub(crate) async fn run(harness: &mut Harness) -> Outcome {
    let folder = tempfile::tempdir()?;
    let both = Both::open(folder.path()).await?;
    for i in 0..FILES {
        both.ours.put(format!("f{i}"), content()).await?;
        fs::write(both.plain.join(format!("f{i}")), content())?;
    }
    reads(harness, &both, "local read, 4 KiB, 1 task", 1).await;
    reads(harness, &both, "local read, 4 KiB, 32 tasks", 32).await;
    let durable = (&both.ours, "temp, fsync, rename, dir fsync", durable_write as ByHand);
    writes(harness, &both, "durable local write, 4 KiB, 1 task", 1, durable).await;
    writes(harness, &both, "durable local write, 4 KiB, 32 tasks", 32, durable).await;
    let relaxed = (&both.relaxed, "temp, rename", relaxed_write as ByHand);
    writes(harness, &both, "relaxed local write, 4 KiB, 1 task", 1, relaxed).await;
    writes(harness, &both, "relaxed local write, 4 KiB, 32 tasks", 32, relaxed).await;
    large(harness, &both).await;
    lists(harness, &both).await
}

fn content() -> Vec<u8> {
    (0..=250_u8).cycle().take(SIZE).collect()
}

const fn case(name: &'static str, peer: &'static str, bar: f64, ops: u32) -> Case {
    Case { service: "filestore", name, peer, bar: Bar::Ratio(bar), ops }
}

/// Runs so many operations in so many tasks.
async fn in_tasks<F>(tasks: u32, ops: u32, work: impl Fn(usize) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + Send,
{
    let each = (ops / tasks) as usize;
    let tasks = (0..tasks as usize).map(|task| {
        let work = work.clone();
        tokio::spawn(async move {
            for i in 0..each {
                work(task * each + i).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no panic");
    }
}

async fn reads(harness: &mut Harness, both: &Both, name: &'static str, tasks: u32) {
    let (ours, plain, object) = (both.ours.clone(), both.plain.clone(), Arc::clone(&both.object));
    let mine = async || {
        let ours = ours.clone();
        let read = move |i: usize| {
            let ours = ours.clone();
            async move {
                let bytes = ours.get(format!("f{}", i % FILES)).bytes().await;
                assert!(bytes.is_ok_and(|bytes| bytes.len() == SIZE));
            }
        };
        in_tasks(tasks, READS, read).await;
    };
    let by_hand = async || {
        let plain = plain.clone();
        let read = move |i: usize| {
            let path = plain.join(format!("f{}", i % FILES));
            async move { assert!(fs::read(path).is_ok_and(|bytes| bytes.len() == SIZE)) }
        };
        in_tasks(tasks, READS, read).await;
    };
    let by_object_store = async || {
        let object = Arc::clone(&object);
        let read = move |i: usize| {
            let object = Arc::clone(&object);
            async move {
                let found = object.get(&ObjectPath::from(format!("f{}", i % FILES))).await.expect("a file");
                assert_eq!(found.bytes().await.expect("its bytes").len(), SIZE);
            }
        };
        in_tasks(tasks, READS, read).await;
    };
    harness.compare(case(name, "std::fs::read", 0.75, READS), mine, by_hand).await;
    harness.compare(case(name, "object_store LocalFileSystem", 8.0, READS), mine, by_object_store).await;
}

/// How one writes by hand.
type ByHand = fn(&Path, usize, &[u8]) -> std::io::Result<()>;

async fn writes(
    harness: &mut Harness,
    both: &Both,
    name: &'static str,
    tasks: u32,
    (ours, peer, write): (&Files, &'static str, ByHand),
) {
    let (ours, plain) = (ours.clone(), both.plain.clone());
    let mine = async || {
        let ours = ours.clone();
        let write = move |i: usize| {
            let ours = ours.clone();
            async move { drop(ours.put(format!("w{i}"), content()).await.expect("written")) }
        };
        in_tasks(tasks, WRITES, write).await;
    };
    let by_hand = write;
    // On a blocking thread, as an async application has to.
    let theirs = async || {
        let plain = plain.clone();
        let write = move |i: usize| {
            let (plain, content) = (plain.clone(), content());
            async move {
                let written = tokio::task::spawn_blocking(move || by_hand(&plain, i, &content)).await;
                written.expect("no panic").expect("written");
            }
        };
        in_tasks(tasks, WRITES, write).await;
    };
    harness.compare(case(name, peer, 0.95, WRITES), mine, theirs).await;
}

/// What one writes by hand to be safe from a crash.
fn durable_write(folder: &Path, i: usize, content: &[u8]) -> std::io::Result<()> {
    let staged = folder.join(format!("stage-{i}"));
    let mut file = fs::File::create(&staged)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&staged, folder.join(format!("w{i}")))?;
    fs::File::open(folder)?.sync_all()
}

/// What one writes by hand so that nobody sees half of it.
fn relaxed_write(folder: &Path, i: usize, content: &[u8]) -> std::io::Result<()> {
    let staged = folder.join(format!("stage-{i}"));
    fs::write(&staged, content)?;
    fs::rename(&staged, folder.join(format!("w{i}")))
}

async fn large(harness: &mut Harness, both: &Both) {
    let content = Bytes::from((0..=250_u8).cycle().take(LARGE).collect::<Vec<_>>());
    let (ours, plain) = (both.ours.clone(), both.plain.join("large"));
    let by_hand = async || {
        let (path, content) = (plain.clone(), content.clone());
        let write = move || {
            let mut file = fs::File::create(path)?;
            content.chunks(BUFFER).try_for_each(|piece| file.write_all(piece))?;
            file.sync_all()
        };
        tokio::task::spawn_blocking(write).await.expect("no panic").expect("written");
    };
    let mine = async || drop(ours.put("large", content.clone()).await.expect("written"));
    harness.compare(case("durable local write, 256 MiB", "write, fsync", 0.7, 1), mine, by_hand).await;
    let by_hand = async || {
        let path = plain.clone();
        let read = move || {
            let (mut file, mut buffer, mut all) = (fs::File::open(path)?, vec![0; BUFFER], 0);
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok::<_, std::io::Error>(all),
                    read => all += read,
                }
            }
        };
        assert_eq!(tokio::task::spawn_blocking(read).await.expect("no panic").expect("read"), LARGE);
    };
    let mine = async || {
        let mut stream = ours.get("large").stream().await.expect("a file");
        let mut all = 0;
        while let Some(piece) = stream.next().await {
            all += piece.expect("a piece").len();
        }
        assert_eq!(all, LARGE);
    };
    harness.compare(case("local read, 256 MiB", "std::fs, 1 MiB buffers", 0.9, 1), mine, by_hand).await;
}

async fn lists(harness: &mut Harness, both: &Both) -> Outcome {
    fs::create_dir(both.plain.join("many"))?;
    let many = both.plain.join("many");
    let relaxed = both.relaxed.clone();
    let put = move |i: usize| {
        let (relaxed, path) = (relaxed.clone(), many.join(name_of(i)));
        async move {
            drop(relaxed.put(format!("many/{}", name_of(i)), "x").await.expect("written"));
            fs::write(path, "x").expect("written");
        }
    };
    in_tasks(2, u32::try_from(LISTED)?, put).await;
    let (ours, object, prefix) = (both.ours.clone(), Arc::clone(&both.object), ObjectPath::from("many"));
    let peer = "object_store LocalFileSystem";
    harness
        .compare(
            case("local list of 100,000, first page", peer, 1.0, 1),
            async || assert_eq!(ours.list("many/").await.expect("a page").entries.len(), 1000),
            async || {
                let page: Vec<_> = object.list(Some(&prefix)).take(1000).try_collect().await.expect("a page");
                assert_eq!(page.len(), 1000);
            },
        )
        .await;
    let plain = both.plain.join("many");
    harness
        .compare(
            case("local list of 100,000, first page after a put", peer, 1.0, 1),
            async || {
                drop(both.relaxed.put("many/zzz", "x").await.expect("written"));
                assert_eq!(ours.list("many/").await.expect("a page").entries.len(), 1000);
            },
            async || {
                fs::write(plain.join("zzz"), "x").expect("written");
                let page: Vec<_> = object.list(Some(&prefix)).take(1000).try_collect().await.expect("a page");
                assert_eq!(page.len(), 1000);
            },
        )
        .await;
    both.ours.delete("many/zzz").await?;
    fs::remove_file(plain.join("zzz"))?;
    harness
        .compare(
            case("local list of 100,000, all pages", peer, 1.0, 1),
            async || {
                let all: Vec<_> = ours.list("many/").stream().try_collect().await.expect("all pages");
                assert_eq!(all.len(), LISTED);
            },
            async || {
                let all: Vec<_> = object.list(Some(&prefix)).try_collect().await.expect("all");
                assert_eq!(all.len(), LISTED);
            },
        )
        .await;
    Ok(())
}

/// In no order, as names are.
fn name_of(i: usize) -> String {
    format!("file-{:05}.dcm", i * 7919 % LISTED)
}

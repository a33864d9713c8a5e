//! Files handed out as an `object_store`: its own integration suite, and what the suite does not look at.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyMode, CopyOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, RenameOptions, RenameTargetMode, WriteMultipart, integration,
};
use statehouse_core::{ErrorKind, Namespace};
use statehouse_filestore::object::ObjectConfig;
use statehouse_filestore::{AsObjectStore, Files, LocalFileStore, MemoryFileStore, ObjectFileStore};
use statehouse_testkit::S3Server;

use crate::s3::config;
use crate::s3_leftovers::no_uploads;
use crate::steps::{fails, nothing, puts, with};

const MIB: usize = 1 << 20;

/// A store, and what of it can be looked at from outside.
pub(crate) struct Backend {
    pub(crate) files: Files,
    folder: Option<tempfile::TempDir>,
    server: Option<S3Server>,
}

impl Backend {
    fn new(store: Arc<dyn statehouse_filestore::FileStore>) -> Self {
        let nonce = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let files = Files::new(store, Namespace::new(format!("it.{nonce}")).unwrap());
        Self { files, folder: None, server: None }
    }

    pub(crate) fn memory() -> std::future::Ready<Self> {
        std::future::ready(Self::new(Arc::new(MemoryFileStore::new())))
    }

    async fn local() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalFileStore::open(folder.path()).await.unwrap();
        Self { folder: Some(folder), ..Self::new(Arc::new(store)) }
    }

    async fn s3() -> Self {
        let server = S3Server::start().await;
        let store = ObjectFileStore::open_s3(config(&server)).await.unwrap();
        Self { server: Some(server), ..Self::new(Arc::new(store)) }
    }

    /// What is an object store already, handed out as one again.
    pub(crate) async fn wrapped() -> Self {
        let inner = Arc::new(object_store::memory::InMemory::new());
        Self::new(Arc::new(ObjectFileStore::open(inner, ObjectConfig::default()).await.unwrap()))
    }

    fn store(&self) -> AsObjectStore {
        self.files.clone().into_object_store()
    }

    /// Waits until nothing is left of any upload, and has seen that no file is there.
    async fn is_empty(&self) {
        let listed: Vec<_> = self.store().list(None).try_collect().await.unwrap();
        assert!(listed.is_empty(), "{listed:?}");
        if let Some(server) = &self.server {
            no_uploads(server).await;
        }
        if let Some(folder) = &self.folder {
            // What a blocking thread was writing goes when it is done with it.
            let start = std::time::Instant::now();
            while !files_below(folder.path()).is_empty() {
                assert!(start.elapsed() < Duration::from_secs(60), "{:?}", files_below(folder.path()));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// All but what the store keeps for itself.
fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let entries = entries.map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with(".statehouse"));
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Each case on each backend.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        cases!(@ memory $($case)*);
        cases!(@ local $($case)*);
        cases!(@ s3 $($case)*);
        cases!(@ wrapped $($case)*);
    };
    (@ $backend:ident $($case:ident)*) => {
        mod $backend {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(Backend::$backend().await).await;
                }
            )*
        }
    };
}

cases! {
    the_integration_suite_passes,
    attributes_come_back_as_they_were_put,
    reads_may_name_several_etags,
    an_offset_is_where_the_store_begins,
    of_16_racing_creators_exactly_one_wins,
    a_name_that_is_taken_is_not_copied_or_renamed_to,
    parts_are_stored_in_the_order_they_were_handed_over,
    parts_of_any_length_are_taken_while_others_are_awaited,
    an_upload_that_is_dropped_or_aborted_leaves_nothing,
    a_part_that_was_given_up_ends_the_upload,
    what_no_file_is_called_is_refused,
    the_last_bytes_of_a_file_may_be_none,
    a_buffered_writer_needs_no_more_than_one_request_at_a_time,
}

async fn the_integration_suite_passes(backend: Backend) {
    let store = backend.store();
    integration::put_get_delete_list(&store).await;
    integration::get_opts(&store).await;
    integration::put_opts(&store, true).await;
    integration::put_get_attributes(&store).await;
    integration::list_uses_directories_correctly(&store).await;
    integration::list_with_delimiter(&store).await;
    integration::list_with_offset_exclusivity(&store).await;
    integration::rename_and_copy(&store).await;
    integration::copy_if_not_exists(&store).await;
    integration::copy_rename_nonexistent_object(&store).await;
    let absent = integration::get_nonexistent_object(&store, None).await.unwrap_err();
    assert!(matches!(absent, Error::NotFound { .. }), "{absent}");
    integration::stream_get(&store).await;
    integration::multipart_race_condition(&store, true).await;
    integration::multipart_out_of_order(&store).await;
}

/// The suite's own case has an encoding among them, which is refused: these are the ones that are kept.
async fn attributes_come_back_as_they_were_put(backend: Backend) {
    let (store, path) = (backend.store(), Path::from("attributes"));
    let attributes = Attributes::from_iter([
        (Attribute::CacheControl, "max-age=604800"),
        (Attribute::ContentDisposition, r#"attachment; filename="test.html""#),
        (Attribute::ContentType, "text/html; charset=utf-8"),
        (Attribute::Metadata("test-key".into()), "test_value"),
        (Attribute::Metadata("key-with-spaces".into()), "hello   wörld"),
    ]);
    let put = store.put_opts(&path, "foo".into(), attributes.clone().into()).await.unwrap();
    let read = store.get(&path).await.unwrap();
    assert_eq!((&read.attributes, &read.meta.e_tag), (&attributes, &put.e_tag));
    let copy = Path::from("copy");
    store.copy(&path, &copy).await.unwrap();
    assert_eq!(store.get(&copy).await.unwrap().attributes, attributes);
    let head = store.get_opts(&path, GetOptions::new().with_head(true)).await.unwrap();
    assert_eq!((&head.attributes, head.range.clone()), (&attributes, 0..3));
    assert_eq!(head.bytes().await.unwrap(), "");

    let long = Path::from("long");
    let mut upload = store.put_multipart_opts(&long, attributes.clone().into()).await.unwrap();
    upload.put_part(vec![7; 11 * MIB].into()).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(store.get(&long).await.unwrap().attributes, attributes);

    let encoded = Attributes::from_iter([(Attribute::ContentEncoding, "gzip")]);
    let refused = store.put_opts(&path, "bar".into(), encoded.clone().into()).await.unwrap_err();
    assert!(matches!(refused, Error::NotImplemented { .. }), "{refused}");
    let refused = store.put_multipart_opts(&path, encoded.into()).await.unwrap_err();
    assert!(matches!(refused, Error::NotImplemented { .. }), "{refused}");
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "foo");
}

async fn reads_may_name_several_etags(backend: Backend) {
    let (store, path) = (backend.store(), Path::from("a"));
    let old = store.put(&path, "old".into()).await.unwrap().e_tag.unwrap();
    let new = store.put(&path, "newer".into()).await.unwrap().e_tag.unwrap();
    let (both, others, any) = (format!("{old}, {new}"), format!("{old}, \"other\""), "*".to_owned());
    let options = GetOptions::new;
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    for (wanted, expected) in [
        (options().with_if_match(Some(&both)), "read"),
        (options().with_if_match(Some(&any)), "read"),
        (options().with_if_match(Some(&others)), "Precondition"),
        (options().with_if_none_match(Some(&both)), "NotModified"),
        (options().with_if_none_match(Some(&any)), "NotModified"),
        (options().with_if_none_match(Some(&others)), "read"),
        (options().with_if_match(Some(&others)).with_if_none_match(Some(&both)), "Precondition"),
        (options().with_if_match(Some(&both)).with_if_none_match(Some(&both)), "NotModified"),
        (options().with_if_match(Some(&any)).with_if_unmodified_since(Some(long_ago)), "read"),
        (options().with_if_none_match(Some(&both)).with_if_unmodified_since(Some(long_ago)), "Precondition"),
        (options().with_if_match(Some(&both)).with_range(Some(1..3)), "read"),
        (options().with_version(Some("1")), "NotImplemented"),
    ] {
        for head in [false, true] {
            let ranged = wanted.range.is_some();
            let found = store.get_opts(&path, wanted.clone().with_head(head)).await;
            let name = match &found {
                Ok(_) => "read",
                Err(Error::Precondition { .. }) => "Precondition",
                Err(Error::NotModified { .. }) => "NotModified",
                Err(Error::NotImplemented { .. }) => "NotImplemented",
                Err(other) => panic!("{other}"),
            };
            assert_eq!(name, expected, "{wanted:?}, head: {head}");
            if let (Ok(found), false) = (found, head) {
                assert_eq!(found.meta.e_tag.as_ref(), Some(&new));
                assert_eq!(found.bytes().await.unwrap(), if ranged { "ew" } else { "newer" });
            }
        }
    }
    let absent = store.get_opts(&Path::from("b"), options().with_if_match(Some(&both))).await.unwrap_err();
    assert!(matches!(absent, Error::NotFound { .. }), "{absent}");
}

/// More than a page, with a file beside them that has the prefix's name.
async fn an_offset_is_where_the_store_begins(backend: Backend) {
    let store = backend.store();
    let names: Vec<_> = (0..1050).map(|n| Path::from(format!("d/{n:04}/x"))).collect();
    let put = async |path: &Path| store.put(path, "x".into()).await.map(drop);
    futures_util::stream::iter(&names).map(put).buffered(16).try_collect::<Vec<_>>().await.unwrap();
    for path in ["d.beside", "e/x"] {
        store.put(&Path::from(path), "x".into()).await.unwrap();
    }
    let (below, offset) = (Path::from("d"), names[20].clone());
    let listed = store.list_with_offset(Some(&below), &offset).map_ok(|object| object.location);
    assert_eq!(listed.try_collect::<Vec<_>>().await.unwrap(), names[21..]);
    let listed = store.list(Some(&below)).map_ok(|object| object.location);
    assert_eq!(listed.try_collect::<Vec<_>>().await.unwrap(), names);
    let level = store.list_with_delimiter(Some(&below)).await.unwrap();
    assert_eq!((level.common_prefixes.len(), level.objects.len()), (1050, 0));
    let deleted = store.delete_stream(store.list(None).map_ok(|object| object.location).boxed());
    assert_eq!(deleted.try_collect::<Vec<_>>().await.unwrap().len(), 1052);
    backend.is_empty().await;
}

async fn of_16_racing_creators_exactly_one_wins(backend: Backend) {
    let store = backend.store();
    let original = Path::from("original");
    store.put(&original, "original".into()).await.unwrap();
    for round in 0..20 {
        let path = Path::from(format!("race/{round}"));
        let creators = (0..16).map(|n| {
            let (store, path, original) = (store.clone(), path.clone(), original.clone());
            tokio::spawn(async move {
                if n % 4 == 3 {
                    let options = CopyOptions::new().with_mode(CopyMode::Create);
                    return store.copy_opts(&original, &path, options).await.map(|()| "original".to_owned());
                }
                let put = store.put_opts(&path, PutPayload::from(format!("{n}")), PutMode::Create.into()).await;
                put.map(|_| n.to_string())
            })
        });
        let (mut won, mut lost) = (Vec::new(), 0);
        for created in futures_util::future::join_all(creators).await {
            match created.unwrap() {
                Ok(content) => won.push(content),
                Err(Error::AlreadyExists { .. }) => lost += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!((won.len(), lost), (1, 15), "{won:?}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), won[0]);
    }
}

async fn a_name_that_is_taken_is_not_copied_or_renamed_to(backend: Backend) {
    let (store, [a, b, c]) = (backend.store(), ["a", "b", "c"].map(Path::from));
    store.put(&a, "a".into()).await.unwrap();
    store.put(&b, "b".into()).await.unwrap();
    let create = || RenameOptions::new().with_target_mode(RenameTargetMode::Create);
    let taken = store.rename_opts(&a, &b, create()).await.unwrap_err();
    assert!(matches!(&taken, Error::AlreadyExists { path, .. } if path == "b"), "{taken}");
    store.rename_opts(&a, &c, create()).await.unwrap();
    let names: Vec<_> = store.list(None).map_ok(|object| object.location).try_collect().await.unwrap();
    assert_eq!(names, [b.clone(), c.clone()]);
    store.rename(&c, &c).await.unwrap();
    let taken = store.rename_opts(&c, &c, create()).await.unwrap_err();
    assert!(matches!(&taken, Error::AlreadyExists { path, .. } if path == "c"), "{taken}");
    let taken = store.copy_opts(&b, &c, CopyOptions::new().with_mode(CopyMode::Create)).await.unwrap_err();
    assert!(matches!(&taken, Error::AlreadyExists { path, .. } if path == "c"), "{taken}");
    assert_eq!(store.get(&c).await.unwrap().bytes().await.unwrap(), "a");
}

/// Bytes of which no two MiB are alike.
fn content(len: usize) -> Bytes {
    (0..len).map(|at| u8::try_from((at * 31 + at / MIB * 7 + at / 251) % 256).unwrap()).collect()
}

async fn parts_are_stored_in_the_order_they_were_handed_over(backend: Backend) {
    let (store, path) = (backend.store(), Path::from("parts"));
    let content = content(21 * MIB);
    let mut upload = store.put_multipart(&path).await.unwrap();
    // Each in two pieces, and awaited from the last to the first.
    let parts: Vec<_> = (0..7)
        .map(|n| {
            let part = content.slice(n * 3 * MIB..(n + 1) * 3 * MIB);
            upload.put_part(PutPayload::from_iter([part.slice(..MIB / 2), part.slice(MIB / 2..)]))
        })
        .collect();
    for part in parts.into_iter().rev() {
        part.await.unwrap();
    }
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    let stored = upload.complete().await.unwrap();
    let read = store.get(&path).await.unwrap();
    assert_eq!(read.meta.e_tag, stored.e_tag);
    assert!(read.bytes().await.unwrap() == content);
    let over = upload.complete().await.unwrap_err();
    assert!(matches!(over, Error::Generic { .. }), "{over}");
    upload.put_part("more".into()).await.unwrap_err();
    upload.abort().await.unwrap_err();
    assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == content, "the file stays");
}

/// As a writer does it that has several under way.
async fn parts_of_any_length_are_taken_while_others_are_awaited(backend: Backend) {
    let (store, path) = (backend.store(), Path::from("long"));
    let content = content(48 * MIB);
    let mut writer = WriteMultipart::new_with_chunk_size(store.put_multipart(&path).await.unwrap(), 300_000);
    for piece in content.chunks(1_234_567) {
        writer.wait_for_capacity(8).await.unwrap();
        writer.write(piece);
    }
    writer.finish().await.unwrap();
    assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == content);
    // None at all, and none but empty ones
    let empty = Path::from("empty");
    for parts in 0..3 {
        let mut upload = store.put_multipart(&empty).await.unwrap();
        for _ in 0..parts {
            upload.put_part(PutPayload::default()).await.unwrap();
        }
        upload.complete().await.unwrap();
        assert_eq!(store.head(&empty).await.unwrap().size, 0);
        store.delete(&empty).await.unwrap();
    }
}

async fn an_upload_that_is_dropped_or_aborted_leaves_nothing(backend: Backend) {
    let (store, path) = (backend.store(), Path::from("gone"));
    for len in [0, 1000, 20 * MIB] {
        for abort in [false, true] {
            let mut upload = store.put_multipart(&path).await.unwrap();
            upload.put_part(vec![7; len].into()).await.unwrap();
            let late = upload.put_part(vec![8; len].into());
            if abort {
                upload.abort().await.unwrap();
            }
            drop(upload);
            // It may have been taken before.
            if let Err(error) = late.await {
                assert!(matches!(error, Error::Generic { .. }), "{error}");
            }
        }
    }
    let mut writer = WriteMultipart::new(store.put_multipart(&path).await.unwrap());
    writer.write(&vec![7; 20 * MIB]);
    writer.abort().await.unwrap();
    backend.is_empty().await;
    store.put(&path, "stored".into()).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "stored");
}

async fn a_part_that_was_given_up_ends_the_upload(backend: Backend) {
    let (store, path) = (backend.store(), Path::from("given-up"));
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part(vec![1; 12 * MIB].into()).await.unwrap();
    drop(upload.put_part("given up".into()));
    upload.put_part("given up".into()).await.unwrap();
    let error = upload.complete().await.unwrap_err();
    let ours = std::error::Error::source(&error).and_then(|ours| ours.downcast_ref::<statehouse_core::Error>());
    assert_eq!(ours.map(statehouse_core::Error::kind), Some(ErrorKind::InvalidInput), "{error}");
    upload.abort().await.unwrap();
    backend.is_empty().await;
}

/// The file is replaced behind the look at which of them it has.
#[tokio::test]
async fn a_read_that_names_several_etags_is_of_one_of_them_also_if_it_is_replaced_meanwhile() {
    let files = Backend::memory().await.files;
    let first = files.put("a", "first").await.unwrap().etag;
    let store = with(&files, "filestore.head", nothing(), puts(&files, "another")).into_object_store();
    let path = Path::from("a");
    let wanted = || GetOptions::new().with_if_match(Some(format!("{first}, \"other\"")));
    let error = store.get_opts(&path, wanted()).await.unwrap_err();
    assert!(matches!(error, Error::Precondition { .. }), "{error}");
    assert_eq!(files.get("a").bytes().await.unwrap(), "another");
}

#[tokio::test]
async fn an_upload_whose_put_has_failed_says_why_wherever_it_is_asked() {
    let files = Backend::memory().await.files;
    let store = with(&files, "filestore.put", fails(), nothing()).into_object_store();
    let kind = |error: Error| {
        let ours = std::error::Error::source(&error).and_then(|ours| ours.downcast_ref::<statehouse_core::Error>());
        ours.map(statehouse_core::Error::kind)
    };
    let (path, away) = (Path::from("a"), Some(ErrorKind::Unavailable));
    let mut upload = store.put_multipart(&path).await.unwrap();
    let parts: Vec<_> = (0..3).map(|_| upload.put_part("part".into())).collect();
    for part in parts.into_iter().rev() {
        assert_eq!(part.await.map_err(kind), Err(away));
    }
    assert_eq!(upload.put_part("late".into()).await.map_err(kind), Err(away));
    assert_eq!(upload.complete().await.map_err(kind).unwrap_err(), away);
    upload.abort().await.unwrap();
    let mut upload = store.put_multipart(&path).await.unwrap();
    assert_eq!(upload.complete().await.map_err(kind).unwrap_err(), away, "without a part");
    assert!(!files.exists("a").await.unwrap());
}

async fn what_no_file_is_called_is_refused(backend: Backend) {
    let store = backend.store();
    let names = [String::new(), "x".repeat(256), "x/".repeat(250), "a\u{fffd}".to_owned(), "a\u{85}".to_owned()];
    for path in names.map(|name| Path::parse(name).unwrap()) {
        let refused = |result: Result<(), Error>| match result {
            Err(Error::NotSupported { source }) => {
                let ours = source.downcast_ref::<statehouse_core::Error>().map(statehouse_core::Error::kind);
                assert_eq!(ours, Some(ErrorKind::InvalidInput), "{path:?}");
            }
            other => panic!("{path:?}: {other:?}"),
        };
        refused(store.put(&path, "x".into()).await.map(drop));
        refused(store.put_multipart(&path).await.map(drop));
        refused(store.get(&path).await.map(drop));
        refused(store.head(&path).await.map(drop));
        refused(store.delete(&path).await);
        refused(store.copy(&path, &Path::from("a")).await);
        refused(store.rename(&Path::from("a"), &path).await);
        let Err(Error::NotSupported { source }) = store.copy(&Path::from("a"), &path).await else { panic!("{path:?}") };
        let named = source.downcast_ref::<statehouse_core::Error>().and_then(|ours| ours.key());
        assert_ne!(named, Some("a"), "it is the other");
    }
    let named = Attributes::from_iter([(Attribute::Metadata("A_b".into()), "x")]);
    let options = PutOptions { attributes: named.clone(), ..Default::default() };
    let refused = store.put_opts(&Path::from("a"), "x".into(), options).await.unwrap_err();
    assert!(matches!(refused, Error::NotSupported { .. }), "{refused}");
    let options = PutMultipartOptions { attributes: named, ..Default::default() };
    let refused = store.put_multipart_opts(&Path::from("a"), options).await.unwrap_err();
    assert!(matches!(refused, Error::NotSupported { .. }), "{refused}");
    backend.is_empty().await;
}

async fn the_last_bytes_of_a_file_may_be_none(backend: Backend) {
    let (store, [long, empty]) = (backend.store(), ["long", "empty"].map(Path::from));
    store.put(&long, "abc".into()).await.unwrap();
    store.put(&empty, PutPayload::default()).await.unwrap();
    for head in [false, true] {
        let last = |bytes| GetOptions::new().with_range(Some(GetRange::Suffix(bytes))).with_head(head);
        for (path, bytes, expected) in [(&long, 0, 3..3), (&empty, 0, 0..0), (&empty, 5, 0..0)] {
            let found = store.get_opts(path, last(bytes)).await.unwrap();
            assert_eq!((found.range.clone(), found.meta.size), (expected.clone(), expected.end), "{path}, {bytes}");
            assert_eq!(found.bytes().await.unwrap(), "");
        }
        let absent = store.get_opts(&Path::from("absent"), last(0)).await.unwrap_err();
        assert!(matches!(absent, Error::NotFound { .. }), "{absent}");
        let nothing = GetOptions::new().with_range(Some(2..2)).with_head(head);
        let refused = store.get_opts(&long, nothing).await.unwrap_err();
        assert!(matches!(refused, Error::Generic { .. }), "{refused}");
    }
    assert_eq!(
        store.get_opts(&long, GetOptions::new().with_range(Some(GetRange::Suffix(2)))).await.unwrap().range,
        1..3
    );
}

async fn a_buffered_writer_needs_no_more_than_one_request_at_a_time(backend: Backend) {
    use object_store::buffered::BufWriter;
    use tokio::io::AsyncWriteExt;

    let store: Arc<dyn ObjectStore> = Arc::new(object_store::limit::LimitStore::new(backend.store(), 1));
    let (path, content) = (Path::from("buffered"), content(25 * MIB));
    let write = async || {
        let mut writer = BufWriter::new(Arc::clone(&store), path.clone());
        for piece in content.chunks(999_999) {
            writer.write_all(piece).await.unwrap();
        }
        writer
    };
    write().await.abort().await.unwrap();
    drop(write().await);
    backend.is_empty().await;
    write().await.shutdown().await.unwrap();
    assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == content);
}

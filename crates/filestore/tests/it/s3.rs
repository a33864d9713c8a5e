//! S3, through a real server and a broken network.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::{ErrorKind, Namespace, Secret, ServiceUrl};
use statehouse_filestore::object::Transport;
use statehouse_filestore::{
    Body, FileStore, Files, ObjectConfig, ObjectFileStore, Probe, PutOutcome, S3Config, capability,
};
use statehouse_testkit::{Counts, Direction, FaultProxy, S3Server};

pub(crate) fn config(server: &S3Server) -> S3Config {
    S3Config::new(server.bucket())
        .with_endpoint(server.endpoint())
        .with_region(server.region())
        .with_credentials(server.access_key(), Secret::from(server.secret_key()))
        .with_transport(Transport::PlainAllowed)
        .with_timeouts(Duration::from_secs(2), Duration::from_secs(10))
}

pub(crate) fn files(store: ObjectFileStore) -> Files {
    let nonce = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    Files::new(Arc::new(store), Namespace::new(format!("it.{nonce}")).unwrap())
}

/// Waits until the server has answered, and so done, what was `seen` on its way there.
pub(crate) async fn is_answered(proxy: &FaultProxy, seen: &Counts) {
    let begun = Instant::now();
    // For as long as a busy machine may take, since the answer may have come before the request was seen.
    while proxy.counts().bytes_to_client == seen.bytes_to_client && begun.elapsed() < Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

mod versitygw {
    use super::*;
    statehouse_filestore::filestore_conformance!(async {
        let open = || async {
            let config = config(S3Server::shared().await).with_prefix("some/prefix");
            // What a busy machine takes long for is not told as lost.
            let config = config.with_timeouts(Duration::from_secs(10), Duration::from_secs(60));
            ObjectFileStore::open_s3(config).await.unwrap()
        };
        statehouse_filestore::conformance::Store::opened_by(open).await
    });
}

/// `object_store`'s own, brought along: it keeps no metadata, and no file below another.
mod local_file_system {
    use std::sync::OnceLock;

    use statehouse_filestore::conformance;

    use super::*;

    fn directory() -> &'static std::path::Path {
        static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
        DIRECTORY.get_or_init(|| tempfile::tempdir().unwrap()).path()
    }

    /// The cases that a store can pass that stages beside its target, under a longer name.
    macro_rules! cases {
        ($($case:ident),* $(,)?) => { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let store = object_store::local::LocalFileSystem::new_with_prefix(directory()).unwrap();
                let config = ObjectConfig::new().with_capability(capability::DURABLE);
                let store = ObjectFileStore::open(Arc::new(store), config).await.unwrap();
                conformance::run(conformance::Store::new(store), stringify!($case)).await;
            }
        )* };
    }

    cases! {
        a_broken_promise_about_the_body_leaves_nothing,
        a_stream_that_fails_in_a_late_part_leaves_the_old_file,
        a_dropped_put_leaves_nothing,
        deleting_a_missing_file_is_ok,
        of_16_racing_creators_exactly_one_wins_200_times,
        reading_a_missing_file_is_not_found,
        ranges_are_cut_to_the_file,
        a_read_needs_the_etag_it_asks_for,
        readers_see_the_old_file_or_the_new_one,
        names_that_differ_in_case_or_unicode_form_are_different,
        a_listing_of_one_level_gathers_what_is_below,
        a_listing_may_begin_behind_any_text,
        namespaces_are_apart,
        a_store_that_works_is_up,
        a_reader_never_mixes_two_states_of_a_file,
        a_reader_says_what_it_cannot_open,
        a_writer_that_is_shut_down_has_stored_the_file,
        a_writer_that_is_dropped_leaves_nothing,
        a_writer_that_fails_leaves_the_old_file,
        a_rename_that_could_delete_another_state_is_refused,
    }

    #[tokio::test]
    async fn with_and_without_a_probe_files_are_stored_and_what_is_not_kept_is_refused() {
        for probe in [Probe::Open, Probe::Never] {
            let store = object_store::local::LocalFileSystem::new_with_prefix(directory()).unwrap();
            let opened = ObjectFileStore::open(Arc::new(store), ObjectConfig::new().with_probe(probe)).await;
            let files = files(opened.unwrap());
            files.put("a", "plain").await.unwrap();
            assert_eq!(files.get("a").bytes().await.unwrap(), "plain");
            let parts = Body::from_stream(futures_util::stream::iter(
                (0..9).map(|_| Ok::<_, std::io::Error>(vec![7; 1 << 20])),
            ));
            files.put("b", parts).await.unwrap();
            assert_eq!(files.get("b").bytes().await.unwrap().len(), 9 << 20);
            let error = files.put("a", "x").content_type("text/plain").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert_eq!(files.get("a").bytes().await.unwrap(), "plain");
            files.delete("a").await.unwrap();
            files.delete("b").await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_probe_finds_what_the_server_honours() {
    let store = ObjectFileStore::open_s3(config(S3Server::shared().await)).await.unwrap();
    let has = store.capabilities();
    for capability in [capability::CREATE_IF_ABSENT, capability::REPLACE_IF_MATCH, capability::CONDITIONAL_PARTS] {
        assert!(has.has(capability), "{capability:?}");
    }
}

#[tokio::test]
async fn a_server_that_drops_headers_is_noticed_and_is_not_given_any() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    proxy.strip_s3_headers(&["cache-control"], server.secret_key());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    let has = files.store().capabilities();
    assert!(has.has(capability::METADATA) && !has.has(capability::CONTENT_HEADERS), "{has:?}");
    let error = files.put("a", "x").content_disposition("inline").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(files.put("a", "x").content_disposition("inline").stage().await.unwrap_err().kind(), error.kind());
    files.put("a", "x").content_type("text/plain").metadata("n", "1").await.unwrap();
    files.delete("a").await.unwrap();
}

#[tokio::test]
async fn a_server_that_ignores_preconditions_is_noticed_and_refused() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    proxy.strip_s3_headers(&["if-none-match", "if-match"], server.secret_key());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let files = files(ObjectFileStore::open_s3(config.clone()).await.unwrap());
    let has = files.store().capabilities();
    let conditional = [
        capability::CREATE_IF_ABSENT,
        capability::REPLACE_IF_MATCH,
        capability::CONDITIONAL_PARTS,
        capability::DELETE_IF_MATCH,
    ];
    assert!(conditional.iter().all(|capability| !has.has(*capability)), "{has:?}");
    let stored = files.put("a", "first").await.unwrap();
    let unsupported = |error: statehouse_core::Error| assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    unsupported(files.put("a", "second").if_absent().await.unwrap_err());
    unsupported(files.put("a", "second").if_match(&stored.etag).await.unwrap_err());
    unsupported(files.delete("a").if_match(&stored.etag).await.unwrap_err());
    unsupported(files.copy("a", "b").if_absent().await.unwrap_err());
    assert_eq!(files.get("a").bytes().await.unwrap(), "first");
    let error = ObjectFileStore::open_s3(config.require(capability::CREATE_IF_ABSENT)).await.unwrap_err();
    unsupported(error);
    files.delete("a").await.unwrap();
}

/// The etag is the content's, and the store says so.
#[tokio::test]
async fn a_file_that_is_as_it_was_has_the_etag_that_it_had() {
    let files = files(ObjectFileStore::open_s3(config(S3Server::shared().await)).await.unwrap());
    assert!(!files.store().capabilities().has(capability::ETAG_PER_PUT));
    let first = files.put("a", "A").await.unwrap().etag;
    files.put("a", "B").await.unwrap();
    assert_eq!(files.put("a", "A").await.unwrap().etag, first);
    assert!(files.put("a", "C").if_match(&first).await.unwrap().stored().is_some(), "A-B-A");
    files.delete("a").await.unwrap();
}

#[tokio::test]
async fn each_wrong_setting_is_an_error_of_its_own_when_opened() {
    let server = S3Server::shared().await;
    let open = async |config| ObjectFileStore::open_s3(config).await.unwrap_err();
    let mut missing = config(server);
    missing.bucket = "no-such-bucket".to_owned();
    let error = open(missing).await;
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    let error = open(config(server).with_credentials(server.access_key(), "wrong-secret".into())).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    assert!(!format!("{error} {error:?}").contains("wrong-secret"));
    let error = open(config(server).with_credentials("nobody", server.secret_key().into())).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    let proxy = FaultProxy::start(server.address());
    proxy.cut();
    let start = Instant::now();
    let error = open(config(server).with_endpoint(proxy.url(&server.endpoint())).with_retries(1)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.setting().is_some(), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_wrong_region_is_named_together_with_the_right_one() {
    let server = S3Server::builder().region("eu-test-1").start().await;
    let error = ObjectFileStore::open_s3(config(&server).with_region("us-east-1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    assert!(error.message().contains("region") && error.setting().is_some(), "{error}");
}

/// Where the server has no place for it, as one that keeps plain files.
#[tokio::test]
async fn a_file_below_another_is_kept_or_refused_before_anything_is_written() {
    let server = S3Server::shared().await;
    let files = files(ObjectFileStore::open_s3(config(server)).await.unwrap());
    let nests = files.store().capabilities().has(capability::NESTED_FILES);
    files.put("a", "file").await.unwrap();
    files.put("b/c", "file").await.unwrap();
    let long =
        || Body::from_stream(futures_util::stream::iter((0..9).map(|_| Ok::<_, std::io::Error>(vec![7; 1 << 20]))));
    let results = [
        files.put("a/b", "below").await,
        files.put("b", "above").await,
        files.put("a/b", long()).await,
        files.put("a/b/c/d", vec![7; 9 << 20]).await,
        // The server says it when all has been sent, and in words that leave open what became of it.
        files.put("b", long()).await,
        files.put("b", vec![7; 9 << 20]).await,
        files.copy("a", "a/b").await,
        files.copy("a", "b").await,
    ];
    for result in results {
        match result {
            Ok(_) => assert!(nests),
            Err(error) => {
                assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unsupported, false), "{error:?}");
                assert!(!nests);
            }
        }
    }
    for name in ["a/b", "a/b/c/d", "b", "b/c", "a"] {
        files.delete(name).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_copied_onto_itself_stays_as_it_is() {
    let server = S3Server::shared().await;
    let files = files(ObjectFileStore::open_s3(config(server)).await.unwrap());
    let stored = files.put("a", "content").content_type("text/plain").await.unwrap();
    assert_eq!(files.copy("a", "a").await.unwrap(), stored);
    assert_eq!(files.copy("a", "a").if_match(&stored.etag).await.unwrap(), PutOutcome::Stored(stored));
    assert_eq!(files.copy("a", "a").if_absent().await.unwrap(), PutOutcome::Conflict);
    assert_eq!(files.head("a").await.unwrap().content_type.as_deref(), Some("text/plain"));
    files.delete("a").await.unwrap();
}

#[tokio::test]
async fn a_url_opens_the_store() {
    let server = S3Server::shared().await;
    let text = format!(
        "s3://{}:{}@{}/urls?endpoint={}&region={}&allow_http=true&require=create_if_absent",
        server.access_key(),
        server.secret_key(),
        server.bucket(),
        server.endpoint(),
        server.region()
    );
    let url = ServiceUrl::parse("STATEHOUSE_FILES_URL", &text).unwrap();
    let files = statehouse_filestore::open(url, &Namespace::new("n").unwrap()).await.unwrap();
    assert!(files.store().health().await.is_up());
}

#[tokio::test]
async fn an_outage_is_an_error_and_never_an_absent_file() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint())).with_retries(1).with_probe(Probe::Never);
    let quick = config.with_timeouts(Duration::from_secs(1), Duration::from_secs(2));
    let files = files(ObjectFileStore::open_s3(quick).await.unwrap());
    crate::broken::an_outage_is_an_error(&proxy, &files).await;
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_knows_its_own_file() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let config = config.with_timeouts(Duration::from_secs(2), Duration::from_millis(1500)).with_retries(6);
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    crate::broken::a_create_knows_its_own_file(&proxy, &files).await;
}

/// The first attempt is applied and its answer lost; by the time of the second somebody else has replaced the file. Or had
/// written it long before: then the first attempt was refused as well.
#[tokio::test]
async fn a_refusal_after_a_lost_answer_is_certain_only_where_what_is_there_is_older() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let config = config.with_timeouts(Duration::from_secs(2), Duration::from_millis(1500)).with_retries(6);
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    let target = |name: &str| format!("/{}/{}/{name}", server.bucket(), files.namespace());
    server.request("PUT", &target("old"), &[], b"theirs").await.unwrap();
    tokio::time::sleep(Duration::from_millis(4500)).await;
    for name in ["replaced", "old"] {
        proxy.black_hole_way(Direction::ToClient);
        let put = files.put(name, "mine").if_absent().into_future();
        let meanwhile = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            if name == "replaced" {
                let answer = server.request("PUT", &target(name), &[], b"theirs").await.unwrap();
                assert_eq!(answer.status, 200);
            }
            proxy.reset_connections();
            proxy.heal();
        };
        let (stored, ()) = tokio::join!(put, meanwhile);
        match name {
            "replaced" => assert_eq!(stored.unwrap_err().kind(), ErrorKind::OutcomeUnknown),
            _ => assert_eq!(stored.unwrap(), PutOutcome::Conflict),
        }
        assert_eq!(files.get(name).bytes().await.unwrap(), "theirs");
        files.delete(name).await.unwrap();
    }
}

#[tokio::test]
async fn a_write_that_cannot_be_read_back_is_of_unknown_outcome() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let config = config.with_timeouts(Duration::from_secs(2), Duration::from_secs(2)).with_retries(0);
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    proxy.black_hole_way(Direction::ToClient);
    let error = files.put("a", "x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    let target = format!("/{}/{}/a", server.bucket(), files.namespace());
    server.request("DELETE", &target, &[], b"").await.unwrap();
}

#[tokio::test]
async fn a_body_that_breaks_is_an_error_and_never_short() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint())).with_probe(Probe::Never).with_retries(1);
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    crate::broken::a_body_is_never_short(&proxy, &files).await;
}

#[tokio::test]
async fn uploads_that_fail_or_are_dropped_leave_no_parts() {
    let server = S3Server::start().await;
    let files = files(ObjectFileStore::open_s3(config(&server)).await.unwrap());
    let pieces = || (0..20).map(|_| Ok(vec![7_u8; 1 << 20]));
    let failing = futures_util::stream::iter(pieces().chain([Err("the client went away")]));
    assert_eq!(files.put("a", Body::from_stream(failing)).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let pending = futures_util::StreamExt::chain(
        futures_util::stream::iter(pieces()),
        futures_util::stream::pending::<Result<Vec<u8>, &'static str>>(),
    );
    let put = files.put("a", Body::from_stream(pending)).into_future();
    assert!(tokio::time::timeout(Duration::from_secs(1), put).await.is_err());
    files.put("b", "x").await.unwrap();
    let stream = futures_util::stream::iter(pieces());
    let put = files.put("b", Body::from_stream(stream)).if_absent();
    assert_eq!(put.await.unwrap(), PutOutcome::Conflict);
    crate::s3_leftovers::no_uploads(&server).await;
    assert!(!files.exists("a").await.unwrap());
}

#[tokio::test]
async fn a_file_that_something_else_wrote_is_read_without_a_digest() {
    let server = S3Server::shared().await;
    let files = files(ObjectFileStore::open_s3(config(server)).await.unwrap());
    let target = format!("/{}/{}/foreign", server.bucket(), files.namespace());
    let headers = [("content-type", "text/plain"), ("x-amz-meta-owner", "somebody")];
    assert_eq!(server.request("PUT", &target, &headers, b"content").await.unwrap().status, 200);
    let object = files.get("foreign").await.unwrap();
    assert_eq!((object.meta().sha256, object.meta().content_type.as_deref()), (None, Some("text/plain")));
    assert_eq!(object.meta().user["owner"], "somebody");
    assert_eq!(object.bytes().await.unwrap(), "content");
    files.delete("foreign").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_length_around_a_part_reads_back_and_is_copied() {
    const PART: usize = 5 << 20;
    let config = config(S3Server::shared().await).with_part_size(PART as u64);
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    let whole: bytes::Bytes = (0..2 * PART + 1).map(|at| u8::try_from(at % 251).unwrap()).collect();
    for len in [0, 1, 4096, PART - 1, PART, PART + 1, 2 * PART - 1, 2 * PART, 2 * PART + 1] {
        let content = whole.slice(..len);
        let pieces = |size: usize| {
            let pieces: Vec<_> =
                content.chunks(size).map(bytes::Bytes::copy_from_slice).map(Ok::<_, std::io::Error>).collect();
            Body::from_stream(futures_util::stream::iter(pieces))
        };
        let bodies = [Body::from(content.clone()), pieces(65_537), pieces(PART), pieces(1 << 20).with_len(len as u64)];
        for (number, body) in bodies.into_iter().enumerate() {
            let stored = files.put("a", body).await.unwrap();
            let digest = Some(statehouse_filestore::Digest::of(&content));
            assert_eq!((stored.len, stored.sha256), (len as u64, digest), "{len}, {number}");
            assert!(files.get("a").await.unwrap().verify_sha256().bytes().await.unwrap() == content, "{len}, {number}");
            assert_eq!(files.copy("a", "b").await.unwrap().sha256, digest);
            if len > 0 {
                assert_eq!(files.get("b").range(len as u64 - 1..).bytes().await.unwrap(), content[len - 1..]);
            }
        }
    }
    files.delete("a").await.unwrap();
    files.delete("b").await.unwrap();
}

/// The server takes a directory away with the last file in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_stored_while_the_last_one_beside_them_is_deleted() {
    let files = files(ObjectFileStore::open_s3(config(S3Server::shared().await)).await.unwrap());
    let each = statehouse_core::conformance::rounds(300, 5_000);
    let tasks = (0..3).map(|task| {
        let files = files.clone();
        tokio::spawn(async move {
            for _ in 0..each {
                let name = format!("deep/down/here/{task}");
                files.put(&name, "content").await.unwrap();
                files.delete(&name).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

//! An application that only reads, and the one who writes all the same.

use std::time::Duration;

use statehouse::files::{FileKey, FileStore as _, PresignOptions, Verb};
use statehouse::search::Document;
use statehouse::{Config, Error, ErrorKind, Services};
use statehouse_testkit::S3Server;

#[derive(Clone, Debug, PartialEq, Document)]
struct Concept {
    #[document(id)]
    code: String,
    #[document(text)]
    display: String,
}

fn refused(error: &Error) {
    let told = (error.kind(), error.setting(), error.is_retryable());
    assert_eq!(told, (ErrorKind::PermissionDenied, Some("STATEHOUSE_READ_ONLY"), false), "{error:?}");
}

#[tokio::test]
async fn files_and_indexes_are_written_by_a_loader_alone_and_only_under_its_lock() {
    let services = Services::open(Config::in_memory().with_read_only(true)).await.unwrap();
    let scans = services.files("scans").unwrap();
    refused(&scans.put("a", "DICM").await.unwrap_err());
    refused(&scans.delete("a").await.unwrap_err());
    let store = services.file_store();
    let key = FileKey::new("app.scans/a").unwrap();
    refused(&store.copy_with(&key, &key, Default::default()).await.unwrap_err());
    let concepts = services.search::<Concept>("concepts").open().await.unwrap();
    let cholera = Concept { code: "A00".to_owned(), display: "Cholera".to_owned() };
    refused(&concepts.upsert(cholera.clone()).await.unwrap_err());
    assert!(!scans.exists("a").await.unwrap() && concepts.get("A00").await.unwrap().is_none(), "reading goes on");

    let lock = services.coordination().lock("preload").lease(Duration::from_millis(600)).await.unwrap();
    let loader = services.loader(lock);
    let (scans_of, concepts_of) = (loader.files("scans").unwrap(), loader.search::<Concept>("concepts").await.unwrap());
    scans_of.put("a", "DICM").await.unwrap();
    concepts_of.upsert(cholera).await.unwrap();
    concepts_of.refresh().await.unwrap();
    assert_eq!(scans.get("a").bytes().await.unwrap(), "DICM");
    assert_eq!(concepts.get("A00").await.unwrap().unwrap().display, "Cholera");
    refused(&scans.put("b", "DICM").await.unwrap_err());
    loader.release().await.unwrap();
    let error = scans_of.put("b", "DICM").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    services.coordination().lock("preload").await.expect("it was given back").release().await.unwrap();
    assert!(!scans.exists("b").await.unwrap());
}

/// Whoever has a request signed does what that request does.
#[tokio::test]
async fn a_download_may_be_signed_and_an_upload_may_not() {
    let server = S3Server::shared().await;
    let url = crate::s3_url(server, server.secret_key(), server.bucket());
    let namespace = format!("signed{}", std::process::id());
    let config = || Config::in_memory().with_namespace(&namespace).with_files(url.as_str());
    let writes = Services::open(config()).await.unwrap();
    writes.files("scans").unwrap().put("a", "DICM").await.unwrap();
    let reads = Services::open(config().with_read_only(true)).await.unwrap();
    let (store, key) = (reads.file_store(), FileKey::new(format!("{namespace}.scans/a")).unwrap());
    let minute = Duration::from_secs(60);
    let signed = store.presign_with(&key, PresignOptions::new(Verb::Get, minute)).await.unwrap();
    assert!(signed.url.contains("X-Amz-Signature"));
    refused(&store.presign_with(&key, PresignOptions::new(Verb::Put, minute)).await.unwrap_err());
}

#[tokio::test]
async fn what_is_no_content_goes_on() {
    let services = Services::open(Config::in_memory().with_read_only(true)).await.unwrap();
    let rates = services.cache::<f64>("rates").time_to_live(Duration::from_secs(60)).open().unwrap();
    rates.set("EUR/USD", 1.08).await.unwrap();
    services.coordination().state::<u32>("flags").update("limit", |_| 7).await.unwrap();
    assert!(services.health().await.is_up());
    services.shutdown().await.unwrap();
}

/// A loader whose lock is lost writes no more, although nobody has told it to stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_that_has_lost_its_lock_is_refused() {
    let services = Services::open(Config::in_memory().with_read_only(true)).await.unwrap();
    let coord = services.coordination();
    let loader = services.loader(coord.lock("preload").await.unwrap());
    let scans = loader.files("scans").unwrap();
    scans.put("a", "1").await.unwrap();
    let store = coord.store();
    let key = statehouse::coord::CoordKey::new("lock/preload").unwrap();
    let _taken = store.put_with(&key, "taken away".into(), Default::default()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), loader.guard().lost()).await.expect("it is told");
    let error = scans.put("b", "2").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert!(!services.files("scans").unwrap().exists("b").await.unwrap());
}

/// One that was stopped for longer than its lease, and goes on with what it had begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_former_loader_writes_is_refused_by_its_token() {
    let services = Services::open(Config::in_memory().with_read_only(true)).await.unwrap();
    let (coord, scans) = (services.coordination(), services.files("scans").unwrap());
    let concepts = services.search::<Concept>("concepts").open().await.unwrap();
    let loader = async || {
        let lock = coord.lock("preload").guards(&scans).guards(&concepts).await.unwrap();
        services.loader(lock)
    };
    let cholera = |display: &str| Concept { code: "A00".to_owned(), display: display.to_owned() };
    let first = loader().await;
    let (token, fence) = (first.guard().token(), first.guard().fence().clone());
    first.files("scans").unwrap().put("a", "first").fenced(&first).await.unwrap();
    first.release().await.unwrap();

    let second = loader().await;
    assert!(second.guard().token() > token);
    let (files, index) = (second.files("scans").unwrap(), second.search::<Concept>("concepts").await.unwrap());
    files.put("a", "second").fenced(&second).await.unwrap();
    index.upsert(cholera("second")).fenced(&second).await.unwrap();
    let late = files.put("a", "first again").fenced(&fence).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced, "{late:?}");
    let late = index.upsert(cholera("first again")).fenced(&fence).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced, "{late:?}");
    assert_eq!(scans.get("a").bytes().await.unwrap(), "second");
    // Who has no lock has raised nothing by which they could write.
    refused(&scans.put("a", "third").fenced(&fence).await.unwrap_err());
    second.release().await.unwrap();
}

use std::time::Duration;

use statehouse::files::{CommitOutcome, Decision};
use statehouse::search::{Document, Index};
use statehouse::session::{SessionConfig, Sessions};
use statehouse::{Config, ErrorKind, SearchBuilder, Services};
use statehouse_testkit::{OpenSearchNode, RedisServer, S3Server};

#[derive(Debug, PartialEq, Document)]
pub(crate) struct Concept {
    #[document(id)]
    code: String,
    #[document(text)]
    title: String,
    #[document(keyword, sort)]
    chapter: String,
    #[document(version)]
    row: u64,
}

pub(crate) fn concept(code: &str, title: &str) -> Concept {
    Concept { code: code.into(), title: title.into(), chapter: "IX".into(), row: 1 }
}

/// Opens an index, whatever is in it.
pub(crate) async fn open(index: SearchBuilder<'_, Concept>) -> statehouse::Result<Index<Concept>> {
    index.open().await
}

/// One walk through everything that the README's first screen promises.
async fn walk(services: &Services) {
    let rates = services.cache::<f64>("rates").time_to_live(Duration::from_secs(60)).open().unwrap();
    let load = || async { Ok::<_, std::io::Error>(1.08) };
    assert_eq!(*rates.get_or_load("EUR/USD", load).await.unwrap(), 1.08);
    assert_eq!(rates.get("EUR/USD").await.unwrap().as_deref(), Some(&1.08));
    rates.invalidate("EUR/USD").await.unwrap();
    assert_eq!(rates.get("EUR/USD").await.unwrap(), None);

    let scans = services.files("scans").unwrap();
    scans.put("p42/chest.dcm", "DICM").content_type("application/dicom").await.unwrap();
    assert_eq!(scans.get("p42/chest.dcm").range(..2).bytes().await.unwrap(), "DI");
    assert!(!services.files("others").unwrap().exists("p42/chest.dcm").await.unwrap());

    let concepts = services.search::<Concept>("concepts").open().await.unwrap();
    concepts
        .upsert_all([concept("I21", "Heart attack"), concept("A00", "Cholera")])
        .wait_until_visible()
        .await
        .unwrap();
    let query = Concept::title().matches("hart atack").fuzzy();
    let page = concepts.query(query).filter(Concept::chapter().is("IX")).highlight(Concept::title()).await.unwrap();
    assert_eq!((page.total, page.hits[0].document.code.as_str()), (1, "I21"));
    assert_eq!(page.hits[0].highlight(Concept::title())[0].to_html("<b>", "</b>"), "<b>Heart</b> <b>attack</b>");
    assert_eq!(concepts.get("I21").await.unwrap(), Some(concept("I21", "Heart attack")));
    // The same name is the same index, whoever asks for it.
    let again = services.search::<Concept>("concepts").open().await.unwrap();
    assert_eq!(again.count(Concept::chapter().is("IX")).await.unwrap(), 2);

    let sessions = Sessions::new(services.sessions(), SessionConfig::default());
    let session = sessions.open(&Default::default());
    session.login("u42").await.unwrap();
    session.insert("theme", "dark").unwrap();
    session.commit().await.unwrap();
    assert_eq!(session.get::<String>("theme").await.unwrap().as_deref(), Some("dark"));

    let health = crate::is_up(services).await;
    for service in ["cache", "sessions", "files", "search"] {
        let health = health.get(service).unwrap();
        assert!(health.is_up(), "{service}: {:?}", health.error);
    }
}

#[tokio::test]
async fn everything_works_in_memory() {
    let services = Services::open(Config::in_memory()).await.unwrap();
    walk(&services).await;
    services.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_is_on_disk_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let services = Services::open(Config::embedded(folder.path())).await.unwrap();
    walk(&services).await;
    services.shutdown().await.unwrap();
    drop(services);

    let services = Services::open(Config::embedded(folder.path())).await.unwrap();
    assert!(services.files("scans").unwrap().exists("p42/chest.dcm").await.unwrap());
    let concepts = services.search::<Concept>("concepts").open().await.unwrap();
    assert_eq!(concepts.get("A00").await.unwrap(), Some(concept("A00", "Cholera")));
    assert_eq!(concepts.query(Concept::title().matches("cholera")).await.unwrap().total, 1);
    services.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_same_code_works_on_redis_s3_and_opensearch() {
    let (redis, s3, opensearch) = tokio::join!(RedisServer::shared(), S3Server::shared(), OpenSearchNode::shared());
    let config = || {
        Config::in_memory()
            .with_namespace(format!("facade-{}", std::process::id()))
            .with_cache(redis.url())
            .with_sessions(redis.url())
            .with_files(crate::s3_url(s3, s3.secret_key(), s3.bucket()))
            .with_search(crate::opensearch_url(opensearch))
    };
    let one = Services::open(config()).await.unwrap();
    walk(&one).await;
    // A second replica sees what the first has stored.
    let two = Services::open(config()).await.unwrap();
    assert!(two.files("scans").unwrap().exists("p42/chest.dcm").await.unwrap());
    let concepts = two.search::<Concept>("concepts").open().await.unwrap();
    assert_eq!(concepts.query(Concept::title().matches("cholera")).await.unwrap().total, 1);
    one.shutdown().await.unwrap();
    two.shutdown().await.unwrap();
}

/// What a store can do is known once it is open, which its first call sees to.
#[tokio::test]
async fn the_first_call_of_a_process_may_be_a_sweep_that_settles() {
    let s3 = S3Server::shared().await;
    let namespace = format!("sweeping-{}", std::process::id());
    let url = crate::s3_url(s3, s3.secret_key(), s3.bucket());
    let config = || Config::in_memory().with_namespace(namespace.as_str()).with_files(url.as_str());
    let before = Services::open(config()).await.unwrap();
    let staged = before.files("scans").unwrap().put("p42", "DICM").stage().await.unwrap();
    let after = Services::open(config()).await.unwrap().files("scans").unwrap();
    let discard = |_, _| async { Ok(Decision::Discard) };
    let swept = after.sweep().grace(Duration::ZERO).decide(discard).await.unwrap();
    assert_eq!((swept.discarded, swept.committed, swept.kept), (1, 0, 0));
    assert_eq!(staged.commit().await.unwrap(), CommitOutcome::Gone);
}

#[tokio::test]
async fn an_index_is_not_opened_with_two_types_that_contradict_each_other() {
    #[derive(Document)]
    struct Other {
        #[document(id)]
        code: String,
        #[document(keyword)]
        title: String,
    }
    let services = Services::open(Config::in_memory()).await.unwrap();
    services.search::<Concept>("concepts").open().await.unwrap();
    let error = services.search::<Other>("concepts").open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("\"title\" is a keyword, and was a text"), "{error}");
    let _ = (Other { code: String::new(), title: String::new() }, Other::title());
}

#[tokio::test]
async fn names_are_checked_before_anything_is_opened() {
    let services = Services::open(Config::in_memory()).await.unwrap();
    assert_eq!(services.files("a/b").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(services.search::<Concept>("A").open().await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[cfg(unix)]
fn everything(below: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![below.to_owned()];
    for path in std::fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { found.extend(everything(&path)) } else { found.push(path) }
    }
    found
}

/// Whichever service makes the folder that they share.
#[cfg(unix)]
#[tokio::test]
async fn what_is_embedded_is_kept_where_no_other_user_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let above = tempfile::tempdir().unwrap();
    let data = above.path().join("a/data");
    let services = Services::open(Config::embedded(&data)).await.unwrap();
    walk(&services).await;
    let made = everything(&above.path().join("a"));
    for service in ["files", "search", "sessions"] {
        assert!(made.iter().any(|path| path.starts_with(data.join(service)) && path.is_file()), "{made:?}");
    }
    for path in made {
        let metadata = std::fs::metadata(&path).unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        let mode = metadata.permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{} is {mode:o}", path.display());
    }
}

//! What is told of one call to each service.

use std::time::Duration;

use statehouse::core::conformance::Spans;
use statehouse::session::{SessionConfig, Sessions};
use statehouse::{Config, Services};
use statehouse_testkit::{RedisServer, S3Server};

use crate::services::concept;

/// What nobody must find in a span.
const SECRET: &str = "hunter2";

const FIELDS: [&str; 12] = [
    "otel.name=",
    "otel.kind=\"client\"",
    "statehouse.backend=",
    "statehouse.name=",
    "db.system.name=",
    "db.operation.name=",
    "http.request.method=",
    "http.request.resend_count=",
    "http.response.status_code=",
    "server.address=\"127.0.0.1\"",
    "server.port=",
    "error.type=",
];

async fn cache(services: &Services) {
    let cache = services.cache::<String>("rates").time_to_live(Duration::from_secs(60)).open().unwrap();
    let load = || async { Ok::<_, std::io::Error>(SECRET.to_owned()) };
    cache.get_or_load(SECRET, load).await.unwrap();
    assert!(cache.get(SECRET).await.unwrap().is_some());
    cache.get_many(&[SECRET]).await.unwrap();
    cache.set(SECRET, SECRET.to_owned()).await.unwrap();
    cache.invalidate(SECRET).await.unwrap();
}

async fn sessions(services: &Services) {
    let sessions = Sessions::new(services.sessions(), SessionConfig::default());
    let session = sessions.open(&Default::default());
    session.login(SECRET).await.unwrap();
    session.insert("theme", SECRET).unwrap();
    session.commit().await.unwrap();
    session.logout().await.unwrap();
}

async fn files(services: &Services) {
    let scans = services.files("scans").unwrap();
    scans.put(SECRET, SECRET).await.unwrap();
    assert_eq!(scans.get(SECRET).bytes().await.unwrap(), SECRET);
}

async fn search(services: &Services) {
    let concepts = crate::services::open(services.search("concepts")).await.unwrap();
    concepts.upsert(concept(SECRET, SECRET)).wait_until_visible().await.unwrap();
    concepts.get(SECRET).await.unwrap();
}

async fn coordination(services: &Services) {
    services.coordination().state::<String>(SECRET).update(SECRET, |_| SECRET.to_owned()).await.unwrap();
}

/// The spans of one call to each service, by the name of the service.
async fn told(services: &Services) -> Vec<(&'static str, Vec<String>)> {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.clone());
    let mut told = Vec::new();
    let mut seen = 0;
    let mut note = |service| {
        // Those of HTTP and of other crates are theirs.
        let lines: Vec<_> = spans.lines().split_off(seen);
        seen += lines.len();
        told.push((service, lines.into_iter().filter(|line| line.starts_with("statehouse ")).collect()));
    };
    cache(services).await;
    note("cache");
    sessions(services).await;
    note("session");
    files(services).await;
    note("filestore");
    search(services).await;
    note("search");
    coordination(services).await;
    note("coord");
    told
}

fn check(service: &str, line: &str) {
    assert!(!line.contains(SECRET), "a key or a value: {line}");
    let name = line.split("otel.name=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a name");
    let (of, verb) = name.split_once('.').expect("service.verb");
    let owners = [service, "redis", "s3", "filestore"];
    assert!(owners.contains(&of) && !verb.is_empty(), "{service}: {line}");
    let rest = line.split(' ').skip(1);
    rest.for_each(|field| assert!(FIELDS.iter().any(|known| field.starts_with(known)), "{field} in {line}"));
}

fn has(all: &[(&str, Vec<String>)], service: &str, expected: &[&str]) {
    let (_, lines) = all.iter().find(|(name, _)| *name == service).unwrap();
    for expected in expected {
        assert!(lines.iter().any(|line| line.contains(expected)), "{expected} is not in {lines:#?}");
    }
}

#[tokio::test]
async fn the_spans_of_all_services_have_one_style_and_tell_no_keys_and_no_values() {
    let (redis, s3) = tokio::join!(RedisServer::shared(), S3Server::shared());
    let shared = Config::in_memory()
        .with_namespace(format!("spans-{}", std::process::id()))
        .with_cache(redis.url())
        .with_sessions(redis.url())
        .with_files(crate::s3_url(s3, s3.secret_key(), s3.bucket()));
    let folder = tempfile::tempdir().unwrap();
    for (config, backend) in [(Config::embedded(folder.path()), "memory"), (shared, "redis")] {
        let services = Services::open(config).await.unwrap();
        let all = told(&services).await;
        for (service, lines) in &all {
            assert!(!lines.is_empty(), "{service} tells nothing");
            lines.iter().for_each(|line| check(service, line));
        }
        let named = |verb: &str, middle: &str| format!("otel.name=\"cache.{verb}\"{middle} statehouse.name=\"rates\"");
        let of = format!(" statehouse.backend=\"{backend}\"");
        for verb in ["get", "get_many", "set", "remove", "reserve"] {
            has(&all, "cache", &[&named(verb, &of)]);
        }
        has(&all, "cache", &[&named("load", "")]);
        has(&all, "session", &["\"session.commit\"", "\"session.logout\"", " statehouse.backend="]);
        if backend == "redis" {
            let request = "\"redis.request\" otel.kind=\"client\" db.system.name=\"redis\" db.operation.name=";
            has(&all, "cache", &[request]);
            has(&all, "session", &[request]);
            let request = |method| format!("\"s3.request\" otel.kind=\"client\" http.request.method=\"{method}\"");
            has(&all, "filestore", &[&request("PUT"), &request("GET")]);
        }
        services.shutdown().await.unwrap();
    }
}

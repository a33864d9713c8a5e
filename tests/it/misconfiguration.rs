//! Every mistake that an operator can make in a URL is told apart, and names the setting.

use std::time::Duration;

use statehouse::session::{SessionStoreExt as _, Token};
use statehouse::{Config, Error, ErrorKind, Services};
use statehouse_testkit::{AzureServer, HttpsProxy, OpenSearchNode, RedisServer, S3Server};

/// How to say where a service is, the setting that errors must name, and a well formed URL that leads nowhere.
type Service = (fn(&str) -> Config, &'static str, &'static str);

const SERVICES: [Service; 4] = [
    (|url| Config::in_memory().with_cache(url), "STATEHOUSE_CACHE_URL", "redis://h"),
    (|url| Config::in_memory().with_sessions(url), "STATEHOUSE_SESSIONS_URL", "redis://h"),
    (|url| Config::in_memory().with_files(url), "STATEHOUSE_FILES_URL", "s3://bucket?region=r"),
    (|url| Config::in_memory().with_search(url), "STATEHOUSE_SEARCH_URL", "opensearch+http://h"),
];

async fn refused(config: Config) -> Error {
    Services::open(config).await.expect_err("a refusal")
}

/// The error of a service that is well configured and cannot be had: the same at the start of the program, for the first
/// that uses it, and in the health.
async fn missing(config: Config, setting: &str) -> Error {
    let services = Services::open(config).await.expect("well configured");
    let cache = services.cache::<u32>("numbers").time_to_live(Duration::from_secs(60)).open().unwrap();
    let (sessions, files, index) = (services.sessions(), services.files("scans").unwrap(), services.search("concepts"));
    let at_start = services.connect().await.expect_err("it cannot be had");
    assert_eq!(at_start.setting(), Some(setting), "{at_start:?}");
    let first_use = match setting {
        "STATEHOUSE_CACHE_URL" => cache.get("one").await.map(drop),
        "STATEHOUSE_SESSIONS_URL" => sessions.load(&Token::generate().unwrap().key()).await.map(drop),
        "STATEHOUSE_FILES_URL" => files.head("a").await.map(drop),
        _ => crate::services::open(index).await.map(drop),
    };
    let health = services.health().await;
    let down: Vec<_> = health.iter().filter(|(_, health)| !health.is_up()).collect();
    let [(_, health)] = down[..] else { panic!("{down:?}") };
    for error in [&first_use.unwrap_err(), health.error.as_ref().unwrap()] {
        assert_eq!(error.setting(), Some(setting), "{error:?}");
        assert!(is_like(error.kind(), at_start.kind()), "{error:?}, and at the start {at_start:?}");
    }
    at_start
}

/// Whether two looks at the same server may find this. On a busy machine any look may find nobody there.
fn is_like(one: ErrorKind, other: ErrorKind) -> bool {
    let away = |kind| [ErrorKind::Unavailable, ErrorKind::Timeout].contains(&kind);
    one == other || away(one) || away(other)
}

#[tokio::test]
async fn every_service_names_its_setting_what_was_found_and_what_is_accepted() {
    for (config, setting, url) in SERVICES {
        let misspelt = format!("{url}{}deadlien=hunter2", if url.contains('?') { '&' } else { '?' });
        let port = url.replacen("://", "://u:hunter2@127.0.0.1:99999,", 1);
        for (url, found, accepted) in [
            ("no url: hunter2", "", "expected a URL such as \"memory:\""),
            ("", "", "expected a URL such as \"memory:\""),
            (&port, "99999", "port"),
            ("gopher://u:hunter2@h", "\"gopher\"", "service; accepted: memory"),
            ("memroy:?x=hunter2", "\"memroy\"", "service; did you mean \"memory\"? accepted: memory"),
            ("memory:?deadlien=hunter2", "\"deadlien\"", "accepted:"),
            (&misspelt, "\"deadlien\"", "accepted:"),
        ] {
            let error = refused(config(url)).await;
            assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some(setting)), "{url}: {error}");
            let text = error.to_string();
            assert!(text.contains(found) && text.contains(accepted), "{url}: {text}");
            assert!(!format!("{text} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn wrong_parts_of_a_url_name_the_setting() {
    let memory = Config::in_memory;
    for (config, setting, says) in [
        (memory().with_cache("memory:?size=1"), "STATEHOUSE_CACHE_URL", "capacity"),
        (memory().with_cache("redis://h?tiemout=1s"), "STATEHOUSE_CACHE_URL", "did you mean \"timeout\"?"),
        (memory().with_cache("redis+sentinal://h/m"), "STATEHOUSE_CACHE_URL", "did you mean \"redis+sentinel\"?"),
        (
            memory().with_sessions("file:/nowhere?max_session=1"),
            "STATEHOUSE_SESSIONS_URL",
            "did you mean \"max_sessions\"?",
        ),
        (
            memory().with_sessions("redis://h?max_anonymus=1"),
            "STATEHOUSE_SESSIONS_URL",
            "did you mean \"max_anonymous\"?",
        ),
        (memory().with_files("file:/nowhere?acess=read"), "STATEHOUSE_FILES_URL", "did you mean \"access\"?"),
        (memory().with_files("s3://b?regoin=r"), "STATEHOUSE_FILES_URL", "did you mean \"region\"?"),
        (memory().with_files("az://c?acount=clinicfiles"), "STATEHOUSE_FILES_URL", "did you mean \"account\"?"),
        (memory().with_files("az://scans"), "STATEHOUSE_FILES_URL", "account="),
        (memory().with_files("az://scans?account=clinic.files"), "STATEHOUSE_FILES_URL", "3 to 24"),
        (memory().with_files("az://s?account=clinicfiles"), "STATEHOUSE_FILES_URL", "container must be 3 to 63"),
        (memory().with_files("az://scans?account=clinicfiles&access_key=no"), "STATEHOUSE_FILES_URL", "base 64"),
        (memory().with_files("fiel:/nowhere"), "STATEHOUSE_FILES_URL", "did you mean \"file\"?"),
        (memory().with_search("tantivy:/nowhere?thread=1"), "STATEHOUSE_SEARCH_URL", "did you mean \"threads\"?"),
        (memory().with_search("opensearch+http://h?timeuot=1s"), "STATEHOUSE_SEARCH_URL", "did you mean \"timeout\"?"),
        (memory().with_cache("redis://h/notanumber"), "STATEHOUSE_CACHE_URL", "database"),
        (memory().with_cache("redis://h:0"), "STATEHOUSE_CACHE_URL", "port \"0\" must be"),
        (memory().with_cache("redis://::1"), "STATEHOUSE_CACHE_URL", "[::1]:6379"),
        (memory().with_cache("redis://[::1"), "STATEHOUSE_CACHE_URL", "[::1]:6379"),
        (memory().with_cache("redis://h#0"), "STATEHOUSE_CACHE_URL", "%23"),
        (memory().with_sessions("redis+cluster://a:1,b:2:3"), "STATEHOUSE_SESSIONS_URL", "must be a port"),
        (memory().with_files("s3://b:9000?region=r"), "STATEHOUSE_FILES_URL", "endpoint"),
        (memory().with_files("s3://key@b?region=r"), "STATEHOUSE_FILES_URL", "secret key"),
        (memory().with_files("s3://b?region=r&proxy=socks5://h"), "STATEHOUSE_FILES_URL", "http://proxy.internal"),
        (memory().with_files("s3://b?region=r&part_size=1KiB"), "STATEHOUSE_FILES_URL", "part_size must be 5MiB"),
        (memory().with_files("s3://b?region=r&part_size=1KiB"), "STATEHOUSE_FILES_URL", "not 1024 bytes"),
        (memory().with_files("s3://b?region=r&upload_memory=7B"), "STATEHOUSE_FILES_URL", "not 7 bytes"),
        (
            memory().with_search("tantivy:/nowhere?threads=99"),
            "STATEHOUSE_SEARCH_URL",
            "threads must be a number from 1 to 8, not 99",
        ),
        (memory().with_search("tantivy:/nowhere?memory=1KiB"), "STATEHOUSE_SEARCH_URL", "memory must be over 15 MB"),
        (memory().with_sessions("s3://b"), "STATEHOUSE_SESSIONS_URL", "redis"),
        (memory().with_sessions("memory:?capacity=0"), "STATEHOUSE_SESSIONS_URL", "above zero"),
        (memory().with_files("redis://h"), "STATEHOUSE_FILES_URL", "s3"),
        (memory().with_files("file:"), "STATEHOUSE_FILES_URL", "file:"),
        (memory().with_search("opensearch://h"), "STATEHOUSE_SEARCH_URL", "opensearch+https"),
        (memory().with_search("tantivy:"), "STATEHOUSE_SEARCH_URL", "tantivy:"),
        (memory().with_namespace("No Good"), "STATEHOUSE_NAMESPACE", "a-z"),
    ] {
        let error = refused(config).await;
        assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some(setting)), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// What a backend says that it accepts is what it takes.
#[tokio::test]
async fn every_parameter_is_in_the_tables_of_the_configuration() {
    let documented = include_str!("../../src/config.rs");
    let redis = ["redis://h?", "rediss://h?", "redis+cluster://h?"];
    let urls = [
        [&["memory:?"][..], &redis].concat(),
        [&["memory:?", "file:/nowhere?"][..], &redis].concat(),
        vec!["file:/nowhere?", "s3://bucket?region=r&", "az://scans?account=clinicfiles&"],
        vec!["memory:?", "tantivy:/nowhere?", "opensearch+http://h?", "opensearch+https://h?"],
    ];
    let urls = SERVICES.iter().zip(&urls);
    for ((config, ..), url) in urls.flat_map(|(service, urls)| urls.iter().map(move |url| (service, url))) {
        let text = refused(config(&format!("{url}no_such_parameter=1"))).await.to_string();
        let (_, accepted) = text.split_once("accepted: ").unwrap_or_else(|| panic!("{url}: {text}"));
        let accepted = accepted.split(" (setting").next().unwrap_or_default();
        let names: Vec<_> = accepted.split(", ").map(|name| name.trim_matches('"')).collect();
        assert!(!names.is_empty());
        for name in names {
            assert!(documented.contains(&format!("`{name}`")), "{url}: {name} is in no table of Config");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    // The discard port of the loopback interface: nothing listens there.
    let redis = "redis://127.0.0.1:9";
    let s3 = "s3://key:secret@bucket?endpoint=http://127.0.0.1:9&region=us-east-1&allow_http=true";
    for ((config, setting, _), url) in SERVICES.into_iter().zip([redis, redis, s3, "opensearch+http://127.0.0.1:9"]) {
        let error = missing(config(url), setting).await;
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{setting}: {error:?}");
        assert_eq!(error.setting(), Some(setting), "{error:?}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_told_apart_and_not_repeated() {
    let redis = RedisServer::builder().password("right-one").start().await;
    let wrong = redis.url().replace("right-one", "hunter2-wrong");
    let s3 = S3Server::shared().await;
    let bucket = crate::s3_url(s3, "hunter2-wrong", s3.bucket());
    let opensearch = HttpsProxy::start(OpenSearchNode::shared().await.address(), "Basic YXBwOnJpZ2h0LW9uZQ==");
    let index = format!(
        "opensearch+https://app:hunter2-wrong@{}?ca={}",
        opensearch.address(),
        opensearch.authority().display()
    );
    for ((config, setting, _), url) in SERVICES.into_iter().zip([wrong.clone(), wrong, bucket, index]) {
        let error = missing(config(&url), setting).await;
        assert_eq!((error.kind(), error.setting()), (ErrorKind::Unauthenticated, Some(setting)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn a_missing_bucket_is_a_wrong_setting() {
    let s3 = S3Server::shared().await;
    let url = crate::s3_url(s3, s3.secret_key(), "no-such-bucket");
    let error = missing(Config::in_memory().with_files(url), "STATEHOUSE_FILES_URL").await;
    assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some("STATEHOUSE_FILES_URL")), "{error:?}");
    assert!(error.to_string().contains("has no bucket \"no-such-bucket\""), "{error}");
}

#[tokio::test]
async fn a_missing_container_and_a_wrong_key_of_azure_are_wrong_settings() {
    let azure = AzureServer::shared().await;
    let url = |container: &str, key: &str| {
        let (account, endpoint) = (azure.account(), azure.endpoint());
        let key = key.replace('=', "%3D");
        format!("az://{container}?account={account}&access_key={key}&endpoint={endpoint}&allow_http=true")
    };
    let config = Config::in_memory().with_files(url("no-such-container", &azure.access_key()));
    let error = missing(config, "STATEHOUSE_FILES_URL").await;
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    assert!(error.to_string().contains("has no container \"no-such-container\""), "{error}");
    let error =
        missing(Config::in_memory().with_files(url(azure.container(), "aHVudGVyMg==")), "STATEHOUSE_FILES_URL").await;
    // Azurite says of a wrong key what Azure says of what is not allowed.
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    assert!(!format!("{error} {error:?}").contains("aHVudGVyMg"), "{error:?}");
}

#[tokio::test]
async fn a_server_of_another_kind_is_refused() {
    let opensearch = OpenSearchNode::shared().await;
    let config = Config::in_memory().with_cache(format!("redis://{}", opensearch.address()));
    let error = missing(config, "STATEHOUSE_CACHE_URL").await;
    assert!(!error.to_string().is_empty());
}

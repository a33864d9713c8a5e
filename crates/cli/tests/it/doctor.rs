//! `statehouse doctor` on services that are well, and on those that are not.

use statehouse_testkit::{FaultProxy, OpenSearchNode, RedisServer, S3Server};

use crate::{Environment, Ran, namespace, run, run_in, s3_url};

/// Redis with a password, which keeps what it is told and evicts nothing.
async fn keeps() -> RedisServer {
    RedisServer::builder()
        .password("hunter2")
        .max_memory(64 << 20, "noeviction")
        .arg("--appendonly", "yes")
        .start()
        .await
}

/// Both forms of the answer, with this exit code; no secret is in either.
async fn doctor(code: i32, environment: Environment<'_>) -> Ran {
    let json = run("doctor --json", environment).await;
    json.says(code, &[]);
    assert_eq!(json.json()["good"], code == 0, "{}", json.out);
    let text = run("doctor", environment).await;
    text.says(code, &[]);
    for printed in [&text, &json] {
        for secret in ["hunter2", "hunter3", "secretkey"] {
            assert!(!printed.all().contains(secret), "{}", printed.all());
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_that_are_well_are_a_line_each_with_what_their_servers_say() {
    let (redis, files, namespace) = (keeps().await, S3Server::shared().await, namespace());
    let cache = RedisServer::builder().max_memory(64 << 20, "allkeys-lru").start().await;
    let (redis_url, cache_url, files_url) = (redis.url(), cache.url(), s3_url(files, files.secret_key()));
    let environment = [
        ("STATEHOUSE_NAMESPACE", namespace.as_str()),
        ("STATEHOUSE_CACHE_URL", &cache_url),
        ("STATEHOUSE_SESSIONS_URL", &redis_url),
        ("STATEHOUSE_FILES_URL", &files_url),
        ("STATEHOUSE_COORDINATION_URL", &redis_url),
    ];
    let ran = doctor(0, &environment).await;
    assert!(!ran.out.contains(files.secret_key()) && ran.err.is_empty(), "{}", ran.all());
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!((lines[0], lines.len()), (&*format!("namespace {namespace}"), 8), "{}", ran.out);
    let begins = |line: &str, begin: String| assert!(line.starts_with(&begin), "{begin:?} does not begin {line:?}");
    begins(lines[1], format!("cache: redis redis://{}, shared, not durable: up after ", cache.address()));
    begins(lines[2], format!("sessions: redis redis://{}, shared, durable: up after ", redis.address()));
    begins(lines[3], format!("files: s3 s3://{} at {}, shared, durable: up after ", files.bucket(), files.endpoint()));
    begins(lines[4], "search: tantivy ".to_owned());
    assert!(lines[4].ends_with(": not examined"), "{}", lines[4]);
    begins(lines[5], format!("coordination: redis redis://{}, shared, durable: up after ", redis.address()));
    for (line, says) in [(lines[1], "evicts any key, keeps"), (lines[2], "evicts nothing, appends to a file, clock ")] {
        assert!(line.contains(says) && line.contains(" at 127.0.0.1:"), "{line}");
    }
    begins(lines[6], format!("signals: redis redis://{}, shared, not durable: not examined", redis.address()));
    assert_eq!(lines[7], "no problems, no notes");

    let json = run("doctor --json sessions", &environment).await.json();
    let [cache, sessions] = [0, 1].map(|at| &json["services"][at]);
    assert!(cache["health"].is_null() && cache["state"] == "not_used", "{json}");
    assert_eq!((&sessions["service"], &sessions["health"]["status"]), (&"sessions".into(), &"up".into()));
    let server = &sessions["servers"][0];
    assert_eq!((&server["eviction"], &server["persistence"]), (&"evicts nothing".into(), &"appends to a file".into()));
    assert!(server["version"].as_str().unwrap().contains(' ') && server["clock_ahead_ms"].is_number(), "{server}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_evicts_sessions_is_a_problem_and_one_that_keeps_nothing_a_note() {
    let evicts =
        RedisServer::builder().password("hunter2").max_memory(64 << 20, "volatile-lru").arg("--save", "").start();
    let url = evicts.await;
    let url = url.url();
    let ran = doctor(1, &[("STATEHOUSE_SESSIONS_URL", &url)]).await;
    ran.says(
        1,
        &[
            "sessions: redis redis://",
            ": degraded after ",
            "evicts keys with a time to live, keeps nothing",
            "  problem: the server may evict sessions; set its maxmemory-policy to noeviction",
            "everybody is logged out then; set its appendonly to yes",
            "note: \"app\" is the namespace of every application that has set none; set STATEHOUSE_NAMESPACE",
            "\n1 problem, 2 notes",
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordination_in_a_redis_without_an_append_only_file_is_a_problem() {
    let server = RedisServer::builder().password("hunter2").arg("--appendonly", "no").start().await;
    let url = server.url();
    let ran = doctor(1, &[("STATEHOUSE_COORDINATION_URL", &url), ("STATEHOUSE_NAMESPACE", "cli")]).await;
    ran.says(
        1,
        &[
            "coordination: redis ",
            "shared, not durable",
            "so that none is given",
            "set its appendonly to yes",
            "\n1 problem, no notes",
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_redis_for_cache_and_sessions_and_files_that_nobody_shares_are_problems() {
    let server = keeps().await;
    let (url, folder) = (server.url(), tempfile::tempdir().unwrap());
    let files = format!("file:{}", folder.path().join("files").display());
    let environment = [
        ("STATEHOUSE_NAMESPACE", "cli"),
        ("STATEHOUSE_CACHE_URL", url.as_str()),
        ("STATEHOUSE_SESSIONS_URL", &url),
        ("STATEHOUSE_FILES_URL", &files),
    ];
    let ran = doctor(1, &environment).await;
    ran.says(
        1,
        &[
            "on one Redis with sessions: if that evicts, sessions are lost",
            "give each a server of its own",
            "  problem: each replica has its own; set STATEHOUSE_FILES_URL to a URL that begins with s3:",
            "\n3 problems, no notes",
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_down_with_the_cause_and_the_others_are_examined_all_the_same() {
    let (redis, files) = (keeps().await, S3Server::shared().await);
    let [no_redis, no_files] = [FaultProxy::start(redis.address()), FaultProxy::start(files.address())];
    no_redis.cut();
    no_files.cut();
    let away = s3_url(files, files.secret_key()).replace(files.address(), &no_files.address());
    let (cache, sessions) = (no_redis.url(&redis.url()), redis.url());
    let environment = [
        ("STATEHOUSE_NAMESPACE", "cli"),
        ("STATEHOUSE_CACHE_URL", cache.as_str()),
        ("STATEHOUSE_SESSIONS_URL", &sessions),
        ("STATEHOUSE_FILES_URL", &away),
    ];
    let ran = doctor(1, &environment).await;
    assert!(!ran.all().contains(files.secret_key()), "{}", ran.all());
    let of = |service: &str| {
        let from = ran.out.split(&format!("\n{service}: ")).nth(1).unwrap_or_else(|| panic!("{}", ran.out));
        from.split_once("\n  ")
            .map(|(line, rest)| (line.to_owned(), rest.lines().next().unwrap_or_default().to_owned()))
    };
    for (service, setting) in [("cache", "STATEHOUSE_CACHE_URL"), ("files", "STATEHOUSE_FILES_URL")] {
        let (line, finding) = of(service).unwrap();
        assert!(line.contains(": down after "), "{line}");
        let remedy = format!("; see whether the server of {setting} runs, and whether address, port and TLS are right");
        assert!(finding.starts_with("problem: ") && finding.ends_with(&remedy), "{finding}");
    }
    ran.says(1, &["sessions: redis ", "shared, durable: up after "]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_or_key_is_a_problem_that_shows_neither() {
    let (redis, files) = (keeps().await, S3Server::shared().await);
    let url = redis.url().replace("hunter2", "hunter3");
    let ran = doctor(1, &[("STATEHOUSE_SESSIONS_URL", &url), ("STATEHOUSE_NAMESPACE", "cli")]).await;
    ran.says(
        1,
        &[
            ": down after ",
            "mend the user and password in STATEHOUSE_SESSIONS_URL, or the password in STATEHOUSE_SESSIONS_PASSWORD",
        ],
    );
    // From a file as well.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter3\n").unwrap();
    let (url, file) = (format!("redis://{}", redis.address()), file.display().to_string());
    let environment = [("STATEHOUSE_SESSIONS_URL", url.as_str()), ("STATEHOUSE_SESSIONS_PASSWORD_FILE", &file)];
    doctor(1, &environment).await.says(1, &[": down after "]);
    let url = s3_url(files, "secretkey");
    let ran = doctor(1, &[("STATEHOUSE_FILES_URL", &url), ("STATEHOUSE_NAMESPACE", "cli")]).await;
    ran.says(1, &["files: s3 ", ": down after ", "coordination: s3 ", "STATEHOUSE_FILES_URL"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_environment_does_not_name_is_described_and_left_alone() {
    let ran = run("doctor", &[]).await;
    ran.says(0, &["cache: memory", "/data/files", ": not examined", "the environment names no service"]);

    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let ran = run_in(folder.path(), "doctor", &[("STATEHOUSE_DATA", &data)]).await;
    ran.says(0, &["cache: memory, not shared, not durable: not examined", "note: each replica has its own; set "]);
    ran.says(
        0,
        &[
            "search: tantivy ",
            "files: local disk ",
            "coordination: local disk ",
            ": up after ",
            "\nno problems, 4 notes",
        ],
    );
    assert!(folder.path().join("data/files").is_dir());
    let ran = run_in(folder.path(), "doctor cache", &[("STATEHOUSE_DATA", &data)]).await;
    ran.says(0, &["cache: memory, not shared, not durable: up after ", "\nno problems, 1 note"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_had_is_a_problem_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("files");
    std::fs::write(&file, "a file").unwrap();
    let url = format!("file:{}", file.display());
    let ran = run("doctor", &[("STATEHOUSE_FILES_URL", &url)]).await;
    ran.says(2, &["STATEHOUSE_FILES_URL", "is a file, and a folder is needed there"]);
}

#[cfg(feature = "opensearch")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opensearch_says_which_version_it_is() {
    let node = OpenSearchNode::shared().await;
    let url = format!("opensearch+http://{}", node.address());
    let ran = doctor(0, &[("STATEHOUSE_SEARCH_URL", &url), ("STATEHOUSE_NAMESPACE", "cli")]).await;
    ran.says(0, &["search: opensearch ", "shared, durable: up after ", "; OpenSearch 3.", "\nno problems, no notes"]);
}

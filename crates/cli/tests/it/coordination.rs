//! `statehouse coordination copy`: an application moves, with what it must not forget.

use std::path::Path;

use statehouse::coord::{Ran, Revision, Run};
use statehouse::{Config, Error, Services};
use statehouse_testkit::{RedisServer, S3Server};

use crate::{Environment, Ran as Printed, namespace, run, s3_url};

fn seed() -> Revision {
    Revision::new(3, "sha256:90bb1c")
}

/// The program, wherever it coordinates: it seeds its table once, and counts its starts.
async fn start(config: Config) -> (Ran, u64) {
    let services = Services::open(config).await.unwrap();
    let coord = services.coordination();
    let seeded = coord.run_once("seed", seed()).run(async |_: Run| Ok::<_, Error>(())).await.unwrap();
    let starts = coord.state::<u64>("starts").update("all", |before| before.unwrap_or(0) + 1).await.unwrap();
    assert_eq!(starts.value, starts.revision);
    services.shutdown().await.unwrap();
    (seeded, starts.revision)
}

/// As it is on one machine: coordination lies in the files.
fn alone(folder: &Path, namespace: &str) -> Config {
    Config::in_memory().with_namespace(namespace).with_files(format!("file:{}", folder.display()))
}

async fn copy(from: &str, to: &str, environment: Environment<'_>) -> Printed {
    run(&format!("coordination copy --from {from} --to {to}"), environment).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_moves_to_redis_or_s3_goes_on_at_the_next_revision_and_seeds_nothing_again() {
    let (folder, namespace) = (tempfile::tempdir().unwrap(), namespace());
    let files = folder.path().join("files");
    assert_eq!(start(alone(&files, &namespace)).await, (Ran::Now { attempt: 1 }, 1));
    assert_eq!(start(alone(&files, &namespace)).await, (Ran::AlreadyDone, 2));
    let from = format!("file:{}", files.display());

    let redis = RedisServer::builder().password("hunter2").arg("--appendonly", "yes").start().await;
    let bucket = S3Server::shared().await;
    let environment = [("STATEHOUSE_NAMESPACE", namespace.as_str())];
    for to in [redis.url(), s3_url(bucket, bucket.secret_key())] {
        let copied = copy(&from, &to, &environment).await;
        copied.says(0, &["state: 1 copied, 0 same", "run: 1 copied, 0 same"]);
        assert_eq!(copied.out.lines().count(), 2, "{}", copied.out);
        for secret in ["hunter2", bucket.secret_key()] {
            assert!(!copied.all().contains(secret), "{}", copied.all());
        }
        copy(&from, &to, &environment).await.says(0, &["state: 0 copied, 1 same", "run: 0 copied, 1 same"]);

        let moved = || Config::in_memory().with_namespace(&namespace).with_coordination(to.as_str());
        assert_eq!(start(moved()).await, (Ran::AlreadyDone, 3));
        // It has gone on there, and nobody takes that back.
        let late = copy(&from, &to, &environment).await;
        late.says(1, &["state: 0 copied, 0 same, 1 differ", "  state/starts/all: says something else in --to"]);
        assert_eq!(start(moved()).await, (Ran::AlreadyDone, 4));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_place_is_told_and_nothing_is_copied_to_one_that_may_forget() {
    let (folder, namespace) = (tempfile::tempdir().unwrap(), namespace());
    let files = folder.path().join("files");
    assert_eq!(start(alone(&files, &namespace)).await.1, 1);
    let from = format!("file:{}", files.display());
    let to = format!("file:{}", folder.path().join("to").display());

    // Of another namespace, and to another one.
    copy(&from, &to, &[]).await.says(1, &["there is nothing to copy of the namespace", "is --from the right place?"]);
    let renamed = format!("coordination copy --from {from} --to {to} --namespace new --from-namespace {namespace}");
    run(&renamed, &[]).await.says(0, &["state: 1 copied", "run: 1 copied"]);
    assert_eq!(start(alone(&folder.path().join("to"), "new")).await, (Ran::AlreadyDone, 2));
    let json = run(&format!("coordination copy --from {from} --to {to} --namespace {namespace} --json"), &[]).await;
    json.says(0, &[]);
    let json = json.json();
    assert_eq!((&json["good"], &json["kinds"][0]["copied"]), (&true.into(), &1.into()), "{json}");
    assert_eq!((&json["kinds"][1]["kind"], &json["namespace"]), (&"run".into(), &namespace.as_str().into()), "{json}");

    let environment = [("STATEHOUSE_NAMESPACE", namespace.as_str())];
    let forgets = RedisServer::builder().password("hunter2").start().await;
    for to in ["memory:".to_owned(), forgets.url()] {
        let refused = copy(&from, &to, &environment).await;
        refused.says(1, &["--to", "durable"]);
        assert!(!refused.all().contains("hunter2"), "{}", refused.all());
    }
    copy(&from, "gopher://app:hunter2@h", &environment).await.says(2, &["--to", "gopher"]);
    copy("redis://:hunter2@127.0.0.1:1", &to, &environment).await.says(1, &["--from"]);
    run(&format!("coordination copy --from {from}"), &environment).await.says(2, &["--to URL"]);
}

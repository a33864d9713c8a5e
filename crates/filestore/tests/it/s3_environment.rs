//! What the environment may say, and what it may not.

use std::process::Command;
use std::time::Duration;

use statehouse_core::{ErrorKind, Secret};
use statehouse_filestore::object::Transport;
use statehouse_filestore::{ObjectFileStore, S3Config};
use statehouse_testkit::{FaultProxy, S3Server};

use crate::s3::config;

const CASE: &str = "STATEHOUSE_TEST_ENVIRONMENT";

/// Not a test of its own: runs with an environment that the others make.
#[tokio::test]
async fn the_process_with_an_environment() {
    let Ok(case) = std::env::var(CASE) else { return };
    let server = S3Server::at(&std::env::var("STATEHOUSE_TEST_S3_URL").unwrap());
    let open = async |config: S3Config| ObjectFileStore::open_s3(config.with_retries(0)).await;
    match case.as_str() {
        "explicit" => {
            drop(open(config(&server)).await.unwrap());
            // Not even what is not given comes from elsewhere.
            let mut without = config(&server);
            without.region = None;
            drop(open(without).await.unwrap());
        }
        "from the environment" => {
            let config = S3Config::new(server.bucket()).with_transport(Transport::PlainAllowed);
            drop(open(config).await.unwrap());
        }
        "clear text" => {
            let error = open(S3Config::new(server.bucket())).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
            assert!(error.message().contains("https://"), "{error}");
        }
        other => panic!("{other}"),
    }
}

fn run(server: &S3Server, case: &str, environment: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "s3_environment::the_process_with_an_environment"])
        .env("STATEHOUSE_TEST_S3_URL", server.url())
        .env(CASE, case)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{case} {environment:?}: {text}");
}

#[tokio::test]
async fn nothing_of_the_environment_is_mixed_with_settings_that_are_given() {
    let server = S3Server::shared().await;
    let dead = "http://127.0.0.1:1";
    for (name, value) in [
        ("AWS_SESSION_TOKEN", "of-somebody-else"),
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_UNSIGNED_PAYLOAD", "true"),
        ("AWS_ENDPOINT_URL", dead),
        ("AWS_ENDPOINT_URL_S3", dead),
        ("AWS_REGION", "elsewhere-1"),
        ("AWS_S3_EXPRESS", "true"),
        ("AWS_SERVER_SIDE_ENCRYPTION", "aws:kms"),
        ("AWS_CONDITIONAL_PUT", "disabled"),
        ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true"),
        ("http_proxy", dead),
        ("HTTP_PROXY", dead),
        ("ALL_PROXY", dead),
    ] {
        run(server, "explicit", &[(name, value)]);
    }
}

#[tokio::test]
async fn without_a_key_the_environment_is_asked_and_may_not_turn_tls_off() {
    let server = S3Server::shared().await;
    let endpoint = server.endpoint();
    let own = [
        ("AWS_ACCESS_KEY_ID", server.access_key()),
        ("AWS_SECRET_ACCESS_KEY", server.secret_key()),
        ("AWS_REGION", server.region()),
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
    ];
    run(server, "from the environment", &own);
    run(server, "clear text", &own);
    run(server, "clear text", &[&own[..], &[("AWS_ALLOW_HTTP", "true")]].concat());
}

#[tokio::test]
async fn a_proxy_is_used_if_and_only_if_it_is_named() {
    let server = S3Server::shared().await;
    // Any server that gets a request with a whole URL in it serves as one.
    let proxy = FaultProxy::start(server.address());
    let through = config(server).with_proxy(Secret::new(format!("http://{}", proxy.address())));
    let through = through.with_endpoint("http://127.0.0.1:1").with_retries(0);
    let _ = ObjectFileStore::open_s3(through).await;
    assert!(proxy.counts().command("GET") > 0);
    let dead = config(server).with_proxy(Secret::from("http://user:hunter2@127.0.0.1:1")).with_retries(0);
    let error = ObjectFileStore::open_s3(dead.with_timeouts(Duration::from_secs(1), Duration::from_secs(1))).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("proxy"), "{error}");
    let mut all = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        all += &format!("{error} {error:?}");
        cause = error.source();
    }
    assert!(!all.contains("hunter2"), "{all}");
}

use std::time::Duration;

use statehouse_testkit::{FaultProxy, Response, S3Server};
use tokio::time::timeout;

use crate::leftovers::processes_with;

const CREATE: [(&str, &str); 1] = [("If-None-Match", "*")];

async fn put(server: &S3Server, key: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let target = format!("/{}/{key}", server.bucket());
    server.request("PUT", &target, headers, body.as_bytes()).await.unwrap()
}

async fn get(server: &S3Server, key: &str) -> String {
    server.request("GET", &format!("/{}/{key}", server.bucket()), &[], b"").await.unwrap().text()
}

#[tokio::test]
async fn it_is_paused_killed_and_started_again_with_its_objects() {
    let server = S3Server::start().await;
    assert_eq!(put(&server, "a%20b/c", &CREATE, "one").await.status, 200);
    assert_eq!(put(&server, "a%20b/c", &CREATE, "two").await.status, 412);
    let listed =
        server.request("GET", "/statehouse?list-type=2&prefix=a%20b%2F&delimiter=%2F", &[], b"").await.unwrap();
    assert!(listed.text().contains("<Key>a b/c</Key>"), "{}", listed.text());

    server.pause();
    assert!(timeout(Duration::from_millis(300), get(&server, "a%20b/c")).await.is_err());
    server.resume();
    assert_eq!(get(&server, "a%20b/c").await, "one");
    let url = server.url();
    server.kill();
    assert!(server.request("GET", "/", &[], b"").await.is_err());
    server.restart().await;
    assert_eq!((get(&server, "a%20b/c").await.as_str(), server.url()), ("one", url));

    let address = server.address().to_owned();
    assert_eq!(processes_with(&address).len(), 1);
    drop(server);
    assert_eq!(processes_with(&address), [""; 0]);
}

#[tokio::test]
async fn keys_region_and_bucket_are_those_of_the_builder() {
    let server = S3Server::builder().credentials("key", "sec/ret+1").region("eu-west-3").bucket("other").start().await;
    let expected = format!("http://key:sec%2Fret%2B1@{}/other?region=eu-west-3", server.address());
    assert_eq!((server.url(), server.endpoint()), (expected, format!("http://{}", server.address())));
    assert_eq!(put(&server, "k", &[], "v").await.status, 200);
    server.create_bucket("second").await.unwrap();
    assert_eq!(server.request("PUT", "/second/k", &[], b"v").await.unwrap().status, 200);
}

/// The server behind the proxy, as a client sees it that signs all headers.
async fn put_through(proxy: &FaultProxy, server: &S3Server, body: &str) -> Response {
    let seen = S3Server::at(&proxy.url(&server.url()));
    put(&seen, "k", &CREATE, body).await
}

#[tokio::test]
async fn without_their_headers_preconditions_are_ignored() {
    let server = S3Server::start().await;
    let proxy = FaultProxy::start(server.address());
    assert_eq!(put_through(&proxy, &server, "one").await.status, 200);
    assert_eq!(put_through(&proxy, &server, "two").await.status, 412);
    proxy.strip_request_headers(&["If-None-Match"]);
    assert_eq!(put_through(&proxy, &server, "three").await.status, 403, "the signature is wrong");
    proxy.strip_s3_headers(&["If-None-Match", "If-Match"], server.secret_key());
    assert_eq!(put_through(&proxy, &server, "four").await.status, 200);
    assert_eq!(get(&server, "k").await, "four");
    proxy.heal();
    assert_eq!(put_through(&proxy, &server, "five").await.status, 412);
    assert_eq!(proxy.counts().command("PUT"), 5);
}

#[tokio::test]
async fn the_shared_server_has_its_bucket() {
    let server = S3Server::shared().await;
    assert_eq!(put(server, "testkit/shared", &[], "v").await.status, 200);
    assert_eq!(get(server, "testkit/shared").await, "v");
}

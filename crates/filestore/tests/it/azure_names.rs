//! Names in Azure Blob Storage, in URLs that are signed in advance, in listings, and as other programs see them.

use std::time::Duration;

use statehouse_core::ErrorKind;
use statehouse_filestore::{Digest, FileKey, FileStore as _, ObjectFileStore, PresignOptions, Verb};
use statehouse_testkit::AzureServer;

use crate::azure::{config, open, target};

async fn send(method: reqwest::Method, url: &str, headers: &[(String, String)], body: &'static str) -> (u16, String) {
    static PROVIDER: std::sync::Once = std::sync::Once::new();
    // None is needed for plain HTTP, and reqwest wants one.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.request(method, url).body(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn azure_answers_what_was_signed_and_what_it_holds_nobody_to_is_not_signed() {
    use reqwest::Method;
    let files = open(config(AzureServer::shared().await)).await;
    let key = files.key("p42/a b.png").unwrap();
    let minute = Duration::from_secs(60);
    let sign = async |options| files.store().presign_with(&key, options).await;
    let upload = sign(PresignOptions::new(Verb::Put, minute)).await.unwrap();
    let (status, text) = send(Method::PUT, &upload.url, &upload.headers, "12345").await;
    assert_eq!(status, 201, "{text}");
    assert_eq!(files.get("p42/a b.png").bytes().await.unwrap(), "12345");
    assert_eq!(send(Method::GET, &upload.url, &[], "").await.0, 403, "it is for storing");
    let download = sign(PresignOptions::new(Verb::Get, minute)).await.unwrap();
    assert_eq!(send(Method::GET, &download.url, &download.headers, "").await, (200, "12345".to_owned()));
    assert_eq!(send(Method::PUT, &download.url, &upload.headers, "mine").await.0, 403);
    let other = download.url.replace("a%20b.png", "other.png");
    assert_ne!(other, download.url);
    assert_eq!(send(Method::GET, &other, &[], "").await.0, 403);
    let short = sign(PresignOptions::new(Verb::Get, Duration::from_secs(1))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(send(Method::GET, &short.url, &[], "").await.0, 403, "it has expired");
    let (mut once, mut named) = (PresignOptions::new(Verb::Put, minute), PresignOptions::new(Verb::Get, minute));
    once.create = true;
    let replacing = sign(once.clone()).await.unwrap();
    assert_eq!(send(Method::PUT, &replacing.url, &replacing.headers, "mine").await.0, 403, "it is there already");
    let new = files.store().presign_with(&files.key("new.").unwrap(), once).await.unwrap();
    assert_eq!(send(Method::PUT, &new.url, &new.headers, "first").await.0, 201);
    assert_eq!(send(Method::PUT, &new.url, &new.headers, "second").await.0, 403);
    assert_eq!(files.get("new.").bytes().await.unwrap(), "first");
    named.disposition = Some("attachment; filename=\"a b.png\"".to_owned());
    let saved = sign(named).await.unwrap();
    assert_eq!(send(Method::GET, &saved.url, &saved.headers, "").await.0, 200);
    let other = saved.url.replace("attachment", "inline");
    assert_ne!(other, saved.url);
    assert_eq!(send(Method::GET, &other, &saved.headers, "").await.0, 403, "it is signed");
    let put = || PresignOptions::new(Verb::Put, minute);
    let (mut typed, mut long, mut known) = (put(), put(), put());
    typed.content_type = Some("image/png".to_owned());
    long.len = Some(5);
    known.sha256 = Some(Digest::of(b"12345"));
    for options in [typed, long, known] {
        assert_eq!(sign(options).await.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    files.delete("new.").await.unwrap();
    files.delete("p42/a b.png").await.unwrap();
}

/// By the words of UTF-16, in which a sign of four bytes is before some of three.
#[tokio::test]
async fn names_that_azure_orders_otherwise_are_all_listed_and_in_our_order() {
    let files = open(config(AzureServer::shared().await)).await;
    let mut names = Vec::new();
    for sign in ['a', '\u{e001}', '\u{ff01}', '\u{1f600}', '\u{1f601}', 'é'] {
        names.extend((0..3).map(|at| format!("{sign}{at}")));
    }
    for name in &names {
        files.put(name, "x").await.unwrap();
    }
    names.sort_unstable();
    for limit in [1, 2, 4, 7, 17, 18, 19] {
        let (mut listed, mut from) = (Vec::new(), None);
        loop {
            let list = files.list("").limit(limit);
            let page = match from {
                Some(token) => list.page(token).await.unwrap(),
                None => list.await.unwrap(),
            };
            assert!(page.entries.len() <= usize::from(limit));
            listed.extend(page.entries.iter().map(|entry| files.name(&entry.key).unwrap().to_owned()));
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        assert_eq!(listed, names, "{limit} a page");
    }
    for name in &names {
        files.delete(name).await.unwrap();
    }
}

/// Azure takes `\\` for `/`, and a part of a name ends with no dot.
#[tokio::test]
async fn names_that_azure_does_not_take_are_escaped_there_and_what_is_named_so_by_others_is_left_out() {
    let server = AzureServer::shared().await;
    let files = open(config(server)).await;
    let ours = ["50%.pdf", "a-", "a./b", "a\\b", "c.", "c.d", "d.."];
    for name in ours {
        files.put(name, name).await.unwrap();
    }
    for text in ["50%2525.pdf", "a-", "a%252E/b", "a%255Cb", "c%252E", "c.d", "d.%252E"] {
        let answer = server.request("HEAD", &target(&files, text), &[], b"").await.unwrap();
        assert_eq!(answer.status, 200, "{text}");
    }
    let headers = [("x-ms-blob-type", "BlockBlob")];
    let foreign = ["e%25", "f.", "g%252e"];
    for text in foreign {
        let answer = server.request("PUT", &target(&files, text), &headers, b"").await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let page = files.list("").await.unwrap();
    let names: Vec<_> = page.entries.iter().map(|entry| files.name(&entry.key).unwrap()).collect();
    assert_eq!((names, page.skipped), (ours.to_vec(), 3));
    for (prefix, expected) in
        [("c.", &["c.", "c.d"][..]), ("d.", &["d.."]), ("a", &["a-", "a./b", "a\\b"]), ("50%2", &[])]
    {
        for limit in [1, 1000] {
            let (mut found, mut next) = (Vec::new(), None);
            loop {
                let list = files.list(prefix).limit(limit);
                let page = match next {
                    Some(token) => list.page(token).await.unwrap(),
                    None => list.await.unwrap(),
                };
                found.extend(page.entries.iter().map(|entry| files.name(&entry.key).unwrap().to_owned()));
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{prefix:?}, {limit} a page");
        }
    }
    for name in ours {
        assert_eq!(files.get(name).bytes().await.unwrap(), name);
        files.delete(name).await.unwrap();
    }
    for text in foreign {
        server.request("DELETE", &target(&files, text), &[], b"").await.unwrap();
    }
}

/// As which each escape counts three times.
#[tokio::test]
async fn a_name_that_is_too_long_for_azure_is_refused_before_anything_is_sent() {
    let store = ObjectFileStore::open_azure(config(AzureServer::shared().await)).await.unwrap();
    let (fits, long) = ("\\".repeat(200), format!("{}/{}", "%".repeat(200), "%".repeat(180)));
    let fits = FileKey::new(fits).unwrap();
    let _ = store.put_with(&fits, "x".into(), Default::default()).await.unwrap();
    let _ = store.delete_with(&fits, Default::default()).await.unwrap();
    let error = store.put_with(&FileKey::new(long).unwrap(), "x".into(), Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert!(error.to_string().contains("counts as three"), "{error}");
}

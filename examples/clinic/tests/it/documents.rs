//! Documents that are removed and restored, and links to them.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use statehouse::files::{Files, MemoryFileStore, SignedUrls};
use statehouse::{KeyRing, Namespace, Secret};
use statehouse_core::ManualClock;

use crate::client::{Client, text};
use crate::clinic;

/// Attaches a document; its id.
pub(crate) async fn attached(client: &Client, patient: u32, name: &str) -> String {
    let stored = client.attach(patient, name, "application/pdf", b"%PDF-1.7 letter".to_vec()).await.unwrap();
    assert_eq!(stored.status(), StatusCode::CREATED);
    text(&stored.json::<Value>().await.unwrap()["id"])
}

async fn page(client: &Client, path: &str) -> String {
    client.get(path).await.unwrap().error_for_status().unwrap().text().await.unwrap()
}

/// Where an answer leads.
fn location(answer: &reqwest::Response) -> &str {
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    answer.headers()["location"].to_str().unwrap()
}

#[tokio::test]
async fn a_document_is_removed_and_restored_and_the_page_says_so() {
    let address = clinic::shared().await.address();
    let (ada, grace) = (Client::logged_in(address, "ada").await, Client::logged_in(address, "grace").await);
    let id = attached(&ada, 61, "letter <b>.pdf").await;
    let (document, of) = (format!("/documents/{id}"), format!("/patients/61/documents/{id}"));
    let (remove, restore) = (format!("{of}/remove"), format!("{of}/restore"));

    let removed = ada.submit(&remove, &[]).await;
    let said = page(&ada, location(&removed)).await;
    assert!(said.contains("letter &lt;b&gt;.pdf was removed.") && said.contains("autofocus"), "{said}");
    assert!(said.contains("<summary>Removed</summary>") && said.contains(" by Ada Okafor"), "{said}");
    assert!(!said.contains(&format!("href=\"{document}\"")), "nothing leads to it");
    let gone = ada.browse(Method::GET, &document).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    assert!(gone.text().await.unwrap().contains("This document was removed."));

    let late = grace.submit(&remove, &[]).await;
    assert_eq!(late.status(), StatusCode::CONFLICT);
    let said = late.text().await.unwrap();
    assert!(said.contains("somebody has removed it already") && said.contains(" by Ada Okafor"), "{said}");

    let restored = grace.submit(&restore, &[]).await;
    let said = page(&grace, location(&restored)).await;
    assert!(said.contains("is back among the documents.") && !said.contains("<summary>"), "{said}");
    assert_eq!(ada.get(&document).await.unwrap().bytes().await.unwrap(), "%PDF-1.7 letter");
    let late = ada.submit(&restore, &[]).await;
    assert_eq!(late.status(), StatusCode::CONFLICT);
    assert!(late.text().await.unwrap().contains("restored it already"));
}

#[tokio::test]
async fn only_who_shows_the_token_removes_and_only_from_the_chart_that_it_is_in() {
    let address = clinic::shared().await.address();
    let client = Client::logged_in(address, "staff051").await;
    let id = attached(&client, 62, "letter.pdf").await;
    let remove = format!("/patients/62/documents/{id}/remove");
    let forged = client.request(Method::POST, &remove).form(&[("csrf", "0")]).send().await.unwrap();
    assert_eq!(forged.status(), StatusCode::FORBIDDEN);
    let nobody = Client::new(address).post(&remove, &[]).await.unwrap();
    assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED);
    for path in [format!("/patients/63/documents/{id}/remove"), "/patients/62/documents/0/remove".to_owned()] {
        assert_eq!(client.submit(&path, &[]).await.status(), StatusCode::CONFLICT, "{path}");
    }
    assert_eq!(client.get(&format!("/documents/{id}")).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn of_many_who_remove_and_restore_at_once_each_time_one_does() {
    let client = Client::logged_in(clinic::shared().await.address(), "staff052").await;
    let id = attached(&client, 64, "letter.pdf").await;
    for action in ["remove", "restore", "remove", "restore"] {
        let path = format!("/patients/64/documents/{id}/{action}");
        let sent = futures_util::future::join_all((0..6).map(|_| client.submit(&path, &[]))).await;
        let (done, late): (Vec<_>, Vec<_>) = sent.iter().partition(|answer| answer.status() == StatusCode::SEE_OTHER);
        assert_eq!(done.len(), 1, "{action}");
        assert!(late.iter().all(|answer| answer.status() == StatusCode::CONFLICT), "{action}: {late:?}");
    }
    assert_eq!(client.get(&format!("/documents/{id}")).await.unwrap().status(), StatusCode::OK);
}

/// The link on the chart that was asked for it.
pub(crate) async fn link(client: &Client, patient: u32, id: &str) -> String {
    let said = page(client, &format!("/patients/{patient}?link={id}")).await;
    assert!(said.contains("without a log-in until"), "{said}");
    let link = said.split_once(&format!("href=\"/links/{id}?")).expect("a link").1;
    format!("/links/{id}?{}", link.split('"').next().unwrap().replace("&amp;", "&"))
}

#[tokio::test]
async fn whoever_has_a_link_downloads_one_document_and_nothing_else() {
    let address = clinic::shared().await.address();
    let client = Client::logged_in(address, "staff053").await;
    let nobody = Client::new(address);
    let (id, other) = (attached(&client, 67, "Brief 1.pdf").await, attached(&client, 67, "2.pdf").await);
    let link = link(&client, 67, &id).await;
    let answer = nobody.get(&link).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    for (name, value) in [
        ("content-type", "application/pdf"),
        ("content-disposition", "attachment; filename=\"Brief 1.pdf\""),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.headers()[name], value, "{name}");
    }
    assert!(!answer.headers().contains_key("set-cookie"));
    assert_eq!(answer.bytes().await.unwrap(), "%PDF-1.7 letter");
    let part = nobody.request(Method::GET, &link).header("range", "bytes=1-3").send().await.unwrap();
    assert_eq!((part.status(), part.bytes().await.unwrap().as_ref()), (StatusCode::PARTIAL_CONTENT, &b"PDF"[..]));

    let last = link.chars().next_back().unwrap();
    let flipped = format!("{}{}", &link[..link.len() - 1], if last == 'A' { 'B' } else { 'A' });
    for altered in [
        link.replace(&id, &other),
        flipped,
        link.replacen("expires=", "expires=9", 1),
        link.replace("Brief", "Letter"),
        format!("/links/{id}"),
        "/links/0".to_owned(),
    ] {
        assert_ne!(altered, link);
        let refused = nobody.browse(Method::GET, &altered).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{altered}");
        assert_eq!(
            (&refused.headers()["referrer-policy"], &refused.headers()["cache-control"]),
            (&"no-referrer".parse().unwrap(), &"no-store".parse().unwrap())
        );
        assert!(refused.text().await.unwrap().contains("This link has ended, or a part of it is missing."));
    }
    let put = nobody.request(Method::PUT, &link).body("other").send().await.unwrap();
    assert_eq!(put.status(), StatusCode::METHOD_NOT_ALLOWED, "to read, and not to write");

    client.submit(&format!("/patients/67/documents/{id}/remove"), &[]).await;
    let gone = nobody.browse(Method::GET, &link).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    assert!(gone.text().await.unwrap().contains("This document was removed."));
    let said = page(&client, &format!("/patients/67?link={id}")).await;
    assert!(said.contains("There is no such document.") && !said.contains("/links/"), "{said}");
    client.submit(&format!("/patients/67/documents/{id}/restore"), &[]).await;
    assert_eq!(nobody.get(&link).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_link_shows_a_photo_and_saves_whatever_else_there_is() {
    let client = Client::logged_in(clinic::shared().await.address(), "staff054").await;
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    for (content_type, content, how, shown) in [
        ("image/png", png, "inline", "image/png"),
        ("text/html", b"<script>".to_vec(), "attachment", "application/octet-stream"),
        ("application/pdf", b"%PDF-1.7".to_vec(), "attachment", "application/pdf"),
    ] {
        let stored = client.attach(68, "a", content_type, content).await.unwrap();
        let id = text(&stored.json::<Value>().await.unwrap()["id"]);
        let answer = client.get(&link(&client, 68, &id).await).await.unwrap();
        assert!(answer.headers()["content-disposition"].to_str().unwrap().starts_with(how), "{answer:?}");
        assert_eq!(answer.headers()["content-type"], shown);
    }
}

/// Signed with the keys that the clinic is told, by clocks that are right and wrong.
#[tokio::test]
async fn a_link_ends_and_one_of_a_key_before_does_not_while_it_is_known() {
    let data = tempfile::tempdir().unwrap();
    let secret = |letter: &str| Secret::new(letter.repeat(32));
    let keys = format!("new:{} old:{}", "n".repeat(32), "o".repeat(32));
    let clinic = clinic::builder(data.path()).env("CLINIC_LINK_KEYS", keys).start().await;
    let client = Client::logged_in(clinic.address(), "ada").await;
    let nobody = Client::new(clinic.address());
    let id = attached(&client, 69, "letter.pdf").await;
    assert_eq!(nobody.get(&link(&client, 69, &id).await).await.unwrap().status(), StatusCode::OK);

    let files = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.documents").unwrap());
    let signed = |key: &str, letter: &str, purpose: &'static str| {
        let keys = KeyRing::new(key, secret(letter)).unwrap();
        SignedUrls::new(files.clone(), keys, "/links").with_purpose(purpose)
    };
    let (new, old) = (signed("new", "n", "documents"), signed("old", "o", "documents"));
    let ended = new.clone().with_clock(ManualClock::default());
    for (urls, expected) in [
        (new, StatusCode::OK),
        (old, StatusCode::OK),
        (ended, StatusCode::FORBIDDEN),
        (signed("older", "o", "documents"), StatusCode::FORBIDDEN),
        (signed("new", "x", "documents"), StatusCode::FORBIDDEN),
        (signed("new", "n", "letters"), StatusCode::FORBIDDEN),
    ] {
        let link = urls.get(&id).url().unwrap();
        assert_eq!(nobody.get(&link).await.unwrap().status(), expected, "{urls:?}");
    }
    let nothing = signed("new", "n", "documents").get("0").url().unwrap();
    assert_eq!(nobody.get(&nothing).await.unwrap().status(), StatusCode::NOT_FOUND);
}

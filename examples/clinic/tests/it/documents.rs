//! Documents that are removed and restored.

use reqwest::StatusCode;
use serde_json::Value;

use crate::client::{Client, text};
use crate::clinic;

/// Attaches a document; its id.
async fn attached(client: &Client, patient: u32, name: &str) -> String {
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
    let gone = ada.browse(reqwest::Method::GET, &document).send().await.unwrap();
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
    let forged = client.request(reqwest::Method::POST, &remove).form(&[("csrf", "0")]).send().await.unwrap();
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

//! What replicas do together, as one clinic alone does it.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;

use crate::client::{Client, text};
use crate::clinic;

#[tokio::test]
async fn an_upload_that_is_sent_again_with_its_key_is_attached_once() {
    let client = Client::logged_in(clinic::shared().await.address(), "staff050").await;
    let documents = async || client.json("/api/patients/51").await.unwrap()["documents"].as_array().unwrap().len();
    let before = documents().await;
    let sent = async |key: &str, content: &[u8]| {
        let answer = client.attach_once(51, key, content).await.unwrap();
        let replayed = answer.headers().contains_key("idempotency-replayed");
        (answer.status(), replayed, answer.json::<Value>().await.unwrap())
    };
    let (status, replayed, first) = sent("k1", b"pixels").await;
    assert_eq!((status, replayed), (StatusCode::CREATED, false));
    let (status, replayed, again) = sent("k1", b"pixels").await;
    assert_eq!((status, replayed, text(&again["id"])), (StatusCode::CREATED, true, text(&first["id"])));
    assert_eq!(sent("k1", b"other pixels").await.0, StatusCode::UNPROCESSABLE_ENTITY, "another one under the key");
    assert_eq!(documents().await, before + 1);

    let refused = async || client.attach_once(9_999, "k2", b"pixels").await.unwrap();
    let (first, again) = (refused().await, refused().await);
    assert_eq!((first.status(), again.status()), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    let (first, again): (Value, Value) = (first.json().await.unwrap(), again.json().await.unwrap());
    assert_eq!((text(&first["error"]), first), ("There is no such patient.".to_owned(), again), "the same words");
    let large = client.attach_once(51, "k3", &vec![0; (4 << 20) + 1]).await.unwrap();
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE, "what is larger is sent without a key");
}

#[tokio::test]
async fn a_problem_set_is_extended_with_codes_that_there_are() {
    let client = Client::logged_in(clinic::shared().await.address(), "grace").await;
    let path = "/problem-sets/ward-7";
    let added = client.post(path, &[("codes", "i10  E11.9")]).await.unwrap();
    assert_eq!(added.json::<Value>().await.unwrap()["revision"], 1);
    client.post(path, &[("codes", "J45.909 I10")]).await.unwrap().error_for_status().unwrap();
    let set = client.json("/api/problem-sets/ward-7").await.unwrap();
    assert_eq!((&set["revision"], set["codes"].as_array().unwrap().len()), (&2.into(), 3), "{set}");
    let since = client.json("/api/problem-sets/ward-7?since=1").await.unwrap();
    assert_eq!(since["codes"], serde_json::json!([{ "code": "J45.909", "revision": 2 }]));
    for typed in ["", "Q99.99"] {
        let refused = client.submit(path, &[("codes", typed)]).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let page = refused.text().await.unwrap();
        assert!(page.contains(&format!("value=\"{typed}\"")) && page.contains("id=\"codes-error\""), "{page}");
    }
    let page = client.get(path).await.unwrap().text().await.unwrap();
    assert!(page.contains("Revision 2") && page.contains("J45.909"), "{page}");
    assert_eq!(client.get("/api/problem-sets/Ward").await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(client.get("/api/problem-sets/ward-7?since=x").await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn scripts_of_one_member_of_staff_are_limited_and_others_are_not() {
    let data = tempfile::tempdir().unwrap();
    let clinic = clinic::builder(data.path()).env("CLINIC_API_RATE", "5").start().await;
    let (ada, grace) =
        (Client::logged_in(clinic.address(), "ada").await, Client::logged_in(clinic.address(), "grace").await);
    let mut limited = None;
    for _ in 0..200 {
        let answer = ada.get("/api/me").await.unwrap();
        assert!(answer.headers().contains_key("ratelimit"), "{answer:?}");
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.expect("200 requests take less than 39 seconds");
    assert!(limited.headers().contains_key("retry-after"));
    assert!(limited.json::<Value>().await.unwrap()["error"].as_str().unwrap().starts_with("Too many requests."));
    assert_eq!(grace.get("/api/me").await.unwrap().status(), StatusCode::OK);
    assert_eq!(ada.get("/sessions").await.unwrap().status(), StatusCode::OK, "pages are not limited");
}

#[tokio::test]
async fn a_report_is_made_at_each_planned_time_and_operators_see_it() {
    let data = tempfile::tempdir().unwrap();
    let clinic = clinic::builder(data.path()).env("CLINIC_REPORT_EVERY", "2").start().await;
    let ada = Client::logged_in(clinic.address(), "ada").await;
    let started = Instant::now();
    let reports = loop {
        let seen = ada.json("/api/operator").await.unwrap();
        let reports = seen["reports"].as_array().unwrap().clone();
        if reports.len() >= 3 {
            break reports;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{seen}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let planned: Vec<_> = reports.iter().map(|report| report["planned"].as_u64().unwrap()).collect();
    assert!(planned.iter().all(|planned| planned % 2_000 == 0) && planned.is_sorted(), "{planned:?}");
    assert!(reports.iter().all(|report| report["by"] == "clinic" && report["active"].as_i64().unwrap() > 0));
    let page = ada.get("/operator").await.unwrap().text().await.unwrap();
    assert!(page.contains("active diagnoses, counted by replica"), "{page}");
    let grace = Client::logged_in(clinic.address(), "grace").await;
    assert_eq!(grace.get("/api/operator").await.unwrap().status(), StatusCode::FORBIDDEN);
}

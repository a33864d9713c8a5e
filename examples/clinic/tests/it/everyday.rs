//! Whether people find their diagnosis in their own words.

use crate::client::{Client, text};
use crate::clinic;

const JUDGED: &str = include_str!("../../../data/everyday-judged.tsv");

async fn codes(client: &Client, typed: &str) -> Vec<String> {
    let found = client.concepts(typed, "").await.unwrap();
    found["hits"].as_array().unwrap().iter().map(|hit| text(&hit["code"])).collect()
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the figure is what the test is read for")]
async fn everyday_phrases_find_their_diagnosis() {
    let client = Client::logged_in(clinic::shared().await.address(), "staff020").await;
    let judged: Vec<_> = JUDGED.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(judged.len(), 200);
    let (mut first, mut among_five, mut missed) = (0, 0, Vec::new());
    for line in &judged {
        let (typed, expected) = line.split_once('\t').unwrap();
        let found = codes(&client, typed).await;
        let place = found.iter().position(|code| expected.split('|').any(|expected| code.starts_with(expected)));
        first += usize::from(place == Some(0));
        among_five += usize::from(place.is_some_and(|place| place < 5));
        if place.is_none_or(|place| place >= 5) {
            missed.push(format!("{typed}: wanted {expected}, found {:?}", &found[..found.len().min(5)]));
        }
    }
    println!("figure: everyday phrases: {among_five} of 200 among the first five hits, {first} first; bar 180");
    for line in &missed {
        println!("  {line}");
    }
    assert!(among_five >= 180, "{missed:#?}");
    // Those that the search was made for.
    for typed in judged[..5].iter().filter_map(|line| line.split('\t').next()) {
        assert!(!missed.iter().any(|line| line.starts_with(&format!("{typed}:"))), "{missed:#?}");
    }
}

#[tokio::test]
async fn what_can_be_coded_comes_first_and_nothing_else_is_accepted() {
    let client = Client::logged_in(clinic::shared().await.address(), "staff021").await;
    assert_eq!(codes(&client, "hypertension").await[0], "I10");
    for typed in ["hypertension", "asthma", "I21", "fracture of forearm", "diabetes"] {
        let found = client.concepts(typed, "").await.unwrap();
        let billable: Vec<_> = found["hits"].as_array().unwrap().iter().map(|hit| hit["billable"] == true).collect();
        assert!(billable.is_sorted_by(|one, next| one >= next), "{typed}: {found}");
    }
    for category in ["I21", "J45", "S52.5"] {
        let refused = client.post("/patients/26/diagnoses", &[("concept", category)]).await.unwrap();
        assert_eq!(refused.status(), reqwest::StatusCode::UNPROCESSABLE_ENTITY, "{category}");
        let error: serde_json::Value = refused.json().await.unwrap();
        assert!(text(&error["error"]).contains("category"), "{error}");
        assert_eq!(error["field"], "concept");
    }
}

#[tokio::test]
async fn if_nothing_has_all_words_what_has_most_of_them_is_found() {
    let client = Client::logged_in(clinic::shared().await.address(), "staff022").await;
    let found = client.concepts("my terrible migraine xyzzyq", "").await.unwrap();
    assert_eq!(found["partial"], true, "{found}");
    assert!(text(&found["hits"][0]["code"]).starts_with("G43"), "{found}");
    let all = client.concepts("migraine with aura", "").await.unwrap();
    assert_eq!(all["partial"], false, "{all}");
    assert_eq!(client.concepts("xyzzyq", "").await.unwrap()["total"], 0);
}

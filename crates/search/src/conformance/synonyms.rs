//! Cases about words that mean the same.

use super::kit::{SearchBackend, id_set, ids, put_titles, schema, scores};
use crate::{Operator, Query, Synonyms};

fn synonyms(rules: &str) -> Synonyms {
    Synonyms::parse(&schema(), "title", rules).expect("the rules are valid")
}

const TITLES: [&str; 7] = [
    "Acute heart attack",
    "Sudden myocardial infarction",
    "Infarction of the lung, myocardial damage",
    "Panic attack",
    "Tumour of the heart",
    "Neoplasm",
    "MI",
];

/// Of one word and of several, typed or not, in whatever form the field makes of them.
pub(super) async fn a_word_finds_its_synonyms(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &TITLES).await;
    let heart = synonyms("heart attack, myocardial infarction, mi");
    let all = |text: &str| heart.matches(text, Operator::And).expect("it is short");
    assert_eq!(id_set(index, all("heart attack")).await, ["0", "1", "6"]);
    assert_eq!(id_set(index, all("Héart-ATTACKS")).await, ["0", "1", "6"], "as the field has it");
    assert_eq!(id_set(index, all("MI")).await, ["0", "1", "6"]);
    assert_eq!(id_set(index, all("acute MI")).await, ["0"]);
    assert_eq!(id_set(index, all("infarction myocardial")).await, ["1", "2"], "no rule begins here");
    let any = heart.matches("heart attack", Operator::Or).expect("it is short");
    assert_eq!(id_set(index, any).await, ["0", "1", "3", "4", "6"], "as if no synonym were there, and these besides");
    let arrow = synonyms("tumor, growth => tumour, neoplasm\nneoplasm => tumour");
    let found = async |text: &str| id_set(index, arrow.matches(text, Operator::Or).expect("it is short")).await;
    assert_eq!(found("growths").await, ["4", "5"]);
    assert_eq!(found("neoplasm").await, ["4"], "in place of what was typed");
    assert_eq!(found("tumour").await, ["4"], "the other way round it says nothing");
    assert_eq!(found("").await, Vec::<String>::new());
    let longest = synonyms("heart => mi\nheart attack => panic\nattack => neoplasm");
    let any = |text: &str| longest.matches(text, Operator::Or).expect("it is short");
    assert_eq!(id_set(index, any("heart attack")).await, ["3"]);
    assert_eq!(id_set(index, any("attack heart")).await, ["5", "6"]);
}

/// Once, whichever synonyms a document has of one word, and less where they weigh less.
pub(super) async fn synonyms_score_as_what_fits_best(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["car", "car automobile", "automobile", "auto", "truck", "car"]).await;
    let rules = synonyms("car, automobile, auto");
    let cars = |synonyms: &Synonyms| synonyms.matches("car", Operator::Or).expect("it is short");
    let plain =
        scores(index, Query::dis_max(["car", "automobile", "auto"].map(|word| Query::matches("title", word)))).await;
    assert_eq!(scores(index, cars(&rules)).await, plain);
    assert_eq!(ids(index, cars(&rules)).await[0], "3", "the rarest scores most");
    let typed_first = ids(index, cars(&rules.with_weight(0.1).expect("it is from 0 to 1"))).await;
    assert_eq!(typed_first, ["0", "5", "1", "3", "2"]);
    let without = synonyms("bus, coach").matches("car truck", Operator::Or).expect("it is short");
    assert_eq!(without, Query::matches("title", "car truck").into());
    let arrow = synonyms("truck => lorry, auto").with_weight(0.1).expect("it is from 0 to 1");
    let meant = arrow.matches("truck", Operator::Or).expect("it is short");
    assert_eq!(scores(index, meant).await, scores(index, Query::matches("title", "auto")).await, "in place of it");
}

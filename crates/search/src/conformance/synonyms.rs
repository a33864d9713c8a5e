//! Cases about words that mean the same.

use std::sync::Arc;

use statehouse_core::ErrorKind;

use super::evolution::changed_from;
use super::kit::{SearchBackend, id, id_set, ids, put, put_titles, record, schema, scores, with_synonyms};
use crate::{
    Highlight, Operator, Query, Reindex, SchemaDiff, SearchIndex, SearchIndexExt as _, SearchRequest, Synonyms,
};

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

async fn put_remarks(index: &dyn SearchIndex, remarks: &[&str]) {
    put(index, remarks.iter().enumerate().map(|(at, text)| record(&at.to_string()).with("remark", *text))).await;
}

/// In whatever form it is said, in a phrase, too, and what is stored and marked is what somebody wrote.
pub(super) async fn a_document_is_found_by_synonyms_of_the_index(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let remarks = ["The Héart attacks", "Cardiac failure", "A tumor of the heart", "Neoplasm", "Panic attack"];
    put_remarks(index, &remarks).await;
    let found = async |text: &str| id_set(index, Query::matches("remark", text)).await;
    assert_eq!(found("cardiac").await, ["0", "1", "2"]);
    assert_eq!(found("HEARTS").await, ["0", "1", "2"], "in whatever form");
    assert_eq!(found("infarcts").await, ["0", "4"]);
    assert_eq!(found("neoplasms").await, ["2", "3"]);
    assert_eq!(found("tumor").await, [""; 0], "it is not there in place of what stands for it");
    let phrase = async |text: &str| id_set(index, Query::phrase("remark", text)).await;
    assert_eq!(phrase("cardiac infarct").await, ["0"]);
    assert_eq!(phrase("tumour of the heart").await, ["2"]);
    assert_eq!(phrase("heart cardiac").await, [""; 0], "they are one word");
    assert_eq!(id_set(index, Query::prefix("remark", "infar")).await, ["0", "4"]);
    assert_eq!(id_set(index, Query::fuzzy("remark", "neoplasn")).await, ["2", "3"]);

    let request = SearchRequest::new(Query::matches("remark", "infarct")).with_highlight(Highlight::field("remark"));
    let page = index.search(&request).await.expect("the search succeeds");
    let hit = page.hits.iter().find(|hit| hit.id().as_str() == "0").expect("it is found");
    assert_eq!(hit.record.value("remark"), Some(&"The Héart attacks".into()));
    let (_, fragments) = &hit.highlights[0];
    let marked: Vec<_> = fragments[0].marks.iter().map(|mark| &fragments[0].text[mark.clone()]).collect();
    assert_eq!(marked, ["attacks"]);
    let got = index.get(&id("2")).await.expect("a get").expect("it is there");
    assert_eq!(got.value("remark"), Some(&"A tumor of the heart".into()));
}

/// Nor does one that a stem makes the same of count twice.
pub(super) async fn synonyms_of_the_index_make_no_text_longer(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_remarks(index, &["attack pain heart", "panic pain gone", "panic pain", "pain"]).await;
    let pain = scores(index, Query::matches("remark", "pain")).await;
    assert_eq!(pain[2].to_bits(), pain[3].to_bits(), "{pain:?}");
    assert!(pain[0] > pain[1] && pain[1] > pain[2], "{pain:?}");
    put_remarks(index, &["attack", "infarct", "other", "other"]).await;
    let attacks = scores(index, Query::matches("remark", "attack")).await;
    assert_eq!((attacks.len(), attacks[0].to_bits()), (2, attacks[1].to_bits()), "{attacks:?}");
    let several = record("several").with("remark", "attack").with("remark", "heart attack");
    put(index, [several]).await;
    assert_eq!(id_set(index, Query::phrase("remark", "cardiac infarct")).await, ["several"]);
    assert_eq!(id_set(index, Query::phrase("remark", "infarct cardiac")).await, [""; 0], "values are apart");
}

/// They are part of the schema.
pub(super) async fn other_synonyms_of_the_index_need_a_reindex(backend: &impl SearchBackend) {
    let old = backend.service().await;
    put_remarks(&*old, &["heart attack", "lung"]).await;
    // What is not stored could not be copied.
    let wanted = changed_from(&with_synonyms("heart, cardiac, coronary"), &[("hidden", None)], []);
    let SchemaDiff::NeedsReindex { reasons } = old.diff(&wanted).await.expect("a diff") else { panic!("a reindex") };
    let reason = "field \"remark\" is indexed with other synonyms, by \"worded\"";
    assert_eq!(reasons.iter().map(ToString::to_string).collect::<Vec<_>>(), [reason]);
    let error = old.ensure(Arc::clone(&wanted)).await.expect_err("it cannot be done in place");
    assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains(reason), "{error}");

    let new = Reindex::new(Arc::clone(&old), wanted).run().await.expect("a reindex").index;
    assert_eq!(id_set(&*new, Query::matches("remark", "coronary")).await, ["0"]);
    assert_eq!(id_set(&*new, Query::matches("remark", "infarct")).await, [""; 0]);
    assert_eq!(id_set(&*old, Query::matches("remark", "infarct")).await, ["0"]);
}

use std::io::Read as _;

use statehouse_search::analysis::{Analyzer, Normalizer, Stemmer};
use statehouse_search::{Field, Record, Schema};

/// One row of ICD-10-CM.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    pub(crate) code: String,
    pub(super) parent: String,
    pub(super) chapter: String,
    pub(crate) title: String,
    pub(super) terms: Vec<String>,
}

pub(crate) fn diagnoses() -> Vec<Diagnosis> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/icd10cm-2025-04.tsv.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(diagnosis).collect()
}

fn diagnosis(line: &str) -> Diagnosis {
    let columns: Vec<_> = line.split('\t').map(str::to_owned).collect();
    let [code, parent, chapter, title, terms] = columns.try_into().unwrap();
    let terms = terms.split('|').filter(|term| !term.is_empty()).map(str::to_owned).collect();
    Diagnosis { code, parent, chapter, title, terms }
}

/// Of frequent and rare words: both ways, in place of a word, and some that a stem makes the same of.
const RULES: &str = "fracture, break, broken
    encounter, visit, visits, contact
    neoplasm, tumor, cancer
    initial, first
    left => left, sinister
    unspecified => unspecified, other, unknown
    right => dexter
    malignant => cancerous
    burn, burns, scald
    failure, insufficiency, weakness
    heart, cardiac, coronary";

pub(super) fn schema() -> Schema {
    let stop = ["a", "and", "by", "in", "of", "or", "the", "to", "with"];
    let english = Analyzer::standard().lowercase().ascii_folding().stop_words(stop).stem(Stemmer::Porter2);
    let words = Analyzer::standard().lowercase().ascii_folding().synonyms(RULES);
    Schema::builder()
        .analyzer("worded", words.stop_words(stop).stem(Stemmer::Porter2))
        .analyzer("english", english)
        .analyzer("start", Analyzer::standard().lowercase().ascii_folding().edge_ngram(2, 8))
        .field(
            Field::text("title")
                .analyzed_by("english")
                .with_sub_field(Field::text("plain"))
                .with_sub_field(Field::text("worded").analyzed_by("worded").searched_by("english"))
                .with_sub_field(Field::text("start").analyzed_by("start").searched_by("standard").without_norms()),
        )
        .field(Field::text("terms").analyzed_by("english"))
        .field(Field::keyword("code").normalized(Normalizer::default().lowercase()).sortable())
        .field(Field::keyword("parent").sortable())
        .field(Field::keyword("chapter").sortable())
        .field(Field::u64("length").sortable())
        .field(Field::u64("weight").sortable())
        .field(Field::i64("balance").sortable())
        .field(Field::f64("share").sortable())
        .field(Field::bool("leaf").sortable())
        .field(Field::date("since").sortable())
        .build()
        .unwrap()
}

/// Unsigned numbers at the ends of what they and signed ones can be.
pub(super) const EXTREMES: [u64; 7] =
    [0, 1, i64::MAX as u64 - 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX - 1, u64::MAX];

/// The row, and values of other types that follow from it; some of them are missing in some rows.
pub(super) fn record(row: &Diagnosis) -> Record {
    let mut record = Record::new(&row.code)
        .unwrap()
        .with_version(1)
        .with("title", &*row.title)
        .with("code", &*row.code)
        .with("parent", &*row.parent)
        .with("chapter", &*row.chapter)
        .with("leaf", row.code.len() > 5);
    for term in &row.terms {
        record.push("terms", &**term);
    }
    let length = row.title.len() as u64;
    let number = i64::try_from(length).unwrap() * 7_919 % 1_009 - 500;
    if !length.is_multiple_of(6) {
        record.push("weight", EXTREMES[row.code.len() * row.title.len() % EXTREMES.len()]);
    }
    if !length.is_multiple_of(10) {
        record.push("length", length % 50);
        record.push("balance", number);
    }
    if !length.is_multiple_of(7) {
        record.push("share", f64::from(i32::try_from(number).unwrap()) / 8.0);
        record.push("since", statehouse_search::Value::Date(number * 86_400_000));
    }
    record
}

//! An index that is made anew under a steady load of a hundred writes and a hundred searches in a second, by processes that are killed,
//! and rolled back twice: nothing that was acknowledged is lost, and no search fails.
//!
//! How long searches take is a figure of each run; a soak holds it against a bar.

mod embedded;
mod load;
mod server;
mod told;

use statehouse_core::conformance::rounds;
use statehouse_search::analysis::{Analyzer, Stemmer};
use statehouse_search::{Field, Record, Schema};

use crate::parity::corpus::diagnoses;

/// A row of the source: its id, and its words.
#[derive(Debug)]
struct Row {
    id: String,
    title: String,
}

/// Of the terminology, all or every twentieth.
fn rows() -> Vec<Row> {
    let all = diagnoses().into_iter().step_by(rounds(20, 1));
    all.map(|row| Row { id: row.code, title: row.title }).collect()
}

fn is_soak() -> bool {
    rounds(0, 1) == 1
}

/// How many documents a second are copied: both passes take some seconds, so that kills meet them.
fn pace() -> u64 {
    rounds(500, 2_000) as u64
}

fn old_schema() -> Schema {
    Schema::builder().field(Field::text("title")).field(Field::i64("note")).build().unwrap()
}

/// Stems, and synonyms of the index.
fn new_schema() -> Schema {
    let words = Analyzer::standard().lowercase();
    let stemmed = |words: Analyzer| words.stem(Stemmer::Porter2);
    let title = Field::text("title").analyzed_by("documents").searched_by("queries");
    Schema::builder()
        .analyzer("documents", stemmed(words.clone().synonyms("fracture, break\nheart, cardiac")))
        .analyzer("queries", stemmed(words))
        .field(title)
        .field(Field::i64("note").sortable())
        .build()
        .unwrap()
}

/// A document as the write of this number leaves it.
fn document(id: &str, title: &str, number: u64) -> Record {
    let document = Record::new(id).unwrap().with_version(number).with("title", title.to_owned());
    document.with("note", i64::try_from(number).unwrap())
}

//! ICD-10-CM: 46,498 concepts that diagnoses are coded with.

mod chapters;
mod edition;
mod everyday;
mod loader;
mod progress;
mod query;
mod search;

pub(crate) use chapters::chapters;
pub(crate) use edition::Edition;
pub(crate) use loader::Loading;
pub(crate) use search::{ChapterCounts, Concepts, Found};

use statehouse::search::analysis::Analyzer;
use statehouse::search::{Document, Field, SchemaBuilder};

/// What a diagnosis says.
#[derive(Clone, Debug, PartialEq, Eq, Document)]
#[document(analyzers = analyzers)]
pub(crate) struct Concept {
    #[document(id)]
    pub(crate) code: String,
    /// The code in lowercase without its dot, as people type it.
    #[document(keyword)]
    pub(crate) bare_code: String,
    #[document(text, analyzer = "words")]
    pub(crate) title: String,
    /// Other words for the same, from ICD-10-CM itself.
    #[document(text, analyzer = "words")]
    pub(crate) terms: Vec<String>,
    /// Its bare code once more if people have names for it: in the index that is the words of those names, and nothing of
    /// them is stored.
    #[document(text, analyzer = "everyday-words", with = by_everyday_names)]
    pub(crate) everyday: Option<String>,
    /// What ICD-10-CM calls it, each as [`query::exact_key`] writes it.
    #[document(keyword)]
    pub(crate) names: Vec<String>,
    /// Whether a diagnosis can be coded with it: a category cannot, only a code below it.
    #[document(sort)]
    pub(crate) billable: bool,
    /// Whether it is what remains if nothing more is known.
    pub(crate) unspecified: bool,
    /// The number of its chapter, as it stands in the data.
    #[document(keyword, sort)]
    pub(crate) chapter: String,
}

/// No stemmer: while somebody types, `bleedin` must find *bleeding*, and the stem of that is `bleed`. Forgiving typos
/// finds the plurals.
fn analyzers(schema: SchemaBuilder) -> SchemaBuilder {
    schema
        .analyzer("words", everyday::words())
        .analyzer("whole", Analyzer::whole())
        .analyzer("everyday-words", Analyzer::whole().synonyms(&everyday::words_by_code()))
        .analyzer("everyday-names", Analyzer::whole().synonyms(&everyday::names_by_code()))
}

/// A code has no length that says anything.
fn by_everyday_names(code: Field) -> Field {
    let names = Field::text("names").analyzed_by("everyday-names").searched_by("whole").without_norms();
    code.searched_by("words").without_norms().not_stored().with_sub_field(names)
}

/// A code as people type it.
pub(crate) fn bare_code(code: &str) -> String {
    code.replace('.', "").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_concept_fits_the_schema_and_comes_back_whole() {
        let schema = Concept::schema().unwrap();
        for concept in Edition::April2026.concepts() {
            let record = concept.to_record().unwrap();
            schema.check_record(&record).unwrap();
            assert_eq!(Concept::from_record(&record).unwrap(), concept);
        }
    }
}

//! A terminology in memory: finds what is being typed, misspelt words, and what a code stands for.
//!
//! `cargo run -p statehouse-search --features derive,tantivy --example concepts -- hart atack`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;

use statehouse_core::Result;
use statehouse_search::analysis::{Analyzer, Stemmer};
use statehouse_search::{Document, Field, Index, Query, SchemaBuilder, TantivyConfig};

#[derive(Debug, Document)]
#[document(analyzers = analyzers)]
struct Concept {
    #[document(id)]
    code: String,
    #[document(text, analyzer = "clinical", with = typed)]
    title: String,
    #[document(text, analyzer = "clinical")]
    synonyms: Vec<String>,
    #[document(keyword, sort)]
    chapter: String,
}

fn analyzers(schema: SchemaBuilder) -> SchemaBuilder {
    let words = || Analyzer::standard().lowercase().ascii_folding();
    schema
        .analyzer("clinical", words().stop_words(["and", "of", "the"]).stem(Stemmer::Porter2))
        .analyzer("beginnings", words().edge_ngram(2, 12))
}

/// The title once more by the beginnings of its words.
fn typed(title: Field) -> Field {
    let beginnings = Field::text("typed").analyzed_by("beginnings").searched_by("standard").without_norms();
    title.with_sub_field(beginnings)
}

fn concept(code: &str, chapter: &str, title: &str, synonyms: &[&str]) -> Concept {
    let synonyms = synonyms.iter().map(|&synonym| synonym.to_owned()).collect();
    Concept { code: code.to_owned(), title: title.to_owned(), synonyms, chapter: chapter.to_owned() }
}

#[tokio::main]
async fn main() -> Result<()> {
    let index = TantivyConfig::memory().open(Concept::schema()?).await?;
    let concepts: Index<Concept> = Index::new(Arc::new(index))?;
    let terminology = [
        concept("A00.9", "I", "Cholera, unspecified", &[]),
        concept("I21.9", "IX", "Acute myocardial infarction, unspecified", &["Heart attack", "Cardiac infarction"]),
        concept("I50.9", "IX", "Heart failure, unspecified", &["Cardiac failure", "Weak heart"]),
        concept("S72.0", "XIX", "Fracture of head and neck of femur", &["Broken hip"]),
    ];
    concepts.upsert_all(terminology).wait_until_visible().await?;

    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let text = if arguments.is_empty() { "hart atack".to_owned() } else { arguments.join(" ") };
    // The title counts most; a misspelt word is found too, and the last one may be half typed.
    let query = Query::bool()
        .should(Concept::title().matches(&*text).fuzzy().boost(2.0))
        .should(Concept::synonyms().matches(&*text).fuzzy())
        .should(Concept::title().sub("typed").matches(&*text));
    let page = concepts.query(query).highlight(Concept::title()).highlight(Concept::synonyms()).top(5).await?;
    println!("{} found for {text:?}", page.total);
    for hit in &page.hits {
        println!("  {} {}", hit.document.code, hit.document.title);
        for fragment in hit.highlight(Concept::title()).iter().chain(hit.highlight(Concept::synonyms())) {
            println!("      {}", fragment.to_html("[", "]"));
        }
    }

    let circulation = concepts.query(Concept::title().matches("unspecified")).filter(Concept::chapter().is("IX"));
    println!("{} unspecified diseases of the circulatory system", circulation.await?.total);

    let unspecified = concepts.query(Concept::title().matches("unspecified")).facet(Concept::chapter()).top(0).await?;
    for chapter in unspecified.facet(Concept::chapter()) {
        println!("  {} in chapter {}", chapter.count, chapter.value.as_text().unwrap_or_default());
    }
    Ok(())
}

//! A document type that changes while its index is searched and written: what a new build does with the index of the one before.
//!
//! `cargo run -p statehouse-search --features derive,tantivy --example reindex`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;

use statehouse_core::{ErrorKind, Result};
use statehouse_search::analysis::{Analyzer, Stemmer};
use statehouse_search::{
    Document, Index, Reindex, SchemaBuilder, SearchIndex, SearchIndexExt as _, TantivyConfig, rollback,
};

mod before {
    use super::Document;

    #[derive(Debug, Document)]
    pub(super) struct Ward {
        #[document(id)]
        pub(super) number: String,
        #[document(text)]
        pub(super) title: String,
        #[document(keyword)]
        pub(super) beds: String,
    }
}

/// `title` is called `name` and found by its stems, `beds` is a number, and `phone` is new.
#[derive(Debug, Document)]
#[document(analyzers = analyzers)]
struct Ward {
    #[document(id)]
    number: String,
    #[document(text, analyzer = "english")]
    name: String,
    #[document(sort)]
    beds: u64,
    #[document(keyword)]
    phone: Option<String>,
}

fn analyzers(schema: SchemaBuilder) -> SchemaBuilder {
    schema.analyzer("english", Analyzer::standard().lowercase().stem(Stemmer::Porter2))
}

#[tokio::main]
async fn main() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("statehouse-reindex-{}", std::process::id()));
    let config = || TantivyConfig::folder(&folder);

    // The build before.
    let index = config().open(before::Ward::schema()?).await?;
    let wards: Index<before::Ward> = Index::new(Arc::new(index))?;
    let ward =
        |n: u64| before::Ward { number: n.to_string(), title: "Burns and fractures".into(), beds: (n * 4).to_string() };
    wards.upsert_all((1..=200).map(ward)).wait_until_visible().await?;
    wards.index().close().await?;

    // The new build is told what differs,
    let refused = config().open(Ward::schema()?).await.expect_err("it needs a reindex");
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    println!("{refused}");

    // and makes of the index one of its own, while searches and writes by the schema before go on.
    let live: Arc<dyn SearchIndex> = Arc::new(config().open_live().await?);
    let done = Reindex::new(Arc::clone(&live), Ward::schema()?)
        .renamed("title", "name")
        .on_progress(|progress| println!("  pass {}: {} of {}", progress.pass, progress.seen, progress.total))
        .run()
        .await?;
    println!("generation {} with {} documents is live", done.generation.number, done.generation.documents);

    let wards: Index<Ward> = Index::new(done.index)?;
    let found = wards.query(Ward::name().matches("burn")).sort(Ward::beds().descending()).top(1).await?;
    println!("{} wards for a burn; the largest has {} beds", found.total, found.hits[0].document.beds);

    // Should the deploy be taken back: what the new build wrote is there for the one before, too.
    let ward = Ward { number: "201".into(), name: "Maternity".into(), beds: 12, phone: Some("7 12".into()) };
    wards.upsert(ward).wait_until_visible().await?;
    rollback(&live).await?;
    let before: Index<before::Ward> = Index::new(live.ensure(before::Ward::schema()?).await?)?;
    let ward = before.get("201").await?.expect("it was written to both");
    println!("the build before reads {:?} with {} beds", ward.title, ward.beds);
    live.close().await?;
    std::fs::remove_dir_all(&folder).expect("its own folder");
    Ok(())
}

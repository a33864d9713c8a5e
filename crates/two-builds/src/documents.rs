//! What a build does with documents. The type decides the schema of its index, and the schema decides whether the other
//! build may open it: fields may come and go, and anything else needs a reindex, behind which both go on.

use std::env;

use statehouse_core::{Error, Namespace, Result, ServiceUrl};
use statehouse_search::{Document, Index, Indexes, Query, Reindex};

/// A document of which each build has its own definition.
pub trait Indexed: Document {
    /// What changed from one build to the other.
    const CHANGE: &'static str;
    /// Fields that have another name than in the build before: old and new.
    const RENAMED: &'static [(&'static str, &'static str)] = &[];
    /// The document that this build stores.
    fn value() -> Self;
    /// The document in words that both builds have in common.
    fn said(&self) -> String;
}

/// Where the documents are, and what is to be done with them.
#[derive(Debug)]
pub struct Documents {
    indexes: Indexes,
    verb: String,
}

impl Documents {
    /// Opens what the arguments name, if they are about documents: `documents (write|read|reindex) URL NAMESPACE`.
    ///
    /// # Errors
    /// If the URL is of no index.
    pub async fn open() -> Result<Option<Self>> {
        let arguments: Vec<String> = env::args().skip(1).collect();
        let Some([verb, url, namespace]) = arguments.strip_prefix(&["documents".to_owned()]) else { return Ok(None) };
        let url = ServiceUrl::parse("PLACE", url)?;
        let indexes = Indexes::open(url, &Namespace::new(namespace)?).await?;
        Ok(Some(Self { indexes, verb: verb.clone() }))
    }

    /// Stores the document of a type in the index of its own, reads it, or indexes it anew.
    ///
    /// # Errors
    /// Those of writing. What a reader is refused is printed.
    pub async fn meet<T: Indexed>(&self) -> Result<()> {
        if self.verb == "reindex" {
            let reindex = Reindex::new(self.indexes.live(T::CHANGE).await?, T::schema()?);
            let renamed = |reindex: Reindex, (old, new): &(&str, &str)| reindex.renamed(*old, *new);
            let done = T::RENAMED.iter().fold(reindex, renamed).run().await?;
            return done.index.close().await;
        }
        if self.verb == "write" {
            let index = self.index::<T>().await?;
            index.upsert_all([T::value()]).wait_until_visible().await?;
            return index.index().close().await;
        }
        for _ in 0..2 {
            let (got, found) = match self.index::<T>().await {
                Ok(index) => (index.get("1").await.map(|found| found.map(|found| found.said())), first(&index).await),
                Err(error) => (Err(error.clone()), Err(error)),
            };
            println!("get, {}: {}", T::CHANGE, told(got));
            println!("search, {}: {}", T::CHANGE, told(found));
        }
        Ok(())
    }

    async fn index<T: Indexed>(&self) -> Result<Index<T>> {
        Index::new(self.indexes.index(T::CHANGE, T::schema()?).await?)
    }
}

async fn first<T: Indexed>(index: &Index<T>) -> Result<Option<String>> {
    let page = index.query(Query::all()).await?;
    Ok(page.hits.first().map(|hit| hit.document.said()))
}

fn told(found: Result<Option<String>, Error>) -> String {
    match found {
        Ok(found) => found.unwrap_or_else(|| "nothing".to_owned()),
        Err(error) => format!("{:?}, {error}", error.kind()),
    }
}

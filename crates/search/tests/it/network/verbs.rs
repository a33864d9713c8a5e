//! Every verb of an index, and what came of it in a word.

use statehouse_core::{Fence, HealthStatus, Key, Namespace, RaiseOptions, Result, Version};
use statehouse_search::{
    BulkOptions, BulkReport, Facet, GenerationsOptions, GetOptions, MergeOptions, OpenSearchConfig, OpenSearchIndex,
    Operation, Outcome, Query, Record, SchemaDiff, SearchIndex as _, SearchIndexExt as _, SearchRequest,
};

use crate::opensearch::schema;

/// What takes a minute at 1 kB/s, in bytes.
pub(super) const LONG: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Open,
    Ensure,
    Diff,
    Search,
    Facets,
    Hits,
    Count,
    Get,
    /// A document of 64 KiB.
    GetLong,
    Refresh,
    Merge,
    /// With a version: may be sent again.
    Versioned,
    /// Without one: must not be.
    Unversioned,
    /// A document of 64 KiB.
    Long,
    /// Several operations, one of which deletes.
    Many,
    Delete,
    DeleteUnversioned,
    /// Under a lock.
    Fenced,
    Raise,
    /// A look at those that there are.
    Generations,
    Health,
}

pub(super) const VERBS: [Verb; 21] = [
    Verb::Open,
    Verb::Ensure,
    Verb::Diff,
    Verb::Search,
    Verb::Facets,
    Verb::Hits,
    Verb::Count,
    Verb::Get,
    Verb::GetLong,
    Verb::Refresh,
    Verb::Merge,
    Verb::Versioned,
    Verb::Unversioned,
    Verb::Long,
    Verb::Many,
    Verb::Delete,
    Verb::DeleteUnversioned,
    Verb::Fenced,
    Verb::Raise,
    Verb::Generations,
    Verb::Health,
];

impl Verb {
    /// Whether it writes the document of its cell.
    pub(super) const fn upserts(self) -> bool {
        matches!(self, Self::Versioned | Self::Unversioned | Self::Long | Self::Many | Self::Fenced)
    }

    pub(super) const fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::DeleteUnversioned)
    }

    pub(super) const fn writes(self) -> bool {
        self.upserts() || self.deletes() || matches!(self, Self::Raise)
    }

    /// Whether it looks at something before it writes.
    pub(super) const fn looks_first(self) -> bool {
        matches!(self, Self::Fenced | Self::Raise)
    }
}

/// What a verb is called with.
pub(super) struct Given<'a> {
    pub(super) index: &'a OpenSearchIndex,
    pub(super) config: OpenSearchConfig,
    pub(super) name: &'a Namespace,
    /// Of the document that the cell writes, which no search of the table finds.
    pub(super) id: &'a str,
}

impl Given<'_> {
    fn document(&self) -> Record {
        Record::new(self.id).unwrap().with("title", "Fever")
    }

    fn fence(&self) -> Fence {
        Fence::new(Key::new(format!("lock/{}", self.name)).unwrap(), Version::new(2))
    }

    fn delete(&self, version: Option<u64>) -> Vec<Operation> {
        vec![Operation::Delete { id: self.id.try_into().unwrap(), version }]
    }
}

/// A document that takes a minute at 1 kB/s.
pub(super) fn long(id: &str) -> Record {
    Record::new(id).unwrap().with_version(7).with("title", "Fever ".repeat(LONG / 6))
}

fn cholera() -> Query {
    Query::matches("title", "cholera").into()
}

/// `ok`, or the kind of the error.
pub(super) async fn run(verb: Verb, given: &Given<'_>) -> String {
    done(verb, given).await.map_or_else(|error| error.kind().to_string(), |()| "ok".to_owned())
}

async fn done(verb: Verb, given: &Given<'_>) -> Result<()> {
    let Given { index, config, name, .. } = given;
    match verb {
        Verb::Open => OpenSearchIndex::open(config.clone(), name, schema()).await.map(drop),
        Verb::Ensure => index.ensure(schema()).await.map(drop),
        Verb::Diff => index.diff(&schema()).await.map(|diff| assert_eq!(diff, SchemaDiff::Same)),
        Verb::Search | Verb::Facets | Verb::Hits | Verb::Count | Verb::Get | Verb::GetLong => reads(verb, index).await,
        Verb::Refresh => index.refresh().await,
        Verb::Merge => index.merge_with(MergeOptions::default()).await,
        Verb::Raise => index.raise_with(&given.fence(), RaiseOptions::default()).await,
        Verb::Generations => generations(index).await,
        Verb::Health => match index.health().await {
            health if health.status == HealthStatus::Up => Ok(()),
            health => Err(health.error.expect("what is not up says why")),
        },
        _ => applied(index.bulk_with(operations(verb, given), options(verb, given)).await),
    }
}

async fn reads(verb: Verb, index: &OpenSearchIndex) -> Result<()> {
    const ABSENT: &str = "an outage is no absence";
    let request = SearchRequest::new(cholera());
    match verb {
        Verb::Facets => {
            let found = index.search(&request.with_facet(Facet::field("chapter"))).await?;
            assert_eq!((found.total, found.facet("chapter").len()), (1, 1), "{ABSENT}");
        }
        Verb::Hits => {
            let mut hits = index.hits(&request).await?;
            assert!(hits.next().await?.is_some_and(|hit| hit.id().as_str() == "a"), "{ABSENT}");
            assert!(hits.next().await?.is_none());
            hits.close().await?;
        }
        Verb::Count => assert_eq!(index.count(&cholera()).await?, 1, "{ABSENT}"),
        Verb::Get => assert!(index.get(&"a".try_into().unwrap()).await?.is_some(), "{ABSENT}"),
        Verb::GetLong => {
            let found = index.get_with(&"long".try_into().unwrap(), GetOptions::default()).await?;
            assert!(found.is_some(), "{ABSENT}");
        }
        _ => assert_eq!(index.search(&request).await?.ids(), ["a"], "{ABSENT}"),
    }
    Ok(())
}

fn operations(verb: Verb, given: &Given<'_>) -> Vec<Operation> {
    match verb {
        Verb::Unversioned => vec![Operation::Upsert(given.document())],
        Verb::Long => vec![Operation::Upsert(long(given.id))],
        Verb::Many => {
            let others = (0..20).map(|n| format!("{}-{n}", given.id));
            let others = others.map(|id| Operation::Upsert(Record::new(id).unwrap().with_version(7)));
            let gone = Operation::Delete { id: format!("{}-gone", given.id).try_into().unwrap(), version: Some(7) };
            others.chain([gone, Operation::Upsert(given.document().with_version(7))]).collect()
        }
        Verb::Delete => given.delete(Some(9)),
        Verb::DeleteUnversioned => given.delete(None),
        _ => vec![Operation::Upsert(given.document().with_version(7))],
    }
}

fn options(verb: Verb, given: &Given<'_>) -> BulkOptions {
    let options = BulkOptions::default();
    if verb == Verb::Fenced { options.with_fence(&given.fence()) } else { options }
}

/// That each operation is applied: nobody else writes these documents, and so one that is stale was applied before.
fn applied(report: Result<BulkReport>) -> Result<()> {
    report?.outcomes.into_iter().try_for_each(|outcome| match outcome {
        Outcome::Failed(error) => Err(error),
        _ => Ok(()),
    })
}

async fn generations(index: &OpenSearchIndex) -> Result<()> {
    index.generations_with(GenerationsOptions::default()).await.map(drop)
}

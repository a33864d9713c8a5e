//! The ids and versions of a generation's documents.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use statehouse_core::{Error, Result};

use super::super::client::Call;
use super::super::mapping::ID;
use super::super::search::{Count, Sharded};
use super::super::{copies, error};
use super::ground::Ground;
use super::view::{View, absent};
use crate::work::away;
use crate::{Digest, DocumentId, Generation, Scan, SearchRequest};

/// How many are asked for at once.
const PAGE: usize = 5_000;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    hits: Hits<'a>,
    #[serde(flatten)]
    sharded: Sharded,
}

#[derive(Deserialize)]
struct Hits<'a> {
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
}

#[derive(Deserialize)]
struct Hit<'a> {
    #[serde(rename = "_id", borrow)]
    id: Cow<'a, str>,
    #[serde(rename = "_version")]
    version: u64,
    sort: [Option<String>; 1],
}

/// Some documents, and whether there may be more behind the last one.
pub(super) struct Page {
    pub(super) found: Vec<(DocumentId, u64)>,
    pub(super) next: Option<String>,
}

impl Ground {
    /// Ids and versions, in the order of ids. Behind no id everything that was acknowledged is seen.
    pub(crate) async fn scan(&self, scan: Scan) -> Result<Vec<(DocumentId, u64)>> {
        let mut view = self.present().await?;
        loop {
            let done = self.scan_in(&view, &scan).await;
            if let Some(found) = self.settle(&mut view, done).await? {
                return Ok(found);
            }
        }
    }

    async fn scan_in(&self, view: &View, scan: &Scan) -> Result<Vec<(DocumentId, u64)>> {
        let known = view.number(scan.generation).ok_or_else(|| absent(scan.generation))?;
        let address = view.address(self.alias.as_str(), known);
        if scan.after.is_none() {
            self.show(&address).await?;
        }
        let limit = scan.limit.max(1);
        self.listed(&address, &json!({ "match_all": {} }), scan.after.as_ref().map(DocumentId::as_str), limit).await
    }

    /// Makes searches see what was written.
    pub(super) async fn show(&self, address: &str) -> Result<()> {
        let answer: Sharded = self.client.read(&Call::ask(format!("/{address}/_refresh"), &json!({}))).await?;
        answer.check().map(drop)
    }

    /// The first so many of a generation's documents that match, behind an id.
    pub(super) async fn listed(
        &self,
        address: &str,
        query: &Json,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(DocumentId, u64)>> {
        let (mut all, mut after) = (Vec::new(), after.map(str::to_owned));
        while all.len() < limit {
            let size = PAGE.min(limit - all.len());
            let page = self.page(address, query, after.as_deref(), size).await?;
            all.extend(page.found);
            if page.next.is_none() {
                break;
            }
            after = page.next;
        }
        Ok(all)
    }

    async fn page(&self, address: &str, query: &Json, after: Option<&str>, size: usize) -> Result<Page> {
        // What something else has written has no such key, or another one than its id.
        let query = json!({ "bool": { "filter": [query, { "exists": { "field": ID } }] } });
        let mut body = json!({
            "query": query, "size": size, "sort": [{ ID: "asc" }],
            "version": true, "_source": false, "track_total_hits": false,
        });
        if let Some(after) = after {
            body["search_after"] = json!([after]);
        }
        let path = format!("/{address}/_search?allow_partial_search_results=false&preference=_primary");
        let answer = self.client.send(&Call::ask(path, &body)).await?;
        away(None, move |_| read(&answer, size)).await
    }

    pub(super) async fn counted(&self, address: &str) -> Result<u64> {
        let body = json!({ "query": { "exists": { "field": ID } } });
        let call = Call::ask(format!("/{address}/_count?preference=_primary"), &body);
        let count: Count = self.client.read(&call).await?;
        count.check()
    }

    /// The number of the last operation of each shard that all before have been done of.
    pub(super) async fn checkpoints(&self, address: &str) -> Result<BTreeMap<String, i64>> {
        #[derive(Deserialize)]
        struct Shard {
            seq_no: SeqNo,
        }
        #[derive(Deserialize)]
        struct SeqNo {
            local_checkpoint: i64,
        }
        let least = |copies: Vec<Shard>| copies.iter().map(|copy| copy.seq_no.local_checkpoint).min().unwrap_or(-1);
        let shards = copies::of(&self.client, address, &["seq_no.local_checkpoint"]).await?;
        Ok(shards.into_iter().map(|shard| (shard.number, least(shard.copies))).collect())
    }

    /// The ids of documents that were written behind these operations.
    pub(super) async fn changed(
        &self,
        address: &str,
        since: &BTreeMap<String, i64>,
        most: usize,
    ) -> Result<Vec<DocumentId>> {
        let mut changed = Vec::new();
        for (shard, last) in since {
            let body = json!({
                "query": { "range": { "_seq_no": { "gt": last } } },
                "size": most.min(usize::try_from(SearchRequest::MAX_WINDOW).unwrap_or(most)),
                "sort": [{ ID: "asc" }], "version": true, "_source": false, "track_total_hits": false,
            });
            let path =
                format!("/{address}/_search?allow_partial_search_results=false&preference=_shards:{shard}%7C_primary");
            let answer = self.client.send(&Call::ask(path, &body)).await?;
            let page = away(None, move |_| read(&answer, usize::MAX)).await?;
            changed.extend(page.found.into_iter().map(|(id, _)| id));
        }
        Ok(changed)
    }

    /// The generations, in the order of their numbers.
    pub(crate) async fn generations(&self, checksums: bool) -> Result<Vec<Generation>> {
        let mut view = self.present().await?;
        loop {
            let done = self.generations_in(&view, checksums).await;
            if let Some(all) = self.settle(&mut view, done).await? {
                return Ok(all);
            }
        }
    }

    async fn generations_in(&self, view: &View, checksums: bool) -> Result<Vec<Generation>> {
        let mut all = Vec::new();
        for known in view.all() {
            let address = view.address(self.alias.as_str(), known);
            let told = Generation::new(known.number, known.stored.schema.clone().into(), view.state(known));
            self.show(&address).await?;
            all.push(if checksums {
                told.with_digest(self.digest(&address).await?)
            } else {
                told.with_documents(self.counted(&address).await?)
            });
        }
        all.sort_by_key(|generation| generation.number);
        Ok(all)
    }

    async fn digest(&self, address: &str) -> Result<Digest> {
        let (mut digest, mut after) = (Digest::default(), None);
        loop {
            let page = self.page(address, &json!({ "match_all": {} }), after.as_deref(), PAGE).await?;
            for (id, version) in &page.found {
                digest.add(id, *version);
            }
            let Some(next) = page.next else { return Ok(digest) };
            after = Some(next);
        }
    }

    /// The ids that are not in both with the same version, at most so many.
    pub(super) async fn different(&self, view: &View, most: usize) -> Result<Vec<DocumentId>> {
        let Some(beside) = &view.beside else { return Ok(Vec::new()) };
        let alias = self.alias.as_str();
        let mut sides =
            [&view.live, beside].map(|known| Side { address: view.address(alias, known), ..Side::default() });
        for side in &sides {
            self.show(&side.address).await?;
        }
        let mut different = Vec::new();
        loop {
            for side in &mut sides {
                side.read(self).await?;
            }
            // As far as both were read.
            let upto = sides.iter().filter_map(Side::upto).min().map(str::to_owned);
            let [live, beside] = &mut sides;
            let (live, beside) = (live.take(upto.as_deref()), beside.take(upto.as_deref()));
            different.extend(away(None, move |_| Ok(super::compare::different(live, beside))).await?);
            if upto.is_none() || different.len() > most {
                return Ok(different);
            }
        }
    }
}

/// One of two generations that are read side by side.
#[derive(Default)]
struct Side {
    address: String,
    page: Vec<(DocumentId, u64)>,
    last: Option<String>,
    is_end: bool,
}

impl Side {
    async fn read(&mut self, ground: &Ground) -> Result<()> {
        if self.is_end || !self.page.is_empty() {
            return Ok(());
        }
        let page = ground.page(&self.address, &json!({ "match_all": {} }), self.last.as_deref(), PAGE).await?;
        self.page = page.found;
        self.is_end = page.next.is_none();
        self.last = page.next;
        Ok(())
    }

    fn upto(&self) -> Option<&str> {
        self.last.as_deref().filter(|_| !self.is_end)
    }

    fn take(&mut self, upto: Option<&str>) -> Vec<(DocumentId, u64)> {
        let taken = upto.map_or(self.page.len(), |upto| self.page.partition_point(|(id, _)| id.as_str() <= upto));
        let rest = self.page.split_off(taken);
        std::mem::replace(&mut self.page, rest)
    }
}

pub(super) fn read(body: &[u8], size: usize) -> Result<Page> {
    let Answer { hits: Hits { hits }, sharded } = serde_json::from_slice(body).map_err(error::of_broken_body)?;
    sharded.check_all()?;
    let next = hits.last().filter(|_| hits.len() >= size).and_then(|hit| hit.sort[0].clone());
    let ours = hits.into_iter().filter(|hit| hit.sort[0].as_deref() == Some(&*hit.id));
    let found = ours.map(|hit| Ok((DocumentId::new(&*hit.id)?, hit.version)));
    Ok(Page { found: found.collect::<Result<_, Error>>()?, next })
}

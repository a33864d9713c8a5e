//! What a server counts of each copy of each shard.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use statehouse_core::Result;

use super::client::{Call, Client};

/// The copies of one shard, with what is wanted of each.
pub(super) struct Shard<T> {
    pub(super) index: String,
    pub(super) number: String,
    pub(super) copies: Vec<T>,
}

/// Of all shards of the indexes at an address; `wanted` are the paths of what `T` reads.
pub(super) async fn of<T: DeserializeOwned>(client: &Client, address: &str, wanted: &[&str]) -> Result<Vec<Shard<T>>> {
    #[derive(Deserialize)]
    struct Answer<T> {
        indices: BTreeMap<String, Index<T>>,
    }
    #[derive(Deserialize)]
    struct Index<T> {
        shards: BTreeMap<String, Vec<T>>,
    }
    let wanted: Vec<_> = wanted.iter().map(|path| format!("indices.*.shards.*.{path}")).collect();
    let path = format!("/{address}/_stats/docs?level=shards&filter_path={}", wanted.join(","));
    let Answer { indices } = client.read(&Call::get(path)).await?;
    let of_index = |(index, found): (String, Index<T>)| {
        found.shards.into_iter().map(move |(number, copies)| Shard { index: index.clone(), number, copies })
    };
    Ok(indices.into_iter().flat_map(of_index).collect())
}

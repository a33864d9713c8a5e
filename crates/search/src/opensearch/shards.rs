//! Whether every shard of the index has a copy that serves.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What the server says of the index's shards.
///
/// Its status alone does not tell: an index that was just created is yellow, and not red, while its shards start.
#[derive(Deserialize)]
pub(super) struct Shards {
    status: String,
    #[serde(default)]
    indices: BTreeMap<String, Index>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    shards: BTreeMap<String, Shard>,
}

#[derive(Deserialize)]
struct Shard {
    primary_active: bool,
}

impl Shards {
    /// Where to ask, with more parameters.
    pub(super) fn path(alias: &str, parameters: &str) -> String {
        format!("/_cluster/health/{alias}?level=shards&{parameters}")
    }

    pub(super) fn all_serve(&self) -> bool {
        let mut shards = self.indices.values().flat_map(|index| index.shards.values());
        self.status != "red" && shards.all(|shard| shard.primary_active)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_without_its_primary_does_not_serve_whatever_the_color() {
        let all_serve = |answer: &str| serde_json::from_str::<Shards>(answer).unwrap().all_serve();
        let shards = |status, second| {
            let shard = |active| format!(r#"{{"status":"yellow","primary_active":{active},"active_shards":0}}"#);
            let shards = format!(r#"{{"0":{},"1":{}}}"#, shard(true), shard(second));
            format!(r#"{{"status":"{status}","indices":{{"a-000001":{{"status":"{status}","shards":{shards}}}}}}}"#)
        };
        assert!(all_serve(&shards("green", true)) && all_serve(&shards("yellow", true)));
        assert!(!all_serve(&shards("yellow", false)), "as of an index that was just created");
        assert!(!all_serve(&shards("red", true)) && !all_serve(r#"{"status":"red"}"#));
        assert!(all_serve(r#"{"status":"green"}"#));
    }
}

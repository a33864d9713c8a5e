//! What the public signatures of the libraries promise: whose types stand in them, and which may go to another thread.
//!
//! Read from rustdoc's JSON. A new version of a crate whose types stand there is a new version of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::Result;
use crate::run::{cargo, quietly};
use crate::workspace::{self, Package};

/// For each library, the foreign crates whose types and traits its users meet; of core, `metrics` and `tracing_core` only in what tests
/// see. In which items those of clients of servers stand is in [`CLIENTS`].
const FOREIGN: [(&str, &[&str]); 8] = [
    ("statehouse", &["bytes", "http", "http_body", "tower_service", "tokio", "serde_core"]),
    ("statehouse-core", &["bytes", "metrics", "serde_core", "tracing_core"]),
    ("statehouse-redis", &["deadpool_redis", "redis"]),
    ("statehouse-cache", &["bytes", "serde_core"]),
    (
        "statehouse-session",
        &[
            "axum_core",
            "bytes",
            "http",
            "http_body",
            "pin_project_lite",
            "serde_core",
            "serde_json",
            "tower_layer",
            "tower_service",
            "tower_sessions_core",
        ],
    ),
    ("statehouse-coord", &["bytes", "serde_core"]),
    ("statehouse-filestore", &["bytes", "futures_core", "http", "http_body", "object_store", "tower_service"]),
    ("statehouse-search", &["reqwest", "serde_core"]),
];

/// Of the crates that are clients of servers, or what those are made of, the items that may say so: where a user brings one of their
/// own, and where what a server is asked and answers is the user's own.
const CLIENTS: [(&str, &str, &[&str]); 4] = [
    ("statehouse-redis", "deadpool_redis", &["RedisClient::from_pool", "RedisConfig::pool"]),
    (
        "statehouse-redis",
        "redis",
        &[
            "Exclusive::pipeline",
            "Exclusive::query",
            "RedisClient::pipeline",
            "RedisClient::query",
            "RedisClient::query_dated",
            "RedisClient::query_many",
            "RedisClient::run_many",
            "RedisScript::key",
            "ScriptCall::arg",
            "ScriptCall::key",
            "ScriptCall::run",
        ],
    ),
    (
        "statehouse-filestore",
        "object_store",
        &[
            "AsObjectStore::copy_opts",
            "AsObjectStore::delete_stream",
            "AsObjectStore::get_opts",
            "AsObjectStore::list",
            "AsObjectStore::list_with_delimiter",
            "AsObjectStore::list_with_offset",
            "AsObjectStore::put_multipart_opts",
            "AsObjectStore::put_opts",
            "AsObjectStore::rename_opts",
            "ObjectFileStore::open",
            "impl ObjectStore for AsObjectStore",
        ],
    ),
    ("statehouse-search", "reqwest", &["OpenSearchConfig::with_http_client"]),
];

/// The language's own.
const STANDARD: [&str; 4] = ["std", "core", "alloc", "proc_macro"];

/// Public types that stay on their thread, or that are pinned: each with its reason.
const EXCEPTIONS: [(&str, &str, &str); 5] = [
    ("LoadFuture", "Sync", "a future of the application's own: one task polls it"),
    ("Body", "Sync", "a stream of the application's own: one task polls it"),
    ("FileBody", "Sync", "a stream of a file: one task polls it"),
    ("Object", "Sync", "a stream of a file: one task polls it"),
    ("Put", "Sync", "holds a body"),
];

pub(crate) fn check(packages: &[Package]) -> Result {
    let mut wrong = Vec::new();
    for (name, allowed) in FOREIGN {
        if !packages.iter().any(|package| package.name == name) {
            return Err(format!("there is no package {name}"));
        }
        let documented = document(name)?;
        let foreign = foreign(&documented);
        let clients = CLIENTS.iter().filter(|(package, ..)| *package == name);
        let clients = clients.flat_map(|(_, krate, items)| misplaced(krate, items, &foreign)).collect::<Vec<_>>();
        let found = differences(allowed, &foreign).into_iter().chain(clients).chain(stay(&documented));
        wrong.extend(found.map(|what| format!("{name}: {what}")));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// What stands in signatures and may not, and what need not be allowed any more.
fn differences(allowed: &[&str], found: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (krate, places) in found.iter().filter(|(krate, _)| !allowed.contains(&krate.as_str())) {
        let places: Vec<_> = places.iter().take(5).cloned().collect();
        wrong.push(format!("{krate} stands in public signatures: {}", places.join(", ")));
    }
    for krate in allowed.iter().filter(|krate| !found.contains_key(**krate)) {
        wrong.push(format!("{krate} stands in no public signature any more; take it from the list"));
    }
    wrong
}

/// In which items a client stands that may not say so, and which need not be allowed any more.
fn misplaced(krate: &str, allowed: &[&str], found: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let places = found.get(krate).cloned().unwrap_or_default();
    let new = places.iter().filter(|place| !allowed.contains(&place.as_str()));
    let new = new.map(|place| format!("{krate} stands in the signature of {place}"));
    let gone = allowed.iter().filter(|place| !places.contains(**place));
    let gone = gone.map(|place| format!("{krate} stands no more in that of {place}; take it from the list"));
    new.chain(gone).collect()
}

/// The JSON is a format of the compiler of the day; only what has not changed for years is read.
fn document(name: &str) -> Result<Value> {
    let mut rustdoc = cargo(["rustdoc", "--quiet", "--locked", "--lib", "--all-features", "--package", name]);
    rustdoc.args(["--", "-Z", "unstable-options", "--output-format", "json"]).env("RUSTC_BOOTSTRAP", "1");
    quietly(&mut rustdoc)?;
    let file = workspace::target().join("doc").join(format!("{}.json", name.replace('-', "_")));
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
}

/// The foreign crates, each with the items in whose signatures they stand.
fn foreign(documented: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    let owners = owners(documented);
    let items = documented["index"].as_object().into_iter().flatten();
    for (own, item) in items.filter(|(_, item)| is_ours_by_hand(item)) {
        let mut ids = BTreeSet::new();
        collect(&item["inner"], &mut ids);
        for id in ids {
            let krate = documented["paths"][&id]["crate_id"].to_string();
            let Some(krate) = documented["external_crates"][krate]["name"].as_str() else { continue };
            if !STANDARD.contains(&krate) && !krate.starts_with("statehouse") {
                found.entry(krate.to_owned()).or_default().insert(shown(item, owners.get(own)));
            }
        }
    }
    found
}

/// The types and traits of the items that are in one, as methods and fields are.
fn owners(documented: &Value) -> BTreeMap<String, String> {
    let items = documented["index"].as_object().into_iter().flatten().map(|(_, item)| item);
    let mut owners = BTreeMap::new();
    for item in items {
        let implementation = &item["inner"]["impl"];
        let of = implementation["for"]["resolved_path"]["path"].as_str().or(item["name"].as_str());
        let of = of.and_then(|path| path.rsplit("::").next());
        let inside = [
            &implementation["items"],
            &item["inner"]["trait"]["items"],
            &item["inner"]["struct"]["kind"]["plain"]["fields"],
            &item["inner"]["struct"]["kind"]["tuple"],
            &item["inner"]["enum"]["variants"],
        ];
        let inside = inside.into_iter().filter_map(Value::as_array).flatten();
        owners.extend(inside.filter_map(|id| Some((id.to_string(), of?.to_owned()))));
    }
    owners
}

/// `Type::method`, or `impl Trait for Type`.
fn shown(item: &Value, owner: Option<&String>) -> String {
    let name = item["name"].as_str();
    match (name, owner) {
        (Some(name), Some(owner)) => format!("{owner}::{name}"),
        (Some(name), None) => name.to_owned(),
        (None, _) => {
            let implementation = &item["inner"]["impl"];
            let of = |what: &Value| what["path"].as_str().unwrap_or("a type").to_owned();
            format!("impl {} for {}", of(&implementation["trait"]), of(&implementation["for"]["resolved_path"]))
        }
    }
}

/// Written in this crate, and not derived by the compiler for every type.
fn is_ours_by_hand(item: &Value) -> bool {
    let implementation = &item["inner"]["impl"];
    item["crate_id"] == 0
        && implementation["blanket_impl"].is_null()
        && implementation["is_synthetic"] != true
        && !item["inner"].as_object().is_some_and(|inner| inner.contains_key("module") || inner.contains_key("use"))
}

/// The ids of all types and traits that stand in a signature. What is in a body, or is not public, is not in the JSON.
fn collect(value: &Value, ids: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                // `{ "path": "Stream", "id": 7, "args": … }` is how types and traits are named.
                if name == "id" && fields.contains_key("path") && fields.contains_key("args") {
                    ids.insert(field.to_string());
                }
                collect(field, ids);
            }
        }
        Value::Array(all) => all.iter().for_each(|one| collect(one, ids)),
        _ => {}
    }
}

/// Public types that are not `Send`, `Sync` or `Unpin`, as the compiler has found.
fn stay(documented: &Value) -> impl Iterator<Item = String> {
    let items = documented["index"].as_object().into_iter().flatten();
    let mut stay: Vec<_> = items.filter_map(|(_, item)| lacks(&item["inner"]["impl"])).collect();
    stay.sort();
    stay.into_iter()
}

fn lacks(implementation: &Value) -> Option<String> {
    if implementation["is_synthetic"] != true || implementation["is_negative"] != true {
        return None;
    }
    let of = implementation["for"]["resolved_path"]["path"].as_str()?;
    let kind = implementation["trait"]["path"].as_str().filter(|kind| ["Send", "Sync", "Unpin"].contains(kind))?;
    let excepted = EXCEPTIONS.iter().any(|(name, missing, _)| (*name, *missing) == (of, kind));
    (!excepted).then(|| format!("{of} is not {kind}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_foreign_type_is_found_however_deep_it_stands() {
        let documented = json!({
            "external_crates": { "20": { "name": "redis" }, "1": { "name": "std" } },
            "paths": { "7": { "crate_id": 20 }, "8": { "crate_id": 1 }, "9": { "crate_id": 0 } },
            "index": {
                "1": { "crate_id": 0, "name": "open", "inner": { "function": { "sig": { "inputs": [["pool", {
                    "resolved_path": { "path": "Option", "id": 8, "args": { "angle_bracketed": { "args": [
                        { "type": { "resolved_path": { "path": "Pool", "id": 7, "args": null } } }
                    ] } } }
                }]] } } } },
                "2": { "crate_id": 0, "name": null, "inner": { "impl": {
                    "is_synthetic": true, "is_negative": true, "blanket_impl": null,
                    "trait": { "path": "Send", "id": 8, "args": null },
                    "for": { "resolved_path": { "path": "Handle", "id": 9, "args": null } }
                } } },
                "3": { "crate_id": 0, "name": null, "inner": { "impl": {
                    "is_synthetic": false, "is_negative": false, "blanket_impl": null, "items": [1],
                    "trait": null, "for": { "resolved_path": { "path": "Handle", "id": 9, "args": null } }
                } } },
            },
        });
        let found = foreign(&documented);
        let places = BTreeSet::from(["Handle::open".to_owned()]);
        assert_eq!(found.clone().into_iter().collect::<Vec<_>>(), [("redis".to_owned(), places)]);
        assert_eq!(misplaced("redis", &["Handle::open"], &found), [""; 0]);
        assert_eq!(misplaced("redis", &[], &found), ["redis stands in the signature of Handle::open"]);
        let gone = misplaced("redis", &["Handle::open", "Handle::close"], &found);
        assert_eq!(gone, ["redis stands no more in that of Handle::close; take it from the list"]);
        assert_eq!(stay(&documented).collect::<Vec<_>>(), ["Handle is not Send"]);
    }
}

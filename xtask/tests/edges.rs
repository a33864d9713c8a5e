//! The edges between the crates, and where third-party clients may be named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// For each published crate, the crates of ours that it may depend on. Service crates never depend on each other.
const EDGES: [(&str, &[&str]); 10] = [
    ("statehouse-core", &[]),
    ("statehouse-derive", &[]),
    ("statehouse-redis", &["statehouse-core"]),
    ("statehouse-cache", &["statehouse-core", "statehouse-redis"]),
    ("statehouse-session", &["statehouse-core", "statehouse-redis"]),
    ("statehouse-filestore", &["statehouse-core"]),
    ("statehouse-coord", &["statehouse-core", "statehouse-redis", "statehouse-filestore"]),
    ("statehouse-search", &["statehouse-core", "statehouse-derive"]),
    (
        "statehouse",
        &[
            "statehouse-core",
            "statehouse-redis",
            "statehouse-cache",
            "statehouse-session",
            "statehouse-filestore",
            "statehouse-coord",
            "statehouse-search",
            "statehouse-derive",
        ],
    ),
    // A program: no other crate may name it.
    ("statehouse-cli", &["statehouse"]),
];

/// For each third-party client, the only folders whose sources may name it.
const CLIENTS: [(&str, &[&str]); 5] = [
    (
        "redis",
        &[
            "crates/redis/src",
            "crates/cache/src/redis",
            "crates/session/src/redis",
            "crates/coord/src/redis",
            "crates/coord/src/signals/redis",
            "crates/interleavings/src",
        ],
    ),
    (
        "deadpool_redis",
        &["crates/redis/src", "crates/cache/src/redis", "crates/session/src/redis", "crates/coord/src/redis"],
    ),
    ("object_store", &["crates/filestore/src/adapter", "crates/filestore/src/object"]),
    ("tantivy", &["crates/search/src/tantivy"]),
    ("reqwest", &["crates/search/src/opensearch", "crates/filestore/src/object"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn crates_depend_on_each_other_only_along_the_edges() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let published = packages.iter().filter(|package| package["publish"].is_null());
    let mut seen = BTreeSet::new();
    for package in published {
        let name = package["name"].as_str().unwrap();
        let allowed = EDGES.iter().find(|(edge, _)| *edge == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{name} is not in the list of edges"));
        seen.insert(name);
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            let ours = dependency["path"].is_string() && dependency["kind"] != "dev";
            assert!(!ours || allowed.contains(&on), "{name} must not depend on {on}");
        }
    }
    assert_eq!(seen, EDGES.iter().map(|(name, _)| *name).collect());
}

/// The Rust files below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|kind| kind == "rs")).collect()
}

/// Whether `source` has a path that begins with the crate `client`, outside comments.
///
/// A module of ours may have a client's name (`mod redis;`): where it is declared, and after `crate::` and the like, the
/// name is ours.
fn names(source: &str, client: &str) -> bool {
    let declared =
        |line: &str| line.trim_start_matches("pub ").trim_start_matches("pub(crate) ") == format!("mod {client};");
    if source.lines().any(|line| declared(line.trim())) {
        return false;
    }
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let begins = |line: &str, at: usize| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    };
    let path = format!("{client}::");
    code.into_iter().any(|line| line.match_indices(&path).any(|(at, _)| begins(line, at)))
}

#[test]
fn only_a_backends_folder_names_its_client() {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path().join("src"));
    let mut strangers = Vec::new();
    for file in crates.chain([root().join("src")]).flat_map(|folder| sources(&folder)) {
        let source = fs::read_to_string(&file).unwrap();
        let file = file.strip_prefix(root()).unwrap();
        for (client, homes) in CLIENTS {
            if names(&source, client) && !homes.iter().any(|home| file.starts_with(home)) {
                strangers.push(format!("{} names {client}", file.display()));
            }
        }
    }
    assert_eq!(strangers, [""; 0]);
}

#[test]
fn a_module_of_ours_is_told_from_a_client() {
    assert!(names("use redis::cmd;", "redis"));
    assert!(names("fn f() -> Result<(), redis::RedisError> {", "redis"));
    assert!(!names("use crate::redis::RedisCache;", "redis"));
    assert!(!names("use statehouse_redis::Connector;", "redis"));
    assert!(!names("pub mod redis;\npub use redis::RedisCache;", "redis"));
    assert!(!names("/// See `redis::cmd`.", "redis"));
}

//! The same idea is in a file of the same name at the same place in all service crates.

mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use sources::sources;

const SERVICES: [&str; 4] = ["cache", "session", "filestore", "search"];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").join("crates")
}

/// The paths that a cell of the table names: what stands between backticks, and is no name in code and no pattern of names.
fn paths(cell: &str) -> impl Iterator<Item = &str> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted
        .filter(|text| (text.contains('/') || text.ends_with(".rs") || text.ends_with(".toml")) && !text.contains('<'))
}

/// The places and the exceptions of each idea of the table.
fn ideas(page: &str) -> Vec<(&str, &str)> {
    let table = page.split("\n## Where is what\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let rows = table.unwrap_or_default().lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.filter_map(|row| {
        let mut cells = row.trim_matches('|').split(" | ").skip(1);
        Some((cells.next()?, cells.next().unwrap_or_default()))
    })
    .collect()
}

/// Whether there is such a file or folder below `folder`: `*` is any one folder, and a name alone is anywhere.
fn is_there(folder: &Path, path: &str) -> bool {
    let below = || fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    match path.split_once("*/") {
        Some((before, after)) => {
            let folders = fs::read_dir(folder.join(before)).into_iter().flatten().flatten();
            folders.into_iter().any(|entry| entry.path().join(after).exists())
        }
        None if path.contains('/') => folder.join(path).exists(),
        None => folder.join(path).exists() || below().any(|entry| entry.is_dir() && is_there(&entry, path)),
    }
}

/// What the table says of a service's crate, and is not so.
fn wrong(crates: &Path, service: &str, (places, but): (&str, &str)) -> Option<String> {
    let folder = crates.join(service);
    let has_redis = folder.join("src/redis").is_dir();
    let asked: Vec<_> = paths(places).filter(|path| has_redis || !path.starts_with("src/redis/")).collect();
    let instead = |path: &str| match path.split('/').next() {
        Some("crates") => crates.join("..").join(path).exists(),
        Some(other) if SERVICES.contains(&other) => other == service && crates.join(path).exists(),
        _ => is_there(&folder, path),
    };
    let right = asked.is_empty() || asked.iter().any(|path| is_there(&folder, path)) || paths(but).any(instead);
    (!right).then(|| format!("{service}: none of {asked:?}"))
}

#[test]
fn every_idea_is_where_the_table_says() {
    let page = fs::read_to_string(crates().join("../ARCHITECTURE.md")).expect("the page");
    let ideas = ideas(&page);
    assert!(ideas.len() > 15, "{ideas:?}");
    let wrong: Vec<_> =
        ideas.iter().flat_map(|idea| SERVICES.map(|service| wrong(&crates(), service, *idea))).flatten().collect();
    assert_eq!(wrong, [""; 0]);
    let of_one = |path: &&str| SERVICES.contains(&path.split('/').next().unwrap_or_default());
    let named = ideas.iter().flat_map(|(places, but)| paths(places).filter(of_one).chain(paths(but)));
    let gone = named.filter(|path| {
        let some = SERVICES.iter().any(|service| is_there(&crates().join(service), path));
        !some && !crates().join(path).exists() && !crates().join("..").join(path).exists()
    });
    assert_eq!(gone.collect::<Vec<_>>(), [""; 0], "files that are none");
}

#[test]
fn an_idea_that_is_elsewhere_is_found() {
    let page = "\n## Where is what\n| idea | file | but |\n| --- | --- | --- |\n| a | `src/lib.rs` | |\n| b | `src/b.rs` | `x<y>/` |\n";
    let [a, b] = ideas(page)[..] else { panic!("two ideas") };
    assert_eq!(wrong(&crates(), "cache", a), None);
    assert_eq!(wrong(&crates(), "cache", b), Some("cache: none of [\"src/b.rs\"]".to_owned()));
    assert_eq!(wrong(&crates(), "cache", ("`src/b.rs`", "`cache/src/lib.rs`")), None);
    assert!(wrong(&crates(), "cache", ("`src/b.rs`", "`search/src/lib.rs`")).is_some());
    assert!(wrong(&crates(), "cache", ("`src/*/none.rs`, `none.rs`", "")).is_some());
    assert_eq!(wrong(&crates(), "cache", ("`src/*/config.rs`", "")), None);
    assert_eq!(wrong(&crates(), "cache", ("`format.rs`", "")), None);
}

#[test]
fn targets_of_the_fuzzer_are_in_files_of_their_own() {
    let is_target = |line: &str| line.trim_start().starts_with("fn fuzz_");
    let all = sources("crates");
    let with = all.iter().filter(|(_, source)| source.lines().any(is_target)).map(|(file, _)| file.as_str());
    let (own, elsewhere): (Vec<_>, Vec<_>) =
        with.partition(|file| file.contains("/src/") && file.ends_with("/fuzz.rs"));
    assert!(own.len() > 20, "{own:?}");
    assert_eq!(elsewhere, [""; 0], "a target is in the `fuzz.rs` of the file or folder that it is for");
}

#[test]
fn golden_bytes_in_files_are_named_by_format_and_version() {
    let packages = fs::read_dir(crates()).expect("the crates").flatten().map(|package| package.path());
    let files = packages.filter_map(|package| fs::read_dir(package.join("golden")).ok()).flatten().flatten();
    let names: Vec<_> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    let is_right = |name: &str| {
        let (stem, ending) = name.rsplit_once('.').unwrap_or_default();
        let version = stem.split_once("-v").map(|(_, version)| version.split('-').next().unwrap_or_default());
        ["bin", "hex", "txt"].contains(&ending) && version.is_some_and(|version| version.parse::<u8>().is_ok())
    };
    assert!(names.len() > 8, "{names:?}");
    let wrong: Vec<_> = names.iter().filter(|name| !is_right(name)).collect();
    assert_eq!(wrong, [""; 0], "golden/<format>-v<version>.<hex, txt or bin>");
    assert!(["record.hex", "record-v1", "record-vx.hex"].iter().all(|name| !is_right(name)));
}

/// The types whose options have a deadline in a file that is not of options.
fn options_elsewhere(file: &str, source: &str) -> Vec<String> {
    if file.contains("/options") {
        return Vec::new();
    }
    let blocks = source.split("pub struct ").skip(1).filter_map(|rest| rest.split_once('{'));
    let with_deadline =
        |fields: &str| fields.split("\n}").next().is_some_and(|fields| fields.contains("pub deadline:"));
    let made = source.contains("deadline_options! {").then(|| format!("{file}: deadline_options!"));
    let written = blocks.filter(|(name, fields)| name.trim().ends_with("Options") && with_deadline(fields));
    made.into_iter().chain(written.map(|(name, _)| format!("{file}: {}", name.trim()))).collect()
}

/// The limits that are of no type in a file that is not of limits.
fn limits_elsewhere(file: &str, source: &str) -> Vec<String> {
    let found = source.lines().filter(|line| line.starts_with("pub const MAX_") && !file.ends_with("/src/limits.rs"));
    found.map(|line| format!("{file}: {line}")).collect()
}

#[test]
fn options_and_limits_are_in_their_files() {
    let all: Vec<_> = SERVICES.iter().flat_map(|service| sources(&format!("crates/{service}/src"))).collect();
    let elsewhere =
        all.iter().flat_map(|(file, source)| [options_elsewhere(file, source), limits_elsewhere(file, source)]);
    assert_eq!(elsewhere.flatten().collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn options_and_limits_elsewhere_are_found() {
    let source =
        "pub struct AOptions {\n    pub deadline: Option<Duration>,\n}\n\npub struct B {\n    pub deadline: u8,\n}\n";
    assert_eq!(options_elsewhere("crates/a/src/hits.rs", source), ["crates/a/src/hits.rs: AOptions"]);
    assert_eq!(options_elsewhere("crates/a/src/hits.rs", "core::deadline_options! {\n").len(), 1);
    assert_eq!(options_elsewhere("crates/a/src/hits.rs", "pub struct AOptions {\n    pub field: u8,\n}\n"), [""; 0]);
    assert_eq!(options_elsewhere("crates/a/src/options.rs", source), [""; 0]);
    assert_eq!(options_elsewhere("crates/a/src/options/more.rs", source), [""; 0]);
    let source = "pub const MAX_A: u8 = 1;\nimpl A {\n    pub const MAX_LEN: u8 = 1;\n}\n";
    assert_eq!(limits_elsewhere("crates/a/src/a.rs", source), ["crates/a/src/a.rs: pub const MAX_A: u8 = 1;"]);
    assert_eq!(limits_elsewhere("crates/a/src/limits.rs", source), [""; 0]);
}

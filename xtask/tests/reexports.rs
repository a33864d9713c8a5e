//! What of other crates the libraries hand on under their own names: a new version of theirs is one of ours.

mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sources::sources;

/// Each item that is handed on, by the library that does so: what brings a pool, and what commands and answers are made of.
const HANDED_ON: [(&str, &str, &[&str]); 2] = [
    ("crates/redis", "deadpool_redis", &["Config", "Manager", "Pool", "PoolConfig", "Runtime", "Timeouts"]),
    (
        "crates/redis",
        "redis",
        &["Cmd", "FromRedisValue", "ParsingError", "Pipeline", "Value", "cmd", "from_redis_value", "pipe"],
    ),
];

/// The names of all crates of others that are depended on.
fn others() -> BTreeSet<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(manifest).expect("the manifest").parse().expect("a manifest");
    let names = manifest["workspace"]["dependencies"].as_table().expect("a table").keys();
    let others = names.filter(|name| !name.starts_with("statehouse") && !name.starts_with("clinic"));
    others.map(|name| name.replace('-', "_")).collect()
}

/// What a source hands on of these crates: the crate, and the rest of the path, without spaces.
fn handed_on(source: &str, others: &BTreeSet<String>) -> Vec<(String, String)> {
    let code: String = source
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let statements = code.split("pub use ").skip(1).chain(code.split("pub extern crate ").skip(1));
    let paths = statements
        .filter_map(|rest| rest.split_once(';'))
        .map(|(path, _)| path.split_whitespace().collect::<String>().replace(",}", "}"));
    let parted = paths.map(|path| match path.split_once("::") {
        Some(("", rest)) => (true, rest.to_owned()),
        _ => (false, path),
    });
    let named = parted.map(|(absolute, path)| {
        let (name, items) = path.split_once("::").map_or((path.as_str(), ""), |(name, items)| (name, items));
        (absolute, name.to_owned(), items.to_owned())
    });
    // A module of ours may have the name of a crate.
    let is_module = |name: &str| ["mod", "pub mod"].iter().any(|word| code.contains(&format!("{word} {name};\n")));
    let foreign = named.filter(|(absolute, name, _)| others.contains(name) && (*absolute || !is_module(name)));
    foreign.map(|(_, name, items)| (name, items)).collect()
}

#[test]
fn only_what_is_listed_is_handed_on_of_other_crates() {
    let others = others();
    let all = [sources("crates"), sources("src")].concat();
    let is_public = |file: &str| {
        (file.contains("/src/") || file.starts_with("src/"))
            && !["crates/testkit", "crates/two-builds", "crates/interleavings"]
                .iter()
                .any(|ours| file.starts_with(ours))
    };
    let (mut found, mut wrong) = (0, Vec::new());
    for (file, source) in all.iter().filter(|(file, _)| is_public(file)) {
        for (name, items) in handed_on(source, &others) {
            let listed = HANDED_ON.iter().find(|(library, of, _)| file.starts_with(library) && *of == name);
            let expected = listed.map(|(_, _, items)| format!("{{{}}}", items.join(",")));
            found += 1;
            wrong.extend((expected.as_ref() != Some(&items)).then(|| format!("{file}: {name}::{items}")));
        }
    }
    assert_eq!(wrong, [""; 0], "name each item, and list it here");
    assert_eq!(found, HANDED_ON.len(), "what is listed is handed on");
}

#[test]
fn a_crate_that_is_handed_on_is_found_however_it_is_written() {
    let others = ["redis", "bytes"].map(str::to_owned).into();
    let found = |source: &str| {
        handed_on(source, &others).into_iter().map(|(name, items)| name + "|" + &items).collect::<Vec<_>>()
    };
    assert_eq!(found("pub use redis;\npub extern crate bytes;"), ["redis|", "bytes|"]);
    assert_eq!(found("pub use ::redis::{\n    Cmd, Value,\n};"), ["redis|{Cmd,Value}"]);
    assert_eq!(found("    pub use bytes::Bytes as B;"), ["bytes|BytesasB"]);
    assert_eq!(found("mod redis;\npub use redis::RedisCache;\npub use crate::redis::A;\n// pub use bytes;"), [""; 0]);
}

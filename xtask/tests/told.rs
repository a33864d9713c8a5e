//! What is told to operators has names: every event `service.what`, every span those that core makes.

mod sources;

use sources::sources;

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Where events are told, and what their names begin with.
const PLACES: [(&str, &[&str]); 8] = [
    ("crates/cache/src", &["cache"]),
    ("crates/coord/src", &["coord"]),
    ("crates/core/src", &[]),
    ("crates/filestore/src", &["filestore"]),
    ("crates/redis/src", &["redis"]),
    ("crates/search/src", &["search"]),
    ("crates/session/src", &["session"]),
    ("src", &["fleet", "ready", "serve", "services", "startup"]),
];

/// The one file that makes spans.
const SPANS: &str = "crates/core/src/span.rs";

/// What stands behind each call of a macro, comments left out. One that is written without `tracing::` is found as well.
fn calls<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let call = format!("{name}!(");
    let of_its_own = |at: usize| !source[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
    let in_code = |at: usize| !source[..at].rsplit('\n').next().unwrap_or_default().contains("//");
    let found = source.match_indices(&call).filter(|(at, _)| of_its_own(*at) && in_code(*at));
    found.map(|(at, _)| source[at + call.len()..].trim_start()).collect()
}

/// The first argument, if it is a name of one of these services: `name: "service.what"`.
fn is_named(arguments: &str, services: &[&str]) -> bool {
    let name = arguments.strip_prefix("name: \"").and_then(|rest| rest.split('"').next());
    let parts = name.and_then(|name| name.split_once('.'));
    parts.is_some_and(|(service, what)| {
        let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
        services.contains(&service) && !what.is_empty() && what.chars().all(plain)
    })
}

#[test]
fn every_event_has_a_name_that_begins_with_its_service() {
    for (folder, services) in PLACES {
        for (file, source) in sources(folder) {
            for arguments in LEVELS.iter().chain(&["event"]).flat_map(|level| calls(&source, level)) {
                let begin: String = arguments.chars().take(60).collect();
                assert!(is_named(arguments, services), "{file}: an event without a name of {services:?}: {begin}");
            }
        }
    }
}

#[test]
fn spans_are_made_in_one_place() {
    let kinds = LEVELS.map(|level| format!("{level}_span"));
    for (file, source) in PLACES.iter().flat_map(|(folder, _)| sources(folder)).filter(|(file, _)| file != SPANS) {
        let made = kinds.iter().map(String::as_str).chain(["span"]).flat_map(|kind| calls(&source, kind)).count();
        assert_eq!(made, 0, "{file} makes spans of its own: use those of {SPANS}");
    }
}

#[test]
fn what_has_no_name_is_found() {
    let source = "// tracing::warn!(\"no code\")\ntracing::warn!(\n    name: \"cache.away\", \"x\");\nwarn!(\"y\"); forewarn!(1)";
    let found = calls(source, "warn");
    assert_eq!(found.iter().map(|call| is_named(call, &["cache"])).collect::<Vec<_>>(), [true, false]);
    for wrong in
        ["name: \"away\", 1", "name: \"session.away\", 1", "name: \"cache.\"", "name: \"cache.a b\"", "\"cache.a\""]
    {
        assert!(!is_named(wrong, &["cache"]), "{wrong}");
    }
}

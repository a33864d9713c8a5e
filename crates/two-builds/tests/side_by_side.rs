//! What one build stored is read by the other, or missed, by the table below: never another value, never an error. Of
//! documents an index or a field is refused, and the refusal says which.

use std::process::Command;

use statehouse_testkit::{OpenSearchNode, RedisServer};

const OLD: &str = env!("CARGO_BIN_EXE_old");
const NEW: &str = env!("CARGO_BIN_EXE_new");

/// What is read of each type if the old build wrote and the new one reads, and the other way round.
const READ: [(&str, Option<&str>, Option<&str>); 8] = [
    ("widened", Some("200 0.5"), Some("200 0.5")),
    ("swapped", Some("9 on the shelf, 1 lent"), Some("9 on the shelf, 1 lent")),
    ("added", Some("Ann"), Some("Ann")),
    ("variants", Some("a nurse"), Some("a nurse")),
    ("renamed", None, None),
    // The new build has a field that the old one did not write; what the new one wrote has all that the old one reads.
    ("required", None, Some("Ann Some(3)")),
    ("retyped", None, None),
    ("flattened", Some("7 None shelf"), Some("7 None shelf")),
];

/// What becomes of a document that the other build has written.
enum Found {
    /// It is read as this.
    Read(&'static str),
    /// It is refused with this kind of error, which says all of this. An index of another schema is refused when it is
    /// opened; a document that the type cannot hold, when it is read, and the others are read.
    Refused(&'static str, &'static [&'static str]),
}

use Found::{Read, Refused};

/// What is found of each document if the old build wrote and the new one reads, and the other way round.
static DOCUMENTS: [(&str, Found, Found); 8] = [
    ("moved", Read("Fever in ward 3"), Read("Fever in ward 3")),
    // One schema has room for both; what the old type has no room for is refused.
    ("wider", Read("7"), Refused("Corrupt", &["Wider", "\"uses\""])),
    ("looser", Read("x"), Refused("Corrupt", &["Looser", "\"note\""])),
    ("several", Read("Ann"), Refused("Corrupt", &["Several", "\"name\""])),
    // Fields are added in place, and those that are gone stay; what the type needs and nobody wrote is refused.
    ("another", Refused("Corrupt", &["Another", "\"ward\""]), Read("Ann")),
    ("renamed", Refused("Corrupt", &["Renamed", "\"borrowed\""]), Refused("Corrupt", &["Renamed", "\"lent\""])),
    ("retyped", Refused("Conflict", &["\"number\""]), Refused("Conflict", &["\"number\""])),
    ("reanalyzed", Refused("Conflict", &["\"title\""]), Refused("Conflict", &["\"title\""])),
];

/// What the old build wrote, as the new one reads it once it has indexed it anew.
static REINDEXED: [(&str, Found); 8] = [
    ("moved", Read("Fever in ward 3")),
    ("wider", Read("7")),
    ("looser", Read("x")),
    ("several", Read("Ann")),
    ("another", Refused("Corrupt", &["Another", "\"ward\""])),
    ("renamed", Read("1")),
    ("retyped", Read("7")),
    ("reanalyzed", Read("Fever")),
];

/// And as the old one reads it then, when the deploy is taken back.
static ROLLED_BACK: [(&str, Found); 8] = [
    ("moved", Read("Fever in ward 3")),
    ("wider", Read("7")),
    ("looser", Read("x")),
    ("several", Read("Ann")),
    ("another", Read("Ann")),
    ("renamed", Read("1")),
    ("retyped", Read("7")),
    ("reanalyzed", Read("Fever")),
];

fn assert_printed(printed: &str, expected: &[(&str, &Found)]) {
    let mut lines = printed.lines();
    for (change, expected) in expected {
        for verb in ["get", "search", "get", "search"] {
            let line = lines.next().unwrap_or_default();
            let found = line.strip_prefix(&format!("{verb}, {change}: "));
            let is_as_expected = found.is_some_and(|found| match expected {
                Read(value) => found == *value,
                Refused(kind, named) => found.starts_with(kind) && named.iter().all(|name| found.contains(name)),
            });
            assert!(is_as_expected, "{line:?} in {printed}");
        }
    }
    assert_eq!(lines.next(), None);
}

/// Each document is got and searched, twice each: what is refused once is refused again in the same words.
fn documents_side_by_side(place: impl Fn(usize) -> [String; 2]) {
    for (direction, (writer, reader)) in [(OLD, NEW), (NEW, OLD)].into_iter().enumerate() {
        let [url, namespace] = place(direction);
        run(writer, &["documents", "write", &url, &namespace]);
        let printed = run(reader, &["documents", "read", &url, &namespace]);
        let of_reader =
            |(change, new, old): &'static (&str, Found, Found)| (*change, if direction == 0 { new } else { old });
        assert_printed(&printed, &DOCUMENTS.iter().map(of_reader).collect::<Vec<_>>());
    }
}

fn expected_of(table: &'static [(&'static str, Found)]) -> Vec<(&'static str, &'static Found)> {
    table.iter().map(|(change, found)| (*change, found)).collect()
}

/// Once the new build has indexed anew what needs it, each build finds its documents by its own type: also the old one again.
#[test]
fn a_reindex_lets_both_builds_find_their_documents_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    reindexed_side_by_side(&[format!("tantivy://{}", folder.path().display()), "n".to_owned()]);
}

#[tokio::test]
async fn a_reindex_lets_both_builds_find_their_documents_in_opensearch() {
    let node = OpenSearchNode::shared().await;
    let namespace = format!("two-builds-{}-reindexed", std::process::id());
    reindexed_side_by_side(&[on(node), namespace.clone()]);
    for (change, ..) in &DOCUMENTS {
        for number in [1, 2] {
            // Not all of them needed a second one.
            node.request("DELETE", &format!("/{namespace}.{change}-00000{number}"), "").await.unwrap();
        }
    }
}

fn reindexed_side_by_side(place: &[String; 2]) {
    let build = |build: &str, verb: &str| run(build, &["documents", verb, &place[0], &place[1]]);
    build(OLD, "write");
    for _ in 0..2 {
        // Twice is as good as once.
        build(NEW, "reindex");
        assert_printed(&build(NEW, "read"), &expected_of(&REINDEXED));
        assert_printed(&build(OLD, "read"), &expected_of(&ROLLED_BACK));
    }
}

#[test]
fn two_builds_never_misread_each_others_documents_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    documents_side_by_side(|direction| [format!("tantivy://{}", folder.path().display()), format!("n{direction}")]);
}

#[tokio::test]
async fn two_builds_never_misread_each_others_documents_in_opensearch() {
    let node = OpenSearchNode::shared().await;
    let namespace = |direction| format!("two-builds-{}-{direction}", std::process::id());
    let url = on(node);
    documents_side_by_side(|direction| [url.clone(), namespace(direction)]);
    for name in
        DOCUMENTS.iter().flat_map(|(change, ..)| [0, 1].map(|way| format!("{}.{change}-000001", namespace(way))))
    {
        assert_eq!(node.request("DELETE", &format!("/{name}"), "").await.unwrap().status, 200, "{name}");
    }
}

/// Where that node is, for builds that are not in a hurry.
fn on(node: &OpenSearchNode) -> String {
    format!("opensearch+http://{}?replicas=0&connect_timeout=20s&timeout=60s&deadline=120s", node.address())
}

fn run(build: &str, arguments: &[&str]) -> String {
    let output = Command::new(build).args(arguments).output().unwrap();
    assert!(output.status.success(), "{build} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The lines that the reader of what the writer stored prints.
fn read(writer: &str, reader: &str, place: &str) -> Vec<String> {
    let cookie = run(writer, &["write", place]);
    let printed = run(reader, &["read", place, cookie.trim()]);
    printed.lines().map(str::to_owned).collect()
}

/// Each is read twice: what is missed once is missed again, and not an error then.
fn expected(place: &str, change: &str, name: &str, value: Option<&str>) -> Vec<String> {
    let said = |who: &str, none: &str| format!("{who}, {change}: {}", value.unwrap_or(none));
    let error = format!("Corrupt, the attribute was stored as {name} and cannot be read as {name}");
    let mut lines = Vec::new();
    for _ in 0..2 {
        if place.contains('#') {
            lines.push(said("cache", "a miss"));
        }
        lines.extend([said("session", "absent"), said("strict session", &error)]);
    }
    lines
}

fn side_by_side(place: impl Fn(&str) -> String) {
    for (direction, (writer, reader)) in [(OLD, NEW), (NEW, OLD), (OLD, OLD), (NEW, NEW)].into_iter().enumerate() {
        let place = place(&direction.to_string());
        let printed = read(writer, reader, &place);
        if writer == reader {
            assert!(printed.iter().all(|line| !line.contains("absent") && !line.contains("miss")), "{printed:#?}");
            continue;
        }
        let mut all = Vec::new();
        for (change, by_new, by_old) in READ {
            let name = format!("{}{}", change[..1].to_uppercase(), &change[1..]);
            all.extend(expected(&place, change, &name, if direction == 0 { by_new } else { by_old }));
        }
        assert_eq!(printed, all, "{writer} wrote, {reader} read");
    }
}

#[tokio::test]
async fn two_builds_on_one_redis_never_misread_each_other() {
    let server = RedisServer::shared().await;
    let url = server.url();
    side_by_side(|direction| format!("{url}#two-builds-{}-{direction}", std::process::id()));
}

#[test]
fn two_builds_on_one_folder_never_misread_each_other() {
    let folder = tempfile::tempdir().unwrap();
    side_by_side(|direction| folder.path().join(direction).to_str().unwrap().to_owned());
}

#[test]
fn two_builds_read_list_replace_and_delete_each_others_files() {
    for (writer, other) in [(OLD, NEW), (NEW, OLD)] {
        let folder = tempfile::tempdir().unwrap();
        let place = format!("file:{}", folder.path().display());
        run(writer, &["files", "put", &place, "the one"]);
        let first = run(writer, &["files", "look", &place, "the one"]);
        assert_eq!((first.lines().count(), first.matches(" by the one true").count()), (10, 10), "{first}");
        assert_eq!(run(other, &["files", "change", &place, "the other"]), first, "both see the same");
        let second = run(writer, &["files", "look", &place, "the one"]);
        assert_eq!(second, run(other, &["files", "look", &place, "the other"]), "both see the same");
        let all: Vec<_> = second.lines().filter(|line| !line.starts_with("copies/")).collect();
        // Each third of the ten, in their order: replaced, deleted, copied.
        let replaced = all.iter().filter(|line| line.contains(": the other replaced ")).count();
        assert_eq!((all.len(), replaced, second.lines().count() - all.len()), (7, 4, 3), "{second}");
        assert!(second.lines().all(|line| line.ends_with(" true")), "{second}");
    }
}

#[test]
fn two_builds_at_the_same_time_win_once_and_lose_no_count() {
    let folder = tempfile::tempdir().unwrap();
    let place = format!("file:{}", folder.path().display());
    run(OLD, &["files", "put", &place, "nobody"]);
    let count = |build: &str| {
        let looked = run(build, &["files", "look", &place, "nobody"]);
        looked.lines().find_map(|line| line.strip_prefix("count: ")?.split(' ').next()?.parse::<usize>().ok())
    };
    run(NEW, &["files", "count", &place, "nobody"]);
    let racing = [OLD, NEW, OLD, NEW].map(|build| {
        Command::new(build).args(["files", "race", &place, build]).stdout(std::process::Stdio::piped()).spawn().unwrap()
    });
    let won = racing.map(|child| {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    });
    let mut won: Vec<_> = won.iter().flat_map(|won| won.lines()).collect();
    won.sort_unstable();
    let mut all: Vec<_> = (0..40).map(|number| format!("first/{number}")).collect();
    all.sort_unstable();
    assert_eq!(won, all, "each is made by exactly one");
    assert_eq!(count(OLD), Some(160));
}

//! One idea has one spelling in all crates.

mod sources;

use sources::sources;

const OUTCOME: &str = r#"#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]"#;

/// What stands directly above a line: its documentation and attributes.
fn above(source: &str, at: usize) -> Vec<&str> {
    let lines = source[..at].lines().rev();
    lines.take_while(|line| line.starts_with("///") || line.starts_with("#[")).collect()
}

/// What is wrong with the public enums of a file of outcomes.
fn wrong_outcomes(source: &str) -> Vec<String> {
    let enums = source.match_indices("\npub enum ").map(|(at, begin)| (at + 1, at + begin.len()));
    let wrong = enums.filter_map(|(at, name)| {
        let (above, name) = (above(source, at), source[name..].split(' ').next().unwrap_or_default());
        let told = above.last().is_some_and(|first| first.starts_with("/// What became of "));
        let bare = above.contains(&"#[must_use]");
        (!told || bare || !above.contains(&OUTCOME)).then(|| name.to_owned())
    });
    wrong.collect()
}

#[test]
fn no_caller_can_overlook_an_outcome() {
    let files: Vec<_> = sources("crates").into_iter().filter(|(file, _)| file.ends_with("/outcome.rs")).collect();
    assert!(files.len() > 4, "{files:?}");
    for (file, source) in files {
        let rule = "\"What became of …\", exhaustive for the one reason, `must_use` with its own";
        assert_eq!(wrong_outcomes(&source), [""; 0], "{file}: an outcome is {rule}");
    }
}

#[test]
fn an_outcome_that_breaks_the_rule_is_found() {
    let right = format!("use x;\n\n/// What became of a put.\n#[must_use = \"y\"]\n{OUTCOME}\npub enum A {{\n");
    assert_eq!(wrong_outcomes(&right), [""; 0]);
    for (part, other) in [("What became of", "How it"), (OUTCOME, "#[non_exhaustive]"), (" = \"y\"", "")] {
        assert_eq!(wrong_outcomes(&right.replace(part, other)), ["A"], "{other}");
    }
}

/// The services with operations, and the folder of their sources.
const SERVICES: [(&str, &str); 6] = [
    ("cache", "crates/cache/src"),
    ("coord", "crates/coord/src"),
    ("filestore", "crates/filestore/src"),
    ("search", "crates/search/src"),
    ("session", "crates/session/src"),
    ("signals", "crates/coord/src/signals"),
];

/// Settings of servers that look like operations.
const NO_OPERATIONS: [&str; 1] = ["search.default_pipeline"];

/// Whether a file has tests, which say for themselves what is to be told.
fn is_of_tests(file: &str) -> bool {
    file.contains("/tests") || file.contains("/conformance/") || file.ends_with("/told.rs")
}

/// The texts `"service.verb"` in the code of a source, names of events and what only tests compile left out.
fn spelled<'a>(source: &'a str, service: &str) -> Vec<&'a str> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let begin = format!("\"{service}.");
    let texts = lines.flat_map(|line| line.match_indices(&begin).map(move |(at, _)| (line, at)).collect::<Vec<_>>());
    let texts = texts.filter(|(line, at)| !line[..*at].ends_with("name: "));
    let texts = texts.filter_map(|(line, at)| line[at + 1..].split('"').next());
    let plain = |text: &&str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.');
    texts.filter(plain).filter(|text| !NO_OPERATIONS.contains(text)).collect()
}

#[test]
fn operations_are_named_in_one_file_of_each_service() {
    for (service, folder) in SERVICES {
        for (file, source) in sources(folder).iter().filter(|(file, _)| !is_of_tests(file)) {
            let found = spelled(source, service);
            if file.ends_with("/operation.rs") {
                continue;
            }
            assert_eq!(found, [""; 0], "{file}: the names of operations are in `operation.rs`");
        }
        let names = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("operation.rs");
        let names = std::fs::read_to_string(names).expect("the operations of a service");
        assert!(spelled(&names, service).len() > 4, "{folder}/operation.rs");
    }
}

#[test]
fn an_operation_that_is_spelled_elsewhere_is_found() {
    let source = "// \"cache.get\"\nwarn!(name: \"cache.away\");\nlayer.around(\"cache.set\", \"cache.d\");\n\
                  #[cfg(test)]\nmod tests {\n\"cache.touch\"}";
    assert_eq!(spelled(source, "cache"), ["cache.set", "cache.d"]);
}

/// The one table of bytes that is the documentation of a public type.
const PUBLIC_FORMAT: &str = "crates/core/src/envelope.rs";

const GOLDEN: &str = "fn the_golden_bytes_are_what_the_table_says";

/// Whether a documentation has a table of bytes.
fn has_bytes(source: &str) -> bool {
    let lines =
        source.lines().map(str::trim_start).filter_map(|line| line.strip_prefix("//!").or(line.strip_prefix("///")));
    lines.map(str::trim).any(|line| line.starts_with("| bytes |") || line.contains("| bytes | field |"))
}

#[test]
fn bytes_are_told_in_files_of_formats_with_golden_bytes() {
    let all = sources("crates");
    let formats: Vec<_> =
        all.iter().filter(|(file, source)| !file.starts_with("crates/testkit") && has_bytes(source)).collect();
    assert!(formats.len() > 8, "{}", formats.len());
    for (file, source) in formats {
        let is_public = file == PUBLIC_FORMAT;
        assert!(file.ends_with("/format.rs") || is_public, "{file}: a table of bytes belongs into a `format.rs`");
        let head = if is_public { "/// | offset | bytes | field |" } else { "//! | offset | bytes | field |" };
        assert!(source.contains(head), "{file}: the table begins with {head}");
        assert!(source.contains("All numbers are little-endian"), "{file}: the table says in what order bytes are");
        let beside = [file.trim_end_matches(".rs"), "/tests.rs"].concat();
        let parent = file.replace("format.rs", "tests.rs");
        let tested = all.iter().filter(|(other, _)| [file, &beside, &parent].contains(&other));
        assert!(tested.clone().any(|(_, source)| source.contains(GOLDEN)), "{file}: no test `{GOLDEN}`");
    }
}

#[test]
fn a_table_of_bytes_is_found() {
    assert!(has_bytes("/// | offset | bytes | field |") && has_bytes("//! | bytes | what |"));
    assert!(!has_bytes("/// | parameter | default |\n| bytes | field |"));
}

/// The code of all examples in a documentation.
fn examples(source: &str) -> String {
    let (mut code, mut is_inside) = (String::new(), false);
    for line in source.lines().map(str::trim_start) {
        let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        match doc {
            Some(fence) if fence.trim_start().starts_with("```") => is_inside = !is_inside,
            Some(example) if is_inside => code.extend([example, "\n"]),
            Some(_) => {}
            // The fence of an example that needs a feature.
            None if line.starts_with("#[cfg_attr(") && line.contains("doc = \"```\"") => is_inside = true,
            None => is_inside &= line.starts_with("#["),
        }
    }
    code
}

/// The names of what builds: public functions that take what they are called on and give it back.
fn builders(source: &str) -> Vec<&str> {
    let heads = source.match_indices("\n    pub ").filter_map(|(at, _)| source[at..].split(['{', ';']).next());
    let building = heads.filter(|head| {
        ["(self", "(mut self", "(\n        self", "(\n        mut self"].iter().any(|begin| head.contains(begin))
            && ["-> Self ", "-> Self\n", "-> Result<Self> ", "-> Result<Self>\n"].iter().any(|end| head.contains(end))
    });
    building.filter_map(|head| head.split_once("fn ")?.1.split(['(', '<']).next()).collect()
}

#[test]
fn whatever_builds_is_shown_by_an_example_that_runs() {
    let all: Vec<_> = [sources("crates"), sources("src")].concat();
    let is_ours = |file: &str| !is_of_tests(file) && !file.starts_with("crates/testkit/");
    let shown: String = all.iter().filter(|(file, _)| is_ours(file)).map(|(_, source)| examples(source)).collect();
    let (mut built, mut wrong) = (0, Vec::new());
    for (file, source) in all.iter().filter(|(file, _)| is_ours(file)) {
        for name in builders(source) {
            built += 1;
            let is_called = |by: &&str| ["(", "::<"].iter().any(|call| shown.contains(&format!("{by}{name}{call}")));
            let is_shown = [".", "::"].iter().any(is_called);
            wrong.extend((!is_shown).then(|| format!("{file}: {name}")));
        }
    }
    assert!(built > 250, "{built}");
    assert_eq!(wrong, [""; 0], "no example of these {} of {built}", wrong.len());
}

#[test]
fn what_builds_and_what_shows_it_is_found() {
    let source = "    /// ```\n    /// x.with_a(1);\n    /// ```\n    /// with_b(2)\n    pub const fn with_a(mut self, a: u32) -> Self {\n";
    let source =
        format!("impl X {{\n{source}\n    pub fn b(&self) -> Self {{\n\n    pub fn c<T>(self) -> Result<Self> {{\n");
    assert_eq!((builders(&source), examples(&source).trim()), (vec!["with_a", "c"], "x.with_a(1);"));
}

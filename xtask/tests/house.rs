//! One idea has one spelling in all crates.

mod sources;

use sources::sources;

const OUTCOME: &str = r#"#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]"#;

/// What stands directly above a line: its documentation and attributes.
fn above<'a>(source: &'a str, at: usize) -> Vec<&'a str> {
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

//! What `docs/requirements.md` says is proved by tests that are there.

mod sources;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sources::sources;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}

fn page() -> String {
    fs::read_to_string(root().join("docs/requirements.md")).expect("the page")
}

/// A test that is named: its file, its name, and an assertion as it stands there.
#[derive(Debug)]
struct Proof<'p> {
    file: &'p str,
    test: &'p str,
    assertion: &'p str,
}

/// One requirement: its state, its proofs, and whether the page says what is missing.
#[derive(Debug, Default)]
struct Requirement<'p> {
    state: &'p str,
    proofs: Vec<Proof<'p>>,
    says_what_is_missing: bool,
}

/// From "- `file::test`: `assertion`".
fn proof(line: &str) -> Option<Proof<'_>> {
    let (named, assertion) = line.strip_prefix("- `")?.split_once("`: `")?;
    let (file, test) = named.rsplit_once("::")?;
    Some(Proof { file, test, assertion: assertion.strip_suffix('`')? })
}

fn requirements(page: &str) -> BTreeMap<&str, Requirement<'_>> {
    let mut found: BTreeMap<_, Requirement<'_>> = BTreeMap::new();
    let mut id = "";
    for line in page.lines() {
        if let Some((name, state)) = line.strip_prefix("### ").and_then(|head| head.split_once(": ")) {
            id = name;
            let before = found.insert(id, Requirement { state, ..Requirement::default() });
            assert!(before.is_none(), "{id} stands there twice");
        } else if let Some(requirement) = found.get_mut(id) {
            assert!(!line.starts_with("- ") || proof(line).is_some(), "{id}: what is this? {line}");
            requirement.proofs.extend(proof(line));
            requirement.says_what_is_missing |= line.starts_with("Missing: ");
        }
    }
    found
}

/// Whether the source has a test, or a case of a conformance suite, of this name.
fn has_test(source: &str, name: &str) -> bool {
    source.match_indices(&format!("fn {name}")).any(|(at, found)| {
        let ends = !source[at + found.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_');
        let before = source[..at].trim_end_matches(|c| c != '\n');
        let is_attributed = before.lines().rev().take_while(|line| !line.trim().is_empty());
        ends && (is_attributed.into_iter().any(|line| line.contains("test]") || line.contains("test("))
            || is_case(source)
            || is_listed(source, name))
    })
}

/// Those that a macro runs on each backend stand alone in its list.
fn is_listed(source: &str, name: &str) -> bool {
    source.lines().any(|line| line.trim().split([',', ';', ' ']).next() == Some(name))
}

/// Cases of a suite are listed in its module and have no attribute.
fn is_case(source: &str) -> bool {
    !source.contains("#[test]") && !source.contains("#[tokio::test")
}

#[test]
fn every_test_that_is_named_is_there_with_its_assertion() {
    let (page, mut wrong) = (page(), Vec::new());
    for (id, requirement) in requirements(&page) {
        for Proof { file, test, assertion } in requirement.proofs {
            let source = fs::read_to_string(root().join(file)).unwrap_or_default();
            if !has_test(&source, test) {
                wrong.push(format!("{id}: {file} has no test {test}"));
            } else if !source.contains(assertion) {
                wrong.push(format!("{id}: {file} has no {assertion}"));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn what_is_done_is_proved_and_what_is_not_says_what_is_missing() {
    let page = page();
    for (id, requirement) in requirements(&page) {
        let is_as_said = match requirement.state {
            "done" => !requirement.proofs.is_empty() && !requirement.says_what_is_missing,
            "partly" => !requirement.proofs.is_empty() && requirement.says_what_is_missing,
            "absent" => requirement.proofs.is_empty() && requirement.says_what_is_missing,
            other => panic!("{id}: {other:?} is no state"),
        };
        assert!(is_as_said, "{id} is said to be {requirement:?}");
    }
}

#[test]
fn the_number_that_are_done_does_not_fall() {
    let page = page();
    let found = requirements(&page);
    let count = |state: &str| found.values().filter(|requirement| requirement.state == state).count();
    let row = format!("| {} | {} | {} | {} |", count("done"), count("partly"), count("absent"), found.len());
    assert!(page.contains(&row), "the table is not {row}");
    let never_below = page.split("never falls below ").nth(1).and_then(|rest| rest.split(':').next());
    let never_below: usize = never_below.expect("a number").parse().expect("a number");
    assert!(count("done") >= never_below, "{} are done, and it was to be {never_below} at least", count("done"));
    assert_eq!(found.len(), 66, "a requirement does not go away by not being written down");
}

#[test]
fn every_test_that_the_guide_names_is_there() {
    let mut named = 0;
    for entry in fs::read_dir(root().join("docs/guide")).expect("the guide").map(|entry| entry.expect("an entry")) {
        let text = fs::read_to_string(entry.path()).expect("a page");
        let code = |part: &str| part.split('`').map(ToOwned::to_owned).collect::<Vec<_>>();
        let mut source = String::new();
        for word in text.split("```").step_by(2).flat_map(code) {
            if word.ends_with(".rs") {
                source = fs::read_to_string(root().join(&word)).unwrap_or_else(|_| panic!("no {word}"));
            } else if word.len() > 30 && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            {
                assert!(has_test(&source, &word), "{}: no test {word}", entry.path().display());
                named += 1;
            }
        }
    }
    assert!(named >= 10, "only {named}");
}

/// The tests that the third column of a page's tables names, and the rows of the benchmark: how many, and those that are not there.
fn guards_of<'p>(page: &'p str, source: &str) -> (usize, Vec<&'p str>) {
    let (mut named, mut wrong) = (0, Vec::new());
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| no.")) {
        let guards = row.split(" | ").nth(2).unwrap_or_default();
        let tests = guards.split('`').skip(1).step_by(2).map(|test| (test, format!("fn {test}(")));
        let rows = guards.split('"').skip(1).step_by(2).map(|row| (row, format!("\"{row}")));
        for (name, spelled) in tests.chain(rows) {
            named += 1;
            wrong.extend((!source.contains(&spelled)).then_some(name));
        }
    }
    (named, wrong)
}

#[test]
fn every_test_and_row_of_the_benchmark_that_a_table_names_is_there() {
    let source: String = ["src", "tests", "crates", "examples", "bench", "xtask"]
        .iter()
        .flat_map(|folder| sources(folder))
        .map(|(_, source)| source)
        .collect();
    for (page, least) in [("docs/faults.md", 250), ("SECURITY.md", 60)] {
        let text = fs::read_to_string(root().join(page)).expect("the page");
        let (named, wrong) = guards_of(&text, &source);
        assert!(named >= least && wrong.is_empty(), "{page}: of {named} there are not: {wrong:?}");
    }
}

/// Those of the first column of a row, as tests spell them: `7.2.4` is `asvs_v7_2_4_`.
fn asvs_of(row: &str) -> Vec<String> {
    let first = row.split(" | ").next().unwrap_or_default();
    let words = first.split(|c: char| !c.is_ascii_digit() && c != '.');
    let numbers = words.filter(|word| word.split('.').count() == 3 && word.split('.').all(|part| !part.is_empty()));
    numbers.map(|number| format!("asvs_v{}_", number.replace('.', "_"))).collect()
}

/// What a row leaves to the application alone names no test.
#[test]
fn every_row_of_asvs_names_a_test_that_has_its_number() {
    let page = fs::read_to_string(root().join("SECURITY.md")).expect("the page");
    let (mut numbers, mut left, mut wrong) = (0, Vec::new(), Vec::new());
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let tests = row.split(" | ").nth(2).unwrap_or_default().trim_matches(['|', ' ']);
        for number in asvs_of(row) {
            numbers += 1;
            match tests {
                "" => left.push(number),
                named if named.contains(&format!("`{number}")) => {}
                _ => wrong.push(number),
            }
        }
    }
    assert_eq!((wrong, left), (Vec::new(), vec!["asvs_v7_4_4_".to_owned()]));
    assert!(numbers >= 23, "only {numbers}");
}

#[test]
fn a_test_is_told_from_what_is_none() {
    let source = "#[tokio::test(flavor = \"multi_thread\")]\nasync fn it_works() {}\n\nfn it_works_not() {}\n";
    assert!(has_test(source, "it_works") && !has_test(source, "it_works_not") && !has_test(source, "it_wor"));
    assert!(has_test("pub(super) async fn a_case(files: Files) {", "a_case"), "of a suite");
    let page = "### A1: done\n\n- `a/b.rs::c`: `assert!(d);`\n\nMissing: e\n";
    let found = &requirements(page)["A1"];
    assert!(found.state == "done" && found.says_what_is_missing && found.proofs[0].assertion == "assert!(d);");
}

//! What the README shows is what is there.

/// The clinic's wiring is shown word for word.
#[test]
fn the_readme_shows_the_clinics_wiring_as_it_is() {
    let readme = include_str!("../../README.md");
    let wiring = include_str!("../../examples/clinic/src/wiring.rs");
    assert!(readme.contains(&format!("```rs\n{wiring}```")), "copy examples/clinic/src/wiring.rs into README.md");
}

/// The first program is one that other tests start and stop: it listens where it is told to, and is otherwise the same.
#[test]
fn the_readmes_first_program_is_the_one_that_is_tested() {
    let readme = include_str!("../../README.md");
    let program = readme.split("```rust,no_run\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(
        !program.lines().any(|line| line.starts_with("# ")),
        "who copies it from the repository's page copies all lines"
    );
    let address = "std::env::args().nth(1).as_deref().unwrap_or(\"127.0.0.1:8080\")";
    assert!(program.contains(address), "two of them run on one machine");
    let shown = program.replace(address, "std::env::args().next_back().unwrap_or_default()");
    let tested = include_str!("program/first_screen.rs");
    let code = tested.split_once("// The same from here on.\n").unwrap().1;
    let code = code.replace("#[allow(unused_variables, reason = \"they show what a call gives\")]\n", "");
    let code = code.replace("pub(crate) async fn main", "async fn main");
    let words = |text: &str| text.split_whitespace().collect::<String>().replace(",}", "}").replace(",)", ")");
    assert_eq!(words(&shown), words(&code), "copy the README's first program into tests/it/program/first_screen.rs");
}

//! What the README shows is what is there.

/// The clinic's wiring is shown word for word.
#[test]
fn the_readme_shows_the_clinics_wiring_as_it_is() {
    let readme = include_str!("../../README.md");
    let wiring = include_str!("../../examples/clinic/src/wiring.rs");
    assert!(readme.contains(&format!("```rs\n{wiring}```")), "copy examples/clinic/src/wiring.rs into README.md");
}

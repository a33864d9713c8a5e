//! `cargo xtask readmes`: the README of each library package, made of its crate documentation.
//!
//! A registry shows a README beside nothing else, so it has the summary, the example and the concepts, and no link that
//! needs the rest of the documentation. The example is one of the crate's doc tests: it runs.

use std::fs;
use std::path::Path;

use crate::{Result, workspace};

/// The packages below `crates/` that are published. The facade's README is written by hand, and is its documentation.
pub(crate) const LIBRARIES: [&str; 8] = ["cache", "coord", "core", "derive", "filestore", "redis", "search", "session"];

/// The program below `crates/` that is published.
const PROGRAM: &str = "cli";

/// The sections of crate documentation that a README has.
const SECTIONS: [&str; 4] = ["# Concepts", "# What it is not", "# Features", "# Errors"];

const END: &str = "\
## Licence

MIT or Apache-2.0, at your option.
";

/// Writes those that are not as they should be.
pub(crate) fn write() -> Result {
    for (name, text) in stale()? {
        let file = readme(name);
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        println!("wrote {}", file.display());
    }
    Ok(())
}

pub(crate) fn check() -> Result {
    let stale: Vec<_> = stale()?.into_iter().map(|(name, _)| format!("crates/{name}/README.md")).collect();
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("not what the crate documentation says; run cargo xtask readmes: {}", stale.join(", ")))
}

fn readme(name: &str) -> std::path::PathBuf {
    workspace::root().join("crates").join(name).join("README.md")
}

/// Where the documentation of a package stands, and what its README says of the whole.
const OF_A_PROGRAM: (&str, &str) =
    ("src/main.rs", "This program is a part of `statehouse`: it works on what an application has that uses that.");

const OF_A_LIBRARY: (&str, &str) =
    ("src/lib.rs", "This crate is a part of `statehouse`, which re-exports it: applications depend on that.");

/// Those that differ from what the documentation gives, with what it gives.
fn stale() -> Result<Vec<(&'static str, String)>> {
    let mut stale = Vec::new();
    for name in LIBRARIES.into_iter().chain([PROGRAM]) {
        let (source, part) = if name == PROGRAM { OF_A_PROGRAM } else { OF_A_LIBRARY };
        let text = made(name, part, &workspace::root().join("crates").join(name).join(source))?;
        if fs::read_to_string(readme(name)).ok().as_deref() != Some(text.as_str()) {
            stale.push((name, text));
        }
    }
    Ok(stale)
}

fn made(name: &str, part: &str, source: &Path) -> Result<String> {
    let source = fs::read_to_string(source).map_err(|error| format!("{}: {error}", source.display()))?;
    Ok(format!("# statehouse-{name}\n\n{}\n\n{part}\n\n{END}", shown(&documentation(&source)).trim()))
}

/// The lines of the crate documentation. A fence that stands there under a condition is taken for one of Rust.
fn documentation(source: &str) -> Vec<&str> {
    let line = |line: &'_ str| -> Option<&'static str> {
        let fence = line.starts_with("#![cfg_attr(") && line.ends_with("doc = \"```\")]");
        fence.then_some("```")
    };
    source
        .lines()
        .filter_map(|text| match text.strip_prefix("//!") {
            Some(rest) => Some(rest.strip_prefix(' ').unwrap_or(rest)),
            None => line(text),
        })
        .collect()
}

/// The summary and the chosen sections, one heading lower, without what a page of its own cannot show.
fn shown(lines: &[&str]) -> String {
    let (mut wanted, mut code, mut text) = (true, false, String::new());
    for line in lines {
        if let Some(fence) = line.strip_prefix("```") {
            code = !code;
            if wanted {
                let language = if code && (fence.is_empty() || fence == "no_run") { "rust" } else { fence };
                text.push_str(&format!("```{language}\n"));
            }
            continue;
        }
        if !code && line.starts_with("# ") {
            wanted = SECTIONS.contains(line);
            if wanted {
                text.push_str(&format!("\n#{line}\n\n").replace("\n\n\n", "\n\n"));
            }
            continue;
        }
        let hidden = code && (*line == "#" || line.starts_with("# "));
        if wanted && !hidden {
            text.push_str(&if code { (*line).to_owned() } else { without_links(line) });
            text.push('\n');
        }
    }
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    text
}

/// Links to items become their words; those to pages stay.
fn without_links(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('[') {
        text.push_str(before);
        let Some((words, after)) = after.split_once(']') else {
            text.push('[');
            rest = after;
            continue;
        };
        let target = after.strip_prefix('(').and_then(|target| target.split_once(')'));
        match target {
            Some((target, after)) if target.contains("://") => {
                text.push_str(&format!("[{words}]({target})"));
                rest = after;
            }
            Some((_, after)) => {
                text.push_str(words);
                rest = after;
            }
            None => {
                let is_item = words.starts_with('`');
                text.push_str(&if is_item { words.to_owned() } else { format!("[{words}]") });
                rest = after;
            }
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_lines_and_links_to_items_are_left_out() {
        let source = "//! Summary of [`A`](crate::A) and [RFC](https://r/1).\n//!\n//! ```\n//! # hidden();\n//! shown();\n//! ```\n\
                      //!\n//! # Backends\n//! a table\n//!\n//! # Features\n//! - `x`: y [z]\nmod a;\n";
        let text = shown(&documentation(source));
        let expected =
            "Summary of `A` and [RFC](https://r/1).\n\n```rust\nshown();\n```\n\n## Features\n\n- `x`: y [z]\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_readme_of_a_package_has_no_link_that_breaks_elsewhere() {
        let files = LIBRARIES.map(readme).into_iter().chain([workspace::root().join("README.md")]);
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            let broken: Vec<_> = targets.filter(|target| !target.contains("://") && !target.starts_with('#')).collect();
            assert_eq!(broken, [""; 0], "{}", file.display());
        }
    }
}

//! What would be published.

use std::collections::BTreeSet;
use std::fs;

use crate::Result;
use crate::run::{cargo, quietly};
use crate::workspace::{self, BENCH, Package};

/// The largest package, unpacked, without the lock file that cargo makes for it.
const LARGEST: u64 = 300 << 10;

/// What every package holds besides its sources.
const ALWAYS: [&str; 3] = ["README.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// Everything that a registry shows or that its readers need, and nothing that is only of use in the repository.
pub(crate) fn check(packages: &[Package]) -> Result {
    let mut wrong = Vec::new();
    for package in packages.iter().filter(|package| package.published) {
        wrong.extend(metadata(package).into_iter().chain(content(package)?));
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n"));
    }
    // Without building: what is published is built by other guards.
    let mut package = cargo(["package", "--workspace", "--no-verify", "--locked", "--allow-dirty", "--quiet"]);
    let unpublished = packages.iter().filter(|package| !package.published);
    for package_of_ours in unpublished.map(|package| package.name.as_str()).chain([BENCH]).collect::<BTreeSet<_>>() {
        package.args(["--exclude", package_of_ours]);
    }
    quietly(package.env("CARGO_TARGET_DIR", workspace::target().join("packages"))).map(drop)
}

fn metadata(package: &Package) -> Vec<String> {
    let manifest = &package.manifest;
    let is_missing =
        |field: &&str| manifest[*field].is_null() || manifest[*field].as_array().is_some_and(Vec::is_empty);
    let fields = ["description", "license", "readme", "rust_version", "keywords", "categories", "authors"];
    let mut wrong: Vec<_> =
        fields.iter().filter(|field| is_missing(field)).map(|field| format!("no {field}")).collect();
    if manifest["keywords"].as_array().is_some_and(|keywords| keywords.len() > 5) {
        wrong.push("more than five keywords".to_owned());
    }
    if manifest["metadata"]["docs"]["rs"]["all-features"] != true {
        wrong.push("docs.rs is not told to build with all features".to_owned());
    }
    wrong.iter().map(|what| format!("{}: {what}", package.name)).collect()
}

fn content(package: &Package) -> Result<Vec<String>> {
    let listed = cargo(["package", "--list", "--allow-dirty", "--locked", "--package", &package.name]);
    let listed = quietly(&mut { listed })?;
    let files: BTreeSet<_> = listed.lines().collect();
    let mut wrong: Vec<_> =
        ALWAYS.iter().filter(|file| !files.contains(**file)).map(|file| format!("{file} is missing")).collect();
    // Those that cargo makes are not in the folder, or are there as the whole workspace has them.
    let own = files.iter().filter(|file| **file != "Cargo.lock");
    let size = own.filter_map(|file| fs::metadata(package.folder.join(file)).ok()).map(|file| file.len());
    let size = size.sum::<u64>();
    if package.name == "statehouse" && size > LARGEST {
        wrong.push(format!("{} kB, more than {}", size >> 10, LARGEST >> 10));
    }
    println!("{:22} {:4} files {:5} kB", package.name, files.len(), size >> 10);
    Ok(wrong.iter().map(|what| format!("{}: {what}", package.name)).collect())
}

//! What would be published.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::run::{cargo, quietly};
use crate::workspace::{self, BENCH, Package};

/// The largest that the facade's package may be, in bytes.
const LARGEST: u64 = 300_000;

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
    let made = workspace::target().join("packages");
    make(packages, &made)?;
    let published = packages.iter().filter(|package| package.published);
    let sizes = published.map(|package| size(package, &made)).collect::<Result<Vec<_>>>()?;
    sizes.into_iter().flatten().next().map_or(Ok(()), Err)
}

/// Without building: what is published is built by other guards.
fn make(packages: &[Package], made: &Path) -> Result {
    let mut package = cargo(["package", "--workspace", "--no-verify", "--locked", "--allow-dirty", "--quiet"]);
    let unpublished = packages.iter().filter(|package| !package.published);
    for package_of_ours in unpublished.map(|package| package.name.as_str()).chain([BENCH]).collect::<BTreeSet<_>>() {
        package.args(["--exclude", package_of_ours]);
    }
    quietly(package.env("CARGO_TARGET_DIR", made)).map(drop)
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
    let missing = ALWAYS.iter().filter(|file| !files.contains(**file));
    Ok(missing.map(|file| format!("{}: {file} is missing", package.name)).collect())
}

/// How large the package is that cargo has made: what a registry keeps, and everybody who depends on it downloads.
fn size(package: &Package, made: &Path) -> Result<Option<String>> {
    let version = package.manifest["version"].as_str().unwrap_or_default();
    let file = made.join(format!("package/{}-{version}.crate", package.name));
    let bytes = fs::metadata(file).map_err(|error| error.to_string())?.len();
    println!("{:22} {:4} kB", package.name, bytes.div_ceil(1_000));
    let too_large = package.name == "statehouse" && bytes > LARGEST;
    Ok(too_large.then(|| format!("{}: {bytes} bytes, more than {LARGEST}", package.name)))
}

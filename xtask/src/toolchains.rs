//! Guards that need another toolchain or the standard library of another system. Where they cannot be had, a guard says
//! so and is not run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::run::{cargo, command, loudly, quietly};
use crate::workspace::{self, Package};

const WINDOWS: &str = "x86_64-pc-windows-gnu";
const MACOS: &str = "aarch64-apple-darwin";

/// Everything that is published.
const LIBRARIES: [&str; 9] = [
    "statehouse",
    "statehouse-core",
    "statehouse-redis",
    "statehouse-cache",
    "statehouse-session",
    "statehouse-coord",
    "statehouse-filestore",
    "statehouse-search",
    "statehouse-derive",
];

fn packages(names: &[&str]) -> Vec<String> {
    names.iter().flat_map(|name| ["--package".to_owned(), (*name).to_owned()]).collect()
}

/// A target folder of its own: what is built there fits nothing else.
fn folder(name: &str) -> PathBuf {
    workspace::target().join(name)
}

/// Whether the standard library of that system is there, after an attempt to get it.
fn has_target(target: &str) -> bool {
    let list = || quietly(&mut command("rustup", ["target", "list", "--installed"]));
    let there = || list().is_ok_and(|list| list.lines().any(|line| line == target));
    there() || (quietly(&mut command("rustup", ["target", "add", target])).is_ok() && there())
}

/// Likewise.
fn has_toolchain(version: &str) -> bool {
    let there = || quietly(&mut command("rustup", ["run", version, "rustc", "--version"])).is_ok();
    let install = ["toolchain", "install", version, "--profile", "minimal"];
    there() || (quietly(&mut command("rustup", install)).is_ok() && there())
}

/// `cargo` of that toolchain, in a target folder of its own.
fn cargo_of(version: &str, args: &[&str]) -> Command {
    let mut command = command("rustup", ["run", version, "cargo"]);
    command.args(args).env("CARGO_TARGET_DIR", folder(&format!("rust-{version}")));
    // Those of the cargo that runs us.
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn platforms() -> Result<Option<String>> {
    let mut missing = Vec::new();
    if has_target(WINDOWS) {
        // The disk backends and the clients are left out with their features.
        let of = ["", "-core", "-cache", "-session", "-filestore", "-coord"].map(|name| format!("statehouse{name}"));
        let of: Vec<_> = of.iter().map(String::as_str).collect();
        let args = ["check", "--locked", "--lib", "--no-default-features", "--target", WINDOWS];
        loudly(cargo(args).args(packages(&of)).env("CARGO_TARGET_DIR", folder("platforms")))?;
    } else {
        missing.push(WINDOWS);
    }
    if has_target(MACOS) {
        let mut check = cargo(["check", "--locked", "--lib", "--all-features", "--target", MACOS]);
        check.args(packages(&LIBRARIES)).env("CARGO_TARGET_DIR", folder("platforms"));
        // Checking links nothing: what build scripts would compile with Apple's compiler is left out.
        for tool in ["CC", "AR", "RANLIB"] {
            check.env(format!("{tool}_{}", MACOS.replace('-', "_")), "true");
        }
        loudly(&mut check)?;
    } else {
        missing.push(MACOS);
    }
    Ok(said(&missing, "rustup target add"))
}

pub(crate) fn rust_version(all: &[Package]) -> Result<Option<String>> {
    let mut by_version = BTreeMap::<&str, Vec<&str>>::new();
    for package in all.iter().filter(|package| package.published || package.name == "clinic") {
        by_version.entry(&package.rust_version).or_default().push(&package.name);
    }
    let mut missing = Vec::new();
    for (version, names) in by_version {
        if !has_toolchain(version) {
            missing.push(version);
            continue;
        }
        println!("Rust {version}: {}", names.join(", "));
        loudly(cargo_of(version, &["check", "--locked", "--all-features"]).args(packages(&names)))?;
    }
    Ok(said(&missing, "rustup toolchain install"))
}

/// With a lock file of its own, which has the oldest version of each direct dependency that its requirement allows.
pub(crate) fn minimal_versions() -> Result<Option<String>> {
    let place = folder("minimal-versions");
    std::fs::create_dir_all(&place).map_err(|error| error.to_string())?;
    let lock = place.join("Cargo.lock");
    let locked = |args: &[&str]| {
        let mut command = cargo(args);
        // Both flags are unstable, and do what they say.
        command.env("RUSTC_BOOTSTRAP", "1").args(["-Z", "unstable-options", "--lockfile-path"]).arg(&lock);
        command.env("CARGO_TARGET_DIR", &place);
        command
    };
    remove(&lock)?;
    quietly(&mut locked(&["generate-lockfile", "-Z", "direct-minimal-versions"]))
        .map_err(|error| format!("a requirement is lower than what another package needs:\n{error}"))?;
    loudly(locked(&["check", "--lib", "--all-features"]).args(packages(&LIBRARIES)))?;
    Ok(None)
}

/// Against the newest tag that this commit goes back to: cargo-semver-checks builds the public items of both. It is not installed
/// for this, since building it takes longer than all other guards.
pub(crate) fn semver(all: &[Package]) -> Result<Option<String>> {
    let tags = ["describe", "--tags", "--abbrev=0", "--match", "v*"];
    let Ok(tag) = quietly(&mut command("git", tags)) else {
        return Ok(Some("nothing was released yet: there is no tag v*".to_owned()));
    };
    if quietly(&mut cargo(["semver-checks", "--version"])).is_err() {
        return Ok(Some("not to be had on this machine: try cargo install cargo-semver-checks".to_owned()));
    }
    let libraries = all.iter().filter(|package| package.published && LIBRARIES.contains(&package.name.as_str()));
    let names: Vec<_> =
        libraries.map(|package| package.name.as_str()).filter(|name| *name != "statehouse-derive").collect();
    println!("against {}", tag.trim());
    loudly(cargo(["semver-checks", "--all-features", "--baseline-rev", tag.trim()]).args(packages(&names)))?;
    Ok(None)
}

fn remove(file: &Path) -> Result {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
        _ => Ok(()),
    }
}

fn said(missing: &[&str], by: &str) -> Option<String> {
    let not_here = || format!("not to be had on this machine: {}; try {by} {}", missing.join(", "), missing.join(" "));
    (!missing.is_empty()).then(not_here)
}

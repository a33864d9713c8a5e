//! What `cargo metadata` says about the workspace.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Result;
use crate::run::{cargo, quietly};

/// The benchmarks and their heavy peers are built by nothing but `cargo xtask bench`.
pub(crate) const BENCH: &str = "statehouse-bench";

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// The folder that builds go to, as far as the environment says; [`read`] asks cargo.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// One package of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) features: Vec<String>,
    pub(crate) examples: Vec<String>,
    pub(crate) has_library: bool,
    pub(crate) published: bool,
    /// The Rust that it states.
    pub(crate) rust_version: String,
    /// What the registry shows.
    pub(crate) manifest: Value,
}

/// The packages, and the folder that builds go to.
pub(crate) fn read() -> Result<(Vec<Package>, PathBuf)> {
    let text = quietly(&mut cargo(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let target = metadata["target_directory"].as_str().ok_or("cargo metadata names no target folder")?;
    Ok((packages.iter().map(package).collect(), target.into()))
}

fn package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let targets = value["targets"].as_array().map_or(&[][..], Vec::as_slice);
    let of_kind = |kind: &str| {
        let is = |target: &&Value| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind));
        targets.iter().filter(is).map(|target| text(&target["name"])).collect::<Vec<_>>()
    };
    let features = value["features"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
    Package {
        name: text(&value["name"]),
        features: features.filter(|name| name != "default").collect(),
        examples: of_kind("example"),
        published: value["publish"].is_null(),
        rust_version: text(&value["rust_version"]),
        manifest: value.clone(),
        has_library: !of_kind("lib").is_empty() || !of_kind("proc-macro").is_empty(),
    }
}

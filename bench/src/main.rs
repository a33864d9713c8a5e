//! The benchmarks of statehouse: every figure is a ratio to a peer, measured in the same run.
//!
//! `cargo xtask bench [SERVICE] [--quick] [--json FILE]` builds and runs this.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command-line program")]

#[cfg(feature = "aws")]
mod aws;
mod cache;
mod cache_faults;
mod cache_fred;
mod cache_memory;
mod cache_redis;
mod coord;
mod coord_crowd;
mod coord_idle;
mod filestore;
mod harness;
mod local_files;
mod memory;
mod polls;
mod search;
mod search_columns;
mod search_logged;
mod search_texts;
mod session;

use std::process::ExitCode;

use harness::Harness;

const USAGE: &str = "usage: cargo xtask bench [cache|session|filestore|search|coord] [--quick] [--json FILE]";

struct Arguments {
    service: Option<String>,
    quick: bool,
    json: Option<String>,
}

const NO_FILE: &str = "--json needs the name of a file to write";

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { service: None, quick: false, json: None };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--quick" => parsed.quick = true,
            "--json" => {
                parsed.json = Some(given.next().filter(|file| !file.starts_with("--")).ok_or(NO_FILE)?);
            }
            "cache" | "session" | "filestore" | "search" | "coord" if parsed.service.is_none() => {
                parsed.service = Some(argument);
            }
            other => return Err(format!("unexpected argument {other:?}")),
        }
    }
    Ok(parsed)
}

#[tokio::main]
async fn main() -> ExitCode {
    // The peers' HTTP clients take the process-wide provider; ours bring their own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let given: Vec<_> = std::env::args().skip(1).collect();
    if let Some((memory::MEASURE, what)) = given.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return match measure(what).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("some rows are below their bar");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What another process of this program has asked for.
async fn measure(what: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    match what.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some((cache_memory::ENTRIES, rest)) => cache_memory::child(rest).await,
        _ => memory::child(what).await,
    }
}

async fn run(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let mut harness = Harness::new(arguments.quick);
    println!("{}", harness::HEADING);
    let wants = |service: &str| arguments.service.as_deref().is_none_or(|wanted| wanted == service);
    if wants("cache") {
        cache::run(&mut harness).await?;
    }
    if wants("session") {
        session::run(&mut harness).await?;
    }
    if wants("filestore") {
        local_files::run(&mut harness).await?;
        filestore::run(&mut harness).await?;
    }
    if wants("search") {
        search::run(&mut harness).await?;
    }
    if wants("coord") {
        coord::run(&mut harness).await?;
    }
    let rows = harness.into_rows();
    if let Some(file) = &arguments.json {
        std::fs::write(file, serde_json::to_vec_pretty(&rows)?)?;
    }
    Ok(rows.iter().all(|row| row.meets))
}

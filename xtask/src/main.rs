//! The development commands of statehouse: `cargo xtask`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its terminal")]

mod bench;
mod check;
mod coverage;
mod demo;
mod fuzz;
mod guard;
mod install;
mod packages;
mod readmes;
mod run;
mod sabotage;
mod scenarios;
mod servers;
mod services;
mod side_by_side;
mod signatures;
mod soak;
mod test;
mod toolchains;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  bench [SERVICE] [--quick] [--json FILE]
                           compares with the peers, in one run; fails if a row is below its bar
  bench clinic [--quick]   requests per second, memory and start time of the clinic, alone and as replicas
  check [GUARD…]           everything that must hold before a change is merged; what CI runs
  check --list             the guards by name
  fuzz [TARGET] [--seconds N | --runs N] [--coverage]
                           the parsers of untrusted bytes, 10 seconds each, in the release profile
                           --coverage: prints how many of each parser's lines were reached; instrumented, not in release
  test [--full] [FILTER]   all tests against real servers, installed and started as needed
                           --full: what is kept in Redis once more in Valkey, and files in MinIO
  soak [NAME] [--json FILE]
                           the tests whose name contains NAME, with as many rounds as they were written for
  soak clinic [--minutes 20]
                           the clinic under people and hostile visitors, alone and as replicas that are killed:
                           what it holds must not grow with the requests, and nothing may be lost
  soak [NAME] --sabotage   breaks the mechanisms of each sabotage.toml one by one: a test must notice
  demo [--replicas 3] [--listen 127.0.0.1:8080]
                           the clinic as replicas on real servers, with a page to break it
  scenarios [S…] [--quick] [--json FILE]
                           what replicas of the clinic do together, by figures that must keep their bounds
  scenarios [S] --sabotage breaks what a scenario relies on: it must fail then
  readmes                  writes the README of each library package from its crate documentation
  services install         installs the servers' programs [--full: MinIO and Valkey too]
  services start           runs the servers in the background and prints where they are
  services status          says which servers are installed and which answer
  services stop            stops what start started
";

/// A failed command ends with one readable text.
type Result<T = ()> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["help"] => help(),
        asked if asked.iter().any(|arg| matches!(*arg, "-h" | "--help")) => help(),
        ["bench", rest @ ..] => bench::bench(rest),
        ["check", rest @ ..] => check::check(rest),
        ["fuzz", rest @ ..] => fuzz::fuzz(rest),
        ["demo", rest @ ..] => demo::demo(rest),
        ["scenarios", rest @ ..] => scenarios::scenarios(rest),
        ["test", rest @ ..] => test::test(rest),
        ["soak", rest @ ..] => soak::soak(rest),
        ["readmes"] => readmes::write(),
        ["services", rest @ ..] => services::services(rest),
        _ => Err(format!("unknown command\n\n{USAGE}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> Result {
    print!("{USAGE}");
    Ok(())
}

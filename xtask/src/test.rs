//! `cargo xtask test`: all tests, against real servers.

use std::thread;

use crate::run::{cargo, keeping, loudly};
use crate::servers::{Servers, VARIABLES};
use crate::side_by_side::Binaries;
use crate::workspace::BENCH;
use crate::{Result, install};

/// One selection of packages and features for everything that builds tests, so that nothing is built twice.
const SELECTION: [&str; 5] = ["test", "--workspace", "--exclude", BENCH, "--all-features"];

pub(crate) fn test(args: &[&str]) -> Result {
    let (full, filter) = match args {
        ["--full", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (binaries, servers) = prepare(&[])?;
    let (mut closing, result) = binaries.run(&servers.variables(), filter);
    result?;
    if filter.is_empty() {
        let (documented, result) = documented(&[], &servers);
        closing.extend(documented);
        result?;
    }
    if full {
        install::ensure(&install::FULL)?;
        let (of_valkey, result) = in_valkey(&binaries, &servers);
        closing.extend(of_valkey);
        result?;
        second_opinion(&servers)?;
    }
    print_closing(&closing);
    Ok(())
}

/// Builds the tests, and meanwhile installs and starts the servers.
pub(crate) fn prepare(cargo_args: &[&str]) -> Result<(Binaries, Servers)> {
    let servers = thread::spawn(|| install::ensure(&install::SERVERS).and_then(|()| Servers::start()));
    let built = Binaries::build(&[&SELECTION[..], cargo_args].concat());
    let servers = servers.join().map_err(|_| "starting the servers panicked")?;
    Ok((built?, servers?))
}

/// The examples in the documentation; returns their closing lines too.
pub(crate) fn documented(cargo_args: &[&str], servers: &Servers) -> (Vec<String>, Result) {
    let mut command = cargo(SELECTION);
    command.arg("--doc").args(cargo_args).arg("--no-fail-fast").envs(servers.variables());
    keeping(&mut command, |line| line.starts_with("test result:"))
}

/// How each test binary ended, in the test runner's words, as the last that is printed.
pub(crate) fn print_closing(lines: &[String]) {
    println!();
    for line in lines {
        println!("{line}");
    }
}

/// What is kept in Redis once more, in Valkey: each binary starts its own.
fn in_valkey(binaries: &Binaries, servers: &Servers) -> (Vec<String>, Result) {
    const FOLDERS: [&str; 4] = ["crates/redis/", "crates/cache/", "crates/session/", "crates/coord/"];
    let is_of_redis = |name: &str| name.starts_with("STATEHOUSE_TEST_REDIS");
    let mut variables = servers.variables();
    variables.retain(|(name, _)| !is_of_redis(name));
    // Those that were there before the servers were started, too.
    variables.extend(VARIABLES.into_iter().filter(|name| is_of_redis(name)).map(|name| (name, String::new())));
    variables.push(("STATEHOUSE_TEST_REDIS_PROGRAM", "valkey-server".to_owned()));
    binaries.within(&FOLDERS).run(&variables, &[])
}

/// The file store's tests once more, against another S3 server.
fn second_opinion(servers: &Servers) -> Result {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let start = statehouse_testkit::S3Server::builder().minio().try_start();
    let minio = runtime.block_on(start).map_err(|error| error.to_string())?;
    let mut command = cargo(["test", "--package", "statehouse-filestore", "--all-features"]);
    loudly(command.envs(servers.variables()).env("STATEHOUSE_TEST_S3_URL", minio.url()))
}

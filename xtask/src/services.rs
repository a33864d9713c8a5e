//! `cargo xtask services`: the servers, for people who develop against them.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use statehouse_testkit::tool_cache;

use crate::install::{self, Tool};
use crate::run::command;
use crate::servers::Servers;
use crate::{Result, USAGE};

/// How long all servers together may take, OpenSearch on a busy machine being the slowest.
const START_WITHIN: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(100);

pub(crate) fn services(args: &[&str]) -> Result {
    match args {
        ["install"] => install::ensure(&install::SERVERS),
        ["install", "--full"] => install::ensure(&[&install::SERVERS[..], &install::FULL].concat()),
        ["start"] => start(),
        ["stop"] => stop(),
        ["status"] => {
            status();
            Ok(())
        }
        ["hold"] => hold(),
        _ => Err(format!("unknown command\n\n{USAGE}")),
    }
}

/// Has the lines `NAME=URL` while the servers run. Whoever removes it stops them.
fn state_file() -> PathBuf {
    tool_cache().join("services.state")
}

fn log_file() -> PathBuf {
    tool_cache().join("services.log")
}

/// Names and URLs of the servers that `start` started.
fn running() -> Vec<(String, String)> {
    let state = fs::read_to_string(state_file()).unwrap_or_default();
    let pair = |line: &str| line.split_once('=').map(|(name, url)| (name.to_owned(), url.to_owned()));
    state.lines().filter_map(pair).collect()
}

/// Whether something listens at the first host of `url`.
fn answers(url: &str) -> bool {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest).split('/').next().unwrap_or_default();
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    hosts.split(',').next().is_some_and(|host| TcpStream::connect(host).is_ok())
}

/// Whether a process holds the servers; it keeps its log locked while it lives, however it ends.
fn is_held() -> bool {
    let Ok(log) = File::open(log_file()) else { return false };
    flock(&log, FlockOperation::NonBlockingLockExclusive).is_err()
}

fn start() -> Result {
    if running().is_empty() || !is_held() {
        stop()?;
        launch()?;
    }
    let running = running();
    for (name, url) in &running {
        println!("export {name}='{url}'");
    }
    println!("\n# The same, as an application takes them:");
    for (name, url) in running.iter().filter_map(|(name, url)| setting(name, url)) {
        println!("# export {name}='{url}'");
    }
    Ok(())
}

/// The setting of an application for a server of the tests.
fn setting(name: &str, url: &str) -> Option<(&'static str, String)> {
    match name {
        "STATEHOUSE_TEST_REDIS_URL" => Some(("STATEHOUSE_CACHE_URL", url.to_owned())),
        "STATEHOUSE_TEST_REDIS_SENTINEL_URL" => Some(("STATEHOUSE_SESSIONS_URL", url.to_owned())),
        "STATEHOUSE_TEST_S3_URL" => {
            let (keys, place) = url.strip_prefix("http://")?.split_once('@')?;
            let (host, rest) = place.split_once('/')?;
            let (bucket, parameters) = rest.split_once('?')?;
            let url = format!("s3://{keys}@{bucket}?endpoint=http://{host}&{parameters}&allow_http=true");
            Some(("STATEHOUSE_FILES_URL", url))
        }
        "STATEHOUSE_TEST_OPENSEARCH_URL" => Some(("STATEHOUSE_SEARCH_URL", format!("opensearch+{url}"))),
        _ => None,
    }
}

/// Starts a process that holds the servers until the state file is gone.
fn launch() -> Result {
    let failed = |error: std::io::Error| error.to_string();
    fs::create_dir_all(tool_cache()).map_err(failed)?;
    let log = File::create(log_file()).map_err(failed)?;
    let program = std::env::current_exe().map_err(failed)?;
    let mut holder = command(program, ["services", "hold"]);
    // A process group of its own: Ctrl-C in this terminal must not end it.
    holder.stdout(log.try_clone().map_err(failed)?).stderr(log).process_group(0);
    let holder = holder.spawn().map_err(failed)?;
    wait_for_state(holder)
}

fn wait_for_state(mut holder: Child) -> Result {
    let deadline = Instant::now() + START_WITHIN;
    while !state_file().exists() {
        let ended = holder.try_wait().map_err(|error| error.to_string())?;
        if ended.is_some() || Instant::now() > deadline {
            let log = fs::read_to_string(log_file()).unwrap_or_default();
            return Err(format!("the servers did not start:\n{log}"));
        }
        sleep(POLL);
    }
    Ok(())
}

/// The process that `launch` starts.
fn hold() -> Result {
    let log = File::open(log_file()).map_err(|error| error.to_string())?;
    flock(&log, FlockOperation::NonBlockingLockExclusive).map_err(|_| "the servers are being started already")?;
    let servers = Servers::start()?;
    let lines: String = servers.variables().iter().map(|(name, url)| format!("{name}={url}\n")).collect();
    // Renamed into place, so that nobody reads half of it.
    let partial = state_file().with_extension("partial");
    let write = fs::write(&partial, &lines).and_then(|()| fs::rename(&partial, state_file()));
    write.map_err(|error| error.to_string())?;
    while fs::read_to_string(state_file()).is_ok_and(|now| now == lines) {
        sleep(POLL);
    }
    // The lock goes after the servers.
    drop(servers);
    drop(log);
    Ok(())
}

fn stop() -> Result {
    match fs::remove_file(state_file()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.to_string()),
        _ => {}
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_held() {
        if Instant::now() > deadline {
            return Err("the servers do not end".to_owned());
        }
        sleep(POLL);
    }
    Ok(())
}

fn status() {
    let installed = |tool: &Tool| if tool.is_present() { "installed" } else { "missing" };
    for tool in install::SERVERS.iter().chain(&install::FULL) {
        println!("{:20} {}", tool.name, installed(tool));
    }
    let running = running();
    println!("\nprograms that this installs are in {}", tool_cache().display());
    if running.is_empty() {
        println!("no servers are running; cargo xtask services start");
    }
    for (name, url) in running {
        println!("{name}='{url}' {}", if answers(&url) { "answers" } else { "does not answer" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_for_applications_has_their_form() {
        let of = |name: &str, url: &str| setting(name, url).map(|(_, url)| url);
        let s3 = of("STATEHOUSE_TEST_S3_URL", "http://key:secret@127.0.0.1:9000/bucket?region=us-east-1");
        let expected = "s3://key:secret@bucket?endpoint=http://127.0.0.1:9000&region=us-east-1&allow_http=true";
        assert_eq!(s3.as_deref(), Some(expected));
        let search = of("STATEHOUSE_TEST_OPENSEARCH_URL", "http://127.0.0.1:9200");
        assert_eq!(search.as_deref(), Some("opensearch+http://127.0.0.1:9200"));
        assert_eq!(of("STATEHOUSE_TEST_POSTGRES_URL", "postgres://h"), None);
    }
}

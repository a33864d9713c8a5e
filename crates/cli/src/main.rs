//! The `statehouse` command: says what is wrong with the services that the environment names, and administers what an
//! application has run once and the files that it has stored.
//!
//! ```sh
//! cargo install statehouse-cli
//! export STATEHOUSE_NAMESPACE=clinic STATEHOUSE_SESSIONS_URL=redis://redis.internal STATEHOUSE_FILES_URL=s3://scans
//! statehouse doctor                       # each service: where it is, how it is, what its servers say, what to do
//! statehouse doctor --json cache sessions # two of them, for a program
//! statehouse doctor --fleet               # each replica: its build, how far it is, why not, and in what they differ
//! statehouse run-once list                # what was run once in the fleet, and how far it is
//! statehouse run-once reset terminology --yes
//! statehouse files mirror file:/srv/uploads s3://scans # all files, while the application writes both
//! statehouse files check                  # all files against their digests
//! statehouse files sweep                  # files whose time is over, and what uploads have left
//! statehouse coordination copy --from file:/srv/data/files --to redis://redis.internal # when it moves, and no replica runs
//! ```
//!
//! # Concepts
//! - **The environment** is the application's own: `STATEHOUSE_CACHE_URL` and the like, as `Config::from_env` of `statehouse`
//!   reads it. So run it where the application runs: in its container, with its secrets.
//! - **`doctor`** opens each service that the environment names (`STATEHOUSE_DATA` names those that lie below it), and
//!   coordination where it lies in files that are shared; or those that are named as arguments. Of each it prints a line: the
//!   backend and the place, whether it is shared and durable, whether it is up, and what its servers say: version, eviction,
//!   persistence, and how far their clocks are from this machine's. Below it stands what was found, each with what to do: a
//!   *problem*, or a *note*, which may be as it should be. Nothing is written but what opening writes: folders, and the objects
//!   with which a bucket is tried out.
//! - **`doctor --fleet`** prints a line for each replica, as the store has it in which they know of each other: its label, how
//!   far it is, its build and address, and its fingerprints (where its services are, and what the application adds) in eight
//!   digits. Below it stands why it is not ready, and at the end in what they differ: *problems*, as are a replica that is not
//!   ready, that nobody is there, and other namespaces on the same Redis with replicas of the same programs. It asks no replica,
//!   so that it needs no way to them; what it shows is some seconds old.
//! - **`run-once`** lists, shows and resets what was run with `Coordination::run_once`: a migration, a preload. A **reset**
//!   forgets that it was run, so that whoever comes next runs it from the beginning; it undoes nothing. It is refused while a
//!   replica has the run's lock, without exception: a run cannot be stopped from outside. End that replica, or let it finish;
//!   for one that was killed, `--wait SECONDS` longer than its lease (15 s unless the application says otherwise).
//! - **`files mirror FROM TO`** copies all files of the application, of every name that it gives to `Services::files` in its namespace,
//!   from the store at one URL to that at another, with all that belongs to them; what is there already with the same digest and metadata
//!   is only looked at. The application goes on meanwhile and writes to FROM first and then to TO: nothing newer is replaced, and nothing that was
//!   deleted comes back. What is only in TO is counted, or deleted with `--remove-others`: but nothing of a name
//!   of which FROM has no file at all, since an address may be mistyped. A file that is damaged or cannot be copied is told, and the
//!   others go on. What ends it says with which `--after NAME/FILE` to go on; `--prefix NAME/TEXT` is for some of the files.
//!   The guide "From ./uploads to S3 without downtime" has all steps.
//!   What a listing skips is none of the store's files, or a damaged one, and is something wrong as well.
//! - **`files check`** reads all files, at `STATEHOUSE_FILES_URL` unless another URL is said, and compares them with the SHA-256 that was
//!   recorded when they were stored. **`files sweep`** removes, of each name that has files, those whose time to live is over and what uploads have left behind; stages stay, since
//!   only the application's database knows of them.
//! - **`coordination copy --from URL --to URL`** takes along what must outlive a move of coordination to another place: shared state with its
//!   revisions, what was run once with its revision and checkpoint, the last planned times of schedules, and epochs. Else state is empty there and
//!   what ran once runs again. Locks, members, used tokens and answered requests stay behind, since their time ends. The namespace is that of the
//!   environment unless `--namespace` says another; `--from-namespace` says what it was called before, which is `app` where nothing was said. Where coordination lies in the files, the URL is theirs (`file:data/files` where nothing was
//!   said). It is for a moment in which **no replica runs**: what one writes meanwhile may be left behind. Nothing that is there already is
//!   overwritten: what is the same is counted, what differs is named and is exit code 1. So it can be run again, after an error or to see that all is
//!   `same`.
//! - **The exit code** is 0 if all is well, 1 if something is wrong or was refused, 2 if the command or a setting cannot be
//!   read.
//! - **`--json`** prints one JSON value in place of the lines, also where it fails.
//!
//! # What it is not
//! It is no monitor: it looks once, from where it runs. It shows no value of the application's, and no secret: places are
//! printed without user, password and parameters.
//!
//! # Features
//! | feature | adds |
//! | --- | --- |
//! | `redis` | `redis:`, `rediss:` and their siblings, for cache, sessions and coordination |
//! | `azure` | `az:` |
//! | `s3` | `s3:` |
//! | `opensearch`, `tantivy` | the search backends |
//!
//! All are on by default.
//!
//! # Errors
//! A setting that cannot be read is one line on the standard error stream, naming it, and exit code 2. A server that cannot be
//! reached is a finding, and exit code 1.
#![expect(clippy::print_stderr, reason = "a command line tool talks to its terminal")]

mod args;
mod coordination;
mod doctor;
mod environment;
mod files;
mod fleet;
mod outcome;
mod run_once;

use std::process::ExitCode;

use crate::args::{Args, Command, USAGE};
use crate::outcome::{Failure, Outcome};

fn main() -> ExitCode {
    let is_json = std::env::args_os().any(|arg| arg == "--json");
    let outcome = Args::parse(lexopt::Parser::from_env()).and_then(run);
    outcome.unwrap_or_else(Outcome::from).print(is_json)
}

fn run(args: Args) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::wrong(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        match args.command {
            Command::Help => Ok(Outcome::text(USAGE)),
            Command::Version => Ok(Outcome::text(concat!("statehouse ", env!("CARGO_PKG_VERSION"), "\n"))),
            Command::Doctor { services } => doctor::examine(&services).await,
            Command::Fleet => fleet::examine().await,
            Command::Files(asked) => files::administer(asked).await,
            Command::Copy(asked) => coordination::copy(asked).await,
            Command::RunOnce(what) => run_once::administer(what).await,
        }
    })
}

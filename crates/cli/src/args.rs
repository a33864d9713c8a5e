//! What is asked for.

use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt as _;

use crate::outcome::Failure;

pub(crate) const USAGE: &str = "\
Usage: statehouse COMMAND

  doctor [SERVICE…]        opens the services that the environment names (STATEHOUSE_CACHE_URL and the like), or these of
                           cache, sessions, files, search, coordination and signals, and says how they are and what to do
  doctor --fleet           what each replica says of itself: its build, how far it is, why it is not ready; and in what
                           they differ that should be the same
  run-once list            what was run once in the fleet
  run-once show NAME       one of them
  run-once reset NAME --yes [--wait SECONDS]
                           forgets that it was run, so that whoever comes next runs it from the beginning; refused while
                           somebody runs it: --wait for one that was killed, longer than its lease
  files mirror FROM TO [--remove-others] [--prefix NAME/TEXT] [--after NAME/FILE]
                           copies all files of the application from one store to another, such as file:/srv/uploads and
                           s3://bucket, while it runs and writes both
  files check [URL] [--prefix NAME/TEXT] [--after NAME/FILE]
                           reads all files, at STATEHOUSE_FILES_URL unless said, and compares them with their digests
  files sweep [URL]        removes files whose time to live is over, and what uploads have left behind
  coordination copy --from URL --to URL [--namespace NAME] [--from-namespace NAME]
                           copies what must outlive a move of coordination, such as from file:/srv/data/files to
                           redis://redis.internal: shared state, what was run once, schedules' last times, epochs; while
                           no replica runs

  --json                   one JSON value in place of lines
  --help, --version

Exit code: 0 all is well, 1 something is wrong or was refused, 2 the command or a setting cannot be read.
";

pub(crate) struct Args {
    pub(crate) command: Command,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Help,
    Version,
    /// No services are those that the environment names.
    Doctor {
        services: Vec<String>,
    },
    Fleet,
    RunOnce(RunOnce),
    Files(Files),
    Copy(Copy),
}

/// From which store of coordination to which.
#[derive(Debug, PartialEq)]
pub(crate) struct Copy {
    pub(crate) from: String,
    pub(crate) to: String,
    /// That of the environment if none is said.
    pub(crate) namespace: Option<String>,
    /// What it was called there; the same if nothing is said.
    pub(crate) from_namespace: Option<String>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Files {
    Mirror { from: String, to: String, below: Below, remove_others: bool },
    Check { url: Option<String>, below: Below },
    Sweep { url: Option<String> },
}

/// Which files; all if nothing is said.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Below {
    pub(crate) prefix: Option<String>,
    pub(crate) after: Option<String>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum RunOnce {
    List,
    Show { name: String },
    Reset { name: String, is_meant: bool, wait: Duration },
}

/// What was said besides the words of the command.
#[derive(Default)]
struct Said {
    words: Vec<String>,
    is_fleet: bool,
    is_meant: bool,
    wait: Option<Duration>,
    below: Below,
    removes_others: bool,
    from: Option<String>,
    to: Option<String>,
    namespace: Option<String>,
    from_namespace: Option<String>,
}

impl Args {
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Self, Failure> {
        let mut said = Said::default();
        while let Some(arg) = parser.next().map_err(unread)? {
            match arg {
                Short('h') | Long("help") => return Ok(Self { command: Command::Help }),
                Short('V') | Long("version") => return Ok(Self { command: Command::Version }),
                // Looked at before anything can fail.
                Long("json") => {}
                Long("fleet") => said.is_fleet = true,
                Long("yes") => said.is_meant = true,
                Long("wait") => said.wait = Some(seconds(&mut parser)?),
                Long("prefix") => said.below.prefix = Some(text(&mut parser)?),
                Long("after") => said.below.after = Some(text(&mut parser)?),
                Long("remove-others") => said.removes_others = true,
                Long("from") => said.from = Some(text(&mut parser)?),
                Long("to") => said.to = Some(text(&mut parser)?),
                Long("namespace") => said.namespace = Some(text(&mut parser)?),
                Long("from-namespace") => said.from_namespace = Some(text(&mut parser)?),
                Value(word) => said.words.push(word.string().map_err(unread)?),
                other => return Err(unread(other.unexpected())),
            }
        }
        let is_reset = said.words.first().is_some_and(|word| word == "run-once")
            && said.words.get(1).is_some_and(|word| word == "reset");
        if !is_reset && (said.is_meant || said.wait.is_some()) {
            return Err(unread("--yes and --wait are of run-once reset"));
        }
        if said.is_fleet && said.words != ["doctor"] {
            return Err(unread("--fleet is of doctor, which then takes no services"));
        }
        said.check_files()?;
        said.check_copy()?;
        said.command().map(|command| Self { command })
    }
}

impl Said {
    fn check_files(&self) -> Result<(), Failure> {
        let verb = self.words.get(1).filter(|_| self.words[0] == "files").map(String::as_str);
        if self.below != Below::default() && !matches!(verb, Some("mirror" | "check")) {
            return Err(unread("--prefix and --after are of files mirror and files check"));
        }
        if self.removes_others && verb != Some("mirror") {
            return Err(unread("--remove-others is of files mirror"));
        }
        Ok(())
    }

    fn check_copy(&self) -> Result<(), Failure> {
        let is_copy = self.words == ["coordination", "copy"];
        let of_copy = [&self.from, &self.to, &self.namespace, &self.from_namespace];
        if !is_copy && of_copy.iter().any(|said| said.is_some()) {
            return Err(unread("--from, --to, --namespace and --from-namespace are of coordination copy"));
        }
        if is_copy && (self.from.is_none() || self.to.is_none()) {
            return Err(unread("coordination copy needs --from URL and --to URL"));
        }
        Ok(())
    }

    fn command(self) -> Result<Command, Failure> {
        let (is_meant, wait) = (self.is_meant, self.wait.unwrap_or_default());
        let (below, remove_others) = (self.below, self.removes_others);
        let words: Vec<_> = self.words.iter().map(String::as_str).collect();
        let name = |name: &str| name.to_owned();
        Ok(match words.as_slice() {
            [] | ["help"] => Command::Help,
            ["doctor"] if self.is_fleet => Command::Fleet,
            ["doctor", services @ ..] => Command::Doctor { services: services.iter().copied().map(name).collect() },
            ["run-once", "list"] => Command::RunOnce(RunOnce::List),
            ["run-once", "show", run] => Command::RunOnce(RunOnce::Show { name: name(run) }),
            ["run-once", "reset", run] => Command::RunOnce(RunOnce::Reset { name: name(run), is_meant, wait }),
            ["files", "mirror", from, to] => {
                Command::Files(Files::Mirror { from: name(from), to: name(to), below, remove_others })
            }
            ["files", "check"] => Command::Files(Files::Check { url: None, below }),
            ["files", "check", url] => Command::Files(Files::Check { url: Some(name(url)), below }),
            ["files", "sweep"] => Command::Files(Files::Sweep { url: None }),
            ["files", "sweep", url] => Command::Files(Files::Sweep { url: Some(name(url)) }),
            ["coordination", "copy"] => Command::Copy(Copy {
                from: self.from.unwrap_or_default(),
                to: self.to.unwrap_or_default(),
                namespace: self.namespace,
                from_namespace: self.from_namespace,
            }),
            // What it names may hold a password.
            ["coordination", ..] => return Err(unread("it is coordination copy --from URL --to URL")),
            ["files", ..] => return Err(unread("it is files mirror FROM TO, files check [URL] or files sweep [URL]")),
            words if words.iter().any(|word| word.contains(':')) => {
                return Err(unread("there is no such command with an address"));
            }
            _ => return Err(unread(format!("there is no command {:?}", words.join(" ")))),
        })
    }
}

fn text(parser: &mut lexopt::Parser) -> Result<String, Failure> {
    parser.value().and_then(|value| value.string()).map_err(unread)
}

fn seconds(parser: &mut lexopt::Parser) -> Result<Duration, Failure> {
    let seconds: u32 = parser.value().and_then(|value| value.parse()).map_err(unread)?;
    Ok(Duration::from_secs(seconds.into()))
}

fn unread(why: impl std::fmt::Display) -> Failure {
    Failure::unread(format!("{why}; statehouse --help says what there is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let parser = lexopt::Parser::from_args(line.split_whitespace());
        Args::parse(parser).map(|args| args.command).map_err(|failure| failure.to_string())
    }

    #[test]
    fn each_command_is_read_with_its_options_wherever_they_stand() {
        let name = || "terminology".to_owned();
        let doctor =
            |services: &[&str]| Command::Doctor { services: services.iter().map(|one| (*one).to_owned()).collect() };
        for (line, expected) in [
            ("", Command::Help),
            ("doctor --help", Command::Help),
            ("-V", Command::Version),
            ("doctor", doctor(&[])),
            ("--json doctor cache files", doctor(&["cache", "files"])),
            ("doctor --fleet --json", Command::Fleet),
            ("run-once list --json", Command::RunOnce(RunOnce::List)),
            ("run-once show terminology", Command::RunOnce(RunOnce::Show { name: name() })),
            (
                "run-once reset --yes terminology --wait=20",
                Command::RunOnce(RunOnce::Reset { name: name(), is_meant: true, wait: Duration::from_secs(20) }),
            ),
            (
                "run-once reset terminology",
                Command::RunOnce(RunOnce::Reset { name: name(), is_meant: false, wait: Duration::ZERO }),
            ),
            (
                "files mirror file:/srv s3://b --remove-others --prefix scans/p --after=scans/p42",
                Command::Files(Files::Mirror {
                    from: "file:/srv".to_owned(),
                    to: "s3://b".to_owned(),
                    below: Below { prefix: Some("scans/p".to_owned()), after: Some("scans/p42".to_owned()) },
                    remove_others: true,
                }),
            ),
            ("files check --json", Command::Files(Files::Check { url: None, below: Below::default() })),
            ("files sweep s3://b", Command::Files(Files::Sweep { url: Some("s3://b".to_owned()) })),
            (
                "coordination --from file:/srv copy --to=redis://h --namespace clinic --from-namespace app",
                Command::Copy(Copy {
                    from: "file:/srv".to_owned(),
                    to: "redis://h".to_owned(),
                    namespace: Some("clinic".to_owned()),
                    from_namespace: Some("app".to_owned()),
                }),
            ),
        ] {
            assert_eq!(parsed(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused_by_name() {
        for (line, named) in [
            ("doktor", "\"doktor\""),
            ("run-once", "\"run-once\""),
            ("run-once reset", "\"run-once reset\""),
            ("run-once show a b", "\"run-once show a b\""),
            ("doctor --yes", "--yes"),
            ("run-once list --wait 3", "--wait"),
            ("run-once reset a --wait soon", "soon"),
            ("doctor --fix", "--fix"),
            ("doctor --fleet cache", "--fleet"),
            ("run-once list --fleet", "--fleet"),
            ("file mirror s3://key:secret@b", "with an address"),
            ("files", "files mirror FROM TO"),
            ("files mirror s3://b", "files mirror FROM TO"),
            ("files sweep --prefix scans/", "--prefix"),
            ("doctor --after a", "--after"),
            ("files check --remove-others", "--remove-others"),
            ("coordination copy --from file:/srv", "--to URL"),
            ("coordination copy redis://:secret@h redis://h", "coordination copy --from URL --to URL"),
            ("files check --namespace clinic", "--namespace"),
        ] {
            let refused = parsed(line).unwrap_err();
            assert!(refused.contains(named) && refused.contains("--help"), "{line}: {refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}

//! Where to listen and where everything is: flags, then the environment, then a file, then the defaults.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::prelude::*;
use serde::Deserialize;
use statehouse::{Config, KeyRing, Secret};

use crate::terminology::Edition;

pub(crate) const HELP: &str = "\
A small clinic: charts, diagnoses, documents and sessions, on one machine or as several replicas.

Usage: clinic [--listen ADDRESS] [--data DIR] [--config FILE]

  --listen ADDRESS   where to accept requests [127.0.0.1:8080]; port 0 takes a free one
  --data DIR         the folder of everything that is kept here [clinic-data]
  --config FILE      a TOML file with the settings below in lowercase, and [statehouse]
  --help             this text

The same, and more, from the environment; a flag wins over it, and it wins over the file:
  CLINIC_LISTEN, CLINIC_DATA, CLINIC_CONFIG
  CLINIC_DATABASE    postgres://… instead of SQLite in the folder
  CLINIC_EDITION     2025-04 or 2026-04: the edition of ICD-10-CM [2025-04]
  CLINIC_REPLICA     the name of this replica [clinic]
  CLINIC_DRAIN       seconds to go on after SIGTERM, not ready, before closing [1]
  CLINIC_HTTPS       true if people come over HTTPS: the cookie is then sent over nothing else
                     [true, unless ADDRESS is of this machine alone]
  CLINIC_FORWARDED   true if all requests come through a load balancer that sets X-Forwarded-For: it is
                     then believed when log-ins that fail are counted by address [false]
  CLINIC_METRICS_TOKEN
                     what a program on another machine shows to read /metrics, as a bearer token
  CLINIC_API_RATE    the most requests a second of each member of staff below /api/ [no limit]
  CLINIC_LINK_KEYS   what links to documents are signed with, the same on all replicas: id:secret, the newest
                     first and a space between two; a secret has 32 bytes or more, as of openssl rand -hex 32
                     [one that the replicas make for themselves and share where their coordination is]
  CLINIC_REPORT_EVERY
                     seconds from one report of what is active to the next, at least 2 [86400: at midnight UTC]
  STATEHOUSE_…       where caches, sessions, files and indexes are: see the documentation of statehouse
";

pub(crate) struct Settings {
    pub(crate) listen: String,
    pub(crate) data: PathBuf,
    /// It may hold a password.
    pub(crate) database: String,
    pub(crate) edition: Edition,
    pub(crate) replica: String,
    pub(crate) drain: Duration,
    /// Whether people come over HTTPS, through a proxy that ends it.
    pub(crate) https: bool,
    /// Whether `X-Forwarded-For` is believed.
    pub(crate) forwarded: bool,
    pub(crate) metrics_token: Option<String>,
    /// The most requests a second of each member of staff below `/api/`.
    pub(crate) api_rate: Option<u32>,
    /// What links to documents are signed with, if the replicas are not to make it themselves.
    pub(crate) link_keys: Option<KeyRing>,
    pub(crate) report_every: Duration,
    pub(crate) statehouse: Config,
}

/// The file, and the environment in the same words.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Given {
    listen: Option<String>,
    data: Option<PathBuf>,
    database: Option<String>,
    edition: Option<Edition>,
    replica: Option<String>,
    drain: Option<u64>,
    https: Option<bool>,
    forwarded: Option<bool>,
    metrics_token: Option<String>,
    api_rate: Option<u32>,
    link_keys: Option<String>,
    report_every: Option<u64>,
    statehouse: Option<Config>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Settings {
    /// From flags (without the program's name) and the environment; `None` if only help is asked for.
    pub(crate) fn read(
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Failure> {
        let (mut flags, mut file) = (Given::default(), env("CLINIC_CONFIG").map(PathBuf::from));
        let mut args = lexopt::Parser::from_args(args);
        while let Some(arg) = args.next()? {
            match arg {
                Long("listen") => flags.listen = Some(args.value()?.string()?),
                Long("data") => flags.data = Some(args.value()?.into()),
                Long("config") => file = Some(args.value()?.into()),
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        let file = file.map_or_else(|| Ok(Given::default()), |path| Given::file(&path))?;
        flags.or(Given::env(env)?).or(file).settle().map(Some)
    }
}

impl Given {
    fn file(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    fn env(env: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let drain = env("CLINIC_DRAIN").map(|text| text.parse().map_err(|_| "CLINIC_DRAIN is a number of seconds"));
        let https = env("CLINIC_HTTPS").map(|text| text.parse().map_err(|_| "CLINIC_HTTPS is true or false"));
        let forwarded =
            env("CLINIC_FORWARDED").map(|text| text.parse().map_err(|_| "CLINIC_FORWARDED is true or false"));
        let api_rate = env("CLINIC_API_RATE").map(|text| text.parse().map_err(|_| "CLINIC_API_RATE is a number"));
        let report_every = env("CLINIC_REPORT_EVERY")
            .map(|text| text.parse().map_err(|_| "CLINIC_REPORT_EVERY is a number of seconds"));
        let edition =
            env("CLINIC_EDITION").map(|text| Edition::named(&text).ok_or("CLINIC_EDITION is 2025-04 or 2026-04"));
        Ok(Self {
            listen: env("CLINIC_LISTEN"),
            data: env("CLINIC_DATA").map(PathBuf::from),
            database: env("CLINIC_DATABASE"),
            edition: edition.transpose()?,
            replica: env("CLINIC_REPLICA"),
            drain: drain.transpose()?,
            https: https.transpose()?,
            forwarded: forwarded.transpose()?,
            metrics_token: env("CLINIC_METRICS_TOKEN"),
            api_rate: api_rate.transpose()?,
            link_keys: env("CLINIC_LINK_KEYS"),
            report_every: report_every.transpose()?,
            statehouse: None,
        })
    }

    /// These, and where one is missing, that of `less`.
    fn or(self, less: Self) -> Self {
        Self {
            listen: self.listen.or(less.listen),
            data: self.data.or(less.data),
            database: self.database.or(less.database),
            edition: self.edition.or(less.edition),
            replica: self.replica.or(less.replica),
            drain: self.drain.or(less.drain),
            https: self.https.or(less.https),
            forwarded: self.forwarded.or(less.forwarded),
            metrics_token: self.metrics_token.or(less.metrics_token),
            api_rate: self.api_rate.or(less.api_rate),
            link_keys: self.link_keys.or(less.link_keys),
            report_every: self.report_every.or(less.report_every),
            statehouse: self.statehouse.or(less.statehouse),
        }
    }

    fn settle(self) -> Result<Settings, Failure> {
        let data = self.data.unwrap_or_else(|| "clinic-data".into());
        let database =
            self.database.unwrap_or_else(|| format!("sqlite://{}?mode=rwc", data.join("clinic.db").display()));
        check_database(&database)?;
        let listen = self.listen.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
        let embedded = Config::embedded(&data).with_namespace("clinic");
        Ok(Settings {
            https: self.https.unwrap_or_else(|| !is_local(&listen)),
            forwarded: self.forwarded.unwrap_or(false),
            metrics_token: self.metrics_token,
            api_rate: self.api_rate,
            link_keys: self.link_keys.as_deref().map(link_keys).transpose()?,
            report_every: Duration::from_secs(self.report_every.unwrap_or(24 * 60 * 60).max(2)),
            listen,
            database,
            edition: self.edition.unwrap_or_default(),
            replica: self.replica.unwrap_or_else(|| "clinic".to_owned()),
            drain: Duration::from_secs(self.drain.unwrap_or(1)),
            statehouse: self.statehouse.unwrap_or(embedded).with_env()?,
            data,
        })
    }
}

fn link_keys(text: &str) -> Result<KeyRing, String> {
    KeyRing::parse(&Secret::new(text)).map_err(|error| format!("CLINIC_LINK_KEYS: {error}"))
}

/// Never shows the URL: it may hold a password.
fn check_database(url: &str) -> Result<(), &'static str> {
    match url.split(':').next() {
        Some("sqlite") => Ok(()),
        Some("postgres" | "postgresql") if cfg!(feature = "replicas") => Ok(()),
        Some("postgres" | "postgresql") => {
            Err("CLINIC_DATABASE names PostgreSQL, which is not compiled in: build with --features replicas")
        }
        _ => Err("CLINIC_DATABASE is postgres://… or sqlite://…"),
    }
}

/// Whether only this machine can reach the address.
fn is_local(listen: &str) -> bool {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, Failure> {
        let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::read(args.iter().map(OsString::from), env)?.ok_or_else(|| "help".into())
    }

    #[test]
    fn without_settings_everything_is_in_one_folder() {
        let settings = read(&[], &[]).unwrap();
        assert_eq!((settings.listen.as_str(), settings.data.to_str()), ("127.0.0.1:8080", Some("clinic-data")));
        assert_eq!(settings.database, "sqlite://clinic-data/clinic.db?mode=rwc");
        assert_eq!(settings.statehouse.namespace, "clinic");
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let file = std::env::temp_dir().join(format!("clinic-{}.toml", crate::id::new_id()));
        std::fs::write(&file, "listen = \"a:1\"\nreplica = \"file\"\n[statehouse]\nnamespace = \"shared\"").unwrap();
        let env = [("CLINIC_CONFIG", file.to_str().unwrap()), ("CLINIC_LISTEN", "b:2"), ("CLINIC_DATA", "env")];
        let settings = read(&["--listen", "c:3"], &env).unwrap();
        assert_eq!((settings.listen.as_str(), settings.replica.as_str()), ("c:3", "file"));
        assert_eq!((settings.data.to_str(), settings.statehouse.namespace.as_str()), (Some("env"), "shared"));
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn the_cookie_travels_without_https_only_on_this_machine() {
        for (listen, https) in [
            ("127.0.0.1:0", false),
            ("localhost:80", false),
            ("[::1]:80", false),
            ("0.0.0.0:80", true),
            ("clinic.example:80", true),
        ] {
            assert_eq!(read(&["--listen", listen], &[]).unwrap().https, https, "{listen}");
        }
        assert!(read(&[], &[("CLINIC_HTTPS", "true")]).unwrap().https);
    }

    #[test]
    fn the_help_names_all_that_is_read_and_nothing_else() {
        let asked = std::cell::RefCell::new(Vec::new());
        let env = |name: &str| {
            asked.borrow_mut().push(name.to_owned());
            None
        };
        Settings::read([], env).unwrap();
        let (mut asked, mut known) = (asked.into_inner(), crate::variables::known().collect::<Vec<_>>());
        asked.sort();
        known.sort_unstable();
        assert_eq!(asked, known);
    }

    #[test]
    fn wrong_settings_are_named() {
        for (args, env, named) in [
            (&["--lisen", "x"][..], &[][..], "--lisen"),
            (&["--listen"], &[], "--listen"),
            (&["--config", "/nonexistent/clinic.toml"], &[], "/nonexistent/clinic.toml"),
            (&[], &[("CLINIC_DRAIN", "soon")], "CLINIC_DRAIN"),
            (&[], &[("CLINIC_EDITION", "2024-04")], "CLINIC_EDITION"),
            (&[], &[("CLINIC_API_RATE", "-1")], "CLINIC_API_RATE"),
            (&[], &[("CLINIC_LINK_KEYS", "2026:hunter2")], "CLINIC_LINK_KEYS"),
            (&[], &[("CLINIC_REPORT_EVERY", "daily")], "CLINIC_REPORT_EVERY"),
            (&[], &[("CLINIC_DATABASE", "mysql://ada:hunter2@localhost/clinic")], "CLINIC_DATABASE"),
            (&["--help"], &[], "help"),
        ] {
            let error = read(args, env).err().expect(named).to_string();
            assert!(error.contains(named) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_two_configurations_in_the_readme_are_read() {
        let readme = include_str!("../README.md");
        let shown: Vec<_> = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        let [alone, replicas] = shown[..] else { panic!("two files are shown") };
        let (alone, replicas) = (toml::from_str::<Given>(alone).unwrap(), toml::from_str::<Given>(replicas).unwrap());
        let defaults = read(&[], &[]).unwrap();
        assert_eq!((alone.listen, alone.data), (Some(defaults.listen), Some(defaults.data)));
        assert_eq!(alone.edition, Some(defaults.edition));
        assert!(replicas.database.unwrap().starts_with("postgres://") && replicas.statehouse.is_some());
    }
}

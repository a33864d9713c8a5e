//! A single server, and the builder that Sentinel and Cluster use for their nodes.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::group::READY_WITHIN;
use super::tls::{Certificate, TlsSide};
use crate::port::Port;
use crate::process::{Launch, Server, process_controls, server_folder, within};
use crate::resp::{Connection, Reply};
use crate::skew::clock_off;
use crate::url::{Authority, credentials};
use crate::{StartError, tools};

/// How long a command may take, also one that waits on purpose: a server may be stopped.
const ANSWERED_WITHIN: Duration = Duration::from_secs(150);

/// A single Redis server.
#[derive(Debug)]
pub struct RedisServer {
    pub(super) address: String,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) admin_password: String,
    pub(super) tls: Option<TlsSide>,
    pub(super) process: Option<Server>,
}

impl RedisServer {
    /// Starts a server of your own with default settings: no password, nothing written to disk.
    ///
    /// # Panics
    /// With a [`StartError`] if there is no `redis-server` or it does not start.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Settings for a server of your own.
    #[must_use]
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::default()
    }

    /// The server that all tests of this process share: `STATEHOUSE_TEST_REDIS_URL`, else one started now.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<RedisServer> = OnceCell::const_new();
        let start = async || match tools::given("STATEHOUSE_TEST_REDIS_URL") {
            Some(url) => Self::at(&url),
            None => Self::start().await,
        };
        SHARED.get_or_init(start).await
    }

    /// The server at `url`, which somebody else runs.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let Authority { user, password, hosts } = Authority::of(url);
        Self { address: hosts, admin_password: password.clone(), user, password, tls: None, process: None }
    }

    /// `redis://user:password@127.0.0.1:port`, with the credentials that were set.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}{}", credentials(&self.user, &self.password), self.address)
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `rediss://…localhost:port`, of a server built with [`tls`](RedisServerBuilder::tls).
    ///
    /// # Panics
    /// If it was built without.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("rediss://{}{}", credentials(&self.user, &self.password), self.tls_address())
    }

    /// The PEM file of the authority that signed the server's certificate.
    ///
    /// # Panics
    /// If the server was built without [`tls`](RedisServerBuilder::tls).
    #[must_use]
    pub fn tls_authority(&self) -> PathBuf {
        self.tls().files.authority.clone()
    }

    pub(super) fn tls(&self) -> &TlsSide {
        self.tls.as_ref().expect("build the server with .tls()")
    }

    pub(super) fn tls_address(&self) -> String {
        format!("localhost:{}", self.tls().port)
    }

    /// Its certificate, for others of its group. The files last as long as this server.
    pub(super) fn certificate(&self) -> Certificate {
        self.tls.as_ref().map_or(Certificate::None, |tls| Certificate::Shared(tls.files.clone()))
    }

    /// Where the other servers of a group find it: with TLS if it has that.
    pub(super) fn peer_address(&self) -> String {
        self.tls.as_ref().map_or_else(|| self.address.clone(), |tls| format!("127.0.0.1:{}", tls.port))
    }

    /// Runs one command as the default user on a connection of its own, around any proxy.
    ///
    /// # Errors
    /// If the server cannot be reached or answers something that is not Redis. An error reply is an `Ok`.
    pub async fn command<A: AsRef<[u8]>>(&self, args: &[A]) -> io::Result<Reply> {
        let asked = self.ask(args);
        tokio::time::timeout(ANSWERED_WITHIN, asked).await.unwrap_or_else(|_| {
            let command = args.first().map(|name| String::from_utf8_lossy(name.as_ref()).into_owned());
            let text =
                format!("{} of {} has no answer after {ANSWERED_WITHIN:?}", command.unwrap_or_default(), self.address);
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })
    }

    async fn ask<A: AsRef<[u8]>>(&self, args: &[A]) -> io::Result<Reply> {
        let mut connection = Connection::open(&self.address).await?;
        if self.process.is_none() && !self.user.is_empty() {
            connection.command(&["AUTH", &self.user, &self.password]).await?;
        } else if !self.admin_password.is_empty() {
            connection.command(&["AUTH", &self.admin_password]).await?;
        }
        connection.command(args).await
    }

    process_controls!();

    async fn wait_ready(&self) -> Result<(), StartError> {
        self.process().wait_until(READY_WITHIN, || self.ping()).await
    }

    pub(super) async fn ping(&self) -> io::Result<()> {
        match within(Duration::from_secs(2), self.command(&["PING"])).await? {
            Reply::Text(text) if text == "PONG" => Ok(()),
            other => Err(io::Error::other(format!("answered {other:?}"))),
        }
    }
}

/// Settings of a [`RedisServer`].
#[derive(Clone, Debug, Default)]
pub struct RedisServerBuilder {
    password: String,
    acl_user: Option<(String, String, String)>,
    tls: Certificate,
    pub(super) cluster: bool,
    args: Vec<OsString>,
    behind: Option<Duration>,
}

impl RedisServerBuilder {
    /// The default user needs this password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        password.clone_into(&mut self.password);
        self.arg("--requirepass", password)
    }

    /// Adds a user with ACL rules such as `"~app:* +@all"`; [`url`](RedisServer::url) then names that user.
    #[must_use]
    pub fn acl_user(mut self, name: &str, password: &str, rules: &str) -> Self {
        self.acl_user = Some((name.to_owned(), password.to_owned(), rules.to_owned()));
        self
    }

    /// Also listens with TLS, with a certificate for `localhost` and `127.0.0.1` from an authority made for this server or
    /// group. The servers of a group then speak TLS with each other.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = Certificate::Own;
        self
    }

    /// Limits memory to `bytes` and evicts by `policy`, for example `"allkeys-lru"`.
    #[must_use]
    pub fn max_memory(self, bytes: u64, policy: &str) -> Self {
        self.arg("--maxmemory", &bytes.to_string()).arg("--maxmemory-policy", policy)
    }

    /// Any other setting of `redis.conf`, as on the command line: `.arg("--appendonly", "yes")`.
    #[must_use]
    pub fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.extend([name.into(), value.into()]);
        self
    }

    /// Its time of day is so far behind the host's, in whole seconds. Needs a C compiler, as building Rust programs does.
    #[must_use]
    pub fn clock_behind(mut self, by: Duration) -> Self {
        self.behind = Some(by);
        self
    }

    /// The servers of a group log in to each other as the default user.
    pub(super) fn for_group(self) -> Self {
        let password = self.password.clone();
        if password.is_empty() { self } else { self.arg("--masterauth", &password) }
    }

    /// Shares the certificate of `other`, if that has one.
    pub(super) fn like(mut self, other: &RedisServer) -> Self {
        self.tls = other.certificate();
        self
    }

    /// `redis-server`, or what `STATEHOUSE_TEST_REDIS_PROGRAM` says. With TLS always the former: a Valkey may be built without.
    fn program(&self) -> Result<PathBuf, StartError> {
        let other = tools::given("STATEHOUSE_TEST_REDIS_PROGRAM").filter(|_| matches!(self.tls, Certificate::None));
        tools::find_program(other.as_deref().unwrap_or("redis-server"), &[])
    }

    /// Starts the server; returns when it answers.
    ///
    /// # Panics
    /// With a [`StartError`] if there is no `redis-server` or it does not start.
    pub async fn start(self) -> RedisServer {
        self.try_start().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts the server; returns when it answers.
    ///
    /// # Errors
    /// If there is no `redis-server`, or it does not start.
    pub async fn try_start(self) -> Result<RedisServer, StartError> {
        let program = self.program()?;
        let folder = server_folder("redis")?;
        let mut ports = vec![Port::reserve()?];
        let mut args = arguments([("--port", ports[0].text().as_str()), ("--bind", "127.0.0.1"), ("--save", "")]);
        if self.cluster {
            let bus = Port::reserve()?;
            args.extend(arguments([("--cluster-enabled", "yes"), ("--cluster-port", &bus.text())]));
            ports.push(bus);
        }
        let (tls, port) = self.tls.listen(folder.path())?.unzip();
        ports.extend(port);
        for (name, value) in tls.iter().flat_map(TlsSide::settings) {
            args.extend([format!("--{name}").into(), value.into()]);
        }
        args.extend(self.args);
        let (user, password) = match self.acl_user {
            Some((name, password, rules)) => {
                args.extend(["--user".into(), (&name).into(), "on".into(), format!(">{password}").into()]);
                args.extend(rules.split_whitespace().map(OsString::from));
                (name, password)
            }
            None => (String::new(), self.password.clone()),
        };
        let address = ports[0].address().to_string();
        let env =
            self.behind.map_or_else(|| Ok(Vec::new()), |by| clock_off(-by.as_secs().cast_signed(), folder.path()))?;
        let launch = Launch { name: "redis-server", program, args, env, refuses_root: false };
        let process = Some(Server::spawn(launch, folder, ports)?);
        let server = RedisServer { address, user, password, admin_password: self.password, tls, process };
        server.wait_ready().await?;
        Ok(server)
    }
}

fn arguments<const N: usize>(pairs: [(&str, &str); N]) -> Vec<OsString> {
    pairs.into_iter().flat_map(|(name, value)| [name.into(), value.into()]).collect()
}

use std::io;

use tokio::sync::OnceCell;

use super::group::{READY_WITHIN, group_controls, settled};
use super::server::{RedisServer, RedisServerBuilder};
use super::tls::TlsSide;
use crate::port::Port;
use crate::process::{Launch, Server, server_folder};
use crate::resp::Reply;
use crate::url::{Authority, credentials};
use crate::{StartError, tools};

/// What the sentinels call the group of servers that they watch.
const SERVICE: &str = "mymaster";

/// Three sentinels that watch one primary and one replica, and replace a primary that is silent for a second.
#[derive(Debug)]
pub struct RedisSentinel {
    user: String,
    password: String,
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl RedisSentinel {
    /// Starts a group of your own; returns when the sentinels know each other and the replica.
    ///
    /// # Panics
    /// With a [`StartError`] if there is no `redis-server` and `redis-sentinel`, or they do not start.
    pub async fn start() -> Self {
        Self::start_with(RedisServer::builder()).await
    }

    /// [`start`](Self::start), with these settings for primary and replica. The sentinels have TLS too if those have, and
    /// no password. The default user's may hold no spaces and quotes: Redis 7.0's sentinels lose them when they rewrite
    /// their file.
    pub async fn start_with(server: RedisServerBuilder) -> Self {
        Self::try_start(server).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The group that all tests of this process share: `STATEHOUSE_TEST_REDIS_SENTINEL_URL`, else one started now.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<RedisSentinel> = OnceCell::const_new();
        let start = async || match tools::given_url("STATEHOUSE_TEST_REDIS_SENTINEL_URL") {
            Some(url) => Self::at(&url),
            None => Self::start().await,
        };
        SHARED.get_or_init(start).await
    }

    fn at(url: &str) -> Self {
        let Authority { user, password, hosts } = Authority::of(url);
        let sentinels = hosts.split(',').map(|host| RedisServer::at(&format!("redis://{host}"))).collect();
        Self { user, password, servers: Vec::new(), sentinels }
    }

    /// Starts a group of your own, with these settings for primary and replica.
    ///
    /// # Errors
    /// If there is no `redis-server` and `redis-sentinel`, or they do not start.
    pub async fn try_start(server: RedisServerBuilder) -> Result<Self, StartError> {
        let server = server.for_group().arg("--repl-diskless-sync-delay", "0");
        let primary = server.clone().try_start().await?;
        let of_primary = primary.peer_address().replace(':', " ");
        let replica = server.like(&primary).arg("--replicaof", &of_primary).try_start().await?;
        let linked = || async {
            let info = replica.command(&["INFO", "replication"]).await?;
            Ok(info.text().is_some_and(|info| info.contains("master_link_status:up")))
        };
        // A sentinel looks for replicas when it starts, and then only every ten seconds.
        settled("the replica has not joined", linked).await?;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(start_sentinel(&primary).await?);
        }
        let (user, password) = (primary.user.clone(), primary.password.clone());
        let group = Self { user, password, servers: vec![primary, replica], sentinels };
        group.wait_ready().await?;
        Ok(group)
    }

    /// `redis+sentinel://user:password@a:1,b:2,c:3/mymaster`.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(RedisServer::address).collect();
        format!("redis+sentinel://{}{}/{SERVICE}", self.credentials(), hosts.join(","))
    }

    /// `rediss+sentinel://…/mymaster`, of a group whose servers have [`tls`](RedisServerBuilder::tls).
    ///
    /// # Panics
    /// If they have not.
    #[must_use]
    pub fn tls_url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(RedisServer::tls_address).collect();
        format!("rediss+sentinel://{}{}/{SERVICE}", self.credentials(), hosts.join(","))
    }

    fn credentials(&self) -> String {
        credentials(&self.user, &self.password)
    }

    /// The name of the service that the sentinels know.
    #[must_use]
    pub const fn service(&self) -> &'static str {
        SERVICE
    }

    /// The three sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The data servers: the primary of the start, and its replica. Empty if the group was given by a URL.
    #[must_use]
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The server that most sentinels call the primary, or none while they disagree.
    ///
    /// # Errors
    /// If a sentinel that runs does not answer.
    pub async fn primary(&self) -> io::Result<Option<&RedisServer>> {
        let mut votes = vec![0; self.servers.len()];
        for sentinel in &self.sentinels {
            let Ok(Reply::Array(address)) = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).await
            else {
                continue;
            };
            let address: Vec<_> = address.iter().filter_map(Reply::text).collect();
            let named = self.servers.iter().position(|server| server.peer_address() == address.join(":"));
            named.into_iter().for_each(|at| votes[at] += 1);
        }
        let most = votes.iter().position(|votes| votes * 2 > self.sentinels.len());
        Ok(most.map(|at| &self.servers[at]))
    }

    group_controls!();

    /// Starts all servers again, killing those that run; returns when the sentinels see a primary with its replica.
    pub async fn restart(&self) {
        for server in self.members() {
            server.restart().await;
        }
        self.wait_ready().await.unwrap_or_else(|error| panic!("{error}"));
    }

    fn members(&self) -> impl Iterator<Item = &RedisServer> {
        self.servers.iter().chain(&self.sentinels)
    }

    async fn wait_ready(&self) -> Result<(), StartError> {
        let agreed = || async {
            for sentinel in &self.sentinels {
                let state = sentinel.command(&["SENTINEL", "MASTER", SERVICE]).await?;
                let others = field(&state, "num-other-sentinels");
                if others != Some("2")
                    || field(&state, "num-slaves") != Some("1")
                    || field(&state, "flags") != Some("master")
                {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        settled("the sentinels do not agree", agreed).await
    }
}

/// The value after `name` in a reply of names and values.
fn field<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let Reply::Array(fields) = reply else { return None };
    fields.chunks(2).find(|pair| pair[0].text() == Some(name))?.get(1)?.text()
}

async fn start_sentinel(primary: &RedisServer) -> Result<RedisServer, StartError> {
    let program = tools::find_program("redis-sentinel", &[])?;
    let folder = server_folder("sentinel")?;
    let port = Port::reserve()?;
    let mut settings = format!(
        "port {}\nbind 127.0.0.1\nsentinel monitor {SERVICE} {} 2\nsentinel down-after-milliseconds {SERVICE} 1000\n\
         sentinel failover-timeout {SERVICE} 3000\nsentinel parallel-syncs {SERVICE} 1\n",
        port.number(),
        primary.peer_address().replace(':', " "),
    );
    if !primary.admin_password.is_empty() {
        settings.push_str(&format!("sentinel auth-pass {SERVICE} {}\n", primary.admin_password));
    }
    let (tls, tls_port) = primary.certificate().listen(folder.path())?.unzip();
    for (name, value) in tls.iter().flat_map(TlsSide::settings) {
        settings.push_str(&format!("{name} {value}\n"));
    }
    let file = folder.path().join("sentinel.conf");
    std::fs::write(&file, settings)?;
    let sentinel = RedisServer::at(&format!("redis://{}", port.address()));
    let args = vec![file.into()];
    let launch = Launch { name: "redis-sentinel", program, args, env: Vec::new(), refuses_root: false };
    let process = Server::spawn(launch, folder, [port].into_iter().chain(tls_port).collect())?;
    let sentinel = RedisServer { tls, process: Some(process), ..sentinel };
    sentinel.process().wait_until(READY_WITHIN, || sentinel.ping()).await?;
    Ok(sentinel)
}

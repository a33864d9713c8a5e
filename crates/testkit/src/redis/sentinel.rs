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
    /// How further servers are made. None if somebody else runs the group.
    template: Option<RedisServerBuilder>,
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
        let start = async || match tools::given("STATEHOUSE_TEST_REDIS_SENTINEL_URL") {
            Some(url) => Self::at(&url),
            None => Self::start().await,
        };
        SHARED.get_or_init(start).await
    }

    fn at(url: &str) -> Self {
        let Authority { user, password, hosts } = Authority::of(url);
        let sentinels = hosts.split(',').map(|host| RedisServer::at(&format!("redis://{host}"))).collect();
        Self { user, password, servers: Vec::new(), sentinels, template: None }
    }

    /// Starts a group of your own, with these settings for primary and replica.
    ///
    /// # Errors
    /// If there is no `redis-server` and `redis-sentinel`, or they do not start.
    pub async fn try_start(server: RedisServerBuilder) -> Result<Self, StartError> {
        let server = server.for_group().arg("--repl-diskless-sync-delay", "0");
        let primary = server.clone().try_start().await?;
        let of_primary = primary.peer_address().replace(':', " ");
        let server = server.like(&primary);
        // A sentinel looks for replicas when it starts, and then only every ten seconds.
        let replica = start_replica(&server, &of_primary).await?;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(start_sentinel(&primary, &primary.peer_address()).await?);
        }
        let (user, password) = (primary.user.clone(), primary.password.clone());
        let (servers, template) = (vec![primary, replica], Some(server));
        let group = Self { user, password, servers, sentinels, template };
        group.wait_ready().await?;
        Ok(group)
    }

    /// One sentinel, which finds `server` at `address`. It never replaces it: that takes two.
    pub(crate) async fn of(server: &RedisServer, address: &str) -> Result<Self, StartError> {
        let sentinels = vec![start_sentinel(server, address).await?];
        let (user, password) = (server.user.clone(), server.password.clone());
        Ok(Self { user, password, servers: Vec::new(), sentinels, template: None })
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
            let Ok(Some(address)) = named_by(sentinel).await else { continue };
            let named = self.servers.iter().position(|server| server.peer_address() == address);
            named.into_iter().for_each(|at| votes[at] += 1);
        }
        let most = votes.iter().position(|votes| votes * 2 > self.sentinels.len());
        Ok(most.map(|at| &self.servers[at]))
    }

    /// Starts sentinels and servers at addresses of their own, of which one takes over from the primary. They are the group
    /// from then on; those that were are handed out, and run until they are dropped.
    ///
    /// # Panics
    /// If they do not start or do not take over, and if somebody else runs the group.
    pub async fn renew(&mut self) -> Vec<RedisServer> {
        self.try_renew().await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn try_renew(&mut self) -> Result<Vec<RedisServer>, StartError> {
        let template = self.template.clone().ok_or_else(|| StartError::new("somebody else runs the group"))?;
        let old = self.primary().await?.ok_or_else(|| StartError::new("the sentinels do not agree"))?;
        let (address, of_primary) = (old.address.clone(), old.peer_address().replace(':', " "));
        for server in &self.servers {
            // Never to be promoted again.
            server.command(&["CONFIG", "SET", "replica-priority", "0"]).await?;
        }
        let servers = vec![start_replica(&template, &of_primary).await?, start_replica(&template, &of_primary).await?];
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(start_sentinel(old, &old.peer_address()).await?);
        }
        let retired =
            [std::mem::replace(&mut self.servers, servers), std::mem::replace(&mut self.sentinels, sentinels)];
        let taken_over = || async {
            let primary = self.primary().await?;
            if primary.is_none() {
                // It is refused until the sentinel has found the servers, and while it is at it.
                self.sentinels[0].command(&["SENTINEL", "FAILOVER", SERVICE]).await?;
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
            Ok(primary.is_some_and(|primary| primary.address != address))
        };
        settled("no new server has taken over", taken_over).await?;
        let new = self.primary().await?.map(RedisServer::peer_address).unwrap_or_default();
        let (_, port) = new.rsplit_once(':').unwrap_or_default();
        let followed = || async {
            for sentinel in &self.sentinels {
                // One that leads a failover names the new primary before it is done with it.
                let state = sentinel.command(&["SENTINEL", "MASTER", SERVICE]).await?;
                if field(&state, "port") != Some(port) || field(&state, "flags") != Some("master") {
                    return Ok(false);
                }
            }
            for server in self.servers.iter().filter(|server| server.peer_address() != new) {
                let info = server.command(&["INFO", "replication"]).await?;
                let info = info.text().unwrap_or_default().to_owned();
                if !info.contains(&format!("master_port:{port}\r")) || !info.contains("master_link_status:up") {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        settled("not all have followed", followed).await?;
        Ok(retired.into_iter().flatten().collect())
    }

    /// Lets the sentinels forget who is gone; returns when they see each other, a primary and its replica and nobody else.
    ///
    /// # Panics
    /// If they do not.
    pub async fn forget_others(&self) {
        for sentinel in &self.sentinels {
            let forgotten = sentinel.command(&["SENTINEL", "RESET", SERVICE]).await;
            forgotten.unwrap_or_else(|error| panic!("{error}"));
        }
        self.wait_ready().await.unwrap_or_else(|error| panic!("{error}"));
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

/// The address of the primary, as this sentinel sees it.
async fn named_by(sentinel: &RedisServer) -> io::Result<Option<String>> {
    let answer = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).await?;
    let Reply::Array(address) = answer else { return Ok(None) };
    Ok(Some(address.iter().filter_map(Reply::text).collect::<Vec<_>>().join(":")))
}

/// Returns when it has what its primary has.
async fn start_replica(server: &RedisServerBuilder, of_primary: &str) -> Result<RedisServer, StartError> {
    let replica = server.clone().arg("--replicaof", of_primary).try_start().await?;
    let linked = || async {
        let info = replica.command(&["INFO", "replication"]).await?;
        Ok(info.text().is_some_and(|info| info.contains("master_link_status:up")))
    };
    settled("the replica has not joined", linked).await?;
    Ok(replica)
}

async fn start_sentinel(primary: &RedisServer, address: &str) -> Result<RedisServer, StartError> {
    let program = tools::find_program("redis-sentinel", &[])?;
    let folder = server_folder("sentinel")?;
    let port = Port::reserve()?;
    let mut settings = format!(
        "port {}\nbind 127.0.0.1\nsentinel monitor {SERVICE} {} 2\nsentinel down-after-milliseconds {SERVICE} 1000\n\
         sentinel failover-timeout {SERVICE} 3000\nsentinel parallel-syncs {SERVICE} 1\n",
        port.number(),
        address.replace(':', " "),
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

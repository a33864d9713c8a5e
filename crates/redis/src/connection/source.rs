//! Makes connections to one server, ready for use: TLS, login, database, and for a Sentinel's master its role.

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use redis::aio::{AsyncPushSender, MultiplexedConnection, SendError};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    PushInfo, PushKind, RedisConnectionInfo, RedisError, RedisResult, Value, cmd,
};
use statehouse_core::{Error, Result};
use tokio::sync::Notify;

use crate::config::{Address, Credentials, RedisConfig, Replicas, Timing};
use crate::connection::stream::{self, Bounded};
use crate::counters::Traffic;
use crate::failure::{not_the_master, timed_out};

/// How many commands may wait to be written to a shared connection. redis-rs' default of 50 makes 256 tasks queue
/// twice.
const WRITE_QUEUE: usize = 512;

/// Half-open connections behind a firewall that forgot them are found by the system too, if nothing is asked of them.
const KEEP_ALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5));

/// The most connections that may be checked out exclusively from one server at a time.
const EXCLUSIVE_CONNECTIONS: usize = 16;

/// Makes connections to any server of a deployment: all have the same credentials, database and TLS.
#[derive(Clone)]
pub(crate) struct Connector {
    template: ConnectionInfo,
    timing: Timing,
    connections: usize,
    replicas: Option<Replicas>,
    max_answer: u64,
}

impl Connector {
    pub(crate) fn new(config: &RedisConfig) -> Result<Self> {
        Self::with_credentials(config, &config.credentials, config.database)
    }

    /// The connector to the sentinels, which may have credentials of their own and have no databases.
    pub(crate) fn to_sentinels(config: &RedisConfig, credentials: &Credentials) -> Result<Self> {
        Self::with_credentials(config, credentials, 0)
    }

    fn with_credentials(config: &RedisConfig, credentials: &Credentials, database: u32) -> Result<Self> {
        let setting = config.setting();
        let refuse = |error: RedisError| Error::invalid_config(setting, error.to_string()).with_backend("redis");
        // RESP3, because only with it does redis-rs say at once that a connection was closed.
        let mut login = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_db(database.into());
        if let Some(password) = &credentials.password {
            login = login.set_password(password.expose());
        }
        if let Some(username) = &credentials.username {
            login = login.set_username(username);
        }
        let template = address_template(config)?
            .into_connection_info()
            .map_err(refuse)?
            .set_tcp_settings(TcpSettings::default().set_nodelay(true).set_keepalive(KEEP_ALIVE))
            .set_redis_settings(login.set_lib_name("statehouse", env!("CARGO_PKG_VERSION")));
        let (timing, connections, max_answer) = (config.timing, config.connections, config.max_answer);
        Ok(Self { template, timing, connections, replicas: config.replicas, max_answer })
    }

    fn info(&self, address: &Address) -> ConnectionInfo {
        let mut place = self.template.addr().clone();
        match &mut place {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                host.clone_from(&address.host);
                *port = address.port;
            }
            _ => {}
        }
        self.template.clone().set_addr(place)
    }

    /// redis-rs' own response timeout is off: the deadlines of this crate are the only ones.
    fn settings(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timing.connect))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WRITE_QUEUE)
    }

    /// How many connections to a server are shared.
    pub(crate) const fn connections(&self) -> usize {
        self.connections
    }

    /// How many replicas must have a write, if any.
    pub(crate) const fn replicas(&self) -> Option<Replicas> {
        self.replicas
    }

    pub(crate) fn source(&self, address: &Address, role: Role) -> RedisResult<Source> {
        let manager = Manager::new_with_config(self.info(address), self.settings())?;
        let pool = Pool::builder(manager)
            .max_size(EXCLUSIVE_CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(self.timing.operation))
            .create_timeout(Some(self.timing.connect))
            .recycle_timeout(Some(self.timing.operation))
            .build()
            .map_err(|error| (ErrorKind::InvalidClientConfig, "pool", error.to_string()))?;
        let own = Some((Client::open(self.info(address))?, self.settings()));
        let traffic = Traffic::new(&address.to_string());
        Ok(Source { own, pool, role, limit: self.timing.connect, max_answer: self.max_answer, traffic })
    }
}

/// The place of no server yet, with TLS as configured.
fn address_template(config: &RedisConfig) -> Result<ConnectionAddr> {
    #[cfg(feature = "tls")]
    if let Some(tls) = &config.tls {
        return tls.template(config.setting());
    }
    let _ = config;
    Ok(ConnectionAddr::Tcp(String::new(), 0))
}

/// What a server is to be.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// Whatever answers.
    Any,
    /// A master: connecting to anything else fails.
    Master,
    /// A sentinel, whose news of a failover are passed on.
    Sentinel(Arc<Notify>),
}

/// The channels on which a sentinel says that another server is the master now, or will be in a moment.
const FAILOVER_NEWS: [&str; 2] = ["+switch-master", "+promoted-slave"];

/// Where the connections to one server come from.
pub(crate) struct Source {
    /// Absent for a pool that the caller brought: then the shared connections are taken out of it.
    own: Option<(Client, AsyncConnectionConfig)>,
    pool: Pool,
    role: Role,
    limit: Duration,
    /// The most bytes of an answer.
    max_answer: u64,
    traffic: Traffic,
}

impl Source {
    pub(crate) fn from_pool(pool: Pool, timing: Timing) -> Self {
        let traffic = Traffic::new("pool");
        Self { own: None, pool, role: Role::Any, limit: timing.connect, max_answer: u64::MAX, traffic }
    }

    /// A connection to be shared, for what is large if it is `bulk`. `on_close` is called once when the server closes it,
    /// where redis-rs tells.
    pub(crate) async fn connect(&self, bulk: bool, on_close: Arc<dyn Fn() + Send + Sync>) -> RedisResult<Bounded> {
        let mut bounded: Bounded = within(self.limit, async {
            match &self.own {
                Some((client, settings)) => {
                    let settings = settings.clone().set_push_sender(self.pushes(on_close));
                    self.connect_own(client, settings, bulk).await
                }
                None => Ok(self.take_from_pool().await?.into()),
            }
        })
        .await?;
        // One round trip more, which on a long way is as long as the login was.
        within(self.limit, async {
            match &self.role {
                Role::Any => Ok(()),
                Role::Master => check_master(&mut bounded.connection).await,
                Role::Sentinel(_) => bounded.connection.subscribe(&FAILOVER_NEWS).await,
            }
        })
        .await?;
        Ok(bounded)
    }

    /// A connection for one listener: what arrives unasked goes to `news`.
    pub(crate) async fn listen(&self, news: impl Fn(PushInfo) + Send + Sync + 'static) -> RedisResult<Bounded> {
        let Some((client, settings)) = &self.own else {
            return Err((ErrorKind::InvalidClientConfig, "a pool has no connections to listen on").into());
        };
        within(self.limit, async {
            let push = move |info: PushInfo| {
                news(info);
                Ok::<(), SendError>(())
            };
            let mut bounded = self.connect_own(client, settings.clone().set_push_sender(push), false).await?;
            if matches!(self.role, Role::Master) {
                check_master(&mut bounded.connection).await?;
            }
            Ok(bounded)
        })
        .await
    }

    async fn connect_own(&self, client: &Client, settings: AsyncConnectionConfig, bulk: bool) -> RedisResult<Bounded> {
        let info = client.get_connection_info();
        match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let traffic = self.traffic.clone();
                stream::connect((host, *port), info, settings, &KEEP_ALIVE, self.max_answer, (traffic, bulk)).await
            }
            _ => Ok(client.get_multiplexed_async_connection_with_config(&settings).await?.into()),
        }
    }

    /// What to do when something arrives that nobody asked for.
    fn pushes(&self, on_close: Arc<dyn Fn() + Send + Sync>) -> impl AsyncPushSender + use<> {
        let news = match &self.role {
            Role::Sentinel(news) => Some(Arc::clone(news)),
            Role::Any | Role::Master => None,
        };
        move |info: PushInfo| {
            match (info.kind, &news) {
                (PushKind::Disconnection, _) => on_close(),
                (PushKind::Message, Some(news)) => news.notify_one(),
                _ => {}
            }
            Ok::<(), SendError>(())
        }
    }

    /// A fresh connection out of the caller's pool. Idle ones are dropped first: this is called after a connection
    /// was lost, and each idle one that is lost too would cost the pool's recycle timeout.
    async fn take_from_pool(&self) -> RedisResult<MultiplexedConnection> {
        self.forget_idle();
        let mut connection = Connection::take(self.pool.get().await.map_err(pool_error)?);
        // The deadlines of this crate are the only ones. There is no way to say "none".
        connection.set_response_timeout(Duration::from_secs(86_400));
        Ok(connection)
    }

    pub(crate) fn forget_idle(&self) {
        self.pool.retain(|_, _| false);
    }

    /// A connection for one user alone, to be returned by dropping it.
    pub(crate) async fn check_out(&self) -> RedisResult<Connection> {
        within(self.limit, async { self.pool.get().await.map_err(pool_error) }).await
    }
}

/// A Sentinel may name a server that has not become the master yet, or no longer is.
async fn check_master(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let role = connection.send_packed_command(&cmd("ROLE")).await.and_then(Value::extract_error);
    match role {
        Ok(Value::Array(parts)) => match parts.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(()),
            _ => Err(not_the_master()),
        },
        Ok(_) => Err(not_the_master()),
        // Not allowed to ask. Writes to a replica will say READONLY.
        Err(error) if error.code() == Some("NOPERM") => Ok(()),
        Err(error) => Err(error),
    }
}

fn pool_error(error: PoolError) -> RedisError {
    match error {
        PoolError::Backend(error) => error,
        PoolError::Timeout(_) => timed_out(),
        other => (ErrorKind::Client, "pool", other.to_string()).into(),
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(timed_out()))
}

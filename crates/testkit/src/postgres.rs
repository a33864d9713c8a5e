use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::ends::output_within;
use crate::port::Port;
use crate::process::{Launch, Server, process_controls, server_folder};
use crate::{StartError, tools};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// A PostgreSQL server whose user `statehouse` needs no password. Durability is off: it is for tests that need a
/// database beside what they test.
#[derive(Debug)]
pub struct PostgresServer {
    url: String,
    process: Option<Server>,
}

impl PostgresServer {
    /// Starts a server of your own with the empty database `postgres`.
    ///
    /// # Panics
    /// With a [`StartError`] if there is no PostgreSQL or it does not start.
    pub async fn start() -> Self {
        Self::try_start().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The server that all tests of this process share: `STATEHOUSE_TEST_POSTGRES_URL`, else one started now.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<PostgresServer> = OnceCell::const_new();
        let start = async || match tools::given("STATEHOUSE_TEST_POSTGRES_URL") {
            Some(url) => Self { url, process: None },
            None => Self::start().await,
        };
        SHARED.get_or_init(start).await
    }

    /// Starts a server of your own with the empty database `postgres`.
    ///
    /// # Errors
    /// If there is no PostgreSQL or it does not start.
    pub async fn try_start() -> Result<Self, StartError> {
        let (initdb, program) = (tools::find_program("initdb", &debian_folders())?, find_postgres()?);
        let folder = server_folder("postgres")?;
        let port = Port::reserve()?;
        let data = folder.path().join("data");
        let mut args: Vec<_> = vec!["-D".into(), (&data).into(), "-p".into(), port.text().into()];
        let sockets = format!("unix_socket_directories={}", folder.path().display());
        for setting in ["listen_addresses=127.0.0.1", &sockets, "fsync=off"] {
            args.extend(["-c".into(), setting.into()]);
        }
        let launch = Launch { name: "postgres", program, args, env: Vec::new(), refuses_root: true };
        launch.hand_over(folder.path())?;
        let mut initdb = launch.command(&initdb)?;
        initdb.arg("-D").arg(&data).args(["-U", "statehouse", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        initdb.current_dir(folder.path());
        let made = tokio::task::spawn_blocking(move || output_within(&mut initdb, READY_WITHIN * 3));
        let output = made.await.map_err(io::Error::other)??;
        if !output.status.success() {
            return Err(StartError::new(format!("initdb: {}", String::from_utf8_lossy(&output.stderr))));
        }
        let url = format!("postgres://statehouse@{}/postgres", port.address());
        let server = Self { url, process: Some(Server::spawn(launch, folder, vec![port])?) };
        server.wait_ready().await?;
        Ok(server)
    }

    /// `postgres://statehouse@127.0.0.1:port/postgres`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        crate::url::Authority::of(&self.url).hosts
    }

    process_controls!();

    async fn wait_ready(&self) -> Result<(), StartError> {
        let address = self.address();
        self.process().wait_until(READY_WITHIN, || log_in(&address)).await
    }
}

/// The `postgres` program: on the PATH, in the tool cache, or where Debian puts it.
///
/// # Errors
/// The command that installs it, if it is nowhere.
pub fn find_postgres() -> Result<PathBuf, StartError> {
    tools::find_program("postgres", &debian_folders())
}

/// Debian keeps the programs of each version apart, newest last.
fn debian_folders() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> = versions.map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders
}

/// Sends a StartupMessage and expects an authentication request, AuthenticationOk here:
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>.
async fn log_in(address: &str) -> io::Result<()> {
    let parameters = b"\0\x03\0\0user\0statehouse\0database\0postgres\0\0";
    let length = u32::try_from(parameters.len() + 4).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&[&length.to_be_bytes()[..], parameters].concat()).await?;
    match stream.read_u8().await? {
        b'R' => Ok(()),
        other => Err(io::Error::other(format!("answered a log-in with {:?}", char::from(other)))),
    }
}

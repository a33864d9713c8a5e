use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::StartError;
use crate::http::{self, Response};
use crate::port::Port;
use crate::process::{Launch, Server, process_controls, server_folder};

/// A program may load its data before it is ready, on a machine that is busy with other tests.
const READY_WITHIN: Duration = Duration::from_secs(240);

/// A program of the application's own, for example one of its replicas: started, paused, killed and restarted as the
/// servers are.
#[derive(Debug)]
pub struct Program {
    address: String,
    ready_at: String,
    process: Option<Server>,
}

impl Program {
    /// The settings of a program that serves HTTP.
    #[must_use]
    pub fn builder(name: &'static str, path: impl Into<PathBuf>) -> ProgramBuilder {
        let launch = Launch { name, program: path.into(), args: Vec::new(), env: Vec::new(), refuses_root: false };
        ProgramBuilder { launch, ready_at: "/".to_owned() }
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The id of its process.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process().id()
    }

    /// Sends one request on a connection of its own.
    ///
    /// # Errors
    /// If the program cannot be reached or its answer is cut. An error status is an `Ok`.
    pub async fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> io::Result<Response> {
        http::request(&self.address, method, target, headers, body).await
    }

    /// Everything that the program has printed since it was first started.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub fn log(&self) -> io::Result<String> {
        self.process().read_log()
    }

    /// Asks the program to end (`SIGTERM`) and waits until it has.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) if it still runs after `limit`.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn terminate(&self, limit: Duration) -> io::Result<ExitStatus> {
        self.process().signal(rustix::process::Signal::TERM);
        self.process().exited(limit).await
    }

    process_controls!();

    async fn wait_ready(&self) -> Result<(), StartError> {
        self.process().wait_until(READY_WITHIN, || self.answers()).await
    }

    async fn answers(&self) -> io::Result<()> {
        let response = self.request("GET", &self.ready_at, &[], b"").await?;
        if response.status == 200 { Ok(()) } else { Err(io::Error::other(format!("answered {}", response.status))) }
    }
}

/// Settings of a [`Program`].
#[derive(Debug)]
pub struct ProgramBuilder {
    launch: Launch,
    ready_at: String,
}

impl ProgramBuilder {
    /// Adds an argument. `{address}` in it becomes the address that the program is to listen at, `{port}` its port.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.launch.args.push(arg.as_ref().to_owned());
        self
    }

    /// Sets a variable of the environment, which is otherwise ours.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.launch.env.push((name, value.as_ref().to_owned()));
        self
    }

    /// The path that answers 200 when the program has started; `/` unless told.
    #[must_use]
    pub fn ready_at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.ready_at);
        self
    }

    /// Starts the program; returns when it answers.
    ///
    /// # Panics
    /// With a [`StartError`] if it does not start.
    pub async fn start(self) -> Program {
        self.try_start().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts the program; returns when it answers.
    ///
    /// # Errors
    /// If it does not start: with the end of what it printed.
    pub async fn try_start(self) -> Result<Program, StartError> {
        let Self { mut launch, ready_at } = self;
        let folder = server_folder(launch.name)?;
        let port = Port::reserve()?;
        let address = port.address().to_string();
        for arg in &mut launch.args {
            if let Some(text) = arg.to_str() {
                *arg = OsString::from(text.replace("{address}", &address).replace("{port}", &port.text()));
            }
        }
        let process = Some(Server::spawn(launch, folder, vec![port])?);
        let program = Program { address, ready_at, process };
        program.wait_ready().await?;
        Ok(program)
    }
}

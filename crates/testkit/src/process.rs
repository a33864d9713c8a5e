//! A server process, and the promise that nothing of it stays behind.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{self, Write as _};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};
use tempfile::TempDir;

use crate::ends::{self, KILLED_WITHIN, descendants};
use crate::port::Port;
use crate::{StartError, tools};

/// `nobody`: what servers that refuse root run as.
const UNPRIVILEGED: u32 = 65534;

/// A server's folder: made for it, gone with it.
pub(crate) fn server_folder(name: &str) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(&format!("statehouse-{name}-")).tempdir()
}

/// How to start a server, and to start it again.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(&'static str, OsString)>,
    /// Run as `nobody` if we are root. The server's folder becomes theirs.
    pub(crate) refuses_root: bool,
}

impl Launch {
    pub(crate) fn command(&self, program: &Path) -> io::Result<Command> {
        let mut command = Command::new(program);
        if self.refuses_root && tools::is_root() {
            command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        Ok(command)
    }

    /// Gives `folder` and what is in it to the user that the server will run as.
    pub(crate) fn hand_over(&self, folder: &Path) -> io::Result<()> {
        if !(self.refuses_root && tools::is_root()) {
            return Ok(());
        }
        chown(folder, Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
        for entry in folder.read_dir()? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.hand_over(&entry.path())?;
            } else {
                chown(entry.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
            }
        }
        Ok(())
    }
}

/// A server of our own: its launch, its folder, its ports, and its process while it runs.
#[derive(Debug)]
pub(crate) struct Server {
    launch: Launch,
    running: Mutex<Option<Running>>,
    // Dropped after the process: a folder is removed when nobody writes to it any more.
    folder: TempDir,
    _ports: Vec<Port>,
}

impl Server {
    pub(crate) fn spawn(launch: Launch, folder: TempDir, ports: Vec<Port>) -> Result<Self, StartError> {
        let server = Self { launch, running: Mutex::new(None), folder, _ports: ports };
        server.launch.hand_over(server.folder.path())?;
        server.spawn_again()?;
        Ok(server)
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the process again in the same folder on the same ports; kills it first if it runs.
    pub(crate) fn spawn_again(&self) -> Result<(), StartError> {
        self.kill();
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let running = Running::spawn(&self.launch, log, self.folder.path())
            .map_err(|error| StartError::new(format!("{} did not start: {error}", self.launch.program.display())))?;
        *self.running() = Some(running);
        Ok(())
    }

    /// Asks `probe` until it succeeds, the process ends, or `limit` has passed.
    pub(crate) async fn wait_until<F>(&self, limit: Duration, mut probe: impl FnMut() -> F) -> Result<(), StartError>
    where
        F: Future<Output = io::Result<()>>,
    {
        let name = self.launch.name;
        let deadline = Instant::now() + limit;
        loop {
            let Err(error) = within(Duration::from_secs(5), probe()).await else { return Ok(()) };
            let reason = match self.exit_status()? {
                Some(status) => format!("ended ({status})"),
                None if Instant::now() > deadline => format!("is not ready after {limit:?}: {error}"),
                None => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            };
            return Err(StartError::with_log(name, reason, &self.log()));
        }
    }

    /// What the server has printed since it was first started.
    pub(crate) fn read_log(&self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(self.log())?).into_owned())
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn exited(&self, limit: Duration) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let status = self.running().as_mut().map(|running| running.child.try_wait()).transpose()?.flatten();
            if let Some(status) = status {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let text = format!("{} still runs after {limit:?}", self.launch.name);
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    }

    /// Some if the process has ended by itself or was killed.
    fn exit_status(&self) -> io::Result<Option<String>> {
        match self.running().as_mut() {
            Some(running) => Ok(running.child.try_wait()?.map(|status| status.to_string())),
            None => Ok(Some("killed".to_owned())),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running().is_some()
    }

    /// The id of the process that was started; others of the server are below it.
    pub(crate) fn id(&self) -> u32 {
        self.running().as_ref().unwrap_or_else(|| self.does_not_run()).child.id()
    }

    fn does_not_run(&self) -> ! {
        panic!("{} does not run", self.launch.name)
    }

    /// Sends `signal` to every process of the server.
    pub(crate) fn signal(&self, signal: Signal) {
        let running = self.running();
        let running = running.as_ref().unwrap_or_else(|| self.does_not_run());
        running.signal(signal).unwrap_or_else(|error| panic!("{} cannot be signalled: {error}", self.launch.name));
    }

    /// Stops every process of the server and waits until all their threads stand: the signal reaches one thread, which
    /// tells the others.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        let group = self.running().as_ref().map(|running| running.group);
        let processes: Vec<_> =
            group.into_iter().flat_map(|group| [vec![group], descendants(group)].concat()).collect();
        wait_until_they_stand(&processes);
    }

    /// Ends every process of the server at once, as a crash does; returns when they are gone.
    pub(crate) fn kill(&self) {
        drop(self.running().take());
    }
}

/// Fails a `probe` that hangs, as one does on a paused server.
pub(crate) async fn within<T>(limit: Duration, probe: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"));
    tokio::time::timeout(limit, probe).await.unwrap_or_else(|_| Err(late()))
}

/// A process group that dies with this value, and with our process.
struct Running {
    child: Child,
    group: Pid,
    watchdog: Child,
}

impl Running {
    fn spawn(launch: &Launch, log: File, folder: &Path) -> io::Result<Self> {
        let mut command = launch.command(&launch.program)?;
        let mut child = command
            .args(&launch.args)
            .current_dir(folder)
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let group = Pid::from_child(&child);
        match watchdog(group, folder) {
            Ok(watchdog) => Ok(Self { child, group, watchdog }),
            Err(error) => {
                ends::kill_all(&mut child)?;
                Err(error)
            }
        }
    }

    /// Reaches the group, and children that left it: each of PostgreSQL's leads a group of its own.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        let others = descendants(self.group);
        kill_process_group(self.group, signal)?;
        for process in others {
            // One that has ended meanwhile needs no signal.
            let _gone = kill_process(process, signal);
        }
        Ok(())
    }
}

/// Returns after a second if they do not.
fn wait_until_they_stand(processes: &[Pid]) {
    let deadline = Instant::now() + Duration::from_secs(1);
    while !processes.iter().all(|process| stands(*process)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether no thread of `process` runs, as far as the system tells (Linux does).
fn stands(process: Pid) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero())) else { return true };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // `id (name) state …`; the name may have parentheses too. A thread that has ended stands.
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
    })
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that the group is gone already, which is what we want. Who stands makes no child that would be missed.
        let _gone = kill_process_group(self.group, Signal::STOP);
        wait_until_they_stand(&[self.group]);
        let others = descendants(self.group);
        let _gone = self.signal(Signal::KILL);
        let ended = ends::wait(&mut self.child, "a server that was killed", KILLED_WITHIN);
        // Those that are not our own children cannot be waited for; they need a moment to go.
        let deadline = Instant::now() + Duration::from_secs(2);
        while others.iter().any(|process| test_kill_process(*process).is_ok()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        // The watchdog is told that its work is done before it is left alone.
        if let Some(mut pipe) = self.watchdog.stdin.take() {
            let _gone = pipe.write_all(b"done\n");
        }
        let watchdog = ends::wait(&mut self.watchdog, "a server's watchdog", KILLED_WITHIN);
        if let Err(error) = ended.and(watchdog)
            && !std::thread::panicking()
        {
            panic!("{error}");
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Running").field(&self.group).finish()
    }
}

/// A shell that waits for the end of a pipe that only we hold: if we end without having said "done" (the process was
/// killed, or the handle sits in a static, which never drops), it kills `group` and removes `folder`.
///
/// It has a process group of its own, so that Ctrl-C ends us and not it, and holds none of our outputs, so that nobody
/// who reads them waits for it.
fn watchdog(group: Pid, folder: &Path) -> io::Result<Child> {
    const SCRIPT: &str = r#"
        read -r word && exit
        children=$(cat "/proc/$1/task/$1/children")
        kill -s KILL -- "-$1" $children
        for attempt in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$2" && exit; sleep 0.1; done
    "#;
    Command::new("/bin/sh")
        .args(["-c", SCRIPT, "statehouse-watchdog"])
        .arg(group.as_raw_nonzero().to_string())
        .arg(folder)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// The methods of every handle that may own a process.
macro_rules! process_controls {
    () => {
        /// Stops the process where it is (`SIGSTOP`): connections stay open and nothing answers. Returns when it stands.
        ///
        /// # Panics
        /// If the server does not run, or was given by a URL and is not ours to stop; so do the other controls.
        pub fn pause(&self) {
            self.process().pause();
        }

        /// Lets a paused server go on.
        pub fn resume(&self) {
            self.process().signal(rustix::process::Signal::CONT);
        }

        /// Ends the process at once (`SIGKILL`); returns when it is gone. Its folder and port stay.
        pub fn kill(&self) {
            self.process().kill();
        }

        /// Starts the server again with the same port, folder and settings, killing it first if it runs; returns when
        /// it answers.
        pub async fn restart(&self) {
            self.try_restart().await.unwrap_or_else(|error| panic!("{error}"));
        }

        /// The same, for a server that may end by itself as it starts.
        ///
        /// # Errors
        /// What prevented it, with the end of its log.
        pub async fn try_restart(&self) -> Result<(), StartError> {
            self.process().spawn_again()?;
            self.wait_ready().await
        }

        /// Whether the process was started and not killed; a paused one runs.
        #[must_use]
        pub fn is_running(&self) -> bool {
            self.process.as_ref().is_some_and(crate::process::Server::is_running)
        }

        pub(super) fn process(&self) -> &crate::process::Server {
            self.process.as_ref().expect("this server was given by a URL: start one of your own to stop it")
        }
    };
}
pub(crate) use process_controls;

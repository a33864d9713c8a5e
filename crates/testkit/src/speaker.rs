//! A process that says on its standard output how far it is.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::ends;

/// A process that a test starts, listens to and kills: every wait for it has an end, and it ends with this value.
#[derive(Debug)]
pub struct Speaker {
    name: String,
    child: Child,
    lines: Receiver<String>,
    last: Option<String>,
}

impl Speaker {
    /// Starts it. Its standard input stays open as long as this value: see [`end_with_parent`](Self::end_with_parent).
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let name = command.get_program().display().to_string();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        let (say, lines) = channel();
        // Nobody waits for this thread: whoever the process has started may keep the pipe open.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { name, child, lines, last: None })
    }

    /// To be called in the process itself, if it is one of the tests' own: it ends when whoever started it is gone, however that
    /// ended.
    pub fn end_with_parent() {
        std::thread::spawn(|| {
            let _end = io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(1);
        });
    }

    /// The id of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says; none when its output has ended.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut), with what it said last, if it says nothing within `limit`.
    pub fn line(&mut self, limit: Duration) -> io::Result<Option<String>> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => {
                self.last = Some(line.clone());
                Ok(Some(line))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                let Self { name, last, .. } = self;
                let text = format!("{name} has said nothing for {limit:?}; its last line: {last:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
        }
    }

    /// How it ends by itself.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) if it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        ends::wait(&mut self.child, &self.name, limit)
    }

    /// Ends it at once (`SIGKILL`); returns when it is gone.
    ///
    /// # Errors
    /// If it does not go.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        let _gone = self.child.kill();
        ends::wait(&mut self.child, &self.name, ends::KILLED_WITHIN)
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        // Who does not go cannot be waited for in here.
        let _gone = ends::kill_all(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Speaker {
        Speaker::start(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn one_that_falls_silent_is_named_with_its_last_line_and_ends_with_its_value() {
        let mut silent = shell("echo one; echo two; exec sleep 604");
        assert_eq!(silent.line(LONG).unwrap().as_deref(), Some("one"));
        assert_eq!(silent.line(LONG).unwrap().as_deref(), Some("two"));
        let error = silent.line(Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "sh has said nothing for 50ms; its last line: Some(\"two\")");
        let still = silent.wait(Duration::from_millis(50)).unwrap_err().to_string();
        assert!(still.starts_with("sh (process ") && still.ends_with(" has not ended after 50ms"), "{still}");
        let id = silent.id();
        drop(silent);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn one_that_ends_says_all_and_then_nothing() {
        let mut short = shell("echo one; exit 3");
        assert_eq!(short.wait(LONG).unwrap().code(), Some(3));
        assert_eq!((short.line(LONG).unwrap().as_deref(), short.line(LONG).unwrap()), (Some("one"), None));
        // It reads its input to the end, which comes when this value goes.
        let mut listens = shell("echo ready; cat");
        assert_eq!(listens.line(LONG).unwrap().as_deref(), Some("ready"));
        assert!(!listens.kill().unwrap().success());
    }
}

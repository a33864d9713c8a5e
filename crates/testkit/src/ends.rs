//! Waits for processes that have an end, and say what was waited for.

use std::io::{self, Read as _, Seek as _};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long one that was killed may take to be gone: the kernel has to give back what it had.
pub(crate) const KILLED_WITHIN: Duration = Duration::from_secs(60);

/// Runs a command to its end: how it ended, and what it printed. [`Command::output`] waits for ever, also for whoever has the
/// command's pipes from it.
///
/// # Errors
/// If it does not start, and [`TimedOut`](io::ErrorKind::TimedOut) with what it had printed if it has not ended after `limit`:
/// it and all below it are killed.
pub fn output_within(command: &mut Command, limit: Duration) -> io::Result<Output> {
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let child = command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).spawn();
    let what = command.get_program().display().to_string();
    let mut child = child.map_err(|error| io::Error::new(error.kind(), format!("{what} did not start: {error}")))?;
    let ended = wait(&mut child, &what, limit);
    if ended.is_err() {
        kill_all(&mut child)?;
    }
    let mut printed = [Vec::new(), Vec::new()];
    for (file, bytes) in [&mut stdout, &mut stderr].into_iter().zip(&mut printed) {
        file.rewind()?;
        file.read_to_end(bytes)?;
    }
    let [stdout, stderr] = printed;
    match ended {
        Ok(status) => Ok(Output { status, stdout, stderr }),
        Err(error) => {
            let printed = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
            Err(io::Error::new(error.kind(), format!("{error}; it had printed: {printed}")))
        }
    }
}

/// How a child ended, if it does so within `limit`.
pub(crate) fn wait(child: &mut Child, what: &str, limit: Duration) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            let text = format!("{what} (process {}) has not ended after {limit:?}", child.id());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends a child, and those below it.
pub(crate) fn kill_all(child: &mut Child) -> io::Result<ExitStatus> {
    for process in descendants(Pid::from_child(child)) {
        // One that has ended meanwhile needs no signal.
        let _gone = kill_process(process, Signal::KILL);
    }
    let _gone = child.kill();
    wait(child, "what was killed", KILLED_WITHIN)
}

/// The children of `process` and theirs, as far as the system lists them (Linux does): each thread has its own.
pub(crate) fn descendants(process: Pid) -> Vec<Pid> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero())).into_iter().flatten().flatten();
    let children = threads.map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let children: Vec<_> = children
        .flat_map(|ids| ids.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect::<Vec<_>>())
        .collect();
    children.into_iter().flat_map(|child| [vec![child], descendants(child)].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_killed_with_all_below_it_and_named() {
        let mut hangs = Command::new("sh");
        hangs.args(["-c", "echo begun; sleep 603 & echo child $!; wait"]);
        let error = output_within(&mut hangs, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let text = error.to_string();
        assert!(text.starts_with("sh (process ") && text.contains("begun"), "{text}");
        let child = text.split("child ").nth(1).unwrap().trim();
        // Whoever has no parent any more is somebody's to bury, which may take a moment.
        let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z") || state.contains(") X"), "{state}");

        let fails = output_within(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]), KILLED_WITHIN);
        let fails = fails.unwrap();
        assert_eq!((fails.status.code(), &*fails.stdout, &*fails.stderr), (Some(3), &b"out\n"[..], &b"err\n"[..]));
        let none = output_within(&mut Command::new("/nonexistent/program"), KILLED_WITHIN).unwrap_err().to_string();
        assert!(none.starts_with("/nonexistent/program did not start: "), "{none}");
    }

    /// A pipe of it that somebody keeps open keeps nobody waiting.
    #[test]
    fn one_that_leaves_another_behind_has_ended() {
        let leaves = output_within(Command::new("sh").args(["-c", "sleep 2 & echo left"]), Duration::from_secs(60));
        assert_eq!(leaves.unwrap().stdout, b"left\n");
    }
}

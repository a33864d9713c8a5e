use std::io::{IsTerminal, Write};
use std::time::Instant;

/// A bar on a terminal, a line for each tenth elsewhere. Both on standard error.
pub(super) struct Progress {
    total: u64,
    started: Instant,
    terminal: bool,
    tenths: u64,
}

const WIDTH: u64 = 40;

impl Progress {
    pub(super) fn new(total: u64) -> Self {
        Self { total, started: Instant::now(), terminal: std::io::stderr().is_terminal(), tenths: 0 }
    }

    pub(super) fn show(&mut self, done: u64) {
        let text = if self.terminal {
            let full = usize::try_from(done * WIDTH / self.total).unwrap_or_default();
            let end = if done >= self.total { "\n" } else { "" };
            format!("\rICD-10-CM [{:<40}] {done} of {} concepts{end}", "#".repeat(full), self.total)
        } else {
            let tenths = done * 10 / self.total;
            if tenths == self.tenths {
                return;
            }
            self.tenths = tenths;
            format!("ICD-10-CM: {done} of {} concepts after {:.1?}\n", self.total, self.started.elapsed())
        };
        let mut stderr = std::io::stderr();
        // Nobody has to see it.
        let _unseen = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }
}

//! What a process was told, in a file that survives it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use statehouse_search::{DocumentId, SearchIndex, SearchIndexExt as _, Value};

/// Written a line at a time.
pub(super) struct Log(Mutex<File>);

impl Log {
    pub(super) fn open(path: &Path) -> Self {
        Self(Mutex::new(File::options().create(true).append(true).open(path).unwrap()))
    }

    fn line(&self, line: &str) {
        self.0.lock().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub(super) fn sends(&self, id: &str, number: u64) {
        self.line(&format!("? {id} {number}"));
    }

    pub(super) fn acknowledged(&self, id: &str, number: u64, is_delete: bool, took: Duration) {
        let sign = if is_delete { '-' } else { '+' };
        self.line(&format!("{sign} {id} {number} {}", took.as_micros()));
    }

    pub(super) fn found(&self, took: Duration) {
        self.line(&format!("s {}", took.as_micros()));
    }

    pub(super) fn failed(&self, what: &str) {
        self.line(&format!("! {}", what.replace('\n', " ")));
    }
}

/// What is known of one document.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The last write that was acknowledged, and whether it was a delete.
    acknowledged: Option<(u64, bool)>,
    /// One that was sent since, and of which nothing was heard.
    open: Option<u64>,
}

/// All that was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    documents: BTreeMap<String, Known>,
    pub(super) writes: Times,
    pub(super) searches: Times,
    pub(super) failed: Vec<String>,
}

impl Told {
    /// Whole lines only: who is killed may leave a part of one.
    pub(super) fn read(path: &Path) -> Self {
        let (mut told, text) = (Self::default(), std::fs::read_to_string(path).unwrap_or_default());
        for line in text.lines().take(text.matches('\n').count()) {
            told.add(line);
        }
        told
    }

    fn add(&mut self, line: &str) {
        let mut words = line.split(' ');
        let sign = words.next().unwrap();
        if sign == "!" {
            self.failed.push(line[2..].to_owned());
            return;
        }
        let id = if sign == "s" { String::new() } else { words.next().unwrap().to_owned() };
        let mut numbers = words.map(|word| word.parse::<u64>().unwrap());
        let mut next = || numbers.next().unwrap();
        match sign {
            "s" => self.searches.0.push(next()),
            "?" => self.documents.entry(id).or_default().open = Some(next()),
            sign => {
                self.documents.insert(id, Known { acknowledged: Some((next(), sign == "-")), open: None });
                self.writes.0.push(next());
            }
        }
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.writes.0.len()
    }

    /// Documents that are not as the last acknowledged write left them.
    pub(super) async fn lost(&self, index: &dyn SearchIndex) -> Vec<String> {
        let mut lost = Vec::new();
        for (id, known) in &self.documents {
            let found = index.get(&DocumentId::new(id).unwrap()).await.unwrap();
            let note = found.as_ref().and_then(|found| match found.value("note") {
                Some(Value::I64(note)) => Some(u64::try_from(*note).unwrap()),
                _ => None,
            });
            let is_right = match *known {
                // Nobody knows whether it was made, and what it was.
                Known { open: Some(number), acknowledged } => {
                    let before = acknowledged.filter(|(_, is_delete)| !is_delete).map(|(number, _)| number);
                    note == Some(number) || note == before || note.is_none() && number % 4 == 3 || before.is_none()
                }
                Known { acknowledged: Some((_, true)), .. } => found.is_none(),
                Known { acknowledged: Some((number, false)), .. } => note == Some(number),
                Known { .. } => true,
            };
            if !is_right {
                lost.push(format!("{id}: {known:?}, found {note:?}"));
            }
        }
        lost
    }
}

/// How long each took, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Times(Vec<u64>);

impl Times {
    pub(super) fn percentile(&self, hundredths: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * hundredths).div_ceil(10_000).saturating_sub(1);
        Duration::from_micros(sorted.get(at).copied().unwrap_or_default())
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, most] = [5_000, 9_900, 10_000].map(|hundredths| self.percentile(hundredths));
        write!(f, "{} of p50 {p50:.1?}, p99 {p99:.1?}, longest {most:.1?}", self.0.len())
    }
}

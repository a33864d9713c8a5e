//! What a process was told, in a file that survives it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use statehouse_search::{
    DocumentId, HitsOptions, Query, Record, SearchIndex, SearchIndexExt as _, SearchRequest, Value,
};

use super::load::row;
use super::{Row, is_soak, rows};

/// Written a line at a time.
pub(super) struct Log(Mutex<File>);

impl Log {
    pub(super) fn open(path: &Path) -> Self {
        Self(Mutex::new(File::options().create(true).append(true).open(path).unwrap()))
    }

    fn line(&self, line: &str) {
        self.0.lock().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub(super) fn sends(&self, id: &str, number: u64, is_delete: bool) {
        let sign = if is_delete { 'x' } else { '?' };
        self.line(&format!("{sign} {id} {number}"));
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
#[derive(Clone, Debug, Default)]
struct Known {
    /// The last write that was acknowledged, and whether it was a delete.
    acknowledged: Option<(u64, bool)>,
    /// Those that were sent since, and of which nothing was heard.
    open: Vec<(u64, bool)>,
}

impl Known {
    fn acknowledge(&mut self, number: u64, is_delete: bool) {
        if self.acknowledged.is_none_or(|(known, _)| known < number) {
            self.acknowledged = Some((number, is_delete));
        }
        self.open.retain(|(open, _)| *open > number);
    }

    /// Whether a document may be so, or may not be there: as it was acknowledged, or as what nobody was told of has left it.
    fn allows(&self, note: Option<u64>) -> bool {
        let states = self.open.iter().copied().map(Some).chain([self.acknowledged]);
        states.map(|state| state.filter(|(_, is_delete)| !is_delete).map(|(number, _)| number)).any(|it| it == note)
    }
}

/// The number of the write that left it so, and its words.
fn content(document: &Record) -> (u64, String) {
    match (document.value("note"), document.value("title")) {
        (Some(Value::I64(note)), Some(Value::Text(title))) => (u64::try_from(*note).unwrap(), title.to_string()),
        other => panic!("{other:?}"),
    }
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
            "?" | "x" => self.documents.entry(id).or_default().open.push((next(), sign == "x")),
            _ => {
                self.documents.entry(id).or_default().acknowledge(next(), sign == "-");
                self.writes.0.push(next());
            }
        }
    }

    /// Reports how long searches took beside an `idle` index, and fails if one has failed; in a soak, if they took longer than the bar.
    pub(super) fn judge(self, place: &str, kills: usize, idle: &Self, bar: Duration) {
        let p99 = self.searches.percentile(9_900);
        crate::report(&format!(
            "figure: reindex {place}, {} rows, {kills} kills, 2 rollbacks: 0 lost writes, {} failed; searches {}; idle {}; \
             bar p99 {bar:.1?}; writes {}",
            rows().len(),
            self.failed.len(),
            self.searches,
            idle.searches,
            self.writes
        ));
        assert_eq!((&self.failed, &idle.failed), (&vec![], &vec![]));
        assert!(!is_soak() || p99 <= bar, "p99 {p99:?} over {bar:?}");
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.writes.0.len()
    }

    /// What is known of each document: the rows were there from the first, whether or not anybody has touched them since.
    fn all(&self, rows: &[Row]) -> BTreeMap<String, Known> {
        let mut all = self.documents.clone();
        for row in rows {
            all.entry(row.id.clone()).or_default().acknowledged.get_or_insert((1, false));
        }
        all
    }

    /// Documents that are not as the last acknowledged write left them, that are there and were deleted, or that nobody has
    /// written.
    pub(super) async fn lost(&self, rows: &[Row], index: &dyn SearchIndex) -> Vec<String> {
        let mut there = everything(index).await;
        let titles: BTreeMap<_, _> = rows.iter().map(|row| (row.id.as_str(), row.title.as_str())).collect();
        let mut lost = Vec::new();
        for (id, known) in self.all(rows) {
            let title = || match id.strip_prefix("added-") {
                Some(number) => row(rows, number.parse().unwrap()).title.as_str(),
                None => titles[id.as_str()],
            };
            let is_right = |found: &Option<(u64, String)>| {
                let note = found.as_ref().map(|(note, _)| *note);
                known.allows(note) && found.as_ref().is_none_or(|(_, words)| words == title())
            };
            let found = there.remove(&id);
            // Without a search, too, where somebody has written it.
            let got = if self.documents.contains_key(&id) {
                index.get(&DocumentId::new(&id).unwrap()).await.unwrap().as_ref().map(content)
            } else {
                found.clone()
            };
            if !is_right(&found) || !is_right(&got) {
                lost.push(format!("{id}: {known:?}, found {found:?}, got {got:?}"));
            }
        }
        lost.extend(there.into_keys().map(|id| format!("{id}: nobody has written it")));
        lost
    }
}

async fn everything(index: &dyn SearchIndex) -> BTreeMap<String, (u64, String)> {
    index.refresh().await.unwrap();
    let request = SearchRequest::new(Query::all());
    let mut hits = index.hits_with(&request, HitsOptions::default()).await.unwrap();
    let mut all = BTreeMap::new();
    while let Some(hit) = hits.next().await.unwrap() {
        all.insert(hit.id().as_str().to_owned(), content(&hit.record));
    }
    hits.close().await.unwrap();
    all
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

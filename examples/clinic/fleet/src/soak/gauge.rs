//! Figures, and whether they grow with the requests.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use statehouse_testkit::S3Server;

use super::Place;
use super::people::World;
use crate::Failure;

/// One figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) name: &'static str,
    /// What it may gain from the middle of the run to its end.
    pub(crate) gain: f64,
    /// Whether it must be back where it was before the load when all have gone.
    pub(crate) goes: bool,
}

const COUNT: usize = Bound::ALL.len();

/// The figures of one moment, and how many requests there had been.
#[derive(Clone, Copy, Debug)]
struct Sample {
    requests: f64,
    figures: [Option<f64>; COUNT],
}

#[derive(Debug, Default)]
pub(crate) struct Gauges(Vec<Sample>);

impl Gauges {
    /// What cannot be read, because a server is away, is left out.
    pub(crate) async fn read(&mut self, place: &Place<'_>, world: &World) {
        #[expect(clippy::cast_precision_loss, reason = "counts of a run are small")]
        let number = |count: usize| count as f64;
        let process = format!("/proc/{}", place.process.id());
        let memory = fs::read_to_string(format!("{process}/status")).ok().and_then(|status| resident(&status));
        let entries = |path: &Path| fs::read_dir(path).ok().map(|entries| number(entries.count()));
        let stored = stored(place).await.ok();
        let beyond = |stored: usize, known: usize| number(stored) - number(known);
        let figures = [
            memory,
            entries(format!("{process}/fd").as_ref()),
            entries(format!("{process}/task").as_ref()),
            entries(&place.temporary),
            stored.map(|stored| number(stored.half)),
            stored.map(|stored| beyond(stored.keys, world.sessions())),
            stored.map(|stored| number(stored.counters)),
            stored.map(|stored| beyond(stored.documents, world.attached.load(Ordering::Relaxed))),
        ];
        let requests = number(world.requests.load(Ordering::Relaxed));
        self.0.push(Sample { requests, figures });
    }

    /// Prints each figure with its slope; names those that grow.
    pub(crate) fn report(&self, say: &impl Fn(&str)) -> Vec<String> {
        say(&format!("  {:55} {:>8} {:>8} {:>8} {:>14}", "", "start", "most", "end", "per 1,000"));
        let mut grow = Vec::new();
        for (index, bound) in Bound::ALL.iter().enumerate() {
            let points = self.points(index);
            let (Some(first), Some(last)) = (points.first(), points.last()) else { continue };
            let most = points.iter().map(|point| point.1).fold(f64::MIN, f64::max);
            // The first half fills what is filled once: pools, caches, the allocator's own stock.
            let half = &points[points.len() / 2..];
            let slope = slope(half);
            let gain = slope * half.last().map_or(0.0, |last| last.0 - half[0].0);
            let verdict = if gain > bound.gain { "GROWS" } else { "bounded" };
            let per_thousand = slope * 1_000.0;
            say(&format!(
                "  {:55} {:8.0} {most:8.0} {:8.0} {per_thousand:+14.3} {verdict}",
                bound.name, first.1, last.1
            ));
            if gain > bound.gain {
                grow.push(format!("{} grows: {gain:+.1} in the second half", bound.name));
            }
        }
        grow
    }

    /// What is still there of what should go when all have gone.
    pub(crate) fn left(&self, after: &Self) -> Vec<String> {
        let mut left = Vec::new();
        for (index, bound) in Bound::ALL.iter().enumerate().filter(|(_, bound)| bound.goes) {
            let (before, now) = (self.points(index), after.points(index));
            if let (Some(before), Some(now)) = (before.first(), now.last())
                && now.1 > before.1 + bound.gain
            {
                left.push(format!("{} do not go: {} before, {} when all had gone", bound.name, before.1, now.1));
            }
        }
        left
    }

    pub(crate) fn last_line(&self) -> String {
        let Some(last) = self.0.last() else { return String::new() };
        let figures = Bound::ALL.iter().zip(last.figures);
        let shown = figures.filter_map(|(bound, figure)| Some(format!("{} {:.0}", bound.name, figure?)));
        shown.collect::<Vec<_>>().join("; ")
    }

    /// Requests and this figure.
    fn points(&self, index: usize) -> Vec<(f64, f64)> {
        self.0.iter().filter_map(|sample| Some((sample.requests, sample.figures[index]?))).collect()
    }
}

/// Of the line that fits best.
fn slope(points: &[(f64, f64)]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are small")]
    let count = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if spread == 0.0 {
        return 0.0;
    }
    points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread
}

/// In MiB.
fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse::<f64>().ok().map(|kilobytes| kilobytes / 1_024.0)
}

/// What the stores hold.
#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    keys: usize,
    /// Each goes five minutes after a log-in that failed.
    counters: usize,
    documents: usize,
    half: usize,
}

async fn stored(place: &Place<'_>) -> Result<Stored, Failure> {
    let Some((redis, s3)) = place.shared else { return Ok(in_folder(&place.data)) };
    let keys = number(&redis.command(&["DBSIZE"]).await?)?;
    let counters = number(&redis.command(&["EVAL", "return #redis.call('KEYS', '*log-in-failures*')", "0"]).await?)?;
    let uploads = s3.request("GET", &format!("/{}?uploads=", s3.bucket()), &[], b"").await?.text();
    Ok(Stored {
        keys: keys.saturating_sub(counters),
        counters,
        documents: documents(s3).await?,
        half: uploads.matches("<UploadId>").count(),
    })
}

fn number(answer: &impl std::fmt::Debug) -> Result<usize, Failure> {
    Ok(format!("{answer:?}").chars().filter(char::is_ascii_digit).collect::<String>().parse()?)
}

async fn documents(s3: &S3Server) -> Result<usize, Failure> {
    let (mut documents, mut after) = (0, String::new());
    loop {
        let target = format!("/{}?list-type=2&max-keys=1000{after}", s3.bucket());
        let page = s3.request("GET", &target, &[], b"").await?.text();
        let names: Vec<_> = page.split("<Key>").skip(1).filter_map(|rest| rest.split('<').next()).collect();
        documents += names.iter().filter(|name| name.contains("documents")).count();
        match names.last() {
            Some(last) if page.contains("<IsTruncated>true") => after = format!("&start-after={}", encoded(last)),
            _ => return Ok(documents),
        }
    }
}

/// As signing wants it.
fn encoded(name: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(one).collect()
}

fn in_folder(data: &Path) -> Stored {
    let mut stored = Stored::default();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let own = path.components().any(|part| part.as_os_str() == ".statehouse");
            let below = |what: &str| path.strip_prefix(data).is_ok_and(|path| path.starts_with(what));
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if below("sessions") {
                stored.keys += 1;
            } else if below("files") && !own {
                let staged = name.starts_with('.');
                stored.half += usize::from(staged);
                stored.documents += usize::from(!staged && path.to_string_lossy().contains("documents"));
            }
        }
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_told_from_what_is_filled_once() {
        let points =
            |figure: fn(f64) -> f64| (0..100).map(|at| (f64::from(at), figure(f64::from(at)))).collect::<Vec<_>>();
        assert!((slope(&points(|at| 3.0 * at + 7.0)) - 3.0).abs() < 1e-9);
        assert!(slope(&points(|_| 5.0)).abs() < 1e-9);
        let sample = |at: u32, memory: f64| {
            let mut figures = [Some(1.0); COUNT];
            figures[0] = Some(memory);
            Sample { requests: f64::from(at) * 100.0, figures }
        };
        let filled = Gauges((0..40).map(|at| sample(at, f64::from(at.min(15)) * 10.0)).collect());
        assert_eq!(filled.report(&|_| {}), [""; 0]);
        let leaks = Gauges((0..40).map(|at| sample(at, f64::from(at) * 10.0)).collect());
        assert!(leaks.report(&|_| {})[0].starts_with("memory, MiB grows"));
    }
}

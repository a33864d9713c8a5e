use std::time::Instant;

use serde::Serialize;

/// What a row must reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// Ours must be at least this many times as good as theirs.
    Ratio(f64),
    /// Ours may take at most this much longer per operation, in the row's unit.
    Extra(f64),
    /// Of figures that are better the higher they are: ours may be at most this much lower, in the row's unit.
    Short(f64),
    /// Ours may be at most this many times theirs, in the row's unit.
    Times(f64),
}

/// One comparison, as printed and as written to the JSON file. A ratio above 1 means that ours is better.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) service: &'static str,
    pub(crate) case: String,
    pub(crate) peer: &'static str,
    /// What `ours` and `theirs` count: time per operation, of which less is better, or `%` of hits.
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    /// Median over the rounds of theirs ÷ ours, both measured in the same round.
    pub(crate) ratio: f64,
    /// Distance between the quartiles of the ratio.
    pub(crate) spread: f64,
    pub(crate) bar: String,
    pub(crate) meets: bool,
}

/// What is compared.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) service: &'static str,
    pub(crate) name: &'static str,
    pub(crate) peer: &'static str,
    pub(crate) bar: Bar,
    /// Operations in one block.
    pub(crate) ops: u32,
}

/// What is compared of the processor time, beside the time that passes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processor {
    pub(crate) name: &'static str,
    pub(crate) peer: &'static str,
    pub(crate) bar: Bar,
}

/// Runs the comparisons and collects their rows.
#[derive(Debug)]
pub(crate) struct Harness {
    rounds: usize,
    rows: Vec<Row>,
}

pub(crate) const HEADING: &str =
    "service   case                                   peer                               ours     theirs         ratio";

impl Harness {
    pub(crate) fn new(quick: bool) -> Self {
        Self { rounds: if quick { 7 } else { 25 }, rows: Vec::new() }
    }

    pub(crate) fn into_rows(self) -> Vec<Row> {
        self.rows
    }

    /// Each closure runs one block of `case.ops` operations. Rounds alternate A B and B A, after one of each to warm
    /// up, so that drift of the machine hits both; the ratio is taken within a round.
    pub(crate) async fn compare(&mut self, case: Case, mut ours: impl AsyncFnMut(), mut theirs: impl AsyncFnMut()) {
        ours().await;
        theirs().await;
        let (mut mine, mut peer, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..self.rounds {
            let (a, b);
            if round % 2 == 0 {
                a = seconds(&mut ours).await;
                b = seconds(&mut theirs).await;
            } else {
                b = seconds(&mut theirs).await;
                a = seconds(&mut ours).await;
            }
            mine.push(a);
            peer.push(b);
            ratios.push(b / a);
        }
        self.push(&case, median(&mut mine), median(&mut peer), &mut ratios);
    }

    /// As [`compare`](Self::compare), and beside it the processor time of this process, in which `more` is allowed to
    /// ours besides what theirs takes.
    pub(crate) async fn compare_both(
        &mut self,
        case: Case,
        processor: Processor,
        mut ours: impl AsyncFnMut(),
        mut theirs: impl AsyncFnMut(),
        mut more: impl FnMut(),
    ) {
        ours().await;
        theirs().await;
        let (mut mine, mut peer, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let (mut my_time, mut peer_time, mut time_ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..self.rounds {
            let (a, b);
            if round % 2 == 0 {
                a = spent(&mut ours).await;
                b = spent(&mut theirs).await;
            } else {
                b = spent(&mut theirs).await;
                a = spent(&mut ours).await;
            }
            let before = processor_time();
            more();
            let allowed = b.1 + processor_time() - before;
            mine.push(a.0);
            peer.push(b.0);
            ratios.push(b.0 / a.0);
            my_time.push(a.1);
            peer_time.push(allowed);
            time_ratios.push(allowed / a.1);
        }
        self.push(&case, median(&mut mine), median(&mut peer), &mut ratios);
        let Processor { name, peer, bar } = processor;
        let case = Case { name, peer, bar, ..case };
        self.push(&case, median(&mut my_time), median(&mut peer_time), &mut time_ratios);
    }

    /// A figure that the contract limits.
    pub(crate) fn limited(&mut self, service: &'static str, case: &str, unit: &'static str, ours: f64, most: f64) {
        let (peer, bar) = ("the contract", format!("at most {most} {unit}"));
        let ratio = if ours == most { 1.0 } else { most / ours };
        let (case, meets) = (case.to_owned(), ours <= most);
        let row = Row { service, case, peer, unit, ours, theirs: most, ratio, spread: 0.0, bar, meets };
        println!("{}", row.line());
        self.rows.push(row);
    }

    /// Figures of which less is better, each pair measured in one round.
    pub(crate) fn paired(&mut self, case: &Case, unit: &'static str, pairs: &[(f64, f64)]) {
        let mut ratios: Vec<_> = pairs.iter().map(|(ours, theirs)| theirs / ours).collect();
        let ours = median(&mut pairs.iter().map(|(ours, _)| *ours).collect::<Vec<_>>());
        let ratio = median(&mut ratios);
        let (bar, meets) = judge(case.bar, unit, ours, ours * ratio, ratio);
        let spread = quartile(&mut ratios, 3) - quartile(&mut ratios, 1);
        let (service, name, peer) = (case.service, case.name.to_owned(), case.peer);
        let row = Row { service, case: name, peer, unit, ours, theirs: ours * ratio, ratio, spread, bar, meets };
        println!("{}", row.line());
        self.rows.push(row);
    }

    /// Whether figures are to be had soon rather than exact.
    pub(crate) const fn is_quick(&self) -> bool {
        self.rounds < 10
    }

    /// How many rounds a comparison has.
    pub(crate) const fn rounds(&self) -> usize {
        self.rounds
    }

    /// A figure that is counted and not timed, the same in every run.
    pub(crate) fn counted(&mut self, case: &Case, unit: &'static str, ours: f64, theirs: f64) {
        let (bar, meets) = judge(case.bar, unit, ours, theirs, ours / theirs);
        let Case { service, name, peer, .. } = *case;
        let (ratio, case) = (ours / theirs, name.to_owned());
        let row = Row { service, case, peer, unit, ours, theirs, ratio, spread: 0.0, bar, meets };
        println!("{}", row.line());
        self.rows.push(row);
    }

    fn push(&mut self, case: &Case, ours: f64, theirs: f64, ratios: &mut [f64]) {
        let per_op = ours / f64::from(case.ops);
        let (unit, scale) = match per_op {
            s if s < 2e-6 => ("ns", 1e9),
            s if s < 2e-3 => ("us", 1e6),
            _ => ("ms", 1e3),
        };
        let scale = scale / f64::from(case.ops);
        let (ours, theirs, ratio) = (ours * scale, theirs * scale, median(ratios));
        // Within a round, as every ratio.
        let peer = if matches!(case.bar, Bar::Times(_)) { ours * ratio } else { theirs };
        let (bar, meets) = judge(case.bar, unit, ours, peer, ratio);
        let spread = quartile(ratios, 3) - quartile(ratios, 1);
        let (service, case, peer) = (case.service, case.name.to_owned(), case.peer);
        let row = Row { service, case, peer, unit, ours, theirs, ratio, spread, bar, meets };
        println!("{}", row.line());
        self.rows.push(row);
    }
}

impl Row {
    fn line(&self) -> String {
        format!(
            "{:9} {:38} {:28} {:>10.1} {:>10.1} {} {:>7.2}x ±{:<5.2} {} {}",
            self.service,
            self.case,
            self.peer,
            self.ours,
            self.theirs,
            self.unit,
            self.ratio,
            self.spread / 2.0,
            if self.meets { "meets" } else { "FAILS" },
            self.bar,
        )
    }
}

fn judge(bar: Bar, unit: &str, ours: f64, theirs: f64, ratio: f64) -> (String, bool) {
    match bar {
        Bar::Ratio(least) => (format!("ratio >= {least}"), ratio >= least),
        Bar::Extra(most) => (format!("ours <= theirs + {most} {unit}"), ours <= theirs + most),
        Bar::Times(most) => (format!("ours <= {most} x theirs"), ours <= most * theirs),
        Bar::Short(most) => (format!("ours >= theirs - {most} {unit}"), ours >= theirs - most),
    }
}

async fn seconds(block: &mut impl AsyncFnMut()) -> f64 {
    let start = Instant::now();
    block().await;
    start.elapsed().as_secs_f64()
}

/// The time that passes, and the processor time of this process meanwhile.
async fn spent(block: &mut impl AsyncFnMut()) -> (f64, f64) {
    let (start, before) = (Instant::now(), processor_time());
    block().await;
    (start.elapsed().as_secs_f64(), processor_time() - before)
}

fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn median(values: &mut [f64]) -> f64 {
    quartile(values, 2)
}

fn quartile(values: &mut [f64], number: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = number * (values.len() - 1);
    let (low, high) = (values[at / 4], values[at.div_ceil(4)]);
    low + (high - low) * (at % 4) as f64 / 4.0
}

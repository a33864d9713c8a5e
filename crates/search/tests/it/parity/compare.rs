use std::fmt;

use statehouse_search::{Hit, SearchRequest, SearchResponse, Value};

/// Scores this close to each other, relative to them, count as equal.
const TOLERANCE: f32 = 1e-5;

/// How many answers of one kind of query were equal.
#[derive(Debug, Default)]
pub(super) struct Tally {
    runs: usize,
    totals: usize,
    order: usize,
    /// Equal in order without any tolerance.
    exact: usize,
    marks: usize,
    found: u64,
    example: Option<String>,
}

impl Tally {
    pub(super) fn add(&mut self, request: &SearchRequest, ours: &SearchResponse, theirs: &SearchResponse) {
        let total = |response: &SearchResponse| (response.total, response.relation);
        let totals = total(ours) == total(theirs) && counted(ours) == counted(theirs) && same_stats(ours, theirs);
        let exact = ours.ids() == theirs.ids();
        let order = exact || same_up_to_ties(&ours.hits, &theirs.hits);
        let marks = same_marks(&ours.hits, &theirs.hits);
        self.runs += 1;
        self.totals += usize::from(totals);
        self.order += usize::from(order);
        self.exact += usize::from(exact);
        self.marks += usize::from(marks);
        self.found += ours.total;
        if !(totals && order && marks) && self.example.is_none() {
            self.example = Some(describe(request, ours, theirs));
        }
    }

    pub(super) fn is_equal(&self) -> bool {
        // A kind that finds nothing would prove nothing.
        self.found > 0 && [self.totals, self.order, self.marks] == [self.runs; 3]
    }
}

/// Up to the order in which values were added up.
fn same_stats(ours: &SearchResponse, theirs: &SearchResponse) -> bool {
    let mut pairs = ours.stats.iter().zip(&theirs.stats);
    let same = pairs.all(|((field, a), (other, b))| field == other && a.is_close_to(b));
    ours.stats.len() == theirs.stats.len() && same
}

/// What was counted beside the hits: as words, for values show themselves to no log.
fn counted(response: &SearchResponse) -> Vec<String> {
    let shown = |value: &Value| match value {
        Value::Text(text) => text.clone(),
        Value::I64(number) | Value::Date(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::F64(number) => format!("{number:?}"),
        Value::Bool(truth) => truth.to_string(),
        other => format!("{other:?}"),
    };
    let facets = response.facets.iter().map(|(field, values)| {
        let values = values.iter().map(|found| format!("{} {}", shown(&found.value), found.count));
        format!("{field}: {}", values.collect::<Vec<_>>().join(", "))
    });
    let ranges = response
        .ranges
        .iter()
        .map(|(field, ranges)| format!("{field}: {:?}", ranges.iter().map(|found| found.count).collect::<Vec<_>>()));
    let histograms = response.histograms.iter().map(|(field, buckets)| {
        let buckets = buckets.iter().map(|bucket| format!("{} {}", shown(&bucket.key), bucket.count));
        format!("{field}: {}", buckets.collect::<Vec<_>>().join(", "))
    });
    facets.chain(ranges).chain(histograms).collect()
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, totals, order, exact, marks, found, example } = self;
        write!(f, "{runs:>5} {totals:>6} {order:>5} {exact:>6} {marks:>5} {found:>9}")?;
        example.as_ref().map_or(Ok(()), |example| write!(f, "\n    {example}"))
    }
}

/// Whether the lists are equal once hits that tie are ordered by id. A tie at the end may go on behind it, so the last
/// group need only score the same.
fn same_up_to_ties(ours: &[Hit], theirs: &[Hit]) -> bool {
    let (ours, theirs) = (groups(ours), groups(theirs));
    let same = |(at, (ours, theirs)): (usize, (&Group<'_>, &Group<'_>)), last: usize| {
        close(ours.score, theirs.score) && (ours.ids == theirs.ids || at == last)
    };
    let last = ours.len().saturating_sub(1);
    ours.len() == theirs.len() && ours.iter().zip(&theirs).enumerate().all(|pair| same(pair, last))
}

struct Group<'a> {
    score: Option<f32>,
    ids: Vec<&'a str>,
}

fn groups(hits: &[Hit]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for hit in hits {
        match groups.last_mut() {
            Some(group) if hit.score.is_some() && close(group.score, hit.score) => group.ids.push(hit.id().as_str()),
            _ => groups.push(Group { score: hit.score, ids: vec![hit.id().as_str()] }),
        }
    }
    groups.iter_mut().for_each(|group| group.ids.sort_unstable());
    groups
}

fn close(a: Option<f32>, b: Option<f32>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()),
        (a, b) => a == b,
    }
}

/// Whether what is marked, what is stored and what was sorted by are equal wherever both have the hit.
fn same_marks(ours: &[Hit], theirs: &[Hit]) -> bool {
    ours.iter().all(|hit| {
        let same = |other: &&Hit| other.id() == hit.id();
        theirs.iter().find(same).is_none_or(|other| {
            (&hit.highlights, &hit.record, &hit.sort) == (&other.highlights, &other.record, &other.sort)
        })
    })
}

fn describe(request: &SearchRequest, ours: &SearchResponse, theirs: &SearchResponse) -> String {
    let at = ours.ids().iter().zip(theirs.ids()).take_while(|(a, b)| **a == *b).count();
    let show = |response: &SearchResponse| {
        let hits = response.hits.iter().skip(at.saturating_sub(1)).take(4);
        let hits: Vec<_> = hits.map(|hit| format!("{} {:?} {:?}", hit.id(), hit.score, hit.sort)).collect();
        format!(
            "{} {:?} [{at}…] {} {:?}",
            response.total,
            response.relation,
            hits.join(", "),
            counted(response).join("; ") + &format!(" {:?}", response.stats)
        )
    };
    let marks = ours.hits.iter().find_map(|hit| {
        let other = theirs.hits.iter().find(|other| other.id() == hit.id())?;
        (hit.highlights != other.highlights || hit.record != other.record)
            .then(|| format!("{:?} {:?} / {:?} {:?}", hit.record, hit.highlights, other.record, other.highlights))
    });
    format!(
        "{:?} {:?}\n    ours   {}\n    theirs {}\n    {marks:?}",
        request.query,
        request.sort,
        show(ours),
        show(theirs)
    )
}

//! How often a phrase stands in a text when its terms may be moved.
//!
//! Follows the rules of Lucene's `SloppyPhraseMatcher`, on which both totals and scores depend: the term that is
//! furthest behind is moved on, a match counts `1 / (1 + distance)`, and terms that occur twice in the phrase never
//! stand on one position.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::work::Stop;

/// One term of the phrase in one document.
#[derive(Debug, Default)]
struct Runner {
    /// Its place in the phrase.
    offset: i64,
    /// Which repeated term it is, if it is one.
    group: Option<usize>,
    /// Which of the lists has its positions.
    list: usize,
    next: usize,
    /// Where the phrase would begin if it stood here.
    start: i64,
    waiting: bool,
}

/// Counts the matches of one phrase, document by document.
#[derive(Debug)]
pub(super) struct Sloppy {
    slop: i64,
    runners: Vec<Runner>,
    /// The positions of each term that is not like an earlier one, ascending.
    lists: Vec<Vec<u32>>,
    /// The runners of each repeated term, and of those that are tied to each other by having one in common, in the order of the
    /// phrase.
    groups: Vec<Vec<usize>>,
    /// Whether one of those stands for several terms: then twins may begin on different positions.
    alternatives: bool,
    /// The rightmost start of all runners.
    end: i64,
    stop: Stop,
}

impl Sloppy {
    /// A phrase of places, with the term that stands at each or the several of which any may.
    pub(super) fn new(slop: u32, places: &[(u32, &[&str])], stop: Stop) -> Self {
        let (mut runners, mut lists) = (Vec::new(), 0);
        let mut known: HashMap<&str, usize> = HashMap::new();
        for (offset, terms) in places {
            let list = match *terms {
                [term] => *known.entry(term).or_insert(lists),
                _ => lists,
            };
            lists = lists.max(list + 1);
            runners.push(Runner { offset: i64::from(*offset), list, ..Runner::default() });
        }
        let groups = groups_of(places);
        for (group, twins) in groups.iter().enumerate() {
            twins.iter().for_each(|at| runners[*at].group = Some(group));
        }
        let alternatives = groups.iter().flatten().any(|at| places[*at].1.len() > 1);
        let lists = vec![Vec::new(); lists];
        Self { slop: i64::from(slop), runners, lists, groups, alternatives, end: 0, stop }
    }

    /// Where the positions at a place of the phrase go; ascending. Places are counted without those of one term that is at an
    /// earlier one too.
    pub(super) fn positions_mut(&mut self, term: usize) -> &mut Vec<u32> {
        &mut self.lists[term]
    }

    /// How often the phrase stands in the document, each match weighted by how close its terms are.
    pub(super) fn frequency(&mut self) -> f32 {
        let mut frequency = 0.0;
        if self.place() {
            while let Some((length, last)) = self.next_match() {
                if length <= self.slop {
                    #[expect(clippy::cast_precision_loss, reason = "lengths of matches are small")]
                    let weight = 1.0 / (1.0 + length as f32);
                    frequency += weight;
                }
                if last == Last::Yes {
                    break;
                }
            }
        }
        frequency
    }

    /// Puts every runner on its first position, twins on different ones.
    fn place(&mut self) -> bool {
        for at in 0..self.runners.len() {
            self.runners[at].next = 0;
            if !self.step(at) {
                return false;
            }
        }
        for group in 0..self.groups.len() {
            let is_placed = if self.alternatives { self.keep_apart(group) } else { self.spread(group) };
            if !is_placed {
                return false;
            }
        }
        self.end = self.runners.iter().map(|runner| runner.start).max().unwrap_or_default();
        for runner in &mut self.runners {
            runner.waiting = true;
        }
        true
    }

    /// Puts the twins of one term on one position after another.
    fn spread(&mut self, group: usize) -> bool {
        for rank in 1..self.groups[group].len() {
            for _ in 0..rank {
                if !self.step(self.groups[group][rank]) {
                    return false;
                }
            }
        }
        true
    }

    /// Moves twins apart that may, but need not, stand on one position: always the one that is later in the phrase.
    fn keep_apart(&mut self, group: usize) -> bool {
        for rank in 0..self.groups[group].len() {
            let at = self.groups[group][rank];
            while let Some(twin) = self.collision(group, at) {
                if !self.step(self.lesser(at, twin)) {
                    return false;
                }
            }
        }
        true
    }

    /// Which of two runners is behind; of two on one position the later one of the phrase.
    fn lesser(&self, at: usize, twin: usize) -> usize {
        let (a, b) = (&self.runners[at], &self.runners[twin]);
        if (a.start, a.offset) < (b.start, b.offset) { at } else { twin }
    }

    /// Moves a runner to its next position. Says whether there is one, and somebody still waits for the answer.
    fn step(&mut self, at: usize) -> bool {
        if self.stop.is_set() {
            return false;
        }
        let runner = &mut self.runners[at];
        let Some(position) = self.lists[runner.list].get(runner.next) else { return false };
        runner.start = i64::from(*position) - runner.offset;
        runner.next += 1;
        true
    }

    fn advance(&mut self, at: usize) -> bool {
        let moved = self.step(at);
        if moved {
            self.end = self.end.max(self.runners[at].start);
        }
        moved
    }

    /// The waiting runner that is furthest behind.
    fn first(&self) -> Option<usize> {
        let waiting = self.runners.iter().enumerate().filter(|(_, runner)| runner.waiting);
        waiting.min_by_key(|(at, runner)| (runner.start, runner.offset, *at)).map(|(at, _)| at)
    }

    fn pop(&mut self) -> Option<usize> {
        let at = self.first()?;
        self.runners[at].waiting = false;
        Some(at)
    }

    /// The length of the next match, or of what was left when a runner ran out.
    fn next_match(&mut self) -> Option<(i64, Last)> {
        let mut at = self.pop()?;
        let mut next = self.runners[self.first()?].start;
        let mut length = self.end - self.runners[at].start;
        while self.advance(at) && self.separate_twins(at) {
            if self.runners[at].start > next {
                self.runners[at].waiting = true;
                if length <= self.slop {
                    return Some((length, Last::No));
                }
                at = self.pop()?;
                next = self.runners[self.first()?].start;
                length = self.end - self.runners[at].start;
            } else {
                length = length.min(self.end - self.runners[at].start);
            }
        }
        Some((length, Last::Yes))
    }

    /// Moves twins apart that the last step put on one position. Says whether there was room.
    fn separate_twins(&mut self, moved: usize) -> bool {
        let Some(group) = self.runners[moved].group else { return true };
        let mut at = moved;
        while let Some(twin) = self.collision(group, at) {
            at = self.lesser(at, twin);
            if !self.advance(at) {
                return false;
            }
        }
        true
    }

    fn collision(&self, group: usize, at: usize) -> Option<usize> {
        let position = |at: usize| self.runners[at].start + self.runners[at].offset;
        self.groups[group].iter().copied().find(|twin| *twin != at && position(*twin) == position(at))
    }
}

/// The places that have a term in common, and those that are tied to them by another one; each in order. Alone is none.
fn groups_of(places: &[(u32, &[&str])]) -> Vec<Vec<usize>> {
    // Each group is named by one of its places.
    let mut names: Vec<usize> = Vec::with_capacity(places.len());
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (at, (offset, terms)) in places.iter().enumerate() {
        let tied = terms.iter().filter_map(|term| first.get(term)).filter(|other| places[**other].0 != *offset);
        let tied: BTreeSet<usize> = tied.map(|other| names[*other]).collect();
        let name = tied.first().copied().unwrap_or(at);
        if tied.len() > 1 {
            names.iter_mut().filter(|other| tied.contains(other)).for_each(|other| *other = name);
        }
        names.push(name);
        for term in *terms {
            first.entry(term).or_insert(at);
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    names.into_iter().enumerate().for_each(|(at, name)| groups.entry(name).or_default().push(at));
    let mut groups: Vec<_> = groups.into_values().filter(|group| group.len() > 1).collect();
    groups.iter_mut().for_each(|group| group.sort_by_key(|at| places[*at].0));
    groups
}

/// Whether no match can follow.
#[derive(Debug, PartialEq)]
enum Last {
    Yes,
    No,
}

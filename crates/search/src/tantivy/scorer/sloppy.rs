//! How often a phrase stands in a text when its terms may be moved.
//!
//! Follows the rules of Lucene's `SloppyPhraseMatcher`, on which both totals and scores depend: the term that is
//! furthest behind is moved on, a match counts `1 / (1 + distance)`, and terms that occur twice in the phrase never
//! stand on one position.

use std::collections::HashMap;

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
    /// The runners of each repeated term, in the order of the phrase.
    groups: Vec<Vec<usize>>,
    /// The rightmost start of all runners.
    end: i64,
    stop: Stop,
}

impl Sloppy {
    /// A phrase of terms, each with its place in it.
    pub(super) fn new(slop: u32, terms: &[(u32, &str)], stop: Stop) -> Self {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut runners = Vec::new();
        let mut known: HashMap<&str, (usize, usize)> = HashMap::new();
        for (at, (offset, term)) in terms.iter().enumerate() {
            let count = known.len();
            let (list, first) = *known.entry(term).or_insert((count, at));
            let twin = (first != at && terms[first].0 != *offset).then_some(first);
            runners.push(Runner { offset: i64::from(*offset), list, ..Runner::default() });
            if let Some(twin) = twin {
                let group = *runners[twin].group.get_or_insert_with(|| {
                    groups.push(vec![twin]);
                    groups.len() - 1
                });
                runners[at].group = Some(group);
                groups[group].push(at);
            }
        }
        for group in &mut groups {
            group.sort_by_key(|at| runners[*at].offset);
        }
        let lists = vec![Vec::new(); known.len()];
        Self { slop: i64::from(slop), runners, lists, groups, end: 0, stop }
    }

    /// Where the positions of a term in the document go; ascending. Terms are counted without those that are like an
    /// earlier one.
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
            for rank in 1..self.groups[group].len() {
                for _ in 0..rank {
                    if !self.step(self.groups[group][rank]) {
                        return false;
                    }
                }
            }
        }
        self.end = self.runners.iter().map(|runner| runner.start).max().unwrap_or_default();
        for runner in &mut self.runners {
            runner.waiting = true;
        }
        true
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
            let (a, b) = (&self.runners[at], &self.runners[twin]);
            if (a.start, a.offset) >= (b.start, b.offset) {
                at = twin;
            }
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

/// Whether no match can follow.
#[derive(Debug, PartialEq)]
enum Last {
    Yes,
    No,
}

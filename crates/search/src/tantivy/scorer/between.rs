use std::ops::RangeInclusive;

use tantivy::columnar::{Cardinality, Column};
use tantivy::{DocId, DocSet, SeekDangerResult, TERMINATED};

use super::batch::Stretch;
use crate::tantivy::numbers::BLOCK;
use crate::work::Stop;

/// How many documents are looked at together: few behind a jump, ever more where none was made, as long as what is found
/// stays in the processor's first cache.
const FEW: u32 = 128;
const MANY: u32 = 1 << 12;

/// Documents that have a number in a range, read from the column of the field.
pub(crate) struct Between {
    column: Column<u64>,
    range: RangeInclusive<u64>,
    /// Those that were found and not left behind, from `at` on.
    found: Vec<DocId>,
    at: usize,
    /// The first document that was not looked at.
    next: DocId,
    window: u32,
    stop: Stop,
}

impl Between {
    pub(crate) fn new(column: Column<u64>, range: RangeInclusive<u64>, stop: Stop) -> Self {
        let mut between = Self { column, range, found: Vec::new(), at: 0, next: 0, window: FEW, stop };
        if *between.range.start() > between.column.max_value() || *between.range.end() < between.column.min_value() {
            between.next = between.column.num_docs();
        }
        between.fill();
        between
    }

    /// How many documents have a number in a range, as if the numbers were spread evenly; never so few that reading the
    /// column would count for nothing.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate between 0 and the number of documents"
    )]
    pub(crate) fn estimate(column: &Column<u64>, range: &RangeInclusive<u64>) -> u32 {
        let (least, most) = (column.min_value(), column.max_value());
        let (low, high) = (least.max(*range.start()), most.min(*range.end()));
        let documents = column.num_docs();
        if low > high {
            return 0;
        }
        let share = ((high - low) as f64 + 1.0) / ((most - least) as f64 + 1.0);
        ((f64::from(documents) * share) as u32).max(documents / 16)
    }

    /// Looks at windows until one has a match.
    fn fill(&mut self) {
        self.found.clear();
        self.at = 0;
        let documents = self.column.num_docs();
        while self.found.is_empty() && self.next < documents && !self.stop.is_set() {
            let window = self.next..self.next.saturating_add(self.window).min(documents);
            self.next = window.end;
            self.window = (2 * self.window).min(MANY);
            self.column.get_docids_for_value_range(self.range.clone(), window, &mut self.found);
            if self.column.get_cardinality() == Cardinality::Multivalued {
                self.found.dedup();
            }
        }
    }

    fn has(&self, doc: DocId) -> bool {
        doc < self.column.num_docs() && self.column.values_for_doc(doc).any(|value| self.range.contains(&value))
    }
}

impl DocSet for Between {
    fn advance(&mut self) -> DocId {
        self.at += 1;
        if self.at >= self.found.len() {
            self.fill();
        }
        self.doc()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        let left = self.found.get(self.at..).unwrap_or_default();
        self.at += left.partition_point(|doc| *doc < target);
        if self.at >= self.found.len() {
            if target > self.next {
                (self.next, self.window) = (target, FEW);
            }
            self.fill();
        }
        self.doc()
    }

    /// Looks at one document instead of looking for the next match.
    fn seek_danger(&mut self, target: DocId) -> SeekDangerResult {
        match self.doc() {
            doc if doc == target && target < TERMINATED => SeekDangerResult::Found,
            doc if doc > target && doc < TERMINATED => SeekDangerResult::SeekLowerBound(doc),
            _ if target >= self.column.num_docs() => SeekDangerResult::SeekLowerBound(TERMINATED),
            _ => {
                let has = self.has(target);
                self.found.clear();
                self.found.extend(has.then_some(target));
                (self.at, self.next, self.window) = (0, target + 1, FEW);
                if has { SeekDangerResult::Found } else { SeekDangerResult::SeekLowerBound(target + 1) }
            }
        }
    }

    fn doc(&self) -> DocId {
        self.found.get(self.at).copied().unwrap_or(TERMINATED)
    }

    fn size_hint(&self) -> u32 {
        Self::estimate(&self.column, &self.range)
    }
}

impl Stretch for Between {
    fn pass(&mut self, end: DocId, each: &mut dyn FnMut(&[DocId])) -> u64 {
        let mut passed = 0;
        while self.doc() < end {
            let left = self.found.get(self.at..).unwrap_or_default();
            let now = left.partition_point(|doc| *doc < end);
            left[..now].chunks(BLOCK).for_each(&mut *each);
            passed += now as u64;
            self.at += now;
            if self.at >= self.found.len() {
                self.fill();
            }
        }
        passed
    }
}

//! When segments are merged: as tantivy does it, and where many of a segment's documents were deleted, which tantivy
//! leaves as they are.

use std::collections::HashSet;

use tantivy::index::{SegmentId, SegmentMeta};
use tantivy::merge_policy::{LogMergePolicy, MergeCandidate, MergePolicy};

/// Rewrites a segment of which more than a quarter was deleted, whatever its size and however few others there are.
#[derive(Debug, Default)]
pub(super) struct Reclaiming(LogMergePolicy);

impl MergePolicy for Reclaiming {
    fn compute_merge_candidates(&self, segments: &[SegmentMeta]) -> Vec<MergeCandidate> {
        let mut candidates = self.0.compute_merge_candidates(segments);
        let merged: HashSet<SegmentId> = candidates.iter().flat_map(|candidate| &candidate.0).copied().collect();
        let worn = segments.iter().filter(|segment| is_worn(segment.num_deleted_docs(), segment.max_doc()));
        let alone = worn.map(SegmentMeta::id).filter(|id| !merged.contains(id));
        candidates.extend(alone.map(|id| MergeCandidate(vec![id])));
        candidates
    }
}

/// As the `deletes_pct_allowed` of Lucene's policy, which is 20 to 33 depending on its release.
const fn is_worn(deleted: u32, documents: u32) -> bool {
    deleted > documents / 4
}

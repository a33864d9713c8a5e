//! Pages that go on past what something else has written.

use serde_json::Value as Json;

use crate::{End, Hit, HitPage, SearchRequest};

/// How a page is asked for, past what something else has written.
///
/// The server knows a place by its sort keys alone, and documents of something else may have the same ones: without an id of
/// ours, or with a copy of it. Behind one of these it passes by all of them, and by ours whose id was copied. So they are
/// passed by only where all of them are on the page.
#[derive(Clone, Debug)]
pub(super) struct Onward {
    /// In the server's own words; where the request begins if none.
    place: Option<Json>,
    size: u64,
    /// How many were passed by so far.
    passed: u64,
}

impl Onward {
    pub(super) const fn new(place: Option<Json>, size: u64) -> Self {
        Self { place, size, passed: 0 }
    }

    /// How many are asked for: as many as the page has, or more.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn write(&self, body: &mut Json) {
        body["size"] = self.size.into();
        if let Some(place) = &self.place {
            body["search_after"] = place.clone();
        }
    }

    /// Whether a page is to be asked for anew, for there is none of ours on it and may be some behind it.
    pub(super) fn passes(&mut self, found: &[Option<Hit>], sorts: &[&[Json]]) -> bool {
        let Some(last) = sorts.last() else { return false };
        if !self.is_full(found) || found.iter().any(Option::is_some) {
            return false;
        }
        let passed = match sorts.iter().rposition(|sort| sort != last) {
            Some(before) => before + 1,
            None if self.size < SearchRequest::MAX_WINDOW => {
                self.size = (2 * self.size).min(SearchRequest::MAX_WINDOW);
                return true;
            }
            // So many of one place are more than the server lets anybody tell apart.
            None => sorts.len(),
        };
        self.passed += passed as u64;
        self.place = Some(sorts[passed - 1].to_vec().into());
        true
    }

    /// The first so many of ours, and how many of something else were left out before the last of them.
    ///
    /// What is behind it is asked for again behind it, but for what has the same place to the server.
    pub(super) fn page(&self, mut found: Vec<Option<Hit>>, sorts: &[&[Json]], size: u64) -> HitPage {
        let full = self.is_full(&found);
        if full {
            let last = found.iter().rposition(Option::is_some).unwrap_or_default();
            let tied = sorts[last..].iter().take_while(|sort| **sort == sorts[last]).count();
            found.truncate(last + tied);
        }
        let ours = found.iter().flatten().count() as u64;
        let (hits, skipped) = self.ours(found, size);
        HitPage { hits, skipped, end: if full || ours > size { End::Ahead } else { End::Reached } }
    }

    /// The first so many of ours, and how many of something else are among these. On a page that was asked for wider there may be
    /// more.
    pub(super) fn ours(&self, found: Vec<Option<Hit>>, size: u64) -> (Vec<Hit>, u64) {
        let (mut hits, mut skipped) = (Vec::new(), self.passed);
        for hit in found {
            match hit {
                Some(_) if hits.len() as u64 == size => break,
                Some(hit) => hits.push(hit),
                None => skipped += 1,
            }
        }
        (hits, skipped)
    }

    fn is_full(&self, found: &[Option<Hit>]) -> bool {
        found.len() as u64 == self.size
    }
}

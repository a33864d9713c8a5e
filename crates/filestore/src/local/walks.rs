//! What is kept of listings between two pages.

use std::sync::{Mutex, PoisonError};

use statehouse_core::Result;

use super::folder::Folder;
use crate::digest::{hex, nonce};
use crate::options::{Depth, ListOptions, PageToken, Start};

/// How many walks are kept, and how many bytes of names they may hold together.
const MAX_WALKS: usize = 64;
const MAX_BYTES: usize = 32 << 20;

/// What a token begins with that has a walk: this, an identity of 16 digits, and then the token of the page.
const WALK: char = 'w';

/// A listing under way: the directories that it is in, the innermost last.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) folders: Vec<Folder>,
    pub(super) skipped: u64,
}

/// Walks between two pages.
#[derive(Debug, Default)]
pub(super) struct Walks(Mutex<Vec<Kept>>);

#[derive(Debug)]
struct Kept {
    token: String,
    prefix: String,
    depth: Depth,
    walk: Walk,
}

/// The token that the page itself understands.
pub(super) fn without_walk(start: &Start) -> Start {
    if let Start::Token(token) = start
        && let Some((_, rest)) = token.as_str().strip_prefix(WALK).and_then(|token| token.split_at_checked(16))
    {
        return Start::Token(PageToken::new(rest));
    }
    start.clone()
}

impl Walks {
    /// The walk that a token was given out for, if it is still there.
    pub(super) fn take(&self, options: &ListOptions) -> Option<Walk> {
        let Start::Token(token) = &options.start else { return None };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found =
            |kept: &Kept| kept.token == token.as_str() && kept.prefix == options.prefix && kept.depth == options.depth;
        let at = kept.iter().position(found)?;
        let mut walk = kept.remove(at).walk;
        walk.skipped = 0;
        Some(walk)
    }

    /// Puts a walk aside, and gives the token under which it is found.
    pub(super) fn keep(&self, token: &PageToken, options: &ListOptions, walk: Walk) -> Result<PageToken> {
        let token = format!("{WALK}{}{}", hex(&nonce()?[..8]), token.as_str());
        let (prefix, depth) = (options.prefix.clone(), options.depth);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(Kept { token: token.clone(), prefix, depth, walk });
        let mut bytes: usize = kept.iter().map(|kept| kept.walk.bytes()).sum();
        while kept.len() > MAX_WALKS || (bytes > MAX_BYTES && kept.len() > 1) {
            bytes -= kept.remove(0).walk.bytes();
        }
        Ok(PageToken::new(token))
    }
}

impl Walk {
    fn bytes(&self) -> usize {
        self.folders.iter().map(Folder::bytes).sum()
    }
}

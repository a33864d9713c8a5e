//! What an index holds, without reading it again: what was read once, with what came and went since.

use crate::{Digest, DocumentId};

/// What came and went since the index was opened. Sums and differences are modulo 2⁶⁴.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    came: Digest,
    went: Digest,
    /// How often it was lost, as by a commit that may have come as far as the disk or not.
    lost: u64,
}

/// What was read, and what was counted then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) digest: Digest,
    pub(super) then: Counted,
}

impl Counted {
    /// A document of this version takes the place of what was there.
    pub(super) fn change(&mut self, id: &DocumentId, before: Option<u64>, after: Option<u64>) {
        for (sum, version) in [(&mut self.went, before), (&mut self.came, after)] {
            if let Some(version) = version {
                *sum = plus(*sum, Digest::of(id.as_str(), version));
            }
        }
    }

    pub(super) const fn lose(&mut self) {
        self.lost += 1;
    }

    /// What is held now; `None` if it has to be read again.
    pub(super) fn since(&self, Taken { digest, then }: &Taken) -> Option<Digest> {
        let (came, went) = (minus(self.came, then.came), minus(self.went, then.went));
        let now = minus(plus(*digest, came), went);
        (self.lost == then.lost).then_some(now)
    }
}

fn plus(one: Digest, other: Digest) -> Digest {
    let mut sum = one;
    sum.documents = one.documents.wrapping_add(other.documents);
    sum.checksum = one.checksum.wrapping_add(other.checksum);
    sum
}

fn minus(one: Digest, other: Digest) -> Digest {
    let mut difference = one;
    difference.documents = one.documents.wrapping_sub(other.documents);
    difference.checksum = one.checksum.wrapping_sub(other.checksum);
    difference
}

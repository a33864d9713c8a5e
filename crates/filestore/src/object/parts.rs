//! Cutting a stream into parts, however small or large its pieces are.

use std::mem::take;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use statehouse_core::Result;

use super::client::Limits;
use super::room::Share;
use crate::blocking::blocking;
use crate::body::next_piece;
use crate::digest::Digest;
use crate::digest::{Intake, Received};

/// From what length on content is hashed on a thread where it may take its time.
const LONG: usize = 256 << 10;

/// Shorter pieces are copied together: each piece that is kept costs some 100 bytes of its own, and may be a small
/// part of a large buffer that it keeps alive.
const SMALL: usize = 16 << 10;

/// How much small pieces are copied into at a time.
const BLOCK: usize = 64 << 10;

/// How many parts have the first length where the content's is unknown; then they become longer. Some servers want all
/// parts alike, and would not take more than these either.
const ALIKE: u32 = 5000;

/// After how many parts they double.
const DOUBLING: u32 = 1000;

/// Content that goes out in one request, and its share of the store's memory.
#[derive(Debug, Default)]
pub(super) struct Part {
    pieces: Vec<Bytes>,
    len: u64,
    share: Share,
}

impl Part {
    pub(super) fn into_pieces(self) -> (Vec<Bytes>, Share) {
        (self.pieces, self.share)
    }

    /// Takes it into account as the whole content.
    pub(super) async fn hash_all(self, intake: Intake) -> Result<(Intake, Self)> {
        hash(intake, &self.pieces).await.map(|intake| (intake, self))
    }

    /// The part's own SHA-256, which its signature needs; and the whole content's goes on.
    pub(super) async fn hash(self, intake: &mut Intake, whole: bool) -> Result<(Self, Digest)> {
        let mut running = take(intake);
        let work = move || {
            use sha2::Digest as _;
            let mut own = sha2::Sha256::new();
            for piece in &self.pieces {
                own.update(piece);
                if whole {
                    running.update(piece)?;
                }
            }
            Ok((self, running, Digest::from_bytes(own.finalize().into())))
        };
        let (part, running, digest) = blocking(work).await?;
        *intake = running;
        Ok((part, digest))
    }
}

/// Takes content into account.
pub(super) async fn hash(mut intake: Intake, pieces: &[Bytes]) -> Result<Intake> {
    let mut work = {
        let pieces = pieces.to_vec();
        move || pieces.iter().try_for_each(|piece| intake.update(piece)).map(|()| take(&mut intake))
    };
    if pieces.iter().map(Bytes::len).sum::<usize>() < LONG { work() } else { blocking(work).await }
}

/// Cuts a stream into parts.
pub(super) struct Parts<'a> {
    stream: Option<BoxStream<'static, Result<Bytes>>>,
    /// What came behind the end of the last part.
    held: Bytes,
    count: u32,
    len: u64,
    part_size: u64,
    limits: Option<&'a Limits>,
    pub(super) intake: Intake,
    known: Option<Received>,
}

impl<'a> Parts<'a> {
    pub(super) const fn new(
        stream: BoxStream<'static, Result<Bytes>>,
        part_size: u64,
        limits: &'a Limits,
        intake: Intake,
    ) -> Self {
        Self {
            stream: Some(stream),
            held: Bytes::new(),
            count: 0,
            len: 0,
            part_size,
            limits: Some(limits),
            intake,
            known: None,
        }
    }

    /// Content that is in memory as a whole.
    pub(super) fn whole(content: Bytes, part_size: u64, received: Received) -> Self {
        let (intake, known) = (Intake::default(), Some(received));
        Self { stream: None, held: content, count: 0, len: 0, part_size, limits: None, intake, known }
    }

    /// What all of it was, if that is what was promised.
    pub(super) fn finish(self) -> Result<Received> {
        self.known.map_or_else(|| self.intake.finish(), Ok)
    }

    /// Whether the content has been hashed before.
    pub(super) const fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// Whether there is no further part.
    pub(super) const fn is_at_end(&self) -> bool {
        self.stream.is_none() && self.held.is_empty()
    }

    fn next_size(&self) -> u64 {
        let Some(limits) = self.limits else { return self.part_size };
        let doublings = self.count.saturating_sub(ALIKE).div_ceil(DOUBLING);
        let longer = self.part_size.saturating_mul(1 << doublings.min(20));
        longer.min(limits.room.longest).max(self.part_size)
    }

    /// The next part; none at the end. At the end the stream is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Part>> {
        let size = self.next_size();
        self.count += 1;
        let mut filling = Filling { part: Part::default(), block: BytesMut::new() };
        loop {
            let left = usize::try_from(size - filling.part.len).unwrap_or(usize::MAX);
            let piece = self.held.split_to(self.held.len().min(left));
            if let Some(limits) = self.limits {
                let len = filling.part.len + piece.len() as u64;
                limits.room.grow(&mut filling.part.share, len, limits.body_timeout).await?;
            }
            filling.take(piece);
            if filling.part.len == size {
                break;
            }
            match self.piece(&filling.part.share).await? {
                Some(piece) => self.held = piece,
                None => break,
            }
        }
        // Whether there is more than one decides how the first is sent; the others wait for nothing.
        while self.count == 1 && self.held.is_empty() && self.stream.is_some() {
            self.held = self.piece(&filling.part.share).await?.unwrap_or_default();
        }
        Ok(Some(filling.finish()).filter(|part| part.len > 0))
    }

    /// The next piece of the stream, whose silence is bounded.
    async fn piece(&mut self, share: &Share) -> Result<Option<Bytes>> {
        let (Some(stream), Some(limits)) = (&mut self.stream, self.limits) else { return Ok(None) };
        let Some(piece) = share.wait_for(next_piece(stream, limits.body_timeout)).await? else {
            self.stream = None;
            return Ok(None);
        };
        self.len += piece.len() as u64;
        self.intake.check_len(self.len)?;
        Ok(Some(piece))
    }
}

/// A part that is being filled.
struct Filling {
    part: Part,
    block: BytesMut,
}

impl Filling {
    fn take(&mut self, piece: Bytes) {
        self.part.len += piece.len() as u64;
        if piece.len() >= SMALL {
            self.end_block();
            self.part.pieces.push(piece);
            return;
        }
        if self.block.len() + piece.len() > self.block.capacity() {
            self.end_block();
            self.block.reserve(BLOCK);
        }
        self.block.extend_from_slice(&piece);
    }

    fn end_block(&mut self) {
        if self.block.len() * 2 < self.block.capacity() {
            // Mostly empty, it would waste more than a copy costs.
            self.part.pieces.extend((!self.block.is_empty()).then(|| Bytes::copy_from_slice(&self.block)));
            self.block.clear();
        } else if !self.block.is_empty() {
            self.part.pieces.push(take(&mut self.block).freeze());
        }
    }

    fn finish(mut self) -> Part {
        self.end_block();
        self.part
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt as _;
    use futures_util::future::{Either, join_all, select};
    use futures_util::stream::{iter, repeat, unfold};
    use tokio::time::sleep;

    use statehouse_core::Error;

    use super::*;
    use crate::object::room::Room;

    /// Most of a part at once, and then a byte each second.
    fn trickling() -> BoxStream<'static, Result<Bytes>> {
        let bytes = unfold((), |()| async {
            sleep(Duration::from_secs(1)).await;
            Some((Ok(Bytes::from_static(b"x")), ()))
        });
        iter([Ok(vec![7; 4 << 20].into())]).chain(bytes).boxed()
    }

    /// Servers take 10,000 parts, and how much comes is not known when the first leave.
    #[tokio::test]
    async fn parts_of_what_does_not_end_become_longer() {
        let patience = Duration::from_secs(300);
        let room = Room::new(256 << 10);
        let longest = room.longest;
        let limits =
            Limits { part_size: 4, copy_limit: 4, timeout: patience, body_timeout: patience, read_limit: None, room };
        let endless = repeat(Bytes::from_static(&[7; 64 << 10])).map(Ok).boxed();
        let mut parts = Parts::new(endless, 4, &limits, Intake::default());
        let mut lengths = Vec::new();
        while lengths.len() < 10_000 {
            lengths.push(parts.next().await.unwrap().unwrap().len);
        }
        for (part, len) in [(0, 4), (5_000, 4), (5_001, 8), (6_000, 8), (6_001, 16), (7_001, 32), (9_999, 128)] {
            assert_eq!(lengths[part], len, "part {part}");
        }
        assert!(lengths.is_sorted() && lengths.iter().all(|len| *len <= longest));
        // What the documentation says of the sizes of the default.
        let all: u64 = lengths.iter().map(|len| (len / 4 * (8 << 20)).min(64 << 20)).sum();
        assert_eq!(all >> 30, 273);
    }

    #[tokio::test(start_paused = true)]
    async fn uploads_that_trickle_do_not_keep_others_out() {
        let patience = Duration::from_secs(300);
        let limits = Limits {
            part_size: 5 << 20,
            copy_limit: 5 << 20,
            timeout: patience,
            body_timeout: patience,
            read_limit: None,
            room: Room::new(20 << 20),
        };
        let parts = |stream| Parts::new(stream, limits.part_size, &limits, Intake::default());
        let slow = join_all((0..4).map(|_| async { parts(trickling()).next().await.map(drop) }));
        let quick = async {
            sleep(patience * 10).await;
            let mut parts = parts(repeat(Bytes::from_static(&[7; 64 << 10])).take(192).map(Ok).boxed());
            let mut lengths = Vec::new();
            while let Some(part) = parts.next().await? {
                lengths.push(part.len);
            }
            Ok::<_, Error>(lengths)
        };
        let Either::Left((lengths, _)) = select(Box::pin(quick), Box::pin(slow)).await else {
            panic!("all that trickle were ended, and only some had to be");
        };
        assert_eq!(lengths.unwrap(), [5 << 20, 5 << 20, 2 << 20]);
    }
}

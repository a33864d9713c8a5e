/// Whether sending the same request twice has the effect of sending it once.
///
/// `SET`, `DEL` and reads are idempotent; `INCR`, `XADD`, `SET … NX` and a script that compares versions are not: the
/// second time they answer differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Idempotence {
    /// It is sent again if its answer was lost.
    Idempotent,
    /// If its answer was lost, the error is [`OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown).
    NotIdempotent,
}

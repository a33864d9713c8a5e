/// Whether scores are wanted, or only which documents match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scoring {
    On,
    Off,
}

//! The space of a folder of sessions.

/// What the session files take up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) files: usize,
    pub(super) bytes: u64,
}

/// What a file of this length takes up: disks give out whole blocks.
pub(super) fn blocks(len: u64) -> u64 {
    const BLOCK: u64 = 4096;
    len.div_ceil(BLOCK).max(1) * BLOCK
}

/// What a file needs that is to be written.
#[derive(Clone, Copy, Default)]
pub(super) struct Room {
    pub(super) files: usize,
    pub(super) bytes: u64,
    /// What those leave that end for it.
    pub(super) left: Used,
}

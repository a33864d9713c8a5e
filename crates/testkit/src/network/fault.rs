use std::time::Duration;

use super::subject::Effect;
use crate::{Direction, FaultProxy, RedisServer};

/// What becomes of the network between a client and its server, or of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkFault {
    /// Connections are reset, and new ones are refused.
    Cut,
    /// Nothing passes.
    BlackHole,
    /// Nothing reaches the server.
    RequestsLost,
    /// Everything is done and no answer comes.
    AnswersLost,
    /// Each connection ends in the middle of an answer.
    AnswersTruncated,
    /// Each request ends in the middle.
    RequestsTruncated,
    /// The server is stopped: it takes connections and says nothing.
    ServerPaused,
    /// Answers come late, and in time.
    AnswersLate,
    /// A long and narrow way there and back.
    Slow,
    /// A thousand bytes a second there and back.
    Throttled,
}

/// For a client of which no call ends because the machine is busy or the way is slow.
pub(super) const PATIENT: &str = "?connect_timeout=20s&timeout=20s&deadline=40s";
const PATIENCE: u64 = 40;

const OK: &str = "ok";

impl NetworkFault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Cut,
        Self::BlackHole,
        Self::RequestsLost,
        Self::AnswersLost,
        Self::AnswersTruncated,
        Self::RequestsTruncated,
        Self::ServerPaused,
        Self::AnswersLate,
        Self::Slow,
        Self::Throttled,
    ];

    pub(super) fn begin(self, proxy: &FaultProxy, server: Option<&RedisServer>) {
        let both = [Direction::ToServer, Direction::ToClient];
        match self {
            Self::Cut => proxy.cut(),
            Self::BlackHole => proxy.black_hole(),
            Self::RequestsLost => proxy.black_hole_way(Direction::ToServer),
            Self::AnswersLost => proxy.black_hole_way(Direction::ToClient),
            Self::AnswersTruncated => proxy.truncate(Direction::ToClient, 2),
            Self::RequestsTruncated => proxy.truncate(Direction::ToServer, 10),
            Self::ServerPaused => server.expect("a server of its own").pause(),
            Self::AnswersLate => proxy.delay(Direction::ToClient, Duration::from_millis(300)),
            Self::Slow => both.into_iter().for_each(|way| {
                proxy.delay(way, Duration::from_millis(60));
                proxy.limit(way, 50_000);
            }),
            Self::Throttled => both.into_iter().for_each(|way| proxy.limit(way, 1000)),
        }
    }

    /// Whether the fault is the server's, so that it is one that nobody else uses.
    pub(super) const fn is_of_the_server(self) -> bool {
        matches!(self, Self::ServerPaused)
    }

    /// Whether a verb succeeds in spite of it, however late on a busy machine. At a thousand bytes a second, 64 KiB do not.
    pub(super) const fn is_passable(self, large: bool) -> bool {
        match self {
            Self::AnswersLate | Self::Slow => true,
            Self::Throttled => !large,
            _ => false,
        }
    }

    /// Whether no answer comes to anything.
    pub(super) const fn is_silence(self) -> bool {
        !self.is_passable(false)
    }

    /// Parameters of a client for which that holds.
    pub(super) const fn parameters(self, large: bool) -> &'static str {
        if self.is_passable(large) { PATIENT } else { "" }
    }

    /// After how many seconds a verb is over that is so after `deadline` where the URL sets nothing.
    pub(super) const fn deadline(self, large: bool, deadline: u64) -> u64 {
        if self.is_passable(large) { PATIENCE } else { deadline }
    }

    /// What may become of a verb: it is done, or its error has one of these kinds.
    pub(super) const fn allows(self, effect: Effect, large: bool) -> &'static [&'static str] {
        match effect {
            Effect::Endures => &[OK],
            _ if self.is_passable(large) => &[OK],
            Effect::Reads => &["unavailable", "timeout"],
            Effect::Writes => &["unavailable", "timeout", "outcome_unknown"],
            Effect::Hears => &[OK, "timeout"],
        }
    }
}

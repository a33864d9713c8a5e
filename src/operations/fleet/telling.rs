//! What a replica tells the others of itself, within what one may say.

use statehouse_coord::{Joined, MemberInfo};

/// Of why it is not ready, what is told where there is little room: so many reasons of so many characters.
const SHORT: (usize, usize) = (8, 160);

/// What is left out, one after the other, until the rest can be told. That it is ready is told in any case.
const LEFT_OUT: [(&str, LeaveOut); 4] = [
    ("why it is not ready is shortened", |said, _| shorten(&mut said.reasons)),
    ("why it is not ready is left out", |said, _| said.reasons.clear()),
    ("where its services are is left out", |said, own| said.fingerprints.clone_from(&own.fingerprints)),
    ("what it reaches is left out", |said, own| {
        said.reaches.clone_from(&own.reaches);
        said.lost.clone_from(&own.lost);
    }),
];

type LeaveOut = fn(&mut MemberInfo, own: &MemberInfo);

/// What it has to say, and how much of it was told.
#[derive(Debug)]
pub(super) struct Telling {
    /// What the application has it say: that alone was not too much.
    own: MemberInfo,
    all: MemberInfo,
    /// How much was left out at most: what is said once is not said again each second.
    worst: usize,
}

impl Telling {
    pub(super) fn new(own: MemberInfo) -> Self {
        Self { all: own.clone(), own, worst: 0 }
    }

    /// Changes what it has to say, and tells as much of it as it may.
    pub(super) fn tell(&mut self, joined: &Joined, change: impl FnOnce(&mut MemberInfo)) {
        change(&mut self.all);
        let mut said = self.all.clone();
        let Err(error) = joined.update(|info| info.clone_from(&said)) else { return };
        let is_told = |(_, leave_out): &(&str, LeaveOut)| {
            leave_out(&mut said, &self.own);
            joined.update(|info| info.clone_from(&said)).is_ok()
        };
        let found = LEFT_OUT.iter().position(is_told);
        let left_out = found.map_or(LEFT_OUT.len(), |at| at + 1);
        if left_out > self.worst {
            self.worst = left_out;
            let what = found.map_or("nothing new is told", |at| LEFT_OUT[at].0);
            tracing::warn!(name: "fleet.says_too_much", %error, "what this replica says of itself is too much: {what}");
        }
    }
}

fn shorten(reasons: &mut Vec<String>) {
    let (most, len) = SHORT;
    reasons.truncate(most);
    for reason in reasons {
        if let Some((end, _)) = reason.char_indices().nth(len) {
            reason.truncate(end);
            reason.push('…');
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use statehouse_coord::{Coordination, MemberState, MemoryCoordStore};
    use statehouse_core::conformance::Warnings;

    use super::*;

    fn own(feed: usize) -> MemberInfo {
        MemberInfo::new("clinic 2").with_fingerprint("feed", "x".repeat(feed))
    }

    async fn join(own: &MemberInfo) -> statehouse_core::Result<Joined> {
        Coordination::new(Arc::new(MemoryCoordStore::new())).membership().join(own.clone()).await
    }

    /// How much the application may say at most.
    async fn most() -> usize {
        for feed in (0..16_384).rev() {
            if join(&own(feed)).await.is_ok() {
                return feed;
            }
        }
        unreachable!("nothing may be said")
    }

    /// What is told of all that a replica says, beside this much of the application's own.
    async fn told(feed: usize) -> MemberInfo {
        let own = own(feed);
        let joined = join(&own).await.unwrap();
        let mut telling = Telling::new(own);
        for _ in 0..3 {
            telling.tell(&joined, |info| {
                info.reaches.insert("database".to_owned(), true);
                info.fingerprints.insert("files.place".to_owned(), format!("s3://{}", "y".repeat(600)));
            });
            telling.tell(&joined, |info| {
                info.state = MemberState::Ready;
                info.reasons = vec!["é".repeat(1000); 3];
            });
        }
        joined.info()
    }

    #[tokio::test]
    async fn whoever_says_much_is_ready_for_the_others_all_the_same() {
        let most = most().await;
        // How much room there is, and how many reasons, fingerprints and reached dependencies are told in it.
        for (room, has) in [(10_000, (3, 2, 1)), (4000, (3, 2, 1)), (1200, (0, 2, 1)), (100, (0, 1, 1)), (0, (0, 1, 0))]
        {
            let info = told(most - room).await;
            assert_eq!(info.state, MemberState::Ready, "{room}");
            assert_eq!(info.fingerprints["feed"].len(), most - room);
            assert_eq!((info.reasons.len(), info.fingerprints.len(), info.reaches.len()), has, "{room}");
            let len = if room == 10_000 { 1000 } else { 161 };
            assert!(info.reasons.iter().all(|reason| reason.chars().count() == len), "{room}");
        }
    }

    #[tokio::test]
    async fn what_is_left_out_is_said_once() {
        let most = most().await;
        let log = Warnings::default();
        let _guard = tracing::subscriber::set_default(log.clone());
        told(most - 100).await;
        let lines = log.lines();
        assert!(matches!(&lines[..], [line] if line.contains("where its services are is left out")), "{lines:?}");
    }
}

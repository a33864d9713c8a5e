//! Whether a replica that has lost something leaves the requests to the others.

use std::time::{Duration, Instant};

use statehouse_coord::{Member, MemberId, MemberState};

use crate::standing::Verdict;

/// What others say counts if they said so this long after it was lost here: what they had seen by then was no older.
const AFTER: Duration = Duration::from_secs(2);

/// For how long the others are told before anything is done, so that of several that lose it together each knows of the
/// others.
const TOLD_FOR: Duration = Duration::from_secs(2);

/// What is lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss<'a> {
    pub(super) name: &'a str,
    /// Since when it is down.
    pub(super) since: Instant,
}

/// This replica, as it has told the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Me {
    pub(super) id: MemberId,
    /// Whether it answers requests now.
    pub(super) is_ready: bool,
    /// Since when the others can know of the loss.
    pub(super) told: Option<Instant>,
}

/// Whether it goes out for this loss. The members are none while they are not known.
///
/// It is out only while another one that answers requests reaches what is lost here; never so that less than half are left;
/// and where nothing is known it stays, since to take all replicas out makes of the outage of one service an outage of everything.
pub(super) fn decide(me: Me, loss: Loss<'_>, members: Option<&[Member]>, now: Instant) -> Verdict {
    let stays = |why: &str| Verdict::In(why.to_owned());
    let Some(members) = members else { return stays("the other replicas are not known") };
    let others: Vec<_> = members.iter().filter(|member| member.id != me.id).collect();
    if others.is_empty() {
        return stays("it is the only replica");
    }
    let have_said = |member: &&&Member| member.heard.is_some_and(|heard| heard >= loss.since + AFTER);
    let fresh: Vec<_> = others.iter().filter(have_said).copied().collect();
    if fresh.is_empty() {
        return stays("the other replicas have not said yet whether they reach it");
    }
    let reach = |member: &&Member| member.info.reaches.get(loss.name) == Some(&true) && is_ready(member);
    let reaching = fresh.iter().filter(|member| reach(member)).count();
    if reaching == 0 {
        return stays("no other replica reaches it");
    }
    if me.told.is_none_or(|told| now.saturating_duration_since(told) < TOLD_FOR) {
        return stays("the other replicas are told first");
    }
    if rank(me, &fresh) >= fresh.len().div_ceil(2) {
        return stays("half of the replicas are out already");
    }
    Verdict::Out(format!("{reaching} of {} other replicas reach it", fresh.len()))
}

fn is_ready(member: &Member) -> bool {
    member.info.state == MemberState::Ready
}

/// How many go out before this one: those that are out already, and of those that have lost something the ones with a lower id.
/// All who see the same members agree on that.
fn rank(me: Me, others: &[&Member]) -> usize {
    let mine = (me.is_ready, me.id);
    let wants = |member: &&&Member| !is_ready(member) || !member.info.lost.is_empty();
    others.iter().filter(wants).filter(|member| (is_ready(member), member.id) < mine).count()
}

#[cfg(test)]
mod tests {
    use statehouse_coord::MemberInfo;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A replica that said `at` seconds after the loss whether it reaches the database.
    fn other(id: u8, at: u32, reaches: bool, state: MemberState, since: Instant) -> Member {
        let mut info = MemberInfo::new("b").with_state(state);
        info.reaches.insert("database".to_owned(), reaches);
        if !reaches {
            info.lost.push("database".to_owned());
        }
        Member::new(MemberId::from_bytes([id; 16]), "", info).with_heard(since + at * SECOND)
    }

    /// Whether replica `me` goes out, ten seconds after it has lost the database and told the others.
    fn goes_out(me: u8, is_ready: bool, others: &[(u8, u32, bool, MemberState)]) -> bool {
        let since = Instant::now();
        let said = others.iter().map(|(id, at, reaches, state)| other(*id, *at, *reaches, *state, since));
        let others: Vec<_> = said.collect();
        let me = Me { id: MemberId::from_bytes([me; 16]), is_ready, told: Some(since + 3 * SECOND) };
        let verdict = decide(me, Loss { name: "database", since }, Some(&others), since + 10 * SECOND);
        matches!(verdict, Verdict::Out(_))
    }

    use MemberState::{Ready, Stopping, Unready};

    #[test]
    fn it_goes_out_only_if_others_that_answer_have_said_since_that_they_reach_it() {
        assert!(goes_out(1, true, &[(2, 5, true, Ready), (3, 5, true, Ready)]));
        assert!(goes_out(1, true, &[(2, 5, true, Ready)]), "one of two");
        assert!(!goes_out(1, true, &[]));
        assert!(!goes_out(1, true, &[(2, 1, true, Ready), (3, 0, true, Ready)]), "said before");
        assert!(!goes_out(1, true, &[(2, 5, false, Ready), (3, 5, false, Ready)]));
        assert!(!goes_out(1, true, &[(2, 5, true, Stopping)]), "it will not answer");
        assert!(!goes_out(1, true, &[(2, 5, true, Unready), (3, 5, false, Ready)]));
    }

    #[test]
    fn half_of_them_stay_and_all_agree_which() {
        let lost = |ids: &[u8]| ids.iter().map(|id| (*id, 5, false, Ready)).collect::<Vec<_>>();
        let sound = |ids: &[u8]| ids.iter().map(|id| (*id, 5, true, Ready)).collect::<Vec<_>>();
        for (all, cut_off, most) in [(2, 1, 1), (3, 2, 1), (4, 3, 2), (5, 4, 2), (9, 8, 4)] {
            let ids: Vec<u8> = (1..=all).collect();
            let (cut, rest) = ids.split_at(cut_off);
            let out = cut.iter().filter(|me| {
                let others: Vec<u8> = cut.iter().filter(|id| id != me).copied().collect();
                goes_out(**me, true, &[lost(&others), sound(rest)].concat())
            });
            assert_eq!(out.count(), most, "{cut_off} of {all}");
        }
    }

    #[test]
    fn who_is_out_stays_out_when_another_one_loses_it_too() {
        // Replica 3 is out; replica 1 loses it later, and would come first.
        assert!(goes_out(3, false, &[(1, 5, false, Ready), (2, 5, true, Ready)]));
        assert!(!goes_out(1, true, &[(3, 5, false, Unready), (2, 5, true, Ready)]));
    }

    #[test]
    fn where_nothing_is_known_it_stays_and_the_others_are_told_first() {
        let (since, id) = (Instant::now(), MemberId::from_bytes([1; 16]));
        let (loss, others) = (Loss { name: "database", since }, [other(2, 5, true, Ready, since)]);
        for (told, members) in [(Some(0), None), (None, Some(&others[..])), (Some(9), Some(&others[..]))] {
            let me = Me { id, is_ready: true, told: told.map(|at| since + at * SECOND) };
            assert!(matches!(decide(me, loss, members, since + 10 * SECOND), Verdict::In(_)), "{told:?}");
        }
    }
}

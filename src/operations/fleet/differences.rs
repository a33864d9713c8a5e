//! What should be the same for all replicas, and is not.

use std::collections::BTreeMap;

use statehouse_coord::{Member, MemberId, MemberInfo};

use crate::fleet_report::is_same;

/// A clock that is off by less is as good as right.
const CLOCK_MICROS: u64 = 1_000_000;

/// What a replica knows of itself.
#[derive(Debug)]
pub(super) struct Own<'a> {
    pub(super) id: MemberId,
    pub(super) info: &'a MemberInfo,
    /// The services that it uses and has for itself, each with what keeps it.
    pub(super) alone: &'a [(&'static str, String)],
    /// By how many microseconds its clock is ahead of the store's.
    pub(super) clock: Option<i64>,
}

/// A line for each difference, by what it is: what differs, what this replica has, and what others have. How many they are is in
/// the line alone: of fifty replicas that are restarted one by one, that a count has changed is no news.
pub(super) type Differences = BTreeMap<String, String>;

/// The lines of what is in `now` and not in `before`.
pub(super) fn lines_beyond<'d>(before: &Differences, now: &'d Differences) -> impl Iterator<Item = &'d String> {
    now.iter().filter(|(what, _)| !before.contains_key(*what)).map(|(_, line)| line)
}

/// Each thing in which this replica differs from others, or that none of them shares.
pub(super) fn differences(own: &Own<'_>, members: &[Member]) -> Differences {
    let others: Vec<&Member> = members.iter().filter(|member| member.id != own.id).collect();
    let mut found: Differences = own.clock.and_then(clock).map(|line| (line.clone(), line)).into_iter().collect();
    if others.is_empty() {
        return found;
    }
    let build = compare("build", &own.info.build, &others, |info| Some(&info.build).filter(|build| !build.is_empty()));
    found.extend(build.filter(|_| !own.info.build.is_empty()));
    for (name, value) in &own.info.fingerprints {
        found.extend(compare(name, value, &others, |info| info.fingerprints.get(name)));
    }
    let replicas = others.len() + 1;
    found.extend(own.alone.iter().map(|(service, backend)| {
        let what = format!("{service}: each replica has its own ({backend})");
        let line = format!("{what}, and there are {replicas} of them");
        (what, line)
    }));
    found
}

fn compare<'m>(
    name: &str,
    own: &str,
    others: &[&'m Member],
    of: impl Fn(&'m MemberInfo) -> Option<&'m String>,
) -> Option<(String, String)> {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for value in others.iter().filter_map(|member| of(&member.info)).filter(|value| !is_same(own, value)) {
        *found.entry(value).or_default() += 1;
    }
    let words: Vec<_> = found.iter().map(|(value, count)| format!("{count} have {value:?}")).collect();
    let (words, count, has) = (words.join(", "), others.len(), format!("{name}: this replica has {own:?}"));
    let what = format!("{has}, and others {:?}", found.keys().collect::<Vec<_>>());
    (!found.is_empty()).then(|| (what, format!("{has}, and of {count} others {words}")))
}

fn clock(ahead: i64) -> Option<String> {
    let words = if ahead < 0 { "behind" } else { "ahead of" };
    // To tenths of a second, so that what trembles is not told again and again.
    let seconds = ahead.unsigned_abs() / 100_000;
    let far = (ahead.unsigned_abs() > CLOCK_MICROS).then_some(seconds)?;
    Some(format!("clock: that of this host is about {} s {words} the store's", far.div_ceil(10)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> MemberId {
        MemberId::from_bytes([number; 16])
    }

    fn lines(
        own: &MemberInfo,
        alone: &[(&'static str, String)],
        clock: Option<i64>,
        others: &[MemberInfo],
    ) -> Vec<String> {
        let me = Member::new(id(0), "", own.clone());
        let others = others.iter().zip(1..).map(|(info, number)| Member::new(id(number), "", info.clone()));
        let members: Vec<_> = others.chain([me]).collect();
        differences(&Own { id: id(0), info: own, alone, clock }, &members).into_values().collect()
    }

    #[test]
    fn how_many_differ_is_no_news() {
        let (old, new) = (MemberInfo::new("clinic 1"), MemberInfo::new("clinic 2"));
        let alone = [("cache", "memory".to_owned())];
        let of = |old_ones: u8| {
            let others = (1..50).map(|number| if number <= old_ones { old.clone() } else { new.clone() });
            let others = (1..).zip(others).map(|(number, info)| Member::new(id(number), "", info));
            let members: Vec<_> = others.take(usize::from(old_ones) + 3).collect();
            differences(&Own { id: id(0), info: &new, alone: &alone, clock: None }, &members)
        };
        let mut before = of(40);
        assert_eq!(lines_beyond(&Differences::new(), &before).count(), 2);
        for old_ones in (1..40).rev() {
            let now = of(old_ones);
            assert_eq!(lines_beyond(&before, &now).chain(lines_beyond(&now, &before)).count(), 0, "{now:?}");
            assert_ne!(before, now, "the page has the counts of now");
            before = now;
        }
        let now = of(0);
        assert_eq!(lines_beyond(&before, &now).count(), 0);
        let gone: Vec<_> = lines_beyond(&now, &before).collect();
        assert_eq!(gone, [r#"build: this replica has "clinic 2", and of 4 others 1 have "clinic 1""#]);
    }

    #[test]
    fn what_differs_is_named_with_how_many_have_what() {
        let own =
            MemberInfo::new("clinic 2").with_fingerprint("feed", "b").with_fingerprint("files.place", "#1 s3://a");
        let other = |build: &str, feed: &str, place: &str| {
            MemberInfo::new(build).with_fingerprint("feed", feed).with_fingerprint("files.place", place)
        };
        assert!(lines(&own, &[], Some(999_999), &[other("clinic 2", "b", "#1 s3://an-alias")]).is_empty());
        assert!(lines(&own, &[], None, &[MemberInfo::new("")]).is_empty(), "who says nothing differs in nothing");
        let found = lines(&own, &[], None, &[other("clinic 2", "a", "#2 s3://a"), other("clinic 1", "a", "#1 s3://a")]);
        assert_eq!(
            found,
            [
                r#"build: this replica has "clinic 2", and of 2 others 1 have "clinic 1""#,
                r##"feed: this replica has "b", and of 2 others 2 have "a""##,
                r##"files.place: this replica has "#1 s3://a", and of 2 others 1 have "#2 s3://a""##,
            ]
        );
    }

    #[test]
    fn what_each_has_for_itself_is_named_once_there_is_another() {
        let alone = [("cache", "memory".to_owned())];
        assert!(lines(&MemberInfo::default(), &alone, None, &[]).is_empty());
        let found = lines(&MemberInfo::default(), &alone, None, &[MemberInfo::default()]);
        assert_eq!(found, ["cache: each replica has its own (memory), and there are 2 of them"]);
    }

    #[test]
    fn a_clock_that_is_off_by_more_than_a_second_is_named() {
        for (ahead, words) in [(1_000_001, "about 1 s ahead of"), (-61_000_000, "about 61 s behind")] {
            let found = lines(&MemberInfo::default(), &[], Some(ahead), &[]);
            assert_eq!(found, [format!("clock: that of this host is {words} the store's")]);
        }
    }
}

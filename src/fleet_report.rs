//! What the replicas say of themselves, side by side.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::{Serialize, Serializer};
use statehouse_coord::{Member, MemberState};

use crate::place::one_name;

/// The replicas that are there, and in what they differ: made by [`Services::fleet`](crate::Services::fleet). It holds no
/// secret. `Display` prints a line for each replica, and below it why it is not ready.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FleetReport {
    /// The namespace in which they are.
    pub namespace: String,
    /// Each of them, by their labels.
    pub replicas: Vec<ReplicaReport>,
    /// What should be the same for all, and is not.
    pub differences: Vec<FleetDifference>,
    /// Other namespaces on the same Redis that are used now by replicas of the same programs, and by how many. Where nobody is
    /// here, of all programs.
    pub elsewhere: BTreeMap<String, usize>,
    /// Other namespaces that replicas of the same programs have named and that cannot be looked into, each with why: whether
    /// anybody is there is not known. The empty name stands for all that are not known because nobody can ask which there are. It is
    /// no problem by itself, since a user of the server may be meant to see its own namespace alone.
    pub unknown: BTreeMap<String, String>,
}

/// Who has another namespace, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    /// How many replicas each other namespace has.
    pub(crate) found: BTreeMap<String, usize>,
    /// Of which that is not known, and why; of an empty name if it is not known which there are.
    pub(crate) unknown: BTreeMap<String, String>,
}

/// One replica, as it was told last.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ReplicaReport {
    /// Which incarnation of a process it is.
    pub id: String,
    /// What it is called: its host and the number of its process, unless it says otherwise.
    pub label: String,
    /// Which program it is, with its version; empty if it does not say so.
    pub build: String,
    /// Where it can be reached, if it says so.
    pub address: Option<String>,
    /// How far it is.
    #[serde(serialize_with = "in_a_word")]
    pub state: MemberState,
    /// Why it is not ready.
    pub reasons: Vec<String>,
    /// What it says that should be the same for all, by name: where its services are, and what the application adds.
    pub fingerprints: BTreeMap<String, String>,
    /// All fingerprints in eight digits: the same for replicas that say the same.
    pub settings: String,
}

/// Something that should be the same for all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FleetDifference {
    /// What: `build`, or the name of a fingerprint.
    pub what: String,
    /// The labels of who has which value.
    pub values: BTreeMap<String, Vec<String>>,
}

fn in_a_word<S: Serializer>(state: &MemberState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}

impl FleetReport {
    pub(crate) fn of(namespace: &str, members: &[Member], elsewhere: Elsewhere) -> Self {
        let mut replicas: Vec<_> = members.iter().map(ReplicaReport::of).collect();
        replicas.sort_by(|one, other| (&one.label, &one.id).cmp(&(&other.label, &other.id)));
        let (differences, Elsewhere { found, unknown }) = (differences(&replicas), elsewhere);
        Self { namespace: namespace.to_owned(), replicas, differences, elsewhere: found, unknown }
    }

    /// Whether there are replicas, all of them ready or about to be, that differ in nothing, and none that is known to be elsewhere.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let is_well = |replica: &ReplicaReport| replica.state != MemberState::Unready;
        !self.replicas.is_empty()
            && self.replicas.iter().all(is_well)
            && self.differences.is_empty()
            && self.elsewhere.is_empty()
    }
}

impl ReplicaReport {
    fn of(member: &Member) -> Self {
        let info = &member.info;
        let mut hash = DefaultHasher::new();
        for (name, value) in &info.fingerprints {
            (name, mark(value).map_or_else(|| one_name(value), Cow::Borrowed)).hash(&mut hash);
        }
        Self {
            id: member.id.to_string(),
            label: member.label.to_string(),
            build: info.build.clone(),
            address: info.address.clone(),
            state: info.state,
            reasons: info.reasons.clone(),
            fingerprints: info.fingerprints.clone(),
            settings: format!("{:08x}", hash.finish() >> 32),
        }
    }

    /// What it says under this name, if it says anything.
    fn says(&self, what: &str) -> Option<&str> {
        let said = if what == BUILD { Some(&self.build) } else { self.fingerprints.get(what) };
        said.map(String::as_str).filter(|said| !said.is_empty())
    }
}

const BUILD: &str = "build";

/// How the place of a service begins that was read in the place itself, which may have more than one address.
fn mark(value: &str) -> Option<&str> {
    value.strip_prefix('#').and_then(|rest| rest.split(' ').next())
}

/// Whether two replicas that say this say the same.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    match (mark(one), mark(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one_name(one) == one_name(other),
    }
}

/// How the place of a service ends that each replica has for itself.
pub(crate) const OF_ITS_OWN: &str = " of its own";

/// Which program it is, of a build: what stands before the version.
pub(crate) fn program(build: &str) -> &str {
    build.rsplit_once(' ').map_or(build, |(program, _)| program)
}

fn differences(replicas: &[ReplicaReport]) -> Vec<FleetDifference> {
    let names = replicas.iter().flat_map(|replica| replica.fingerprints.keys().map(String::as_str));
    let names: std::collections::BTreeSet<_> = names.chain([BUILD]).collect();
    let difference = |what: &str| {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for replica in replicas {
            let Some(said) = replica.says(what) else { continue };
            let known = values.keys().find(|known| is_same(known, said)).cloned();
            values.entry(known.unwrap_or_else(|| said.to_owned())).or_default().push(replica.label.clone());
        }
        let is_alone = replicas.len() > 1 && values.keys().any(|value| value.ends_with(OF_ITS_OWN));
        (values.len() > 1 || is_alone).then(|| FleetDifference { what: what.to_owned(), values })
    };
    names.into_iter().filter_map(difference).collect()
}

impl fmt::Display for FleetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = match self.replicas.len() {
            1 => "1 replica".to_owned(),
            count => format!("{count} replicas"),
        };
        write!(f, "namespace {}: {count}", self.namespace)?;
        self.replicas.iter().try_for_each(|replica| write!(f, "\n{replica}"))?;
        self.differences.iter().try_for_each(|difference| write!(f, "\nproblem: {difference}"))?;
        if self.replicas.is_empty() {
            f.write_str("\nproblem: nobody is there")?;
        }
        self.elsewhere.iter().try_for_each(|(namespace, count)| {
            write!(
                f,
                "\nproblem: on the same server {count} have the namespace {namespace:?}; if they are of one fleet, set "
            )?;
            f.write_str("STATEHOUSE_NAMESPACE to the same for all")
        })?;
        self.unknown.iter().try_for_each(|(namespace, why)| match &namespace[..] {
            "" => write!(f, "\nunknown: whether replicas have another namespace: {why}"),
            namespace => write!(f, "\nunknown: whether replicas have the namespace {namespace:?}: {why}"),
        })
    }
}

impl fmt::Display for ReplicaReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, state, build, address, settings, .. } = self;
        write!(f, "{label}: {state}")?;
        for said in [Some(build).filter(|build| !build.is_empty()), address.as_ref()].into_iter().flatten() {
            write!(f, ", {said}")?;
        }
        write!(f, ", settings {settings}")?;
        self.reasons.iter().try_for_each(|reason| write!(f, "\n  {reason}"))
    }
}

impl fmt::Display for FleetDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.values.iter().map(|(value, labels)| format!("{value:?} at {}", labels.join(", ")));
        // One value is none of all: each has its own of it.
        let how = if self.values.len() == 1 { "is of each replica's own" } else { "is not the same for all" };
        write!(f, "{} {how}: {}", self.what, words.collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use statehouse_coord::{MemberId, MemberInfo};

    use super::*;

    fn member(id: u8, info: MemberInfo) -> Member {
        Member::new(MemberId::from_bytes([id; 16]), format!("host {id}"), info)
    }

    fn ready(build: &str) -> MemberInfo {
        MemberInfo::new(build).with_state(MemberState::Ready)
    }

    fn report(members: &[Member]) -> FleetReport {
        FleetReport::of("clinic", members, Elsewhere::default())
    }

    #[test]
    fn replicas_that_say_the_same_are_well() {
        let info = || ready("clinic 2").with_fingerprint("feed", "a");
        let marked = |address: &str| info().with_fingerprint("files.place", format!("#1f {address}"));
        let fleet = report(&[member(2, marked("s3://a")), member(1, marked("s3://an-alias")), member(3, ready(""))]);
        assert!(fleet.is_good(), "{fleet}");
        assert_eq!(fleet.replicas[0].label, "host 1");
        assert_eq!(fleet.replicas[0].settings, fleet.replicas[1].settings);
        assert_ne!(fleet.replicas[0].settings, fleet.replicas[2].settings);
        let cache = |place: &str| info().with_fingerprint("cache.place", place);
        let fleet = report(&[member(1, cache("redis://h")), member(2, cache("redis://h:6379/0"))]);
        assert!(fleet.is_good() && fleet.replicas[0].settings == fleet.replicas[1].settings, "{fleet}");
        let starting = info().with_state(MemberState::Starting);
        assert!(report(&[member(1, info()), member(2, starting)]).is_good(), "it will be ready");
    }

    #[test]
    fn what_differs_is_named_with_who_has_what() {
        let info = |build: &str, feed: &str| ready(build).with_fingerprint("feed", feed);
        let mut lost = info("clinic 2", "b").with_state(MemberState::Unready);
        lost.reasons.push("sessions: down".to_owned());
        let fleet = report(&[member(1, info("clinic 2", "a")), member(2, info("clinic 1", "a")), member(3, lost)]);
        assert!(!fleet.is_good());
        let text = fleet.to_string();
        for line in [
            "namespace clinic: 3 replicas",
            "host 1: ready, clinic 2, settings ",
            "host 3: unready, clinic 2, settings ",
            "\n  sessions: down\n",
            r#"problem: build is not the same for all: "clinic 1" at host 2; "clinic 2" at host 1, host 3"#,
            r#"problem: feed is not the same for all: "a" at host 1, host 2; "b" at host 3"#,
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn nobody_and_what_each_has_for_itself_and_who_is_elsewhere_are_problems() {
        assert!(report(&[]).to_string().ends_with("problem: nobody is there"));
        let alone = || ready("clinic 2").with_fingerprint("cache.place", format!("memory{OF_ITS_OWN}"));
        assert!(report(&[member(1, alone())]).is_good(), "one replica needs nothing that is shared");
        assert!(!report(&[member(1, alone()), member(2, alone())]).is_good());
        let found = BTreeMap::from([("clinic-b".to_owned(), 2)]);
        let fleet =
            FleetReport::of("clinic", &[member(1, ready("clinic 2"))], Elsewhere { found, ..Default::default() });
        assert!(!fleet.is_good() && fleet.to_string().contains("2 have the namespace \"clinic-b\""), "{fleet}");
    }

    #[test]
    fn what_cannot_be_looked_into_is_unknown_and_not_nobody() {
        let unknown = [("shop", "it may not be read"), ("", "no answer")];
        let unknown = unknown.map(|(namespace, why)| (namespace.to_owned(), why.to_owned())).into_iter().collect();
        let fleet =
            FleetReport::of("clinic", &[member(1, ready("clinic 2"))], Elsewhere { unknown, ..Default::default() });
        let text = fleet.to_string();
        for line in [
            r#"unknown: whether replicas have the namespace "shop": it may not be read"#,
            "unknown: whether replicas have another namespace: no answer",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        assert!(fleet.is_good(), "one that sees its own namespace alone is well");
    }

    #[test]
    fn a_program_is_told_from_its_version() {
        assert_eq!(["clinic 1.4.0", "the clinic 2", "clinic", ""].map(program), ["clinic", "the clinic", "clinic", ""]);
    }
}

//! Which generations there are, as names of aliases say: the server changes several aliases in one step.
//!
//! | alias | of | says |
//! | --- | --- | --- |
//! | `{name}` | the live one | what other tools and builds before search |
//! | `{name}@Write.{last}.{live}` | the live one | writes go here; which generations there are, `last` being the highest number that was given |
//! | `{name}@Write.{last}.{live}.{beside}.{state}` | the live one | as well, where another one stands beside it |
//! | `{name}@Frozen.…` | the live one | in its place while another generation becomes live: nobody writes |
//! | `{name}@{number}` | each that may be searched | it holds what the live one does |
//! | `{name}@Told.{number}` | the one beside | it is told what the live one was |
//! | `{name}@Dropped.{number}` | one that was dropped | it is removed once nobody reads a point in time of it |
//!
//! No index may be called so, for the capital letter: else the server makes one of any name for a delete with a version, whatever is asked
//! of it.
//!
//! Numbers of aliases for reading and telling have six digits, as those of the indexes.

use crate::GenerationState;

/// What the generation beside the live one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// It is being filled with copies.
    Copied,
    /// It is to be filled from rows, and none has come yet.
    Rows,
    /// It is being filled from rows.
    Came,
    /// It holds what the live one does.
    Kept,
    /// It does not.
    Behind,
}

impl Beside {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Copied, "copied"),
        (Self::Rows, "rows"),
        (Self::Came, "came"),
        (Self::Kept, "kept"),
        (Self::Behind, "behind"),
    ];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, word)| word)
    }

    pub(crate) const fn state(self) -> GenerationState {
        match self {
            Self::Copied | Self::Rows | Self::Came => GenerationState::Filling,
            Self::Kept => GenerationState::Kept,
            Self::Behind => GenerationState::Behind,
        }
    }

    pub(crate) const fn is_filling(self) -> bool {
        matches!(self.state(), GenerationState::Filling)
    }

    /// Whether it is filled from elsewhere.
    pub(crate) const fn is_of_rows(self) -> bool {
        matches!(self, Self::Rows | Self::Came)
    }
}

/// The generations of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    /// The highest number that was given to one.
    pub(crate) last: u32,
    pub(crate) live: u32,
    pub(crate) beside: Option<(u32, Beside)>,
    /// Whether nobody writes now, for another one is about to become live.
    pub(crate) frozen: bool,
}

impl Set {
    pub(crate) const fn alone(live: u32) -> Self {
        Self { last: live, live, beside: None, frozen: false }
    }

    pub(crate) const fn frozen(self) -> Self {
        Self { frozen: true, ..self }
    }

    pub(crate) const fn thawed(self) -> Self {
        Self { frozen: false, ..self }
    }

    pub(crate) const fn with_beside(self, beside: Option<(u32, Beside)>) -> Self {
        Self { beside, ..self }
    }

    /// The one that was made first, which remembers the deletes of most.
    pub(crate) fn elder(self) -> u32 {
        self.beside.map_or(self.live, |(number, _)| number.min(self.live))
    }

    /// The alias that says so.
    pub(crate) fn name(self, alias: &str) -> String {
        let Self { last, live, beside, frozen } = self;
        let verb = if frozen { "Frozen" } else { "Write" };
        let beside = beside.map(|(number, state)| format!(".{number}.{}", state.word())).unwrap_or_default();
        format!("{alias}@{verb}.{last}.{live}{beside}")
    }

    /// What an alias says; `None` if it is another one.
    pub(crate) fn parse(alias: &str, name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(alias)?.strip_prefix('@')?.split('.');
        let frozen = match parts.next()? {
            "Write" => false,
            "Frozen" => true,
            _ => return None,
        };
        let (last, live) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let beside = match parts.next() {
            None => None,
            Some(number) => {
                let word = parts.next()?;
                let (state, _) = Beside::ALL.into_iter().find(|(_, known)| *known == word)?;
                Some((number.parse().ok()?, state))
            }
        };
        parts.next().is_none().then_some(Self { last, live, beside, frozen })
    }
}

/// By what a generation is searched that may be.
pub(crate) fn readable(alias: &str, number: u32) -> String {
    format!("{alias}@{number:06}")
}

/// By what the one beside is written.
pub(crate) fn told(alias: &str, number: u32) -> String {
    format!("{alias}@Told.{number:06}")
}

/// What one has that was dropped.
pub(crate) fn dropped(alias: &str, number: u32) -> String {
    format!("{alias}@Dropped.{number:06}")
}

/// What the index of a generation is called.
pub(crate) fn index(alias: &str, number: u32) -> String {
    format!("{alias}-{number:06}")
}

/// The number of the generation whose index is called so.
pub(crate) fn number(alias: &str, index: &str) -> Option<u32> {
    let number = index.strip_prefix(alias)?.strip_prefix('-')?.parse().ok()?;
    (self::index(alias, number) == index).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_aliases_are_these() {
        let alone = Set::alone(1);
        let both = Set { last: 4, live: 1, beside: Some((3, Beside::Copied)), frozen: false };
        for (set, name) in [
            (alone, "acme.wards@Write.1.1"),
            (both, "acme.wards@Write.4.1.3.copied"),
            (both.frozen(), "acme.wards@Frozen.4.1.3.copied"),
            (both.with_beside(Some((3, Beside::Came))), "acme.wards@Write.4.1.3.came"),
        ] {
            assert_eq!(set.name("acme.wards"), name);
            assert_eq!(Set::parse("acme.wards", name), Some(set));
        }
        for name in [
            "acme.wards",
            "acme.wards@marks",
            "acme.wards@Write.1",
            "acme.wards@Write.1.1.2",
            "acme.wards@Write.1.1.2.other",
            "acme.wards@Write.1.1.2.kept.more",
            "acme.wards@000001",
            "acme.ward@Write.1.1",
        ] {
            assert_eq!(Set::parse("acme.wards", name), None, "{name}");
        }
        assert_eq!((readable("a", 1), told("a", 2)), ("a@000001".to_owned(), "a@Told.000002".to_owned()));
        let numbers = ["a-000012", "a-12", "a-0000012", "b-000012", "a-b"].map(|index| number("a", index));
        assert_eq!(numbers, [Some(12), None, None, None, None]);
    }
}

//! Changes to a session's attributes.

use std::collections::BTreeSet;

use super::attribute::{Attribute, AttributeName, entry_size};
use super::attributes::Attributes;

/// Changes to the attributes of a session, independent of what the others are.
///
/// Applied in the order clear, remove, set. Because a delta names only what changed, it can be applied to a newer
/// record than the one it was made on, and parallel changes of other attributes stay.
///
/// How it is used stands in the example of [`SessionStore`](crate::SessionStore#example).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delta {
    /// Attributes to set.
    pub set: Attributes,
    /// Attributes to remove.
    pub remove: BTreeSet<AttributeName>,
    /// Whether all attributes are removed first.
    pub clear: bool,
}

impl Delta {
    /// A delta that changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The delta that makes the attributes exactly these.
    #[must_use]
    pub const fn replace(set: Attributes) -> Self {
        Self { set, remove: BTreeSet::new(), clear: true }
    }

    /// This delta, and then the attribute set.
    #[must_use]
    pub fn with_set(mut self, name: AttributeName, value: Attribute) -> Self {
        self.remove.remove(&name);
        self.set.insert(name, value);
        self
    }

    /// This delta, and then the attribute removed.
    #[must_use]
    pub fn with_removed(mut self, name: AttributeName) -> Self {
        self.set.remove(&name);
        self.remove.insert(name);
        self
    }

    /// This delta followed by a later one.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        if later.clear {
            return later;
        }
        let removed = later.remove.into_iter().fold(self, Self::with_removed);
        later.set.into_iter().fold(removed, |delta, (name, value)| delta.with_set(name, value))
    }

    /// Whether nothing was asked for. A delta that sets what is there already is not empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.clear && self.set.is_empty() && self.remove.is_empty()
    }

    /// The attributes with this delta applied, or `None` if they are the same as before.
    #[must_use]
    pub fn apply(&self, attributes: &Attributes) -> Option<Attributes> {
        if !self.changes(attributes) {
            return None;
        }
        if self.clear {
            return Some(self.set.clone());
        }
        let mut next = attributes.clone();
        for name in &self.remove {
            next.remove(name);
        }
        next.extend(self.set.iter().map(|(name, value)| (name.clone(), value.clone())));
        Some(next)
    }

    /// Whether the attributes would be others with this delta applied.
    pub(crate) fn changes(&self, attributes: &Attributes) -> bool {
        if self.clear {
            return self.set != *attributes;
        }
        let sets = self.set.iter().any(|(name, value)| attributes.get(name) != Some(value));
        sets || self.remove.iter().any(|name| attributes.contains_key(name) && !self.set.contains_key(name))
    }

    /// The size of the attributes with this delta applied.
    pub(crate) fn size_on(&self, attributes: &Attributes) -> u64 {
        let gone = self.replaced(attributes).map(|(name, value)| entry_size(name, value)).sum::<u64>();
        let kept = if self.clear { 0 } else { attributes.size() - gone };
        kept + self.set.size()
    }

    /// How many attributes there are with this delta applied.
    pub(crate) fn count_on(&self, attributes: &Attributes) -> usize {
        let kept = if self.clear { 0 } else { attributes.len() - self.replaced(attributes).count() };
        kept + self.set.len()
    }

    /// The attributes that it removes or sets anew, unless it removes all.
    fn replaced<'a>(&'a self, attributes: &'a Attributes) -> impl Iterator<Item = (&'a AttributeName, &'a Attribute)> {
        let removed = self.remove.iter().filter(|name| !self.set.contains_key(name));
        let names = removed.chain(self.set.keys());
        names.filter_map(|name| Some((name, attributes.get(name)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> AttributeName {
        AttributeName::new(text).unwrap()
    }

    fn value(text: &str) -> Attribute {
        Attribute::encode(text).unwrap()
    }

    #[test]
    fn a_delta_touches_only_what_it_names_and_equal_values_change_nothing() {
        let base = Delta::new().with_set(name("a"), value("1")).with_set(name("b"), value("2")).set;
        let changed = Delta::new().with_set(name("a"), value("9")).with_removed(name("c")).apply(&base).unwrap();
        assert_eq!(changed[&name("a")], value("9"));
        assert_eq!(changed[&name("b")], value("2"));
        assert_eq!(Delta::new().with_set(name("a"), value("1")).apply(&base), None);
        assert_eq!(Delta::new().with_removed(name("c")).apply(&base), None);
        assert_eq!(Delta::replace(base.clone()).apply(&base), None);
        assert_eq!(Delta::replace(Attributes::new()).apply(&base), Some(Attributes::new()));
    }

    #[test]
    fn a_later_delta_wins_name_by_name() {
        let first = Delta::new().with_set(name("a"), value("1")).with_removed(name("b"));
        let both = first.clone().then(Delta::new().with_set(name("b"), value("2")).with_removed(name("a")));
        assert_eq!(both, Delta::new().with_removed(name("a")).with_set(name("b"), value("2")));
        assert_eq!(first.then(Delta::replace(Attributes::new())), Delta::replace(Attributes::new()));
    }

    #[test]
    fn sizes_and_changes_are_known_without_applying() {
        let base = Delta::new().with_set(name("a"), value("1")).with_set(name("bb"), value("22")).set;
        let deltas = [
            Delta::new(),
            Delta::new().with_set(name("a"), value("1")),
            Delta::new().with_set(name("a"), value("999")),
            Delta::new().with_set(name("ccc"), value("3")).with_removed(name("bb")).with_removed(name("missing")),
            Delta { remove: [name("a")].into(), ..Delta::new().with_set(name("a"), value("1")) },
            Delta::replace(base.clone()),
            Delta::replace(Attributes::new()).with_set(name("bb"), value("4444")),
        ];
        for delta in deltas {
            let (next, changed) = (delta.apply(&base), delta.changes(&base));
            assert_eq!(next.is_some(), changed, "{delta:?}");
            let next = next.as_ref().unwrap_or(&base);
            assert_eq!((delta.size_on(&base), delta.count_on(&base)), (next.size(), next.len()), "{delta:?}");
        }
    }
}

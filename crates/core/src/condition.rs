/// What must hold for a write to take place. The store checks it in one step with the write.
///
/// A condition that does not hold is an answer and no error: the write's outcome says `Conflict`, and what is stored is as
/// it was. A backend that cannot decide a condition refuses it as
/// [`Unsupported`](crate::ErrorKind::Unsupported) before it writes anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a backend must not overlook a condition")]
pub enum Condition<V> {
    /// Nothing: what is there is replaced.
    #[default]
    Always,
    /// Nothing is there.
    Absent,
    /// What is there has this version.
    Match(V),
}

impl<V: PartialEq> Condition<V> {
    /// Whether it holds for what is there, for backends that decide it themselves.
    ///
    /// ```
    /// use statehouse_core::{Condition, Version};
    ///
    /// let (old, new) = (Version::new(1), Version::new(2));
    /// assert!(Condition::Match(new).holds(Some(&new)) && !Condition::Match(old).holds(Some(&new)));
    /// assert!(Condition::<Version>::Absent.holds(None) && !Condition::Match(old).holds(None));
    /// ```
    pub fn holds(&self, current: Option<&V>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => current.is_none(),
            Self::Match(expected) => current == Some(expected),
        }
    }
}

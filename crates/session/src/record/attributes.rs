//! The attributes of a session, of which what is stored is read when it is asked for.

use std::fmt;
use std::ops::{Index, Range};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use statehouse_core::{CodecId, SchemaId};

use super::attribute::{Attribute, AttributeName};
use super::ends::Ends;

/// The attributes of a session by name, in the order of the names.
///
/// Those of a session that was loaded are slices of what is stored, and made only once somebody asks for them. A clone shares them.
///
/// ```
/// use statehouse_session::{Attribute, AttributeName, Attributes};
///
/// # fn main() -> statehouse_core::Result<()> {
/// let (cart, theme) = (AttributeName::new("cart")?, AttributeName::new("theme")?);
/// let mut attributes = Attributes::from([(theme.clone(), Attribute::encode("dark")?)]);
/// attributes.insert(cart.clone(), Attribute::encode(&[7, 9])?);
/// assert_eq!(attributes.keys().collect::<Vec<_>>(), [&cart, &theme]);
/// assert_eq!(attributes[&theme].decode::<String>()?, "dark");
/// assert!(attributes.remove(&cart).is_some() && !attributes.contains_key(&cart));
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Attributes {
    /// In the order of their names.
    slots: Vec<Slot>,
    /// What they were read from.
    stored: Bytes,
}

type Entry = (AttributeName, Attribute);

/// One attribute: where it stands in what is stored, or what it was set to since.
#[derive(Clone)]
pub(super) struct Slot {
    /// Nothing of what was set since.
    field: Range<u32>,
    name: u32,
    value: u32,
    ends: Ends,
    entry: OnceLock<Arc<Entry>>,
}

impl Slot {
    fn of(name: AttributeName, value: Attribute) -> Self {
        let (name_len, value_len) = (length(name.as_bytes().len()), length(value.bytes.len()));
        let ends = value.ends;
        Self { field: 0..0, name: name_len, value: value_len, ends, entry: OnceLock::from(Arc::new((name, value))) }
    }

    fn is_stored(&self) -> bool {
        !self.field.is_empty()
    }

    /// What a name and a value take up.
    fn size(&self) -> u64 {
        u64::from(self.name) + u64::from(self.value)
    }

    fn range(&self) -> Range<usize> {
        at(self.field.start)..at(self.field.end)
    }

    /// See the table of the format: the length of the name and the name, codec, schema, the length of the type's name and that, value.
    fn read(&self, stored: &Bytes) -> Entry {
        let field = stored.slice(self.range());
        let name_end = 1 + at(self.name);
        let kind = name_end + 6..field.len() - at(self.value);
        let schema = std::array::from_fn(|byte| field[name_end + 1 + byte]);
        let value = Attribute {
            codec: CodecId(field[name_end]),
            schema: SchemaId(u32::from_le_bytes(schema)),
            bytes: field.slice(kind.end..),
            type_name: field.slice(kind),
            ends: self.ends,
        };
        (AttributeName::checked(field.slice(1..name_end)), value)
    }
}

/// No record is as long.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn at(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl Attributes {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: Vec::new(), stored: Bytes::new() }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The attribute of this name.
    #[must_use]
    pub fn get(&self, name: &AttributeName) -> Option<&Attribute> {
        self.find(name.as_bytes()).ok().map(|found| self.entry(&self.slots[found]).1)
    }

    /// Whether there is one of this name.
    #[must_use]
    pub fn contains_key(&self, name: &AttributeName) -> bool {
        self.find(name.as_bytes()).is_ok()
    }

    /// Sets an attribute, and answers the one that it replaces.
    pub fn insert(&mut self, name: AttributeName, value: Attribute) -> Option<Attribute> {
        match self.find(name.as_bytes()) {
            Ok(found) => {
                let before = std::mem::replace(&mut self.slots[found], Slot::of(name, value));
                Some(self.entry(&before).1.clone())
            }
            Err(place) => {
                self.slots.insert(place, Slot::of(name, value));
                None
            }
        }
    }

    /// Removes an attribute, and answers it.
    pub fn remove(&mut self, name: &AttributeName) -> Option<Attribute> {
        let slot = self.slots.remove(self.find(name.as_bytes()).ok()?);
        Some(self.entry(&slot).1.clone())
    }

    /// All of them.
    pub fn iter(&self) -> AttributesIter<'_> {
        AttributesIter { attributes: self, slots: self.slots.iter() }
    }

    /// Their names.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &AttributeName> {
        self.iter().map(|(name, _)| name)
    }

    /// Their values.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Attribute> {
        self.iter().map(|(_, value)| value)
    }

    /// None yet of those that are stored in these bytes.
    pub(super) fn in_stored(stored: Bytes) -> Self {
        Self { slots: Vec::with_capacity(8), stored }
    }

    /// Takes the attribute that stands there in what is stored. `None` if it is none, or there is one of its name.
    pub(super) fn push_stored(&mut self, field: Range<usize>) -> Option<()> {
        let bytes = self.stored.get(field.clone())?;
        let name_end = 1 + usize::from(*bytes.first()?);
        let name = bytes.get(1..name_end)?;
        let kind_end = name_end + 6 + usize::from(*bytes.get(name_end + 5)?);
        let value = bytes.len().checked_sub(kind_end)?;
        if !AttributeName::is_good(name) {
            return None;
        }
        let is_last = self.slots.last().is_none_or(|last| self.name(last) < name);
        let place = if is_last { self.slots.len() } else { self.find(name).err()? };
        let slot = Slot {
            field: length(field.start)..length(field.end),
            name: length(name.len()),
            value: length(value),
            ends: Ends::Never,
            entry: OnceLock::new(),
        };
        self.slots.insert(place, slot);
        Some(())
    }

    /// The attribute of this name ends then. `None` if that was said already.
    pub(super) fn set_end(&mut self, name: &AttributeName, end: Duration) -> Option<()> {
        let Ok(found) = self.find(name.as_bytes()) else { return Some(()) };
        let slot = &mut self.slots[found];
        (std::mem::replace(&mut slot.ends, Ends::At(end)) == Ends::Never).then(|| slot.entry = OnceLock::new())
    }

    /// What they take up together, in bytes: names and values.
    pub(crate) fn size(&self) -> u64 {
        self.slots.iter().map(Slot::size).sum()
    }

    /// The same of those that have not ended at this age of the session, and how many these are.
    pub(crate) fn live_size(&self, age: Duration) -> (u64, usize) {
        let live = self.slots.iter().filter(|slot| !slot.ends.is_over(age));
        live.fold((0, 0), |(bytes, count), slot| (bytes + slot.size(), count + 1))
    }

    /// Whether one of them has ended at this age of the session.
    pub(super) fn any_ended(&self, age: Duration) -> bool {
        self.slots.iter().any(|slot| slot.ends.is_over(age))
    }

    pub(super) fn remove_ended(&mut self, age: Duration) {
        self.slots.retain(|slot| !slot.ends.is_over(age));
    }

    /// As a save at this age of the session stores them: without what has ended.
    pub(super) fn settle(&mut self, age: Duration) {
        for slot in &mut self.slots {
            let ends = slot.ends.saved(age);
            if let (true, Some(entry)) = (ends != slot.ends, slot.entry.get()) {
                let (name, value) = (**entry).clone();
                *slot = Slot::of(name, Attribute { ends, ..value });
            }
        }
        self.remove_ended(age);
    }

    /// Where one of them stands in what is stored, with the head of its field; of what was set since, nowhere.
    pub(super) fn field(&self, index: usize) -> Option<Range<usize>> {
        let slot = &self.slots[index];
        slot.is_stored().then(|| slot.range().start - HEAD..slot.range().end)
    }

    pub(super) fn ends(&self, index: usize) -> Ends {
        self.slots[index].ends
    }

    pub(super) fn nth(&self, index: usize) -> (&AttributeName, &Attribute) {
        self.entry(&self.slots[index])
    }

    pub(super) fn stored(&self, range: Range<usize>) -> &[u8] {
        &self.stored[range]
    }

    fn name<'a>(&'a self, slot: &'a Slot) -> &'a [u8] {
        match slot.is_stored() {
            true => &self.stored[slot.range().start + 1..][..at(slot.name)],
            false => self.entry(slot).0.as_bytes(),
        }
    }

    fn find(&self, name: &[u8]) -> Result<usize, usize> {
        self.slots.binary_search_by(|slot| self.name(slot).cmp(name))
    }

    fn entry<'a>(&self, slot: &'a Slot) -> (&'a AttributeName, &'a Attribute) {
        let entry = slot.entry.get_or_init(|| Arc::new(slot.read(&self.stored)));
        (&entry.0, &entry.1)
    }
}

/// The tag and the length of a field.
pub(super) const HEAD: usize = 6;

/// What [`Attributes::iter`] goes through.
#[derive(Clone)]
pub struct AttributesIter<'a> {
    attributes: &'a Attributes,
    slots: std::slice::Iter<'a, Slot>,
}

impl fmt::Debug for AttributesIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.clone()).finish()
    }
}

impl<'a> Iterator for AttributesIter<'a> {
    type Item = (&'a AttributeName, &'a Attribute);

    fn next(&mut self) -> Option<Self::Item> {
        self.slots.next().map(|slot| self.attributes.entry(slot))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.slots.size_hint()
    }
}

impl DoubleEndedIterator for AttributesIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.slots.next_back().map(|slot| self.attributes.entry(slot))
    }
}

impl ExactSizeIterator for AttributesIter<'_> {}

impl<'a> IntoIterator for &'a Attributes {
    type Item = (&'a AttributeName, &'a Attribute);
    type IntoIter = AttributesIter<'a>;

    fn into_iter(self) -> AttributesIter<'a> {
        self.iter()
    }
}

impl IntoIterator for Attributes {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter().map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>().into_iter()
    }
}

impl Extend<Entry> for Attributes {
    fn extend<I: IntoIterator<Item = Entry>>(&mut self, entries: I) {
        for (name, value) in entries {
            self.insert(name, value);
        }
    }
}

impl FromIterator<Entry> for Attributes {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut slots: Vec<_> = entries.into_iter().map(|(name, value)| Slot::of(name, value)).collect();
        let mut attributes = Self::new();
        // Of several of one name the last stays, as where each is inserted.
        slots.reverse();
        slots.sort_by(|one, other| attributes.name(one).cmp(attributes.name(other)));
        slots.dedup_by(|later, earlier| attributes.name(later) == attributes.name(earlier));
        attributes.slots = slots;
        attributes
    }
}

impl<const N: usize> From<[Entry; N]> for Attributes {
    fn from(entries: [Entry; N]) -> Self {
        entries.into_iter().collect()
    }
}

impl Index<&AttributeName> for Attributes {
    type Output = Attribute;

    /// # Panics
    /// If there is none of this name.
    fn index(&self, name: &AttributeName) -> &Attribute {
        self.get(name).expect("an attribute of this name")
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other)
    }
}

impl Eq for Attributes {}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

//! Limits on what a decoder does with bytes that may be anything.
//!
//! The formats let a few bytes claim much: a count of 2⁶⁴ elements that take no bytes, a string of a terabyte that is
//! allocated before it is read, a nesting that overflows the stack. None of that is an error of the decoders: they trust
//! their input. So each is given a deserializer that passes everything on and counts.
//!
//! Of a format with names it also keeps what another type wrote from being taken for this one's: a list is no struct, a
//! number is the name of no field and no variant, and a number that a float cannot hold is not rounded.

mod access;
mod deserializer;
mod visitor;

use std::cell::Cell;

use serde::de::{self, Unexpected};

use super::survey::{DEEPEST, Form};

/// How many elements there may be beyond one for each byte, since `()` and its like take none.
const WITHOUT_BYTES: usize = 4096;

/// What is left to a decoder.
#[derive(Debug)]
pub(super) struct Limits {
    form: Form,
    elements: Cell<usize>,
    levels: Cell<u32>,
}

impl Limits {
    /// The limits of an input of this many bytes.
    pub(super) const fn of(bytes: usize, form: Form) -> Self {
        Self { form, elements: Cell::new(bytes.saturating_add(WITHOUT_BYTES)), levels: Cell::new(DEEPEST) }
    }

    /// The deserializer, visitor or seed under these limits.
    pub(super) const fn guard<T>(&self, inner: T) -> Guarded<'_, T> {
        Guarded { inner, limits: self, counts: Counts::No, expects: Expects::Anything }
    }

    fn take_element<E: de::Error>(&self) -> Result<(), E> {
        let left = self.elements.get().checked_sub(1);
        self.elements.set(left.ok_or_else(|| E::custom("more elements than the input can hold"))?);
        Ok(())
    }

    fn nested<T, E: de::Error>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let levels = self.levels.get();
        self.levels.set(levels.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?);
        let result = work();
        self.levels.set(levels);
        result
    }
}

/// Whether the elements of a sequence are counted: how many there are is said by the input, and not by the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    Yes,
    No,
}

/// What the type asks for, where the decoders of formats with names would give it more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Anything,
    /// The name of a field or a variant, and not its index.
    Name,
    /// Fields by their names, and not a list.
    Fields,
    F32,
    F64,
    /// A number of up to 128 bits.
    Wide,
}

/// Something of serde's, under limits.
#[derive(Debug)]
pub(super) struct Guarded<'a, T> {
    inner: T,
    limits: &'a Limits,
    counts: Counts,
    expects: Expects,
}

impl<'a, T> Guarded<'a, T> {
    const fn with<U>(&self, inner: U) -> Guarded<'a, U> {
        self.limits.guard(inner)
    }

    fn counting<U>(&self, inner: U) -> Guarded<'a, U> {
        Guarded { counts: Counts::Yes, ..self.limits.guard(inner) }
    }

    fn expecting<U>(&self, expects: Expects, inner: U) -> Guarded<'a, U> {
        let expects = if self.limits.form.is_named() { expects } else { Expects::Anything };
        Guarded { expects, ..self.limits.guard(inner) }
    }

    /// The same limits and counting for what is reached through this.
    fn like<U>(&self, inner: U) -> Guarded<'a, U> {
        Guarded { counts: self.counts, ..self.limits.guard(inner) }
    }

    /// Whether a whole number of this size may be visited.
    fn check_whole<E: de::Error>(&self, size: u64) -> Result<(), E>
    where
        Self: de::Expected,
    {
        let largest = match self.expects {
            Expects::Name => return Err(E::invalid_type(Unexpected::Other("a number"), self)),
            Expects::F32 => 1 << f32::MANTISSA_DIGITS,
            Expects::F64 => 1 << f64::MANTISSA_DIGITS,
            Expects::Anything | Expects::Fields | Expects::Wide => return Ok(()),
        };
        if size > largest { Err(E::custom("a number that would be rounded")) } else { Ok(()) }
    }

    fn hint(&self, hint: Option<usize>) -> Option<usize> {
        hint.map(|hint| hint.min(self.limits.elements.get()))
    }
}

//! Refuses, while it is encoded, what would not come back.
//!
//! Each format has values that it writes like others: MessagePack and JSON have one nothing for `None`, `Some(None)` and
//! `()`, JSON writes a number that is none as nothing, postcard does not say which fields were left out. None of that is
//! an error of the encoders: they write what they are told. So each value is told through a serializer that passes
//! everything on and looks at it.
//!
//! What cannot be seen here, because it depends on how the type reads, is noted as a doubt: fields that were left out
//! (is there a default?), maps of no known length (`#[serde(flatten)]`), and numbers of more than 64 bits, which serde
//! itself cannot pass through `flatten`, `untagged` and tags.

mod compound;
mod serializer;

use std::cell::Cell;

use serde::ser::{self, Serialize, Serializer};

/// How deep values may be nested: lists, maps, structs, options, newtypes and enum variants each count. JSON's own
/// limit of half as many lists and maps holds besides.
pub(super) const DEEPEST: u32 = 256;

/// The name by which `rmp_serde` knows a value of an extension type.
const EXTENSION: &str = rmp_serde::MSGPACK_EXT_STRUCT_NAME;

/// What a format cannot write, or not by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Names of fields, and one nothing.
    MessagePack,
    /// The same, and no number that is none.
    #[cfg(feature = "json")]
    Json,
    /// Fields in their order and without names.
    #[cfg(any(feature = "bincode", feature = "postcard"))]
    Compact,
}

impl Form {
    pub(super) const fn is_named(self) -> bool {
        match self {
            Self::MessagePack => true,
            #[cfg(feature = "json")]
            Self::Json => true,
            #[cfg(any(feature = "bincode", feature = "postcard"))]
            Self::Compact => false,
        }
    }

    /// How deep a value may lie. An empty list and a variant without fields are levels for the decoder, too; and JSON's
    /// refuses more than half of what the others read.
    const fn deepest(self) -> u32 {
        if self.is_text() { DEEPEST / 2 - 2 } else { DEEPEST - 2 }
    }

    const fn is_text(self) -> bool {
        match self {
            #[cfg(feature = "json")]
            Self::Json => true,
            _ => false,
        }
    }
}

/// What was seen of a value while it was encoded.
#[derive(Debug)]
pub(super) struct Survey {
    form: Form,
    levels: Cell<u32>,
    refusal: Cell<Option<&'static str>>,
    is_wide: Cell<bool>,
    is_doubtful: Cell<bool>,
}

impl Survey {
    pub(super) const fn new(form: Form) -> Self {
        Self {
            form,
            levels: Cell::new(form.deepest()),
            refusal: Cell::new(None),
            is_wide: Cell::new(false),
            is_doubtful: Cell::new(false),
        }
    }

    /// The value, to be given to the format's own encoder.
    pub(super) const fn of<'a, T: ?Sized>(&'a self, value: &'a T) -> Seen<'a, T> {
        Seen { value, survey: self, levels: 0, in_some: false }
    }

    /// Why the encoding failed, if it was refused here.
    pub(super) const fn refusal(&self) -> Option<&'static str> {
        self.refusal.get()
    }

    /// Whether there was a number of more than 64 bits.
    pub(super) const fn is_wide(&self) -> bool {
        self.is_wide.get()
    }

    /// Whether only reading shows that the value comes back.
    pub(super) const fn is_doubtful(&self) -> bool {
        self.is_wide.get() || self.is_doubtful.get()
    }

    fn refuse<T, E: ser::Error>(&self, why: &'static str) -> Result<T, E> {
        self.refusal.set(Some(why));
        Err(E::custom(why))
    }
}

/// A value under a survey.
pub(super) struct Seen<'a, T: ?Sized> {
    value: &'a T,
    survey: &'a Survey,
    /// How many levels it lies deeper than what it is in.
    levels: u32,
    /// Whether it is what an option has, so that it may not be nothing.
    in_some: bool,
}

impl<T: Serialize + ?Sized> Serialize for Seen<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let survey = self.survey;
        let before = survey.levels.get();
        let Some(left) = before.checked_sub(self.levels) else {
            return survey.refuse("a value is nested deeper than what is decoded again");
        };
        survey.levels.set(left);
        let done = self.value.serialize(Surveyed { inner: serializer, survey, in_some: self.in_some });
        survey.levels.set(before);
        done
    }
}

/// A number that takes more than 64 bits, as MessagePack has it: an extension type of its own and 16 bytes.
struct Wide([u8; 16]);

impl Serialize for Wide {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

/// The extension types of [`Wide`].
pub(super) const UNSIGNED: i8 = 1;
pub(super) const SIGNED: i8 = 2;

const NESTED_NOTHING: &str = "an option that has nothing in it, as Some(None) and Some(()), would come back as None: \
                              use an enum with a variant for each";

/// A serializer, or what it makes of a list, a map or a struct.
pub(super) struct Surveyed<'a, S> {
    inner: S,
    survey: &'a Survey,
    in_some: bool,
}

impl<'a, S> Surveyed<'a, S> {
    const fn inside<'v, T: ?Sized>(&self, value: &'v T) -> Seen<'v, T>
    where
        'a: 'v,
    {
        Seen { value, survey: self.survey, levels: 1, in_some: false }
    }
}

impl<'a, S: Serializer> Surveyed<'a, S> {
    /// Nothing, which is `None` in an option.
    fn check_something(&self) -> Result<(), S::Error> {
        match self.in_some && self.survey.form.is_named() {
            true => self.survey.refuse(NESTED_NOTHING),
            false => Ok(()),
        }
    }

    fn check_float(&self, is_finite: bool) -> Result<(), S::Error> {
        match self.survey.form.is_text() && !is_finite {
            true => self.survey.refuse("JSON has no infinite numbers and none that are not a number"),
            false => Ok(()),
        }
    }

    #[cfg_attr(
        not(any(feature = "json", feature = "bincode", feature = "postcard")),
        expect(unused_variables, reason = "MessagePack has a form of its own for them")
    )]
    fn wide<T: Serialize>(
        self,
        tag: i8,
        bytes: [u8; 16],
        value: T,
        plain: fn(S, T) -> Result<S::Ok, S::Error>,
    ) -> Result<S::Ok, S::Error> {
        self.survey.is_wide.set(self.survey.form.is_named());
        match self.survey.form {
            Form::MessagePack => self.inner.serialize_newtype_struct(EXTENSION, &(tag, Wide(bytes))),
            #[cfg(any(feature = "json", feature = "bincode", feature = "postcard"))]
            _ => plain(self.inner, value),
        }
    }

    const fn compound<C>(survey: &'a Survey, levels: u32, inner: C) -> Compound<'a, C> {
        Compound { inner, survey, levels, first: None }
    }
}

/// A list, a map or a struct under a survey.
pub(super) struct Compound<'a, C> {
    inner: C,
    survey: &'a Survey,
    levels: u32,
    /// The first field of a struct: the tag, if it has one.
    first: Option<&'static str>,
}

impl<'a, C> Compound<'a, C> {
    #[inline]
    const fn inside<'v, T: ?Sized>(&self, value: &'v T) -> Seen<'v, T>
    where
        'a: 'v,
    {
        Seen { value, survey: self.survey, levels: self.levels, in_some: false }
    }

    /// Whether the field may stand there. The content of a variant may have a field that is called as the tag.
    fn check_name<E: ser::Error>(&mut self, name: &'static str) -> Result<(), E> {
        match self.first {
            Some(first) if first == name && self.survey.form.is_named() => {
                self.survey.refuse("a struct has two fields of one name, such as a tag and a field of what it tags")
            }
            Some(_) => Ok(()),
            None => {
                self.first = Some(name);
                Ok(())
            }
        }
    }

    fn check_skip<E: ser::Error>(&self) -> Result<(), E> {
        self.survey.is_doubtful.set(true);
        match self.survey.form.is_named() {
            true => Ok(()),
            false => self.survey.refuse("a field that is left out (skip_serializing_if) needs a codec with names"),
        }
    }
}

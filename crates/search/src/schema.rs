#[cfg(feature = "tantivy")]
mod canonical;
pub(crate) mod diff;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use statehouse_core::{Error, Result};

use crate::analysis::{Analyzer, Normalizer};

/// What an index holds: named fields, and the analyzers that turn text into terms.
///
/// One definition is compiled to tantivy and to OpenSearch. It is stored with the index and compared when that is
/// opened again, so an index is never read with a schema it was not written with.
///
/// ```
/// use statehouse_search::analysis::{Analyzer, Stemmer};
/// use statehouse_search::{Field, Schema};
///
/// let schema = Schema::builder()
///     .analyzer("clinical", Analyzer::standard().lowercase().ascii_folding().stem(Stemmer::Porter2))
///     .field(Field::text("title").analyzed_by("clinical"))
///     .field(Field::keyword("chapter").sortable())
///     .field(Field::date("valid_from").sortable())
///     .build()?;
/// assert_eq!(schema.field("title").unwrap().name(), "title");
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    fields: Vec<Field>,
    analyzers: BTreeMap<Arc<str>, Analyzer>,
}

impl Schema {
    /// Starts a schema. The analyzer `standard` (UAX#29 words in lowercase) is there from the start.
    #[must_use]
    pub fn builder() -> SchemaBuilder {
        SchemaBuilder {
            fields: Vec::new(),
            analyzers: vec![(Analyzer::STANDARD.into(), Analyzer::standard().lowercase())],
        }
    }

    /// All fields in the order given, each followed by its sub-fields.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field of this name; a sub-field is `title.start`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| &*field.name == name)
    }

    /// The field of this name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if there is none.
    pub fn require(&self, name: &str) -> Result<&Field> {
        self.field(name).ok_or_else(|| Error::invalid_input("the schema has no such field").with_key(name))
    }

    /// The analyzers by name.
    pub fn analyzers(&self) -> impl Iterator<Item = (&str, &Analyzer)> {
        self.analyzers.iter().map(|(name, analyzer)| (&**name, analyzer))
    }

    /// The analyzer of this name.
    #[must_use]
    pub fn analyzer(&self, name: &str) -> Option<&Analyzer> {
        self.analyzers.get(name)
    }

    /// What differs between this schema and another, one phrase per field or analyzer; empty if they are the same. The order
    /// of fields is no difference, nor is an analyzer that no field uses.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for field in &self.fields {
            match other.field(&field.name) {
                None => found.push(format!("field {:?} is only in the first", field.name)),
                Some(theirs) if theirs != field => found.push(format!("field {:?} differs", field.name)),
                Some(_) => {}
            }
        }
        let extra = other.fields.iter().filter(|field| self.field(&field.name).is_none());
        found.extend(extra.map(|field| format!("field {:?} is only in the second", field.name)));
        let (ours, theirs) = (self.used_analyzers(), other.used_analyzers());
        // One that only one of them uses is told with its field.
        let differ = ours.iter().filter(|(name, analyzer)| theirs.get(*name).is_some_and(|other| other != *analyzer));
        found.extend(differ.map(|(name, _)| format!("analyzer {name:?} differs")));
        found
    }

    /// The same analyzers with other fields.
    #[cfg(feature = "tantivy")]
    pub(crate) fn of_fields(&self, fields: Vec<Field>) -> Self {
        Self { fields, analyzers: self.analyzers.clone() }
    }

    /// The analyzers that fields use, by name.
    pub(crate) fn used_analyzers(&self) -> BTreeMap<&str, &Analyzer> {
        let names = self.fields.iter().flat_map(|field| match &field.kind {
            FieldKind::Text { analyzer, search_analyzer, .. } => [Some(analyzer), Some(search_analyzer)],
            _ => [None, None],
        });
        names.flatten().filter_map(|name| Some((&**name, self.analyzer(name)?))).collect()
    }
}

/// Collects the parts of a [`Schema`].
#[derive(Clone, Debug)]
pub struct SchemaBuilder {
    fields: Vec<Field>,
    analyzers: Vec<(Arc<str>, Analyzer)>,
}

impl SchemaBuilder {
    /// Adds an analyzer under a name.
    #[must_use]
    pub fn analyzer(mut self, name: &str, analyzer: Analyzer) -> Self {
        self.analyzers.push((name.into(), analyzer));
        self
    }

    /// Adds a field and its sub-fields.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// Checks the whole.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for a name that is given twice or is not
    /// `a-z`, `A-Z`, `0-9`, `_` and `-` beginning with a letter; for an analyzer that is not defined or whose filters
    /// cannot stand in that order; for an option that the field's type does not have, also by a setter that is for fields of
    /// another type; for a sub-field that cannot take its field's values.
    pub fn build(self) -> Result<Schema> {
        let mut analyzers = BTreeMap::new();
        for (name, analyzer) in self.analyzers {
            check_name(&name)?;
            analyzer.check().map_err(|error| error.with_key(&name))?;
            if analyzers.insert(Arc::clone(&name), analyzer).is_some() && &*name != Analyzer::STANDARD {
                return Err(Error::invalid_input("an analyzer of this name is defined twice").with_key(&name));
            }
        }
        let mut fields = Vec::new();
        for field in self.fields {
            check_name(&field.name)?;
            flatten(field, &mut fields)?;
        }
        for (at, field) in fields.iter().enumerate() {
            field.check(&analyzers).map_err(|error| error.with_key(&field.name))?;
            if fields[..at].iter().any(|earlier| earlier.name == field.name) {
                return Err(Error::invalid_input("a field of this name is defined twice").with_key(&field.name));
            }
        }
        Ok(Schema { fields, analyzers })
    }
}

fn flatten(mut field: Field, into: &mut Vec<Field>) -> Result<()> {
    let subs = std::mem::take(&mut field.sub_fields);
    let (parent, kind) = (Arc::clone(&field.name), field.kind.clone());
    into.push(field);
    for mut sub in subs {
        check_name(&sub.name)?;
        if !sub.sub_fields.is_empty() {
            return Err(Error::invalid_input("a sub-field must not have sub-fields of its own").with_key(&sub.name));
        }
        if !kind.shares_values_with(&sub.kind) {
            let message = format!("a sub-field of {} cannot take the values of {}", sub.kind.as_str(), kind.as_str());
            return Err(Error::invalid_input(message).with_key(&sub.name));
        }
        sub.name = format!("{parent}.{}", sub.name).into();
        sub.source = Some(Arc::clone(&parent));
        into.push(sub);
    }
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if name.len() <= 100 && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(plain) {
        return Ok(());
    }
    let rule = "a name must be at most 100 of a-z, A-Z, 0-9, _ and -, beginning with a letter";
    Err(Error::invalid_input(rule).with_key(name))
}

/// One field of a [`Schema`]. Any field may have several values in one document.
///
/// ```
/// use statehouse_search::analysis::{Analyzer, Normalizer};
/// use statehouse_search::{Field, Schema};
///
/// let schema = Schema::builder()
///     // Each beginning of a word is a term; what somebody has typed is taken as it is.
///     .analyzer("beginnings", Analyzer::standard().lowercase().edge_ngram(1, 15))
///     .field(
///         Field::text("title")
///             .without_norms() // a short title is no better than a long one
///             .with_sub_field(
///                 Field::text("start").analyzed_by("beginnings").searched_by("standard").without_norms(),
///             )
///             .with_sub_field(Field::keyword("exact").normalized(Normalizer::default().lowercase()).sortable()),
///     )
///     .field(Field::keyword("picture").not_indexed()) // only returned
///     .field(Field::text("notes").not_stored()) // only searched
///     .build()?;
/// let names: Vec<_> = schema.fields().iter().map(Field::name).collect();
/// assert_eq!(names, ["title", "title.start", "title.exact", "picture", "notes"]);
/// assert!(schema.field("title.exact").unwrap().is_sortable() && !schema.field("picture").unwrap().is_indexed());
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    name: Arc<str>,
    kind: FieldKind,
    indexed: bool,
    stored: bool,
    sortable: bool,
    source: Option<Arc<str>>,
    sub_fields: Vec<Self>,
    /// What was asked of it that it cannot do. Said when the schema is built, for a setter has no way to.
    #[serde(skip)]
    misused: Option<&'static str>,
}

/// What a field holds and how it is searched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FieldKind {
    /// Text that is cut into terms and ranked.
    Text {
        /// The analyzer of the documents' text.
        analyzer: Arc<str>,
        /// The analyzer of the query's text.
        search_analyzer: Arc<str>,
        /// Whether long texts count less.
        norms: Norms,
    },
    /// Text that is one term, for filters, sorting and exact matches. Never ranked: a match scores 1 × boost.
    Keyword {
        /// What is done to the text before it becomes the term.
        normalizer: Normalizer,
    },
    /// Signed whole numbers.
    I64,
    /// Unsigned whole numbers.
    U64,
    /// Finite numbers.
    F64,
    /// Truth values.
    Bool,
    /// Points in time, in milliseconds since the Unix epoch.
    Date,
}

impl FieldKind {
    /// Whether what is a value of one is a value of the other.
    fn shares_values_with(&self, other: &Self) -> bool {
        let text = |kind: &Self| matches!(kind, Self::Text { .. } | Self::Keyword { .. });
        if text(self) { text(other) } else { self == other }
    }

    /// The kind in a word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Keyword { .. } => "keyword",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::F64 => "f64",
            Self::Bool => "bool",
            Self::Date => "date",
        }
    }
}

/// Whether the length of a text lowers its score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Norms {
    /// Shorter texts score higher, as BM25 says.
    #[default]
    Length,
    /// The length does not matter. Always so for analyzers that make several terms of one word.
    Off,
}

impl Field {
    /// A text field with the analyzer `standard`.
    #[must_use]
    pub fn text(name: &str) -> Self {
        let analyzer: Arc<str> = Analyzer::STANDARD.into();
        let search_analyzer = Arc::clone(&analyzer);
        Self::new(name, FieldKind::Text { analyzer, search_analyzer, norms: Norms::Length })
    }

    /// A keyword field that takes its text as it is.
    #[must_use]
    pub fn keyword(name: &str) -> Self {
        Self::new(name, FieldKind::Keyword { normalizer: Normalizer::default() })
    }

    /// A field of signed whole numbers.
    #[must_use]
    pub fn i64(name: &str) -> Self {
        Self::new(name, FieldKind::I64)
    }

    /// A field of unsigned whole numbers.
    #[must_use]
    pub fn u64(name: &str) -> Self {
        Self::new(name, FieldKind::U64)
    }

    /// A field of finite numbers.
    #[must_use]
    pub fn f64(name: &str) -> Self {
        Self::new(name, FieldKind::F64)
    }

    /// A field of truth values.
    #[must_use]
    pub fn bool(name: &str) -> Self {
        Self::new(name, FieldKind::Bool)
    }

    /// A field of points in time.
    #[must_use]
    pub fn date(name: &str) -> Self {
        Self::new(name, FieldKind::Date)
    }

    fn new(name: &str, kind: FieldKind) -> Self {
        Self {
            name: name.into(),
            kind,
            indexed: true,
            stored: true,
            sortable: false,
            source: None,
            sub_fields: Vec::new(),
            misused: None,
        }
    }

    /// Remembers the first thing that it cannot do.
    const fn misuse(&mut self, what: &'static str) {
        if self.misused.is_none() {
            self.misused = Some(what);
        }
    }

    /// Takes the analyzer of this name for documents and queries. Text fields only.
    #[must_use]
    pub fn analyzed_by(mut self, name: &str) -> Self {
        match &mut self.kind {
            FieldKind::Text { analyzer, search_analyzer, .. } if analyzer == search_analyzer => {
                *analyzer = name.into();
                *search_analyzer = Arc::clone(analyzer);
            }
            FieldKind::Text { .. } => self.misuse("analyzed_by behind searched_by would undo it; say it before"),
            _ => self.misuse("analyzed_by is for text fields"),
        }
        self
    }

    /// Takes another analyzer for queries, as prefixes made at index time need. Say it after
    /// [`analyzed_by`](Self::analyzed_by). Text fields only.
    #[must_use]
    pub fn searched_by(mut self, name: &str) -> Self {
        if let FieldKind::Text { search_analyzer, .. } = &mut self.kind {
            *search_analyzer = name.into();
        } else {
            self.misuse("searched_by is for text fields");
        }
        self
    }

    /// Ranks without regard to the length of the text. Text fields only.
    #[must_use]
    pub const fn without_norms(mut self) -> Self {
        if let FieldKind::Text { norms, .. } = &mut self.kind {
            *norms = Norms::Off;
        } else {
            self.misuse("without_norms is for text fields");
        }
        self
    }

    /// Changes text before it becomes the term, in documents and queries. Keyword fields only.
    #[must_use]
    pub fn normalized(mut self, by: Normalizer) -> Self {
        if let FieldKind::Keyword { normalizer } = &mut self.kind {
            *normalizer = by;
        } else {
            self.misuse("normalized is for keyword fields");
        }
        self
    }

    /// Allows sorting by this field. Not for text fields: sort by a keyword sub-field.
    #[must_use]
    pub const fn sortable(mut self) -> Self {
        self.sortable = true;
        self
    }

    /// Keeps the field out of the index: it is only returned with its document.
    #[must_use]
    pub const fn not_indexed(mut self) -> Self {
        self.indexed = false;
        self
    }

    /// Keeps the field's values out of the returned documents: it is only searched.
    #[must_use]
    pub const fn not_stored(mut self) -> Self {
        self.stored = false;
        self
    }

    /// Indexes the same values in one more way, as `name.sub`.
    #[must_use]
    pub fn with_sub_field(mut self, mut sub: Self) -> Self {
        sub.stored = false;
        self.sub_fields.push(sub);
        self
    }

    /// The name; `title.start` for a sub-field.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds.
    #[must_use]
    pub const fn kind(&self) -> &FieldKind {
        &self.kind
    }

    /// Whether queries can use it.
    #[must_use]
    pub const fn is_indexed(&self) -> bool {
        self.indexed
    }

    /// Whether its values are returned.
    #[must_use]
    pub const fn is_stored(&self) -> bool {
        self.stored
    }

    /// Whether hits can be sorted by it.
    #[must_use]
    pub const fn is_sortable(&self) -> bool {
        self.sortable
    }

    /// The field whose values this sub-field takes.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Whether it is a text field.
    #[must_use]
    pub const fn is_text(&self) -> bool {
        matches!(self.kind, FieldKind::Text { .. })
    }

    fn check(&self, analyzers: &BTreeMap<Arc<str>, Analyzer>) -> Result<()> {
        if let Some(misused) = self.misused {
            return Err(Error::invalid_input(misused));
        }
        if !self.indexed && self.sortable {
            return Err(Error::invalid_input("a field that is not indexed cannot be sorted by"));
        }
        if !self.indexed && (!self.stored || self.source.is_some()) {
            return Err(Error::invalid_input("a field that is neither indexed nor stored holds nothing"));
        }
        let FieldKind::Text { analyzer, search_analyzer, norms } = &self.kind else { return Ok(()) };
        if self.sortable {
            return Err(Error::invalid_input("a text field cannot be sorted by; add a keyword sub-field"));
        }
        let find = |name: &Arc<str>| {
            let missing = || Error::invalid_input(format!("the analyzer {name:?} is not defined"));
            analyzers.get(name).ok_or_else(missing)
        };
        let at_index = find(analyzer)?;
        if find(search_analyzer)?.makes_several_terms_of_a_word() {
            let message = "the search analyzer must make one term of a word; name one with searched_by";
            return Err(Error::invalid_input(message));
        }
        if at_index.makes_beginnings() && *norms != Norms::Off {
            // Lucene leaves overlapping terms out of a text's length and tantivy counts them.
            let message = "an analyzer that makes beginnings of words needs without_norms";
            return Err(Error::invalid_input(message));
        }
        Ok(())
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({:?}, {:?})", self.name, self.kind)
    }
}

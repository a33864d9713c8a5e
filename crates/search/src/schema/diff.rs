//! What it takes to use an index with another schema than the one it was made with.

use std::fmt;
use std::sync::Arc;

use super::{Field, FieldKind, Schema};
use crate::analysis::Analyzer;

/// What an index that was made with one schema needs to be used with another; see [`Schema::diff`].
///
/// ```
/// use statehouse_search::{Field, Schema, SchemaDiff};
///
/// let schema = |fields: Vec<Field>| fields.into_iter().fold(Schema::builder(), |schema, field| schema.field(field)).build();
/// let index = schema(vec![Field::text("title"), Field::keyword("ward")])?;
/// // The order is no difference.
/// assert_eq!(index.diff(&schema(vec![Field::keyword("ward"), Field::text("title")])?), SchemaDiff::Same);
/// // A new field is added in place, and what became of an old one is the next build's business.
/// let diff = index.diff(&schema(vec![Field::text("title"), Field::date("seen")])?);
/// assert_eq!(diff, SchemaDiff::Additive { added: vec!["seen".into()], unused: vec!["ward".into()] });
/// // What would change what is found needs all documents once more.
/// let SchemaDiff::NeedsReindex { reasons } = index.diff(&schema(vec![Field::keyword("title")])?) else { panic!() };
/// assert_eq!(reasons[0].to_string(), "field \"title\" is a keyword, and was a text");
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook what an index needs")]
pub enum SchemaDiff {
    /// Nothing. Neither the order of fields is a difference, nor an analyzer that no field uses, nor an analyzer's name.
    Same,
    /// Fields come or go, and nothing else changes: that is done in place.
    Additive {
        /// Fields that the index lacks. No document has a value of them until it is written again.
        added: Vec<String>,
        /// Fields that the schema lacks. They stay in the index, so that a build before can go on; no search of this schema
        /// sees them.
        unused: Vec<String>,
    },
    /// All documents have to be indexed once more, into another generation.
    NeedsReindex {
        /// Why: at least one.
        reasons: Vec<SchemaChange>,
    },
}

/// A change of a field that an index cannot follow in place.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaChange {
    /// The field.
    pub field: String,
    /// What is different about it: a phrase behind its name.
    pub what: String,
}

impl SchemaChange {
    pub(crate) fn new(field: &str, what: impl Into<String>) -> Self {
        Self { field: field.to_owned(), what: what.into() }
    }
}

impl fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field {:?} {}", self.field, self.what)
    }
}

impl fmt::Debug for SchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SchemaChange({self})")
    }
}

impl SchemaDiff {
    /// The fields to add, if that is all there is to do.
    #[cfg(any(test, feature = "conformance", feature = "opensearch", feature = "tantivy"))]
    pub(crate) fn into_added(self) -> Result<Vec<String>, Vec<SchemaChange>> {
        match self {
            Self::Same => Ok(Vec::new()),
            Self::Additive { added, .. } => Ok(added),
            Self::NeedsReindex { reasons } => Err(reasons),
        }
    }
}

impl Schema {
    /// What an index of this schema needs to be used with `wanted`.
    #[must_use]
    pub fn diff(&self, wanted: &Self) -> SchemaDiff {
        let mut reasons = Vec::new();
        for field in &wanted.fields {
            match (self.field(&field.name), &field.source) {
                (Some(found), _) => {
                    let what = change((self, found), (wanted, field));
                    reasons.extend(what.map(|what| SchemaChange::new(&field.name, what)));
                }
                // The documents have values of its field, and it would not find them.
                (None, Some(source)) if self.field(source).is_some() => {
                    let what = format!("is a new way to search the values of {source:?}, which documents have");
                    reasons.push(SchemaChange::new(&field.name, what));
                }
                (None, _) => reasons.extend(self.clash(wanted, field)),
            }
        }
        if !reasons.is_empty() {
            return SchemaDiff::NeedsReindex { reasons };
        }
        let missing = |here: &Self, there: &Self| -> Vec<String> {
            there.fields.iter().filter(|field| here.field(&field.name).is_none()).map(|f| f.name.to_string()).collect()
        };
        let (added, unused) = (missing(self, wanted), missing(wanted, self));
        if added.is_empty() && unused.is_empty() { SchemaDiff::Same } else { SchemaDiff::Additive { added, unused } }
    }

    /// A new field whose analyzer has the name of another one here.
    fn clash(&self, wanted: &Self, field: &Field) -> Option<SchemaChange> {
        let FieldKind::Text { analyzer, search_analyzer, .. } = &field.kind else { return None };
        let used = self.used_analyzers();
        let clashes = |name: &&Arc<str>| used.get(&***name).is_some_and(|found| wanted.analyzer(name) != Some(*found));
        let name = [analyzer, search_analyzer].into_iter().find(clashes)?;
        let what = format!("has an analyzer {name:?}, which is another one for the fields that are there");
        Some(SchemaChange::new(&field.name, what))
    }

    /// This schema with the fields of `wanted` that it lacks, behind its own.
    #[cfg(any(test, feature = "opensearch", feature = "tantivy"))]
    pub(crate) fn extended_by(&self, wanted: &Self) -> Self {
        let added = wanted.fields.iter().filter(|field| self.field(&field.name).is_none());
        let mut extended =
            Self { fields: self.fields.iter().chain(added).cloned().collect(), analyzers: self.analyzers.clone() };
        let used = self.used_analyzers().into_keys().map(str::to_owned).collect::<Vec<_>>();
        for (name, analyzer) in wanted.used_analyzers() {
            // One that nobody uses here gives way.
            if !used.iter().any(|known| known == name) {
                extended.analyzers.insert(name.into(), analyzer.clone());
            }
        }
        extended
    }
}

/// What is different about a field that both have.
fn change((old, was): (&Schema, &Field), (new, is): (&Schema, &Field)) -> Option<String> {
    let analyzers = |schema: &Schema, name: &Arc<str>| schema.analyzer(name).cloned();
    match (&was.kind, &is.kind) {
        (
            FieldKind::Text { analyzer: a, search_analyzer: s, norms: n },
            FieldKind::Text { analyzer, search_analyzer, norms },
        ) => {
            let (before, now) = (analyzers(old, a), analyzers(new, analyzer));
            if before != now {
                let bare = |analyzer: Option<Analyzer>| analyzer.map(|analyzer| analyzer.without_synonyms());
                if bare(before) == bare(now) {
                    return Some(format!("is indexed with other synonyms, by {analyzer:?}"));
                }
                return Some(format!("is analyzed otherwise, by {analyzer:?}"));
            }
            if analyzers(old, s) != analyzers(new, search_analyzer) {
                return Some(format!("is searched by another analyzer, {search_analyzer:?}"));
            }
            if n != norms {
                return Some("ranks with another regard to the length of texts".to_owned());
            }
        }
        (FieldKind::Keyword { normalizer: a }, FieldKind::Keyword { normalizer: b }) if a != b => {
            return Some("is normalized otherwise".to_owned());
        }
        (a, b) if a.as_str() != b.as_str() => return Some(format!("is a {}, and was a {}", b.as_str(), a.as_str())),
        _ => {}
    }
    let is_now = |before: bool, now: bool, what: &str| {
        (before != now).then(|| format!("is {}{what}", if now { "now " } else { "no longer " }))
    };
    is_now(was.indexed, is.indexed, "indexed")
        .or_else(|| is_now(was.stored, is.stored, "stored"))
        .or_else(|| is_now(was.sortable, is.sortable, "sortable"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SchemaBuilder;
    use crate::analysis::{Normalizer, Stemmer};

    fn schema(fields: impl IntoIterator<Item = Field>) -> Schema {
        let english = Analyzer::standard().lowercase().stem(Stemmer::Porter2);
        let builder = Schema::builder().analyzer("english", english.clone()).analyzer("clinical", english);
        let builder = builder.analyzer("typed", Analyzer::standard().lowercase().edge_ngram(1, 4));
        fields.into_iter().fold(builder, SchemaBuilder::field).build().unwrap()
    }

    fn reasons(old: Field, new: Field) -> Vec<String> {
        match schema([old]).diff(&schema([new])) {
            SchemaDiff::NeedsReindex { reasons } => reasons.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn neither_order_nor_names_of_analyzers_are_a_difference() {
        let title = |analyzer| Field::text("title").analyzed_by(analyzer);
        let one = schema([title("english"), Field::keyword("code")]);
        assert_eq!(one.diff(&schema([Field::keyword("code"), title("clinical")])), SchemaDiff::Same);
    }

    #[test]
    fn what_changes_what_is_found_needs_a_reindex_and_names_its_field() {
        let (text, keyword) = (|| Field::text("f"), || Field::keyword("f"));
        let sub = || Field::text("typed").analyzed_by("typed").searched_by("standard").without_norms();
        for (old, new, reason) in [
            (text(), keyword(), "field \"f\" is a keyword, and was a text"),
            (Field::i64("f"), Field::u64("f"), "field \"f\" is a u64, and was a i64"),
            (text(), text().analyzed_by("english"), "field \"f\" is analyzed otherwise, by \"english\""),
            (text(), text().searched_by("english"), "field \"f\" is searched by another analyzer, \"english\""),
            (text(), text().without_norms(), "field \"f\" ranks with another regard to the length of texts"),
            (keyword(), keyword().normalized(Normalizer::default().lowercase()), "field \"f\" is normalized otherwise"),
            (keyword(), keyword().sortable(), "field \"f\" is now sortable"),
            (keyword(), keyword().not_stored(), "field \"f\" is no longer stored"),
            (keyword(), keyword().not_indexed(), "field \"f\" is no longer indexed"),
            (
                text(),
                text().with_sub_field(sub()),
                "field \"f.typed\" is a new way to search the values of \"f\", which documents have",
            ),
        ] {
            assert_eq!(reasons(old, new), [reason]);
        }
    }

    #[test]
    fn other_synonyms_need_a_reindex_and_say_so() {
        let of = |rules: &str| {
            let analyzer = Analyzer::standard().lowercase().synonyms(rules);
            let field = Field::text("title").analyzed_by("worded").searched_by(Analyzer::STANDARD);
            Schema::builder().analyzer("worded", analyzer).field(field).build().unwrap()
        };
        assert_eq!(of("heart, cardiac").diff(&of("# the same\nCardiac, heart")), SchemaDiff::Same);
        let field = Field::text("title").analyzed_by("worded").searched_by(Analyzer::STANDARD);
        let plain = Schema::builder().analyzer("worded", Analyzer::standard().lowercase()).field(field);
        for none in ["", " \n", "# none yet\n\n"] {
            assert_eq!(of(none), plain.clone().build().unwrap(), "no rules are no step");
        }
        for (old, new) in [("heart, cardiac", "heart => cardiac"), ("", "heart, cardiac"), ("a, b", "a, b, c")] {
            let SchemaDiff::NeedsReindex { reasons } = of(old).diff(&of(new)) else { panic!("{old}") };
            assert_eq!(reasons[0].to_string(), "field \"title\" is indexed with other synonyms, by \"worded\"");
        }
    }

    #[test]
    fn an_analyzer_of_a_new_field_does_not_change_that_of_an_unused_one() {
        let other = Schema::builder().analyzer("english", Analyzer::whole());
        let other = other.field(Field::text("new").analyzed_by("english")).build().unwrap();
        let diff = schema([Field::text("old").analyzed_by("english")]).diff(&other);
        assert!(matches!(diff, SchemaDiff::NeedsReindex { reasons } if reasons[0].field == "new"));
        // One that no field uses is none.
        let diff = schema([Field::text("old")]).diff(&other);
        assert!(matches!(diff, SchemaDiff::Additive { .. }), "{diff:?}");
        let extended = schema([Field::text("old")]).extended_by(&other);
        assert_eq!(extended.analyzer("english"), other.analyzer("english"));
        assert_eq!(extended.diff(&other).into_added(), Ok(vec![]));
    }
}

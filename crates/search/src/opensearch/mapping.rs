//! A [`Schema`] as the settings and mappings of an OpenSearch index.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};
use statehouse_core::{Error, ErrorKind, Result, hex};

use super::config::Layout;
use crate::analysis::{Analyzer, Normalizer, POSITION_GAP, TokenFilter, Tokenizer};
use crate::{Field, FieldKind, Norms, Schema, SchemaChange, SchemaDiff, SearchRequest, Value};

/// The document's id once more, as a keyword: the last sort key of every search. `_id` itself cannot be sorted by
/// without loading all ids onto the server's heap. No field of a schema begins with `_`.
pub(super) const ID: &str = "_sid";

/// Inside some fields: whether there is a value. The server sorts documents without a number as if they had the smallest
/// or largest one, and says of a text without terms that it does not exist.
const PRESENT: &str = "_present";

/// The name of an analyzer on the server: apart from its built-in ones.
pub(super) fn analyzer_name(name: &str) -> String {
    format!("statehouse_{name}")
}

/// What stands in the mapping's `_meta` under `statehouse`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    /// The schema that the index was created with.
    pub(super) schema: Schema,
    /// Of the settings and mappings that the schema was compiled to. It changes when a new release compiles it in
    /// another way.
    pub(super) fingerprint: String,
    /// Fields of the generation before that have another name in this one: old and new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) renamed: Vec<(String, String)>,
}

impl Stored {
    /// What an index of this schema must have.
    pub(super) fn of(schema: &Schema) -> Self {
        let compiled = canonical(&json!([analysis(schema), properties(schema)]));
        Self { schema: schema.clone(), fingerprint: hex::encode(&Sha256::digest(compiled)), renamed: Vec::new() }
    }

    /// The same with the fields of another schema, too.
    pub(super) fn extended_by(&self, wanted: &Schema) -> Self {
        Self { renamed: self.renamed.clone(), ..Self::of(&self.schema.extended_by(wanted)) }
    }

    /// Whether an index of this can be used with a schema as it is.
    pub(super) fn serves(&self, wanted: &Schema) -> bool {
        self.diff(wanted).into_added().is_ok_and(|added| added.is_empty())
    }

    /// The name that a field of the generation before has in this one.
    pub(super) fn newer<'a>(&'a self, field: &'a str) -> &'a str {
        self.renamed.iter().find(|(old, _)| old == field).map_or(field, |(_, new)| new)
    }

    /// The name that a field of this generation has in the one before.
    pub(super) fn older<'a>(&'a self, field: &'a str) -> &'a str {
        self.renamed.iter().find(|(_, new)| new == field).map_or(field, |(old, _)| old)
    }

    /// Succeeds if it was compiled as it would be here.
    pub(super) fn check(&self) -> Result<()> {
        if Self::of(&self.schema).fingerprint == self.fingerprint {
            return Ok(());
        }
        Err(mismatch("the release that created the index compiled its schema in another way: build it anew"))
    }

    /// What this index needs to be used with a schema. New fields whose analyzers it lacks need a reindex: the server adds
    /// none to an index that is open.
    pub(super) fn diff(&self, wanted: &Schema) -> SchemaDiff {
        let diff = self.schema.diff(wanted);
        let SchemaDiff::Additive { added, .. } = &diff else { return diff };
        let extended = self.schema.extended_by(wanted);
        if canonical(&analysis(&self.schema)) == canonical(&analysis(&extended)) {
            return diff;
        }
        let what = "needs an analyzer or normalizer that the index does not have";
        let texts = |name: &&String| {
            let kind = extended.field(name).map(Field::kind);
            matches!(kind, Some(FieldKind::Text { .. } | FieldKind::Keyword { .. }))
        };
        SchemaDiff::NeedsReindex {
            reasons: added.iter().filter(texts).map(|name| SchemaChange::new(name, what)).collect(),
        }
    }
}

/// What makes an index one that holds this, by adding fields.
pub(super) fn extension(stored: &Stored) -> Result<Json> {
    Ok(json!({ "_meta": { "statehouse": meta(stored)? }, "properties": marked(properties(&stored.schema)) }))
}

fn meta(stored: &Stored) -> Result<Json> {
    let unexpected = |error| Error::new(ErrorKind::Unexpected, "the schema cannot be stored").with_source(error);
    serde_json::to_value(stored).map_err(unexpected)
}

/// JSON without spaces, objects in the order of their keys: the same whatever order a map keeps, which is a matter of a
/// feature of `serde_json` that any crate of an application may turn on.
fn canonical(json: &Json) -> String {
    match json {
        Json::Object(entries) => canonical_object(entries.iter()),
        Json::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

fn canonical_object<'a>(entries: impl Iterator<Item = (&'a String, &'a Json)>) -> String {
    let sorted: BTreeMap<_, _> = entries.collect();
    let entries = sorted.into_iter().map(|(key, value)| format!("{}:{}", Json::from(key.as_str()), canonical(value)));
    format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
}

/// The error for an index that must be built anew.
pub(super) fn mismatch(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Conflict, message)
}

/// The body that creates an index with these aliases.
pub(super) fn creation(stored: &Stored, aliases: &Json, layout: &Layout) -> Result<Json> {
    let (meta, schema) = (meta(stored)?, &stored.schema);
    Ok(json!({
        "aliases": aliases,
        "settings": {
            "index": {
                "number_of_shards": layout.shards,
                "number_of_replicas": layout.replicas,
                "gc_deletes": format!("{}ms", layout.delete_retention.as_millis()),
                "max_result_window": SearchRequest::MAX_WINDOW,
                "max_terms_count": crate::MAX_TERMS,
                "translog": { "durability": "request" },
            },
            "analysis": analysis(schema),
        },
        "mappings": {
            "dynamic": "strict",
            "_meta": { "statehouse": meta },
            "properties": marked(properties(schema)),
        },
    }))
}

pub(super) fn analysis(schema: &Schema) -> Json {
    let mut filters = Map::new();
    let mut analyzers = Map::new();
    for (name, analyzer) in schema.used_analyzers() {
        let steps = analyzer
            .filters()
            .iter()
            .enumerate()
            .filter_map(|(at, filter)| step(filter, &format!("{}_{at}", analyzer_name(name)), &mut filters));
        let tokenizer = match analyzer.tokenizer() {
            Tokenizer::Standard => "standard",
            Tokenizer::Whole => "keyword",
        };
        let mut steps: Vec<_> = steps.collect();
        if analyzer.has_synonyms() {
            // What steps behind the rules make the same of.
            steps.extend(define(json!({ "type": "remove_duplicates" }), "statehouse_once", &mut filters));
        }
        analyzers.insert(analyzer_name(name), json!({ "type": "custom", "tokenizer": tokenizer, "filter": steps }));
    }
    json!({
        "analyzer": analyzers,
        "filter": filters,
        "normalizer": normalizers(schema),
        "char_filter": {
            "statehouse_present": { "type": "pattern_replace", "pattern": "(?s).+", "replacement": "1" },
        },
    })
}

/// The name of the server's filter for one step; defines it under `own_name` if it has options. `None` if the step
/// does nothing.
fn step(filter: &TokenFilter, own_name: &str, defined: &mut Map<String, Json>) -> Option<String> {
    let definition = match filter {
        TokenFilter::Lowercase => return Some("lowercase".to_owned()),
        TokenFilter::AsciiFolding => return Some("asciifolding".to_owned()),
        // The server would take an empty list for its English one.
        TokenFilter::Stop(words) if words.is_empty() => return None,
        TokenFilter::Stop(words) => json!({ "type": "stop", "stopwords": words }),
        TokenFilter::Stem(stemmer) => json!({ "type": "stemmer", "language": stemmer.as_str() }),
        TokenFilter::EdgeNgram { min, max } => json!({ "type": "edge_ngram", "min_gram": min, "max_gram": max }),
        TokenFilter::Synonyms(rules) if rules.is_empty() => return None,
        // Each rule says all that stands for a word, itself too: the server adds nothing and leaves nothing.
        TokenFilter::Synonyms(rules) => {
            let rules = rules.words().map(|(word, others)| {
                let others = others.into_iter().map(escaped).collect::<Vec<_>>();
                format!("{} => {}", escaped(word), others.join(", "))
            });
            json!({ "type": "synonym", "synonyms": rules.collect::<Vec<_>>() })
        }
    };
    define(definition, own_name, defined)
}

fn define(definition: Json, name: &str, defined: &mut Map<String, Json>) -> Option<String> {
    defined.insert(name.to_owned(), definition);
    Some(name.to_owned())
}

/// A word as a rule has it, in which some signs mean something.
fn escaped(word: &str) -> String {
    let signs = |c: char| matches!(c, '\\' | ',' | '=' | '>' | '#');
    word.chars().flat_map(|c| signs(c).then_some('\\').into_iter().chain([c])).collect()
}

fn normalizers(schema: &Schema) -> Map<String, Json> {
    let used = schema.fields().iter().filter_map(|field| match field.kind() {
        FieldKind::Keyword { normalizer } if !normalizer.is_identity() => Some(normalizer),
        _ => None,
    });
    let mut normalizers: Map<_, _> = used
        .map(|normalizer| {
            let definition = json!({ "type": "custom", "filter": normalizer_steps(normalizer) });
            (normalizer_name(normalizer), definition)
        })
        .collect();
    let present = json!({ "type": "custom", "char_filter": ["statehouse_present"] });
    normalizers.insert("statehouse_present".to_owned(), present);
    normalizers
}

/// A normalizer has no name of its own in a schema: it is named for what it does.
fn normalizer_name(normalizer: &Normalizer) -> String {
    format!("statehouse_{}", normalizer_steps(normalizer).join("_"))
}

fn normalizer_steps(normalizer: &Normalizer) -> Vec<&'static str> {
    let name = |filter: &TokenFilter| match filter {
        TokenFilter::Lowercase => Some("lowercase"),
        TokenFilter::AsciiFolding => Some("asciifolding"),
        _ => None,
    };
    normalizer.filters().iter().filter_map(name).collect()
}

pub(super) fn properties(schema: &Schema) -> Map<String, Json> {
    let mut properties = Map::new();
    properties.insert(ID.to_owned(), json!({ "type": "keyword" }));
    for field in schema.fields().iter().filter(|field| field.source().is_none()) {
        let subs = schema.fields().iter().filter(|sub| sub.source() == Some(field.name()));
        let mut inner: Map<_, _> = subs
            .clone()
            .map(|sub| (sub.name()[field.name().len() + 1..].to_owned(), Json::Object(property(sub))))
            .collect();
        if std::iter::once(field).chain(subs).any(needs_presence) {
            let present = json!({ "type": "keyword", "index": false, "normalizer": "statehouse_present" });
            inner.insert(PRESENT.to_owned(), present);
        }
        let mut outer = property(field);
        if !inner.is_empty() {
            outer.insert("fields".to_owned(), inner.into());
        }
        properties.insert(field.name().to_owned(), outer.into());
    }
    properties
}

/// Properties that say each of itself that it is ours: `_meta` is written whole, and of two builds that add fields at once
/// the slower one says nothing of the other's.
fn marked(mut properties: Map<String, Json>) -> Map<String, Json> {
    for property in properties.values_mut().filter_map(Json::as_object_mut) {
        property.insert("meta".to_owned(), json!({ MARK: "1" }));
        if let Some(Json::Object(inner)) = property.remove("fields") {
            property.insert("fields".to_owned(), marked(inner).into());
        }
    }
    properties
}

/// Whether a property that the server tells of was made by us, whatever the index says that it holds.
pub(super) fn is_marked(property: &Json) -> bool {
    property["meta"].get(MARK).is_some()
}

/// Under which name a property's own `meta` says that it is ours.
const MARK: &str = "statehouse";

/// Whether the field itself does not tell a missing value from some that are there; see [`PRESENT`].
pub(super) fn needs_presence(field: &Field) -> bool {
    match field.kind() {
        FieldKind::I64 | FieldKind::U64 | FieldKind::Date => field.is_sortable(),
        FieldKind::Text { norms, .. } => field.is_indexed() && *norms == Norms::Length,
        _ => false,
    }
}

/// The field that says whether this one, or the one whose values it takes, has any.
pub(super) fn presence(field: &Field) -> String {
    format!("{}.{PRESENT}", field.source().unwrap_or(field.name()))
}

fn property(field: &Field) -> Map<String, Json> {
    let property = match field.kind() {
        FieldKind::Text { analyzer, search_analyzer, norms } => json!({
            "type": "text",
            "analyzer": analyzer_name(analyzer),
            "search_analyzer": analyzer_name(search_analyzer),
            "norms": *norms == Norms::Length,
            "position_increment_gap": POSITION_GAP,
        }),
        FieldKind::Keyword { normalizer } if normalizer.is_identity() => json!({ "type": "keyword" }),
        FieldKind::Keyword { normalizer } => {
            json!({ "type": "keyword", "normalizer": normalizer_name(normalizer) })
        }
        // A point in time is a number here too: a `date` does not find negative ones by term. So is an unsigned one, see
        // `biased`: the server fails to sort an `unsigned_long` that some segment lacks, and finds nothing below 2^64 - 1.
        FieldKind::I64 | FieldKind::Date | FieldKind::U64 => json!({ "type": "long", "coerce": false }),
        FieldKind::F64 => json!({ "type": "double", "coerce": false }),
        FieldKind::Bool => json!({ "type": "boolean" }),
    };
    let Json::Object(mut property) = property else { unreachable!("each of them is an object") };
    if !field.is_indexed() {
        // The server refuses them where there are no positions.
        property.retain(|name, _| !matches!(name.as_str(), "position_increment_gap" | "norms"));
    }
    property.insert("index".to_owned(), field.is_indexed().into());
    if !field.is_text() {
        property.insert("doc_values".to_owned(), field.is_sortable().into());
    }
    property
}

/// An unsigned number as the signed one that stands at the same place among its kind: the smallest for zero.
pub(super) const fn biased(number: u64) -> i64 {
    (number ^ (1 << 63)).cast_signed()
}

/// The unsigned number that [`biased`] made this of.
pub(super) const fn unbiased(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

/// A value in the server's words; `None` for what it puts in the place of a missing one.
pub(super) fn sort_value(kind: &FieldKind, value: &Json) -> Option<Value> {
    match kind {
        FieldKind::Text { .. } => None,
        FieldKind::Keyword { .. } => value.as_str().map(|text| Value::Text(text.to_owned())),
        FieldKind::I64 => value.as_i64().map(Value::I64),
        FieldKind::Date => value.as_i64().map(Value::Date),
        FieldKind::U64 => value.as_i64().map(unbiased).map(Value::U64),
        FieldKind::F64 => value.as_f64().map(Value::F64),
        FieldKind::Bool => match value.as_i64() {
            Some(0) => Some(Value::Bool(false)),
            Some(1) => Some(Value::Bool(true)),
            _ => None,
        },
    }
}

/// The analyzers that the schema's fields use, each with the name of one such field.
pub(super) fn used_analyzers(schema: &Schema) -> Vec<(&str, &Analyzer, &str)> {
    let mut used: Vec<(&str, &Analyzer, &str)> = Vec::new();
    for field in schema.fields() {
        let FieldKind::Text { analyzer, search_analyzer, .. } = field.kind() else { continue };
        for name in [analyzer, search_analyzer] {
            if let Some(analyzer) = schema.analyzer(name)
                && used.iter().all(|(known, ..)| **known != **name)
            {
                used.push((name, analyzer, field.name()));
            }
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Stemmer;

    #[test]
    fn the_canonical_form_does_not_depend_on_the_order_of_a_map() {
        let (a, b, c) = (json!({ "x": [1, "é\n"], "w": null }), json!(2), json!([]));
        let keys = ["b", "a\"", "c"].map(str::to_owned);
        let entries = [(&keys[0], &a), (&keys[1], &b), (&keys[2], &c)];
        let golden = r#"{"a\"":2,"b":{"w":null,"x":[1,"é\n"]},"c":[]}"#;
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
            assert_eq!(canonical_object(order.map(|at| entries[at]).into_iter()), golden);
        }
    }

    /// It is stored in indexes: another value for the same schema makes all of them a conflict.
    #[test]
    fn the_fingerprint_is_this() {
        let english = Analyzer::standard().lowercase().ascii_folding().stop_words(["the", "of"]).stem(Stemmer::Porter2);
        let fields = [
            Field::text("title").analyzed_by("english").with_sub_field(Field::keyword("exact").sortable()),
            Field::keyword("code").normalized(Normalizer::default().lowercase()).sortable(),
            Field::u64("uses").sortable(),
            Field::date("day"),
        ];
        let build = |fields: Vec<Field>, more: &str| {
            let builder = Schema::builder().analyzer("english", english.clone()).analyzer(more, Analyzer::whole());
            Stored::of(&fields.into_iter().fold(builder, crate::SchemaBuilder::field).build().unwrap())
        };
        let golden = build(fields.to_vec(), "unused");
        assert_eq!(golden.fingerprint, "acad9cf81ededfcad942b8abce2f7771c67ba63075aade804552776eae4cecef");
        let other = build(fields.into_iter().rev().collect(), "another");
        assert_eq!(golden.fingerprint, other.fingerprint);
        golden.check().unwrap();
        assert_eq!(golden.diff(&other.schema), SchemaDiff::Same);
    }

    #[test]
    fn synonyms_are_rules_that_say_all_that_stands_for_a_word() {
        let of = |rules: &str| {
            let analyzer = Analyzer::whole().lowercase().synonyms(rules).stem(Stemmer::Porter2);
            let field = Field::text("title").analyzed_by("worded").searched_by("standard");
            Schema::builder().analyzer("worded", analyzer).field(field).build().unwrap()
        };
        let made = analysis(&of("1\\,5 mg, #1 => x\\\\y, 1\\,5 MG\nb, a"));
        let found = &made["filter"]["statehouse_worded_1"];
        let expected = ["\\#1 => 1\\,5 mg, x\\\\y", "1\\,5 mg => 1\\,5 mg, x\\\\y", "a => a, b", "b => a, b"];
        assert_eq!(*found, json!({ "type": "synonym", "synonyms": expected }));
        let steps = ["lowercase", "statehouse_worded_1", "statehouse_worded_2", "statehouse_once"];
        assert_eq!(made["analyzer"]["statehouse_worded"]["filter"], json!(steps));
        assert_eq!(analysis(&of("# none"))["filter"].as_object().map(Map::len), Some(1));
    }

    #[test]
    fn a_new_field_needs_a_reindex_only_where_its_analyzer_is_not_there() {
        let build = |fields: Vec<Field>| {
            let english = Analyzer::standard().lowercase().stem(Stemmer::Porter2);
            fields
                .into_iter()
                .fold(Schema::builder().analyzer("english", english), crate::SchemaBuilder::field)
                .build()
                .unwrap()
        };
        let english = |name: &str| Field::text(name).analyzed_by("english");
        let stored = Stored::of(&build(vec![english("title")]));
        for added in [english("notes"), Field::keyword("code"), Field::date("seen")] {
            assert!(matches!(stored.diff(&build(vec![english("title"), added])), SchemaDiff::Additive { .. }));
        }
        for added in [Field::text("notes"), Field::keyword("code").normalized(Normalizer::default().lowercase())] {
            let SchemaDiff::NeedsReindex { reasons } = stored.diff(&build(vec![english("title"), added])) else {
                panic!()
            };
            assert!(reasons[0].to_string().contains("analyzer"), "{reasons:?}");
        }
    }

    #[test]
    fn unsigned_numbers_keep_their_order_and_come_back() {
        let numbers = [0, 1, i64::MAX as u64 - 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX - 1, u64::MAX];
        assert!(numbers.windows(2).all(|pair| biased(pair[0]) < biased(pair[1])));
        assert!(numbers.iter().all(|number| unbiased(biased(*number)) == *number));
        assert_eq!((biased(0), biased(u64::MAX)), (i64::MIN, i64::MAX));
    }
}

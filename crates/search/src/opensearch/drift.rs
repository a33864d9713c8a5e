//! Whether an index still has the mapping and the settings that it was created with: what an operator may have changed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::mapping;
use crate::{MAX_TERMS, Schema, SearchRequest};

/// What is different about the index, in a phrase that names it; `None` if nothing is.
/// Fields of ours may be there that the schema does not have: of two builds that add theirs at once, the slower one says what
/// the index holds as if the other one had not. Those of `wanted` are as it says.
pub(super) fn find(schema: &Schema, wanted: &Schema, mappings: &Json, settings: &Json) -> Option<String> {
    let settings = &settings["index"];
    similarity(settings)
        .or_else(|| limits(settings))
        .or_else(|| pipelines(settings))
        .or_else(|| analysis(schema, settings))
        .or_else(|| rules(mappings))
        .or_else(|| {
            let empty = Map::new();
            let found = mappings["properties"].as_object().unwrap_or(&empty);
            let (known, mut ours) = (mapping::properties(schema), mapping::properties(&schema.extended_by(wanted)));
            ours.retain(|name, _| known.contains_key(name) || found.contains_key(name));
            properties(&ours, found, "")
        })
}

/// Settings below a name, each as text under its dotted name: the server stores numbers as text.
fn flat(value: &Json, name: &str, into: &mut BTreeMap<String, String>) {
    match value {
        Json::Object(entries) => {
            for (key, value) in entries {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flat(value, &name, into);
            }
        }
        Json::Null => {}
        Json::String(text) => drop(into.insert(name.to_owned(), text.clone())),
        Json::Array(items) => {
            let items: Vec<_> = items.iter().map(text).collect();
            into.insert(name.to_owned(), items.join("\n"));
        }
        other => drop(into.insert(name.to_owned(), other.to_string())),
    }
}

fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn flattened(value: &Json) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    flat(value, "", &mut settings);
    settings
}

/// Only Lucene's BM25 with its own constants ranks as the contract says.
fn similarity(settings: &Json) -> Option<String> {
    let number = |text: &str, wanted: f64| text.parse::<f64>().is_ok_and(|number| (number - wanted).abs() < 1e-6);
    let wanted = |(name, value): &(&String, &String)| match name.as_str() {
        "default.type" => *value == "BM25",
        "default.k1" => number(value, 1.2),
        "default.b" => number(value, 0.75),
        "default.discount_overlaps" => *value == "true",
        // Nothing of ours uses another one.
        name => !name.starts_with("default."),
    };
    let found = flattened(&settings["similarity"]);
    let (name, value) = found.iter().find(|setting| !wanted(setting))?;
    Some(format!("index.similarity.{name} is {value:?}: it ranks in another way than BM25 with k1 = 1.2 and b = 0.75"))
}

/// Limits that requests rely on, and refreshes that waiting writes need.
fn limits(settings: &Json) -> Option<String> {
    let least = [("max_result_window", SearchRequest::MAX_WINDOW), ("max_terms_count", MAX_TERMS as u64)];
    let low = least.into_iter().find_map(|(name, least)| {
        let found: u64 = text(settings.get(name)?).parse().ok()?;
        (found < least).then(|| format!("index.{name} is {found}, below {least}"))
    });
    let refreshed = || {
        let interval = text(settings.get("refresh_interval")?);
        // What the server takes for none is zero or below.
        let refreshes = time(&interval).is_some_and(|interval| !interval.is_zero());
        (!refreshes).then(|| {
            format!("index.refresh_interval is {interval:?}: nothing would become visible, and who waits for it would wait for ever")
        })
    };
    low.or_else(refreshed)
}

/// What rewrites documents on their way in, or answers on their way out.
fn pipelines(settings: &Json) -> Option<String> {
    let found = flattened(settings);
    let names = ["default_pipeline", "final_pipeline", "search.default_pipeline"];
    names.into_iter().find_map(|name| {
        let pipeline = found.get(name).filter(|pipeline| *pipeline != "_none")?;
        Some(format!("index.{name} is {pipeline:?}: it may change documents or answers"))
    })
}

/// What hides documents behind the alias, or turns writes away from it.
pub(super) fn alias(found: &Json) -> Option<String> {
    let (name, value) = found.as_object()?.iter().find(|(name, value)| match name.as_str() {
        "is_write_index" => **value == json!(false),
        name => name != "is_hidden",
    })?;
    Some(format!("its alias has {name:?}: {value}: not all of its documents can be found or written by it"))
}

/// Whether versions of deletes are forgotten sooner than was asked for: then older documents come back.
pub(super) fn forgets(index: &Json, retention: Duration) -> Option<String> {
    let found = index.get("gc_deletes").map_or_else(|| "60s".to_owned(), text);
    let keeps = time(&found).is_some_and(|kept| kept >= retention);
    (!keeps).then(|| {
        format!("index.gc_deletes is {found:?}, below the {} s of \"delete_retention\"", retention.as_secs_f64())
    })
}

/// A time as the server writes it, which for it is a number of whole milliseconds; `None` for one below zero, and for what is no time.
fn time(text: &str) -> Option<Duration> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text[..text.len() - unit.len()].parse().ok()?;
    let (times, per) = match unit.to_ascii_lowercase().as_str() {
        "nanos" => (1, 1_000_000),
        "micros" => (1, 1_000),
        "" | "ms" => (1, 1),
        "s" => (1_000, 1),
        "m" => (60_000, 1),
        "h" => (3_600_000, 1),
        "d" => (86_400_000, 1),
        _ => return None,
    };
    Some(Duration::from_millis(number.saturating_mul(times) / per))
}

fn analysis(schema: &Schema, settings: &Json) -> Option<String> {
    let (ours, theirs) = (flattened(&mapping::analysis(schema)), flattened(&settings["analysis"]));
    let different = ours.keys().chain(theirs.keys()).find(|name| ours.get(*name) != theirs.get(*name))?;
    Some(format!("index.analysis.{different} was changed"))
}

/// What stands in a mapping beside the fields.
fn rules(mappings: &Json) -> Option<String> {
    let dynamic = text(&mappings["dynamic"]);
    if dynamic != "strict" {
        return Some(format!(
            "its mapping has \"dynamic\": {dynamic:?} in place of \"strict\": anybody's fields are taken"
        ));
    }
    let known = ["dynamic", "_meta", "properties"];
    let other = mappings.as_object()?.keys().find(|name| !known.contains(&name.as_str()))?;
    Some(format!("its mapping has {other:?}, which was not there"))
}

fn properties(ours: &Map<String, Json>, theirs: &Map<String, Json>, below: &str) -> Option<String> {
    let foreign = theirs.iter().find(|(name, property)| !ours.contains_key(*name) && !mapping::is_marked(property));
    if let Some((name, _)) = foreign {
        return Some(format!("the field \"{below}{name}\" is not of the schema"));
    }
    ours.iter().find_map(|(name, ours)| match theirs.get(name) {
        None => Some(format!("the field \"{below}{name}\" is missing")),
        Some(theirs) => property(ours, theirs, &format!("{below}{name}")),
    })
}

fn property(ours: &Json, theirs: &Json, name: &str) -> Option<String> {
    let (ours, theirs) = (ours.as_object()?, theirs.as_object()?);
    let empty = Map::new();
    let parameter = |name: &&String| {
        let (ours, theirs) = (value(ours, name), value(theirs, name));
        ours.as_ref().map(text) != theirs.as_ref().map(text)
    };
    let compared = |name: &&String| !matches!(name.as_str(), "fields" | "meta");
    let different = ours.keys().chain(theirs.keys()).filter(compared).find(parameter);
    if let Some(parameter) = different {
        return Some(format!("{parameter:?} of the field {name:?} was changed"));
    }
    let inner = |property: &Map<String, Json>| property.get("fields").and_then(Json::as_object).cloned();
    properties(&inner(ours).unwrap_or_else(|| empty.clone()), &inner(theirs).unwrap_or(empty), &format!("{name}."))
}

/// A parameter of a property, or what it is when it is left out: the server leaves out what is so by itself.
fn value(property: &Map<String, Json>, name: &str) -> Option<Json> {
    let by_itself = || match name {
        "index" | "doc_values" | "norms" => Some(json!(true)),
        "search_analyzer" => property.get("analyzer").cloned(),
        _ => None,
    };
    property.get(name).cloned().or_else(by_itself)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Field;
    use crate::analysis::{Analyzer, Normalizer};

    fn schema() -> Schema {
        Schema::builder()
            .analyzer("clinical", Analyzer::standard().lowercase().stop_words(["the"]).edge_ngram(1, 4))
            .field(Field::text("title").with_sub_field(Field::keyword("exact").sortable()))
            .field(Field::text("typed").analyzed_by("clinical").searched_by("standard").without_norms())
            .field(Field::keyword("code").normalized(Normalizer::default().lowercase()).sortable())
            .field(Field::u64("uses").sortable())
            .build()
            .unwrap()
    }

    /// As the server says it: defaults left out, numbers of settings as text.
    fn found() -> (Json, Json) {
        let mut mappings = json!({ "dynamic": "strict", "_meta": {}, "properties": mapping::properties(&schema()) });
        for property in mappings["properties"].as_object_mut().unwrap().values_mut() {
            let property = property.as_object_mut().unwrap();
            property.retain(|_, value| *value != json!(true));
            if property.get("search_analyzer") == property.get("analyzer") {
                property.remove("search_analyzer");
            }
        }
        let mut analysis = mapping::analysis(&schema());
        for filter in analysis["filter"].as_object_mut().unwrap().values_mut() {
            for value in filter.as_object_mut().unwrap().values_mut().filter(|value| value.is_number()) {
                *value = value.to_string().into();
            }
        }
        let settings = json!({ "index": { "analysis": analysis, "max_result_window": "10000", "uuid": "x" } });
        (mappings, settings)
    }

    #[test]
    fn what_the_server_says_of_our_own_index_is_no_difference() {
        let (mappings, mut settings) = found();
        assert_eq!(find(&schema(), &schema(), &mappings, &settings), None);
        settings["index"]["similarity"] = json!({ "default": { "type": "BM25", "k1": "1.2", "b": "0.75" } });
        settings["index"]["similarity"]["unused"] = json!({ "type": "boolean" });
        settings["index"]["default_pipeline"] = json!("_none");
        settings["index"]["refresh_interval"] = json!("5s");
        assert_eq!(find(&schema(), &schema(), &mappings, &settings), None);
    }

    #[test]
    fn an_alias_and_a_memory_of_deletes_are_as_they_were_asked_for() {
        for found in [json!(null), json!({}), json!({ "is_write_index": true }), json!({ "is_hidden": true })] {
            assert_eq!(alias(&found), None);
        }
        for found in [json!({ "filter": {} }), json!({ "search_routing": "1" }), json!({ "is_write_index": false })] {
            assert!(alias(&found).is_some(), "{found}");
        }
        let hour = Duration::from_secs(3600);
        for (found, forgets_it) in [
            ("1h", false),
            ("3600000ms", false),
            ("3600s", false),
            ("2d", false),
            ("59m", true),
            ("0", true),
            ("0s", true),
            ("-1", true),
            ("500micros", true),
            ("1nanos", true),
            ("3600000000micros", false),
            ("for ever", true),
        ] {
            assert_eq!(forgets(&json!({ "gc_deletes": found }), hour).is_some(), forgets_it, "{found}");
        }
        assert!(forgets(&json!({}), hour).is_some() && forgets(&json!({}), Duration::from_secs(60)).is_none());
    }

    /// To the mapping, and to the settings of the index.
    type Change = fn(&mut Json, &mut Json);

    #[test]
    fn what_an_operator_changed_is_named() {
        let changes: [(&str, Change); 14] = [
            ("index.similarity.default.type", |_, s| s["similarity"] = json!({ "default": { "type": "boolean" } })),
            ("index.similarity.default.k1", |_, s| {
                s["similarity"] = json!({ "default": { "type": "BM25", "k1": "2" } })
            }),
            ("index.max_result_window is 100", |_, s| s["max_result_window"] = json!("100")),
            ("index.max_terms_count is 9", |_, s| s["max_terms_count"] = json!("9")),
            ("index.refresh_interval", |_, s| s["refresh_interval"] = json!("-1")),
            ("index.default_pipeline", |_, s| s["default_pipeline"] = json!("drop")),
            ("index.search.default_pipeline", |_, s| s["search"] = json!({ "default_pipeline": "drop" })),
            ("analysis.analyzer.statehouse_clinical.filter", |_, s| {
                s["analysis"]["analyzer"]["statehouse_clinical"]["filter"] = json!(["lowercase"]);
            }),
            ("analysis.normalizer", |_, s| s["analysis"]["normalizer"]["statehouse_lowercase"]["filter"] = json!([])),
            ("\"dynamic\"", |m, _| m["dynamic"] = json!("true")),
            ("\"_source\"", |m, _| m["_source"] = json!({ "excludes": ["title"] })),
            ("\"foreign\" is not of the schema", |m, _| m["properties"]["foreign"] = json!({ "type": "long" })),
            ("\"title.foreign\" is not of", |m, _| {
                m["properties"]["title"]["fields"]["foreign"] = json!({ "type": "text" })
            }),
            ("\"ignore_above\" of the field \"code\"", |m, _| m["properties"]["code"]["ignore_above"] = json!(9)),
        ];
        for (named, change) in changes {
            let (mut mappings, mut settings) = found();
            change(&mut mappings, &mut settings["index"]);
            let difference = find(&schema(), &schema(), &mappings, &settings).expect(named);
            assert!(difference.contains(named), "{named}: {difference}");
        }
        for interval in ["0", "0s", "0ms", "-1", "-1ms", "500micros", "1nanos"] {
            let (mappings, mut settings) = found();
            settings["index"]["refresh_interval"] = json!(interval);
            assert!(find(&schema(), &schema(), &mappings, &settings).is_some(), "{interval}");
        }
        let (mut mappings, settings) = found();
        mappings["properties"].as_object_mut().unwrap().remove("uses");
        assert_eq!(find(&schema(), &schema(), &mappings, &settings).unwrap(), "the field \"uses\" is missing");
    }

    #[test]
    fn a_field_that_is_wanted_may_be_there_already() {
        let (mut mappings, settings) = found();
        let wanted = Schema::builder().field(Field::keyword("ward")).build().unwrap();
        assert_eq!(find(&schema(), &wanted, &mappings, &settings), None);
        let theirs = mapping::properties(&wanted)["ward"].clone();
        mappings["properties"]["ward"] = theirs;
        assert_eq!(find(&schema(), &wanted, &mappings, &settings), None);
        assert!(
            find(&schema(), &schema(), &mappings, &settings).is_some_and(|drift| drift.contains("not of the schema"))
        );
        mappings["properties"]["ward"]["meta"] = json!({ "statehouse": "1" });
        assert_eq!(find(&schema(), &schema(), &mappings, &settings), None, "another build of ours has added it");
        mappings["properties"]["ward"] = json!({ "type": "long", "meta": { "statehouse": "1" } });
        assert!(
            find(&schema(), &wanted, &mappings, &settings).is_some_and(|drift| drift.contains("of the field \"ward\""))
        );
    }
}

//! One text for each schema, whatever order it was written down in.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Field, Schema};
use crate::analysis::Analyzer;

/// What matters of a schema: its fields by name, and the analyzers that they use.
#[derive(Serialize)]
struct Canonical<'a> {
    fields: BTreeMap<&'a str, &'a Field>,
    analyzers: BTreeMap<&'a str, &'a Analyzer>,
}

impl Schema {
    /// The canonical form: JSON without spaces, fields and analyzers in the order of their names, without analyzers that no
    /// field uses. No value of `serde_json` is in between, whose order is a matter of its features.
    pub(crate) fn canonical(&self) -> String {
        let fields = self.fields().iter().map(|field| (field.name(), field)).collect();
        let canonical = Canonical { fields, analyzers: self.used_analyzers() };
        serde_json::to_string(&canonical).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Normalizer, Stemmer};

    fn fields() -> Vec<Field> {
        let sub = Field::text("typed").analyzed_by("typed").searched_by("standard").without_norms();
        vec![
            Field::text("title").analyzed_by("english").with_sub_field(sub),
            Field::keyword("code").normalized(Normalizer::default().lowercase()).sortable(),
            Field::u64("uses").not_stored(),
        ]
    }

    fn schema(fields: impl IntoIterator<Item = Field>, more: &[&str]) -> Schema {
        let builder = more.iter().fold(Schema::builder(), |builder, name| builder.analyzer(name, Analyzer::whole()));
        let builder = builder
            .analyzer("typed", Analyzer::standard().lowercase().edge_ngram(1, 10))
            .analyzer("english", Analyzer::standard().lowercase().stop_words(["the"]).stem(Stemmer::Porter2));
        fields.into_iter().fold(builder, crate::SchemaBuilder::field).build().unwrap()
    }

    #[test]
    fn the_canonical_form_is_this() {
        let golden = concat!(
            r#"{"fields":{"code":{"name":"code","kind":{"Keyword":{"normalizer":{"filters":["Lowercase"]}}},"indexed":true,"stored":true,"sortable":true,"source":null,"sub_fields":[]},"#,
            r#""title":{"name":"title","kind":{"Text":{"analyzer":"english","search_analyzer":"english","norms":"Length"}},"indexed":true,"stored":true,"sortable":false,"source":null,"sub_fields":[]},"#,
            r#""title.typed":{"name":"title.typed","kind":{"Text":{"analyzer":"typed","search_analyzer":"standard","norms":"Off"}},"indexed":true,"stored":false,"sortable":false,"source":"title","sub_fields":[]},"#,
            r#""uses":{"name":"uses","kind":"U64","indexed":true,"stored":false,"sortable":false,"source":null,"sub_fields":[]}},"#,
            r#""analyzers":{"english":{"tokenizer":"Standard","filters":["Lowercase",{"Stop":["the"]},{"Stem":"Porter2"}]},"#,
            r#""standard":{"tokenizer":"Standard","filters":["Lowercase"]},"#,
            r#""typed":{"tokenizer":"Standard","filters":["Lowercase",{"EdgeNgram":{"min":1,"max":10}}]}}}"#
        );
        assert_eq!(schema(fields(), &[]).canonical(), golden);
    }

    #[test]
    fn neither_order_nor_what_no_field_uses_makes_another_schema() {
        let one = schema(fields(), &[]);
        let other = schema(fields().into_iter().rev(), &["unused"]);
        assert_eq!(one.canonical(), other.canonical());
        assert_eq!(one.differences(&other), [""; 0]);
        assert_ne!(one, other);
    }

    #[test]
    fn whatever_changes_what_is_found_makes_another_schema() {
        let one = schema(fields(), &[]);
        let changed = |at: usize, field: Field| {
            let mut fields = fields();
            fields[at] = field;
            schema(fields, &["other"])
        };
        let others = [
            changed(0, Field::text("title").analyzed_by("english")),
            changed(0, Field::text("title").analyzed_by("other")),
            changed(1, Field::keyword("code").sortable()),
            changed(1, Field::keyword("code").normalized(Normalizer::default().lowercase())),
            changed(2, Field::i64("uses").not_stored()),
            changed(2, Field::u64("uses")),
            changed(2, Field::u64("used").not_stored()),
            schema(fields().into_iter().take(2), &[]),
        ];
        for other in others {
            assert_ne!(one.canonical(), other.canonical());
            assert_ne!(one.differences(&other), [""; 0], "{other:?}");
        }
        let stemmed = Analyzer::standard().lowercase();
        let differently = Schema::builder().analyzer("typed", stemmed.clone()).analyzer("english", stemmed);
        let differently = fields().into_iter().fold(differently, crate::SchemaBuilder::field).build().unwrap();
        let differences = one.differences(&differently);
        assert_eq!(differences, ["analyzer \"english\" differs", "analyzer \"typed\" differs"]);
    }
}

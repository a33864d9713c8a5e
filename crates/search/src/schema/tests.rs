use statehouse_core::ErrorKind;

use super::*;

#[test]
fn what_a_field_cannot_be_told_is_refused_when_the_schema_is_built() {
    let lower = || Normalizer::default().lowercase();
    let analyzed = |field: Field| field.analyzed_by(Analyzer::STANDARD);
    let with_sub = |field: Field, sub: Field| field.with_sub_field(sub);
    let wrong = [
        analyzed(Field::keyword("f")),
        analyzed(Field::i64("f")),
        Field::date("f").searched_by(Analyzer::STANDARD),
        Field::bool("f").without_norms(),
        Field::text("f").normalized(lower()),
        Field::u64("f").normalized(lower()),
        Field::text("f").searched_by("other").analyzed_by("other"),
        Field::keyword("f").not_indexed().sortable(),
        with_sub(Field::text("f"), analyzed(Field::keyword("sub"))),
        with_sub(Field::text("f"), Field::i64("sub")),
        with_sub(Field::i64("f"), Field::keyword("sub")),
        with_sub(Field::i64("f"), Field::date("sub")),
    ];
    for field in wrong {
        let shown = format!("{field:?}");
        let built = Schema::builder().analyzer("other", Analyzer::standard()).field(field).build();
        assert_eq!(built.expect_err(&shown).kind(), ErrorKind::InvalidInput, "{shown}");
    }
    let right = [
        analyzed(Field::text("a")).searched_by("other").without_norms(),
        Field::keyword("b").normalized(lower()).sortable(),
        with_sub(Field::text("c"), Field::keyword("sub")),
        with_sub(Field::i64("d"), Field::i64("sub")),
    ];
    let built = right.into_iter().fold(Schema::builder().analyzer("other", Analyzer::standard()), SchemaBuilder::field);
    built.build().unwrap();
}

//! Requests that nobody would write.

use crate::{
    BoostMode, Curve, Decay, Facet, Field, FieldBoost, FieldValueFactor, Fuzziness, Highlight, MinimumMatch, Modifier,
    Operation, Operator, PrefixWords, Projection, Query, RangeFacet, Record, Schema, ScoreFunction, SearchRequest,
    Sort, Total, Value, analysis::Analyzer,
};

const FIELDS: [&str; 12] =
    ["title", "title", "title.typed", "code", "code", "uses", "rank", "ratio", "leaf", "day", "kept", "absent"];
pub(super) const WORDS: [&str; 12] = [
    "fever",
    "yellow fever",
    "feverr",
    "the",
    "",
    " ",
    "İ ß ﬁ",
    "a\u{301}",
    "x",
    "e-mail 3.14",
    "👩\u{200d}⚕️",
    "fever fever fever of",
];
const WHOLE: [i64; 8] = [0, 1, -1, 2, 3, 40, i64::MIN, i64::MAX];
const FRACTIONS: [f64; 8] = [0.0, 1.0, -1.0, 0.5, f64::NAN, f64::INFINITY, f64::MAX, -0.0];
/// How deep queries nest at most: deeper than is allowed.
const DEPTH: usize = 24;

pub(in crate::opensearch) fn schema() -> Schema {
    let typed = Field::text("typed").analyzed_by("typed").searched_by("standard").without_norms();
    Schema::builder()
        .analyzer("typed", Analyzer::standard().lowercase().edge_ngram(1, 5))
        .field(Field::text("title").with_sub_field(typed))
        .field(Field::keyword("code").sortable())
        .field(Field::u64("uses").sortable())
        .field(Field::i64("rank"))
        .field(Field::f64("ratio").sortable())
        .field(Field::bool("leaf").sortable())
        .field(Field::date("day").sortable())
        .field(Field::keyword("kept").not_indexed())
        .build()
        .unwrap()
}

/// Bytes as choices. At their end the first of each is chosen.
pub(in crate::opensearch) struct Choices<'a>(pub(in crate::opensearch) &'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    fn of<T: Copy, const N: usize>(&mut self, all: [T; N]) -> T {
        all[self.below(N)]
    }

    fn field(&mut self) -> &'static str {
        self.of(FIELDS)
    }

    fn text(&mut self) -> String {
        match self.byte() {
            255 => "w".repeat(40_000),
            254 => (0..600).map(|n| format!("w{n} ")).collect(),
            byte => WORDS[usize::from(byte) % WORDS.len()].to_owned(),
        }
    }

    fn pattern(&mut self) -> String {
        let pieces = ["*", "?", "fev", "er", "c", "\\*", "\\", "F", "????????????", "\u{130}"];
        (0..self.below(5)).map(|_| self.of(pieces)).collect()
    }

    fn value(&mut self) -> Value {
        match self.below(7) {
            0 | 1 => Value::Text(self.text()),
            2 => Value::I64(self.of(WHOLE)),
            3 => Value::U64(self.of(WHOLE).cast_unsigned()),
            4 => Value::F64(self.of(FRACTIONS)),
            5 => Value::Bool(self.below(2) == 0),
            _ => Value::Date(self.of(WHOLE)),
        }
    }

    fn number(&mut self) -> u32 {
        self.of([0, 1, 2, 3, 100, 1 << 20, i32::MAX.cast_unsigned(), u32::MAX])
    }

    #[expect(clippy::cast_possible_truncation, reason = "any boost is as good as another")]
    fn boost(&mut self) -> f32 {
        if self.below(4) > 0 { 1.0 } else { self.of(FRACTIONS) as f32 }
    }

    fn minimum(&mut self) -> MinimumMatch {
        let number = self.of([0, 1, 2, -1, 50, 100, -100, 101, i32::MIN, i32::MAX]);
        if self.below(2) == 0 { MinimumMatch::Count(number) } else { MinimumMatch::Percent(number) }
    }

    fn fuzziness(&mut self) -> Fuzziness {
        self.of([Fuzziness::Auto, Fuzziness::Edits(0), Fuzziness::Edits(1), Fuzziness::Edits(2), Fuzziness::Edits(3)])
    }

    fn matches(&mut self) -> Query {
        let mut query = Query::matches(self.field(), self.text()).boost(self.boost());
        let options = self.byte();
        if options & 1 > 0 {
            query = query.operator(Operator::And);
        }
        if options & 2 > 0 {
            query = query.minimum_match(self.minimum());
        }
        if options & 4 > 0 {
            query = query.fuzziness(self.fuzziness()).prefix_length(self.number());
        }
        query.into()
    }

    fn exact_first(&mut self) -> Query {
        let query = Query::exact_first(self.field(), self.text()).boost(self.boost());
        match self.below(4) {
            0 => query,
            1 => query.operator(Operator::And).completions(PrefixWords::All),
            2 => query.without_completions().fuzziness(self.fuzziness()),
            _ => query.without_misspellings().prefix_length(self.number()),
        }
        .into()
    }

    fn multi_match(&mut self) -> Query {
        let fields: Vec<_> = (0..self.below(4)).map(|_| FieldBoost::new(self.field(), self.boost())).collect();
        let query = Query::multi_match(fields, self.text()).boost(self.boost());
        match self.below(4) {
            0 => query.most_fields(),
            1 => query.operator(Operator::And),
            2 => query.minimum_match(self.minimum()),
            _ => query.fuzziness(self.fuzziness()),
        }
        .into()
    }

    fn range(&mut self) -> Query {
        let query = Query::range(self.field()).boost(self.boost());
        match self.below(5) {
            0 => query.at_least(self.value()),
            1 => query.above(self.value()).below(self.value()),
            2 => query.at_most(self.value()),
            3 => query.at_least(self.value()).at_most(self.value()),
            _ => query,
        }
        .into()
    }

    #[expect(clippy::cast_possible_truncation, reason = "any number is as good as another")]
    fn function_score(&mut self, depth: usize) -> Query {
        let function = if self.below(2) == 0 {
            let modifiers = [Modifier::None, Modifier::Log1p, Modifier::Log2p, Modifier::Ln1p, Modifier::Ln2p];
            let modifiers = [modifiers[self.below(5)], Modifier::Square, Modifier::Sqrt, Modifier::Reciprocal];
            let value = FieldValueFactor::new(self.field()).modifier(self.of(modifiers));
            ScoreFunction::from(value.factor(self.boost()).missing(self.of(FRACTIONS)))
        } else {
            let (scale, offset) = (self.of([1.0, 1e-100, 1e100, 0.0, 40.0]), self.of(FRACTIONS));
            let near = Decay::new(self.field(), self.value(), scale).offset(offset).decay(self.of([0.5, 0.01, 1.0]));
            near.curve(self.of([Curve::Gauss, Curve::Exponential, Curve::Linear])).into()
        };
        let query = Query::function_score(self.query(depth + 1), function).boost(self.boost());
        let query = query.boost_mode(self.of([BoostMode::Multiply, BoostMode::Sum, BoostMode::Replace]));
        if self.below(2) == 0 { query.into() } else { query.max_boost(self.of(FRACTIONS) as f32).into() }
    }

    fn bool(&mut self, depth: usize) -> Query {
        let mut query = Query::bool().boost(self.boost());
        for _ in 0..self.below(5) {
            query = match self.below(4) {
                0 => query.must(self.query(depth + 1)),
                1 => query.should(self.query(depth + 1)),
                2 => query.filter(self.query(depth + 1)),
                _ => query.must_not(self.query(depth + 1)),
            };
        }
        if self.below(3) == 2 { query.minimum_match(self.minimum()).into() } else { query.into() }
    }

    fn query(&mut self, depth: usize) -> Query {
        if self.0.is_empty() || depth > DEPTH {
            return Query::all().into();
        }
        match self.below(22) {
            0 => Query::all().boost(self.boost()).into(),
            1 => Query::None,
            2 => self.matches(),
            3 => self.multi_match(),
            4 => Query::matches_prefix(self.field(), self.text()).boost(self.boost()).into(),
            5 => Query::starts_with_words(self.field(), self.text()).minimum_match(self.minimum()).into(),
            6 => Query::phrase(self.field(), self.text()).slop(self.number()).boost(self.boost()).into(),
            7 => Query::prefix(self.field(), self.text()).boost(self.boost()).into(),
            8 => {
                Query::fuzzy(self.field(), self.text()).fuzziness(self.fuzziness()).prefix_length(self.number()).into()
            }
            9 => Query::term(self.field(), self.value()).boost(self.boost()).into(),
            10 => Query::terms(self.field(), (0..self.below(4)).map(|_| self.value()).collect::<Vec<_>>()).into(),
            11 => self.range(),
            12 => Query::exists(self.field()).boost(self.boost()).into(),
            13 => Query::ids((0..self.below(4)).map(|_| self.text()).collect::<Vec<_>>()).into(),
            14 => Query::wildcard(self.field(), self.pattern()).boost(self.boost()).into(),
            15 => self.exact_first(),
            16..19 => self.bool(depth),
            19 => {
                let query = Query::phrase_prefix(self.field(), self.text()).slop(self.number()).boost(self.boost());
                if self.below(2) == 0 { query.into() } else { query.max_expansions(self.number()).into() }
            }
            20 => self.function_score(depth),
            _ if self.below(2) == 0 => Query::constant(self.query(depth + 1)).boost(self.boost()).into(),
            _ => {
                let queries: Vec<_> = (0..self.below(4)).map(|_| self.query(depth + 1)).collect();
                Query::dis_max(queries).tie_breaker(self.boost()).into()
            }
        }
    }

    pub(in crate::opensearch) fn request(&mut self) -> SearchRequest {
        let options = self.byte();
        let mut request = SearchRequest::new(self.query(0));
        if options & 1 > 0 {
            request = request.with_filter(self.query(0));
        }
        if options & 2 > 0 {
            request = request.with_sort(Sort::by(self.field())).with_sort(Sort::by_score());
        }
        if options & 4 > 0 {
            request = request.with_from(u64::from(self.number())).with_size(u64::from(self.number()));
        }
        if options & 8 > 0 {
            request = request.with_facet(Facet::field(self.field()).with_size(self.below(3) * 600));
        }
        if options & 16 > 0 {
            request = request.with_highlight(Highlight::field(self.field()));
        }
        if options & 64 > 0 {
            request = request.with_post_filter(self.query(0));
        }
        if options & 128 > 0 {
            let ranges = RangeFacet::field(self.field()).below(self.value()).between(self.value(), self.value());
            request = request.with_ranges(ranges);
        }
        if options & 32 > 0 {
            request = request.with_projection(Projection::Id);
        }
        match self.below(4) {
            1 => request.with_total(Total::AtLeast(u64::from(self.number()))),
            2 => request.with_total(Total::AtLeast(Total::MAX + u64::from(self.number() % 2))),
            _ => request,
        }
    }
}

pub(in crate::opensearch) fn records() -> impl Iterator<Item = Operation> {
    (0..40).map(|n: u16| {
        let record = Record::new(format!("{n}")).unwrap().with("title", WORDS[usize::from(n) % WORDS.len()]);
        let record =
            record.with("code", format!("c{}", n % 7)).with("uses", u64::from(n)).with("leaf", n.is_multiple_of(2));
        Operation::Upsert(record.with("ratio", f64::from(n) / 3.0).with("day", Value::Date(i64::from(n))))
    })
}

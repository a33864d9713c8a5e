use std::sync::Arc;

use tantivy::columnar::Column;
use tantivy::query::Scorer;
use tantivy::schema::{FAST, IndexRecordOption, Schema, TEXT};
use tantivy::{DocId, DocSet, Index, IndexWriter, TERMINATED, Term, doc};

use super::occurrences::Occurrences;
use super::sloppy::Sloppy;
use super::{
    Batch, Between, Bits, Conjunction, Constant, Exclusion, Lengths, Maximum, Optional, Ranked, Union, Valued, Within,
    score_of_all,
};
use crate::tantivy::function::Function;
use crate::tantivy::numbers::{BLOCK, Numbers};
use crate::tantivy::scoring::Scoring;
use crate::work::Stop;
use crate::{BoostMode, FieldKind, FieldValueFactor, Query};

fn documents(docs: &[DocId], score: f32) -> Box<dyn Scorer> {
    let mut bits = Bits::new(20_000);
    docs.iter().for_each(|doc| bits.add(*doc));
    Box::new(Constant::new(bits.into_documents(), score))
}

fn read(mut scorer: Box<dyn Scorer>) -> Vec<(DocId, f32)> {
    let mut found = Vec::new();
    while scorer.doc() != TERMINATED {
        found.push((scorer.doc(), scorer.score()));
        scorer.advance();
    }
    found
}

#[test]
fn a_union_adds_across_windows_and_counts_its_clauses() {
    let clauses = || vec![documents(&[1, 5, 9_000], 1.0), documents(&[5, 9_000, 15_000], 2.0), documents(&[0, 5], 4.0)];
    let union = Union::boxed(clauses(), 1, Scoring::On);
    assert_eq!(read(union), [(0, 4.0), (1, 1.0), (5, 7.0), (9_000, 3.0), (15_000, 2.0)]);
    assert_eq!(read(Union::boxed(clauses(), 2, Scoring::On)), [(5, 7.0), (9_000, 3.0)]);
    assert_eq!(read(Union::boxed(clauses(), 4, Scoring::On)), []);
    for target in [0, 1, 2, 5, 6, 4_096, 9_000, 9_001, 15_000, 15_001] {
        let mut union = Union::boxed(clauses(), 1, Scoring::On);
        let expected = [0, 1, 5, 9_000, 15_000].into_iter().find(|doc| *doc >= target).unwrap_or(TERMINATED);
        assert_eq!(union.seek(target), expected, "{target}");
        if target == 5 {
            assert_eq!((union.score(), union.advance(), union.score()), (7.0, 9_000, 3.0));
        }
    }
}

/// What is handed out in steps of so many documents.
fn drained(mut scorer: Box<dyn Scorer>, step: u32) -> Vec<(DocId, f32)> {
    let (mut found, mut count, mut end) = (Vec::new(), 0, 0);
    while scorer.doc() != TERMINATED {
        end += step;
        count += scorer.drain(end.min(TERMINATED), Scoring::On, &mut |doc, score| found.push((doc, score)));
        assert!(scorer.doc() >= end.min(TERMINATED));
    }
    assert_eq!(count, found.len() as u64);
    found
}

#[test]
fn a_union_hands_out_in_any_steps_what_it_has_one_by_one() {
    let every = |step: usize| (0..12_000).step_by(step).collect::<Vec<DocId>>();
    let clauses = || vec![documents(&every(3), 1.0), documents(&every(7), 2.0), documents(&every(1_001), 4.0)];
    for minimum in 1..=3 {
        let expected = read(Union::boxed(clauses(), minimum, Scoring::On));
        assert_eq!(expected.len(), [5_143, 580, 4][minimum - 1]);
        for step in [1, 63, 64, 100, 2_048, 5_000, TERMINATED] {
            assert_eq!(drained(Union::boxed(clauses(), minimum, Scoring::On), step), expected, "{minimum} {step}");
        }
    }
}

/// The same, a block at a time.
fn in_blocks(mut scorer: Box<dyn Scorer>, step: u32) -> Vec<(DocId, f32)> {
    let (mut found, mut count, mut end) = (Vec::new(), 0, 0);
    while scorer.doc() != TERMINATED {
        end = step.saturating_add(end).min(TERMINATED);
        count += scorer.blocks(end, Scoring::On, &mut |docs, scores| {
            assert!((1..=BLOCK).contains(&docs.len()) && docs.len() == scores.len());
            found.extend(docs.iter().copied().zip(scores.iter().copied()));
        });
        assert!(scorer.doc() >= end);
    }
    assert_eq!(count, found.len() as u64);
    found
}

/// A term in every third of 3,000 documents: full blocks of postings, and one that is not. Each document has the last digit
/// of its number.
fn every_third() -> (Index, Term) {
    let mut schema = Schema::builder();
    let text = schema.add_text_field("text", TEXT);
    let digit = schema.add_u64_field("digit", FAST);
    let index = Index::create_in_ram(schema.build());
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
    for number in 0..3_000_u64 {
        let text_of = if number.is_multiple_of(3) { "a a" } else { "b" };
        writer.add_document(doc!(text => text_of, digit => number % 10)).unwrap();
    }
    writer.commit().unwrap();
    (index, Term::from_field_text(text, "a"))
}

#[test]
fn a_ranked_term_reads_blocks_as_it_reads_documents() {
    let (index, term) = every_third();
    let searcher = index.reader().unwrap().searcher();
    let ranked = || {
        let inverted = searcher.segment_reader(0).inverted_index(term.field()).unwrap();
        let info = inverted.get_term_info(&term).unwrap().unwrap();
        let postings = inverted.read_block_postings_from_terminfo(&info, IndexRecordOption::WithFreqs).unwrap();
        Box::new(Ranked::new(postings, Lengths::new(None, Arc::new([1.0; 256]), 3.0), Stop::default()))
    };
    // Two occurrences each: 3 - 3 / (1 + 2).
    let expected: Vec<_> = (0..3_000).step_by(3).map(|doc| (doc, 2.0)).collect();
    assert_eq!(read(ranked()), expected);
    for step in [1, 127, 384, 1_000, TERMINATED] {
        assert_eq!(drained(ranked(), step), expected, "{step}");
    }
    for target in [0, 1, 3, 4, 383, 384, 385, 2_996, 2_997] {
        let mut ranked = ranked();
        assert_eq!(ranked.seek(target), target.next_multiple_of(3), "{target}");
        assert_eq!(ranked.advance(), if target > 2_994 { TERMINATED } else { target.next_multiple_of(3) + 3 });
    }
    assert_eq!((ranked().seek(2_998), ranked().seek(5_000)), (TERMINATED, TERMINATED));
}

#[test]
fn blocks_hold_what_there_is_one_by_one() {
    let (index, term) = every_third();
    let searcher = index.reader().unwrap().searcher();
    let segment = searcher.segment_reader(0);
    let digits = || -> Column<u64> { segment.fast_fields().u64("digit").unwrap() };
    let ranked = || {
        let inverted = segment.inverted_index(term.field()).unwrap();
        let info = inverted.get_term_info(&term).unwrap().unwrap();
        let postings = inverted.read_block_postings_from_terminfo(&info, IndexRecordOption::WithFreqs).unwrap();
        Ranked::new(postings, Lengths::new(None, Arc::new([1.0; 256]), 3.0), Stop::default())
    };
    let between = |range| Box::new(Constant::new(Between::new(digits(), range, Stop::default()), 0.5));
    let within = |scorer| Box::new(Within::new(scorer, (digits(), 2..=5), Stop::default()));
    let makers: [&dyn Fn() -> Box<dyn Scorer>; 8] = [
        &|| score_of_all(200, 1.5),
        &|| documents(&[0, 1, 63, 64, 200, 201, 202, 19_999], 2.0),
        &|| Box::new(ranked()),
        &|| between(2..=5),
        &|| within(Box::new(ranked())),
        &|| within(score_of_all(2_999, 1.0)),
        &|| Box::new(Conjunction::new(vec![Box::new(ranked())], vec![between(0..=8)])),
        &|| Union::boxed(vec![ranked(), ranked()], 1, Scoring::On),
    ];
    for (at, maker) in makers.into_iter().enumerate() {
        let expected = read(maker());
        for step in [1, 63, 64, 65, 500, TERMINATED] {
            assert_eq!(in_blocks(maker(), step), expected, "{at}, {step}");
            assert_eq!(drained(maker(), step), expected, "{at}, {step}");
        }
    }
    let wanted: Vec<_> = (0..3_000).filter(|doc| doc % 3 == 0 && (2..=5).contains(&(doc % 10))).collect();
    assert_eq!(read(within(Box::new(ranked()))).into_iter().map(|(doc, _)| doc).collect::<Vec<_>>(), wanted);
    let in_vain = Within::new(score_of_all(2_999, 1.0), (digits(), 10..=11), Stop::set());
    assert_eq!(in_vain.doc(), TERMINATED);
    for target in [1, 12, 13, 2_985, 2_986, 3_000] {
        let next = wanted.iter().copied().find(|doc| *doc >= target).unwrap_or(TERMINATED);
        assert_eq!(within(Box::new(ranked())).seek(target), next, "{target}");
    }
}

/// Numbers that every document has, that some have, and of which some have several.
fn numbered() -> Index {
    let mut schema = Schema::builder();
    let [all, some, several] = ["all", "some", "several"].map(|name| schema.add_i64_field(name, FAST));
    let index = Index::create_in_ram(schema.build());
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
    for number in 0..1_000_i64 {
        let mut document = doc!(all => number - 5);
        if number % 3 > 0 {
            document.add_i64(some, number);
        }
        for more in 0..number % 4 {
            document.add_i64(several, 1_000 - number * more);
        }
        writer.add_document(document).unwrap();
    }
    writer.commit().unwrap();
    index
}

#[test]
fn scores_of_values_are_the_same_by_blocks_and_one_by_one() {
    let index = numbered();
    let searcher = index.reader().unwrap().searcher();
    let fields = searcher.segment_reader(0).fast_fields();
    let column = |name: &str| fields.u64_lenient(name).unwrap().map(|(column, _)| Numbers::new(column));
    let wide = (0..1_000).filter(|number| number % 5 < 2).collect::<Vec<DocId>>();
    for name in ["all", "some", "several"] {
        for mode in [BoostMode::Multiply, BoostMode::Sum, BoostMode::Replace] {
            let query = Query::function_score(Query::all(), FieldValueFactor::new("").missing(7.0)).boost_mode(mode);
            let function = || Function::new(&query, &FieldKind::I64);
            let valued = || Box::new(Valued::new(documents(&wide, 2.0), column(name), function()));
            let expected = read(valued());
            for step in [1, 63, 64, 65, 500, TERMINATED] {
                assert_eq!(in_blocks(valued(), step), expected, "{name}, {step}");
                assert_eq!(drained(valued(), step), expected, "{name}, {step}");
            }
            let unscored = |end| {
                let mut found = Vec::new();
                valued().drain(end, Scoring::Off, &mut |doc, _| found.push(doc));
                found
            };
            assert_eq!(unscored(TERMINATED), wide);
            let missing = Box::new(Valued::new(documents(&[0, 3], 2.0), None, function()));
            let score = mode.of(2.0, 7.0, 1e9);
            assert_eq!(read(missing), [(0, score), (3, score)]);
        }
    }
    // 15 has three values, of which the least is 970; 16 has none.
    let several = Query::function_score(Query::all(), FieldValueFactor::new("").missing(7.0));
    let function = Function::new(&several, &FieldKind::I64);
    let found = read(Box::new(Valued::new(documents(&[15, 16], 2.0), column("several"), function)));
    assert_eq!(found, [(15, 1_940.0), (16, 14.0)]);
}

/// What documents have any of three terms, and where: by reading them.
#[test]
fn any_of_several_terms_is_wherever_one_of_them_is() {
    let mut schema = Schema::builder();
    let text = schema.add_text_field("text", TEXT);
    let index = Index::create_in_ram(schema.build());
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
    let words = |number: usize| (0..number % 9).map(move |at| ["a", "b", "c", "d", "e"][(number / 9 + at * at) % 5]);
    for number in 0..1_000 {
        writer.add_document(doc!(text => words(number).collect::<Vec<_>>().join(" "))).unwrap();
    }
    writer.commit().unwrap();
    let searcher = index.reader().unwrap().searcher();
    let inverted = searcher.segment_reader(0).inverted_index(text).unwrap();
    let of = |terms: &[&str]| {
        let option = IndexRecordOption::WithFreqsAndPositions;
        let found = |term: &&str| inverted.read_postings(&Term::from_field_text(text, term), option).unwrap().unwrap();
        Occurrences::of(terms.iter().map(found).collect())
    };
    for terms in [&["a", "c", "e"] as &[&str], &["b"]] {
        let places = |number: usize| {
            let places = words(number).enumerate().filter(|(_, word)| terms.contains(word));
            places.map(|(at, _)| u32::try_from(at).unwrap()).collect::<Vec<_>>()
        };
        let expected: Vec<_> =
            (0..1_000).map(|number| (number, places(number))).filter(|(_, p)| !p.is_empty()).collect();
        let (mut occurrences, mut positions, mut found) = (of(terms), Vec::new(), Vec::new());
        while occurrences.doc() != TERMINATED {
            occurrences.positions(&mut positions);
            found.push((occurrences.doc() as usize, positions.clone()));
            occurrences.advance();
        }
        assert_eq!(found, expected);
        for target in (0..1_020).step_by(7) {
            let mut occurrences = of(terms);
            if target < occurrences.doc() {
                continue;
            }
            let next = expected.iter().map(|(number, _)| u32::try_from(*number).unwrap()).find(|doc| *doc >= target);
            assert_eq!(occurrences.seek(target), next.unwrap_or(TERMINATED), "{target}");
            assert_eq!(occurrences.doc(), next.unwrap_or(TERMINATED));
        }
    }
}

#[test]
fn a_conjunction_needs_all_and_adds_only_what_scores() {
    let both = Conjunction::new(vec![documents(&[1, 3, 5, 7], 1.5)], vec![documents(&[3, 4, 7, 9], 8.0)]);
    assert_eq!(read(Box::new(both)), [(3, 1.5), (7, 1.5)]);
}

#[test]
fn optional_exclusion_and_maximum_do_what_they_say() {
    let optional = Optional::new(documents(&[1, 2, 3], 1.0), documents(&[2, 9], 0.5));
    assert_eq!(read(Box::new(optional)), [(1, 1.0), (2, 1.5), (3, 1.0)]);
    let exclusion = Exclusion::new(documents(&[1, 2, 3], 1.0), vec![documents(&[1, 3], 9.0)]);
    assert_eq!(read(Box::new(exclusion)), [(2, 1.0)]);
    let maximum = Maximum::new(vec![documents(&[1, 2], 1.0), documents(&[2, 3], 4.0)], 0.5);
    assert_eq!(read(Box::new(maximum)), [(1, 1.0), (2, 4.5), (3, 4.0)]);
}

/// Of a phrase of words, some of which are several with bars between them.
fn frequency(slop: u32, phrase: &[&str], text: &str) -> f32 {
    let words: Vec<&str> = text.split(' ').collect();
    let terms: Vec<Vec<&str>> = phrase.iter().map(|any| any.split('|').collect()).collect();
    let places: Vec<(u32, &[&str])> =
        terms.iter().enumerate().map(|(at, terms)| (u32::try_from(at).unwrap(), &**terms)).collect();
    let mut sloppy = Sloppy::new(slop, &places, Stop::default());
    let mut distinct: Vec<&[&str]> = Vec::new();
    for terms in &terms {
        if terms.len() > 1 || !distinct.contains(&&**terms) {
            distinct.push(terms);
        }
    }
    for (at, terms) in distinct.iter().enumerate() {
        let positions = words.iter().enumerate().filter(|(_, word)| terms.contains(word));
        *sloppy.positions_mut(at) = positions.map(|(place, _)| u32::try_from(place).unwrap()).collect();
    }
    sloppy.frequency()
}

#[test]
fn a_sloppy_phrase_is_counted_as_in_lucenes_documentation() {
    // The examples of the comment on SloppyPhraseMatcher.
    assert_eq!(frequency(2, &["a", "b"], "x a b a y"), 1.0 + 1.0 / 3.0);
    assert_eq!(frequency(0, &["a", "b"], "x a b a y"), 1.0);
    assert_eq!(frequency(1, &["a", "b"], "b a"), 0.0);
    assert_eq!(frequency(2, &["a", "b"], "b a"), 1.0 / 3.0);
    assert_eq!(frequency(3, &["a", "b"], "a x x b"), 1.0 / 3.0);
}

#[test]
fn a_repeated_term_needs_two_places() {
    assert_eq!(frequency(2, &["ho", "my", "my"], "ho my"), 0.0);
    assert_eq!(frequency(2, &["ho", "my", "my"], "ho my my"), 1.0);
    assert_eq!(frequency(3, &["my", "ho", "my"], "my ho x my"), 0.5);
}

#[test]
fn a_term_among_several_needs_a_place_of_its_own_too() {
    assert_eq!(frequency(9, &["my", "my|mine"], "my"), 0.0);
    assert_eq!(frequency(9, &["my", "my|mine"], "my mine"), 1.0);
    assert_eq!(frequency(1, &["my", "my|mine"], "mine my"), 0.0);
    assert_eq!(frequency(2, &["my", "my|mine"], "mine my"), 1.0 / 3.0);
    // What is tied to each other by the last place, and what is not.
    assert_eq!(frequency(9, &["a", "b", "a|b"], "a b"), 0.0);
    assert_eq!(frequency(9, &["a", "b", "a|b"], "a b b"), 1.0);
    assert_eq!(frequency(9, &["a", "a", "b", "b|c"], "a a b c"), 1.0);
    assert_eq!(frequency(9, &["x", "a|b"], "x a b"), 1.0);
}

use statehouse_core::ErrorKind;

use super::{COUNTED, RANKED, chosen, counted, ranked};
use crate::suggest::words::Words;
use crate::{Field, Schema, Suggest, SuggestMode, Suggestions};

fn option(text: &str, score: f32, freq: u64) -> String {
    format!(r#"{{"text":"{text}","score":{score},"freq":{freq}}}"#)
}

fn entry(text: &str, options: &[String]) -> String {
    format!(r#"[{{"text":"{text}","options":[{}]}}]"#, options.join(","))
}

fn answer(suggest: &str, counts: &[u64], failed: u32) -> String {
    let counts: Vec<_> = counts.iter().map(|count| format!(r#"{{"doc_count":{count}}}"#)).collect();
    let counted = format!(r#""aggregations":{{"w":{{"buckets":[{}]}}}}"#, counts.join(","));
    let shards = format!(r#""_shards":{{"total":2,"successful":{},"failed":{failed}}}"#, 2 - failed);
    format!(r#"{{"timed_out":false,{shards},"suggest":{{{suggest}}},{counted}}}"#)
}

fn words(asked: &Suggest) -> Words {
    let schema = Schema::builder().field(Field::text("title")).build().unwrap();
    Words::of(&schema, asked).unwrap()
}

#[test]
fn suggestions_are_for_the_words_that_were_asked_for() {
    let asked = Suggest::new("title", "a fevr");
    let words = words(&asked);
    let fever = || option("fever", 0.75, 3);
    let right = format!(r#""0":{}"#, entry("fevr", &[fever()]));
    let wrong = format!(r#""0":{}"#, entry("fevre", &[fever()]));
    let twice = format!(r#""0":{}"#, entry("fevr", &[fever(), option("fever", 0.5, 1)]));
    let itself = format!(r#""0":{}"#, entry("fevr", &[option("fevr", 1.0, 1)]));
    let many: Vec<_> = (0..=RANKED).map(|n| option(&format!("f{n}"), 0.75, 1)).collect();
    let many = format!(r#""0":{}"#, entry("fevr", &many));
    let more = format!(r#"{right},"1":{}"#, entry("fevr", &[fever()]));
    let slow = answer(&right, &[0], 0).replace("\"timed_out\":false", "\"timed_out\":true");
    for (body, kind) in [
        (answer(&right, &[0], 0), None),
        (answer(&wrong, &[0], 0), Some(ErrorKind::Unexpected)),
        (answer(&twice, &[0], 0), Some(ErrorKind::Unexpected)),
        (answer(&itself, &[0], 0), Some(ErrorKind::Unexpected)),
        (answer(&many, &[0], 0), Some(ErrorKind::Unexpected)),
        (answer(&more, &[0], 0), Some(ErrorKind::Unexpected)),
        (answer(r#""0":[]"#, &[0], 0), Some(ErrorKind::Unexpected)),
        (answer(&right, &[0, 0], 0), Some(ErrorKind::Unexpected)),
        (answer(&right, &[0], 1), Some(ErrorKind::Unavailable)),
        (slow, Some(ErrorKind::Timeout)),
        ("{}".to_owned(), Some(ErrorKind::Unexpected)),
    ] {
        let found = ranked(&asked, words.terms(), true, body.as_bytes());
        assert_eq!(found.err().map(|error| error.kind()), kind, "{body}");
    }
    let sought = ranked(&asked, words.terms(), false, answer(&right, &[0], 0).as_bytes()).unwrap();
    for wrong in [vec![], vec![1, 1]] {
        assert_eq!(chosen(&asked, &words, &sought, &wrong).unwrap_err().kind(), ErrorKind::Unexpected);
    }
    let late = answer("", &[3], 0).replace("\"timed_out\":false", "\"timed_out\":true");
    assert_eq!(counted(late.as_bytes()).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(counted(answer("", &[3], 1).as_bytes()).unwrap_err().kind(), ErrorKind::Unavailable);
    let known = ranked(&asked, words.terms(), false, answer(&right, &[1], 0).as_bytes()).unwrap();
    assert_eq!(known[0].candidates, [], "it is right as it is");
}

/// What was found for one word by terms with their similarities, documents with deleted ones, and without.
fn found(
    asked: &Suggest,
    own: u64,
    several: bool,
    terms: &[(String, f32, u64, u64)],
) -> statehouse_core::Result<Suggestions> {
    let words = words(asked);
    let options: Vec<_> = terms.iter().map(|(term, score, freq, _)| option(term, *score, *freq)).collect();
    let body = answer(&format!(r#""0":{}"#, entry(&words.terms()[0], &options)), &[own], 0);
    let sought = ranked(asked, words.terms(), several, body.as_bytes()).unwrap();
    let living = |text: &str| terms.iter().find(|term| term.0 == text).map_or(0, |term| term.3);
    let counts: Vec<_> = sought[0].candidates.iter().map(|(_, found)| living(&found.text)).collect();
    chosen(asked, &words, &sought, &counts)
}

/// The next best term of each answer: so many that are as similar and as frequent.
fn crowd(many: usize, score: f32, documents: u64) -> Vec<(String, f32, u64, u64)> {
    (0..many).map(|n| (format!("f{n:04}"), score, documents, documents)).collect()
}

#[test]
fn living_documents_say_which_term_comes_first() {
    let asked = Suggest::new("title", "fevr").with_size(2);
    let terms = [("fever", 9, 1), ("fevers", 5, 4), ("fewer", 7, 0), ("favor", 2, 2)];
    let terms = terms.map(|(term, freq, living)| (term.to_owned(), 0.75, freq, living));
    let found = found(&asked, 0, false, &terms).unwrap();
    let found: Vec<_> = found.words[0].suggestions.iter().map(|found| (found.text.as_str(), found.documents)).collect();
    assert_eq!(found, [("fevers", 4), ("favor", 2)]);
}

#[test]
fn an_order_that_is_not_certain_is_refused() {
    let asked = |size: usize| Suggest::new("title", "fevr").with_size(size);
    let best = || vec![("fever".to_owned(), 0.75, 3, 3), ("fevers".to_owned(), 0.75, 2, 2)];
    let with = |more: Vec<(String, f32, u64, u64)>| best().into_iter().chain(more).collect::<Vec<_>>();
    let refused = |asked: Suggest, several: bool, terms: &[(String, f32, u64, u64)]| {
        let found = found(&asked, u64::from(asked.mode == SuggestMode::Popular), several, terms);
        found.map_err(|error| assert_eq!(error.kind(), ErrorKind::Unsupported)).is_err()
    };
    let full = with(crowd(RANKED - 2, 0.5, 2));
    for several in [false, true] {
        assert!(!refused(asked(2), several, &full), "more similar than whatever is left out");
        assert!(refused(asked(3), several, &full), "as frequent as what is left out");
        assert!(!refused(asked(50), several, &with(crowd(COUNTED - 2, 0.5, 2))), "nothing is left out");
        assert!(!refused(asked(50), several, &with(crowd(RANKED - 2, 0.4, 2))), "what is left out is not near");
    }
    let mut rare = with(crowd(RANKED - 3, 0.5, 1));
    rare.insert(2, ("favor".to_owned(), 0.5, 4, 4));
    assert!(!refused(asked(3), false, &rare), "more frequent than what is left out");
    assert!(refused(asked(3), true, &rare), "other shards may have more");
    let mut dead = with(crowd(COUNTED + 1, 0.5, 4));
    dead.iter_mut().skip(2).for_each(|term| term.3 = 1);
    assert!(refused(asked(3), false, &dead), "one that was not counted may have more");
    let popular = asked(50).with_mode(SuggestMode::Popular);
    assert!(!refused(popular, true, &with(crowd(RANKED - 3, 0.5, 1))), "not more frequent than the word");
}

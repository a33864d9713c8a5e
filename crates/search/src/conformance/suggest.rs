//! Cases about words that are corrected.

use statehouse_core::ErrorKind;

use super::kit::{SearchBackend, delete, put, record, write};
use crate::{MAX_QUERY_TEXT, SearchIndex, SearchIndexExt, Suggest, SuggestMode, Suggestions};

async fn put_words(index: &dyn SearchIndex, words: &[(&str, usize)]) {
    let rows = words.iter().flat_map(|(word, count)| (0..*count).map(move |n| (word, n)));
    put(index, rows.map(|(word, n)| record(&format!("{word}-{n}")).with("synonym", *word))).await;
}

async fn asked(index: &dyn SearchIndex, suggest: &Suggest) -> Suggestions {
    index.suggest(suggest).await.expect("the words are corrected")
}

/// What stands in the text, and what may have been meant.
async fn words(index: &dyn SearchIndex, suggest: Suggest) -> Vec<(String, Vec<(String, u64)>)> {
    let found = asked(index, &suggest).await;
    assert_eq!(found.text, suggest.text);
    let word = |word: &crate::Correction| {
        let suggestions = word.suggestions.iter().map(|found| (found.text.clone(), found.documents));
        (found.text[word.range.clone()].to_owned(), suggestions.collect())
    };
    found.words.iter().map(word).collect()
}

fn terms(found: &[(String, Vec<(String, u64)>)]) -> Vec<(&str, Vec<&str>)> {
    found.iter().map(|(word, terms)| (&**word, terms.iter().map(|(term, _)| &**term).collect())).collect()
}

/// The nearest first, then the most frequent, then by their bytes.
pub(super) async fn misspelt_words_are_corrected_by_those_of_the_index(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_words(index, &[("heart", 3), ("hearts", 2), ("hart", 1), ("hearty", 2), ("earth", 9)]).await;
    put_words(index, &[("attack", 2), ("attach", 1), ("mi", 1), ("Ärzte heart", 1), ("a", 1)]).await;
    let suggest = |text: &str| Suggest::new("synonym", text);
    let found = words(index, suggest("Haert, ATACK!")).await;
    let haert = [("heart", 4), ("hart", 1), ("hearts", 2), ("hearty", 2)].map(|(term, count)| (term.to_owned(), count));
    assert_eq!(found[0], ("Haert".to_owned(), haert.into()));
    assert_eq!(terms(&found)[1], ("ATACK", vec!["attack", "attach"]));
    assert_eq!(asked(index, &suggest("Haert, ATACK!")).await.corrected().as_deref(), Some("heart, attack!"));
    assert_eq!(terms(&words(index, suggest("haert").with_size(2)).await), [("haert", vec!["heart", "hart"])]);
    assert_eq!(terms(&words(index, suggest("haertz").with_max_edits(1)).await), []);
    assert_eq!(terms(&words(index, suggest("çärzt ärtze")).await), [("ärtze", vec!["ärzte"])], "bytes of the text");
    for nothing in ["", "heart attack", "hea mii", "karth tearth", "completely unknown", " ,- "] {
        assert_eq!(asked(index, &suggest(nothing)).await.corrected(), None, "{nothing}");
    }
}

/// And what no search finds is suggested to nobody.
pub(super) async fn popular_words_are_suggested_for_rare_ones(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_words(index, &[("heart", 2), ("hearth", 1)]).await;
    put_words(index, &[("hearts", 2), ("hearty", 3)]).await;
    let popular = |text: &str| Suggest::new("synonym", text).with_mode(SuggestMode::Popular);
    assert_eq!(terms(&words(index, popular("hearth")).await), [("hearth", vec!["hearty", "hearts", "heart"])]);
    assert_eq!(terms(&words(index, popular("heart")).await), [("heart", vec!["hearty"])], "not by one of as many");
    assert_eq!(terms(&words(index, popular("hearty")).await), []);
    assert_eq!(terms(&words(index, Suggest::new("synonym", "hearth")).await), []);
    let all = ["hearty-0", "hearty-1", "hearty-2", "hearth-0"].map(|id| delete(id, None));
    write(index, all.into()).await.check().expect("every write succeeds");
    index.refresh().await.expect("it is shown");
    assert_eq!(terms(&words(index, popular("hearth")).await), [("hearth", vec!["hearts", "heart"])]);
    assert_eq!(terms(&words(index, Suggest::new("synonym", "hearty")).await), [("hearty", vec!["hearts", "heart"])]);
}

/// Before anything is sent.
pub(super) async fn what_cannot_be_corrected_is_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    for (field, kind) in [
        ("title", ErrorKind::Unsupported),
        ("title.typed", ErrorKind::Unsupported),
        ("code", ErrorKind::Unsupported),
        ("rank", ErrorKind::Unsupported),
        ("nothing", ErrorKind::InvalidInput),
    ] {
        let refused = index.suggest(&Suggest::new(field, "word")).await.expect_err("its terms are no words");
        assert_eq!((refused.kind(), refused.key()), (kind, Some(field)), "{refused}");
    }
    let word = || Suggest::new("synonym", "word");
    for wrong in [
        word().with_size(0),
        word().with_size(Suggest::MAX_SIZE + 1),
        word().with_max_edits(0),
        word().with_max_edits(3),
        Suggest::new("synonym", "a".repeat(MAX_QUERY_TEXT + 1)),
    ] {
        let refused = index.suggest(&wrong).await.expect_err("it is over a limit");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
    }
}

/// So that a whole sentence may be pasted in.
pub(super) async fn words_over_the_limits_are_left_as_they_are(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_words(index, &[("heart", 2), ("attack", 1)]).await;
    let words: String = (1..Suggest::MAX_WORDS).map(|n| format!("wrong{n:03} ")).collect();
    let text = format!("{words}haert an {} atack haert", "known ".repeat(500));
    let found = asked(index, &Suggest::new("synonym", text).with_size(Suggest::MAX_SIZE)).await;
    let most = found.words.iter().map(|word| &found.text[word.range.clone()]).collect::<Vec<_>>();
    assert_eq!(most, ["haert", "haert"], "the last of so many, wherever it stands");
    let first = format!("atack {} haert", "x".repeat(MAX_QUERY_TEXT - 20));
    assert_eq!(
        asked(index, &Suggest::new("synonym", first)).await.words.len(),
        2,
        "pieces that are cut are words, too"
    );
    put(index, [record("long").with("label", "a".repeat(255))]).await;
    for (length, corrected) in [(254, 1), (256, 0)] {
        let long = Suggest::new("label", "a".repeat(length));
        assert_eq!(asked(index, &long).await.words.len(), corrected, "{length}");
    }
}

/// Instead of finding that every word is right.
pub(super) async fn who_corrects_no_words_says_so(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let found = index.suggest(&Suggest::new("synonym", "word")).await;
    let able = backend.capabilities().await.has(crate::capability::SUGGEST);
    assert!(found.map_or_else(|error| !able && error.kind() == ErrorKind::Unsupported, |_| able));
}

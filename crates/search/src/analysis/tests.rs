use super::{Analyzer, Normalizer, Stemmer};

fn terms(analyzer: &Analyzer, text: &str) -> Vec<String> {
    analyzer.tokens(text).into_iter().map(|token| token.text).collect()
}

fn words(text: &str) -> Vec<String> {
    terms(&Analyzer::standard(), text)
}

#[test]
fn words_follow_uax29() {
    assert_eq!(
        words("Don't split 3.5 or 1,000; e.g. U.S.A. a.b"),
        ["Don't", "split", "3.5", "or", "1,000", "e.g", "U.S.A", "a.b"]
    );
    assert_eq!(
        words("snake_case __init__ _ a_1 x-ray 3a a3"),
        ["snake_case", "__init__", "a_1", "x", "ray", "3a", "a3"]
    );
    assert_eq!(words("1.a a.1 a:b 1:2 a,b"), ["1", "a", "a", "1", "a:b", "1", "2", "a", "b"]);
    assert_eq!(words("e\u{301}t\u{e9} \u{301}a"), ["e\u{301}t\u{e9}", "a"]);
}

#[test]
fn scripts_without_spaces_follow_lucene() {
    assert_eq!(words("漢字かなカタカナ"), ["漢", "字", "か", "な", "カタカナ"]);
    assert_eq!(words("สวัสดีครับ ok"), ["สวัสดีครับ", "ok"]);
    assert_eq!(words("한국어 ソフト_テスト"), ["한국어", "ソフト_テスト"]);
}

#[test]
fn hebrew_quotation_marks_belong_to_their_word() {
    assert_eq!(words("צה\"ל ג' א\"1"), ["צה\"ל", "ג'", "א", "1"]);
}

#[test]
fn emoji_are_words_and_their_variants_are_one() {
    assert_eq!(words("a👍🏽b 👩‍👩‍👧 ❤️ 1️⃣ #️⃣ # 🇩🇪🇫🇷🇮 ©"), ["a", "👍🏽", "b", "👩‍👩‍👧", "❤️", "1️⃣", "#️⃣", "🇩🇪", "🇫🇷", "©"]);
    assert_eq!(words("½ ² ① — …").len(), 0);
}

#[test]
fn no_token_is_longer_than_255_utf16_units() {
    let lengths = |text: &str| words(text).iter().map(|word| word.encode_utf16().count()).collect::<Vec<_>>();
    assert_eq!(lengths(&"a".repeat(600)), [255, 255, 90]);
    assert_eq!(lengths(&"\u{10400}".repeat(200)), [254, 146]);
    assert_eq!(lengths(&format!("{}.b", "a".repeat(254))), [254, 1]);
}

#[test]
fn tokens_know_their_bytes_and_positions() {
    let analyzer = Analyzer::standard().lowercase().stop_words(["of", "the"]);
    let tokens = analyzer.tokens("Übel of the Ärmel");
    assert_eq!(
        tokens.iter().map(|t| (t.text.as_str(), t.position, t.start, t.end)).collect::<Vec<_>>(),
        [("übel", 0, 0, 5), ("ärmel", 3, 13, 19)]
    );
}

#[test]
fn filters_do_what_lucene_does() {
    assert_eq!(Normalizer::default().lowercase().apply("İSTANBUL ΣΑΣ"), "istanbul σασ");
    assert_eq!(Normalizer::default().ascii_folding().apply("Straße Œuvre Ł ﬁ ⒈ ½"), "Strasse OEuvre L fi 1. ½");
    let english = Analyzer::standard().lowercase().stem(Stemmer::Porter2);
    assert_eq!(
        terms(&english, "added adding egged hopping running generously skies dying"),
        ["add", "add", "egg", "hop", "run", "generous", "sky", "die"]
    );
}

/// As Lucene, to which a code point above U+FFFF is two letters that are no vowels.
#[test]
fn stems_count_in_units_of_utf_16() {
    let english = Analyzer::standard().lowercase().stem(Stemmer::Porter2);
    assert_eq!(
        terms(&english, "𝒳y xy 𝒳𝒴y a𝒳ed aéed 𝒳ies xies é𝒳ational𝒴 𝒳aational"),
        ["𝒳i", "xy", "𝒳𝒴i", "a𝒳", "aée", "𝒳i", "xie", "é𝒳ational𝒴", "𝒳aation"]
    );
}

#[test]
fn edge_ngrams_share_the_position_of_their_word() {
    let analyzer = Analyzer::standard().lowercase().edge_ngram(2, 4);
    let tokens = analyzer.tokens("Heart a É12");
    assert_eq!(
        tokens.iter().map(|t| (t.text.as_str(), t.position)).collect::<Vec<_>>(),
        [("he", 0), ("hea", 0), ("hear", 0), ("é1", 2), ("é12", 2)]
    );
    assert_eq!(tokens[0].end, 5);
}

#[test]
fn every_code_point_can_be_read_in_any_company() {
    for code in (0..=0x10FFFF).filter_map(char::from_u32) {
        for text in [format!("a{code}b"), format!("1{code}1"), format!("{code}\u{200D}{code}")] {
            for token in Analyzer::standard().tokens(&text) {
                assert_eq!(token.text, text[token.start..token.end]);
            }
        }
    }
}

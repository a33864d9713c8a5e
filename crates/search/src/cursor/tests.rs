use statehouse_core::ErrorKind;

use super::*;
use crate::analysis::Analyzer;
use crate::print::print;
use crate::size::Size;
use crate::{
    BoostMode, Curve, Decay, Field, FieldBoost, FieldValueFactor, Fuzziness, MAX_SORTS, MAX_TERM_LEN, MinimumMatch,
    Modifier, Operator, Query, Schema, ScoreFunction, SearchRequest, Sort,
};

pub(super) fn schema() -> Schema {
    let more = [Field::u64("uses").sortable(), Field::f64("share").sortable(), Field::bool("leaf").sortable()];
    let builder = Schema::builder().analyzer("whole", Analyzer::whole()).field(Field::text("title"));
    let builder = builder.field(Field::keyword("code").sortable()).field(Field::i64("rank").sortable());
    let builder = more.into_iter().fold(builder, crate::SchemaBuilder::field);
    builder.field(Field::date("day").sortable()).build().unwrap()
}

pub(super) fn request() -> SearchRequest {
    let by = ["code", "rank", "uses", "share", "leaf", "day", "day"];
    let request = SearchRequest::new(Query::matches("title", "fever")).with_sort(Sort::by_score());
    by.into_iter().fold(request, |request, field| request.with_sort(Sort::by(field)))
}

fn cursor() -> Cursor {
    let sort = [
        None,
        Some(Value::from("é")),
        Some(Value::I64(-2)),
        Some(Value::U64(u64::MAX)),
        Some(Value::F64(-0.0)),
        Some(Value::Bool(true)),
        Some(Value::Date(7)),
        None,
    ];
    Cursor::new(print(&schema(), &request()), Some(0.1), sort.to_vec(), DocumentId::new("A00").unwrap())
}

#[test]
fn the_golden_bytes_are_what_the_table_says() {
    let golden = concat!(
        "01",
        "0807060504030201",
        "01cdcccc3d",
        "08",
        "00",
        "010200c3a9",
        "02feffffffffffffff",
        "03ffffffffffffffff",
        "040000000000000080",
        "0501",
        "060700000000000000",
        "00",
        "0300413030",
        "3ba707cf"
    );
    let cursor = Cursor { of: 0x0102_0304_0506_0708, ..cursor() };
    assert_eq!(cursor.to_string(), golden);
    assert_eq!(golden.parse::<Cursor>().unwrap(), cursor);
}

#[test]
fn the_longest_cursor_is_read_back() {
    assert_eq!(format::MOST_KEYS, MAX_SORTS);
    let sort = vec![Some(Value::Text("x".repeat(MAX_TERM_LEN))); MAX_SORTS];
    let longest = Cursor::new(0, Some(1.0), sort, DocumentId::new("x".repeat(DocumentId::MAX_LEN)).unwrap());
    let text = longest.to_string();
    assert!(text.len() <= Cursor::MAX_LEN, "{}", text.len());
    assert!(text.parse::<Cursor>().unwrap() == longest);
}

/// Who made one up makes no work of it on an async thread.
#[test]
fn a_request_behind_a_long_cursor_is_not_small() {
    let small = |request: SearchRequest| Size::of_request(&request).unwrap().is_small();
    assert!(small(request().with_after(cursor())));
    let sort = vec![Some(Value::Text("x".repeat(8_001)))];
    assert!(!small(request().with_after(Cursor { sort, ..cursor() })));
}

#[test]
fn what_is_no_cursor_or_not_all_of_one_is_refused() {
    let text = cursor().to_string();
    let (long, other) = ("0".repeat(Cursor::MAX_LEN + 2), text.to_uppercase());
    let others = ["", "0", "00", "zz", "é", &long, &other, &text[..text.len() - 2], &text[2..]];
    for wrong in others {
        let error = wrong.parse::<Cursor>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    for at in 0..text.len() {
        let changed = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
        let mut changed_text = text.clone();
        changed_text.replace_range(at..=at, changed);
        assert!(changed_text.parse::<Cursor>().is_err(), "{at}");
    }
    assert_eq!(format!("{:?}", cursor()), "Cursor(..)");
}

fn texts() -> Vec<Query> {
    let matches = || Query::matches("title", "fever");
    let several = || Query::multi_match([FieldBoost::new("title", 1.0)], "fever");
    vec![
        matches().into(),
        matches().operator(Operator::And).into(),
        matches().minimum_match(MinimumMatch::Count(1)).into(),
        matches().minimum_match(MinimumMatch::Percent(1)).into(),
        matches().fuzzy().into(),
        matches().fuzziness(Fuzziness::Edits(1)).into(),
        matches().fuzzy().prefix_length(1).into(),
        matches().boost(2.0).into(),
        Query::matches("title", "fevers").into(),
        several().into(),
        several().tie_breaker(0.5).into(),
        several().most_fields().into(),
        Query::multi_match([FieldBoost::new("title", 1.5)], "fever").into(),
        Query::matches_prefix("title", "fever").into(),
        Query::starts_with_words("title", "fever").into(),
        Query::phrase("title", "fever").into(),
        Query::phrase("title", "fever").slop(1).into(),
        Query::prefix("title", "fever").into(),
        Query::fuzzy("title", "fever").into(),
        Query::fuzzy("title", "fever").fuzziness(Fuzziness::Edits(1)).into(),
        Query::fuzzy("title", "fever").prefix_length(1).into(),
    ]
}

fn others() -> Vec<Query> {
    let matches = || Query::matches("title", "fever");
    vec![
        Query::None,
        Query::all().into(),
        Query::exists("rank").into(),
        Query::exists("uses").into(),
        Query::term("rank", 1_i64).into(),
        Query::term("share", 0.1).into(),
        Query::term("leaf", true).into(),
        Query::term("uses", 1_u64).into(),
        Query::term("day", Value::Date(1)).into(),
        Query::terms("rank", [1_i64, 2]).into(),
        Query::terms("rank", [1_i64]).into(),
        Query::range("rank").above(1_i64).into(),
        Query::range("rank").at_least(1_i64).into(),
        Query::range("rank").below(1_i64).into(),
        Query::ids(["ab", "c"]).into(),
        Query::ids(["a", "bc"]).into(),
        Query::bool().must(matches()).into(),
        Query::bool().should(matches()).into(),
        Query::bool().should(matches()).minimum_match(MinimumMatch::Count(1)).into(),
        Query::bool().should(matches().boost(2.0)).into(),
        Query::constant(matches()).into(),
        Query::constant(matches()).boost(2.0).into(),
        Query::dis_max([matches()]).into(),
        Query::dis_max([matches()]).tie_breaker(0.5).into(),
    ]
}

/// Whatever changes the order or what is found.
fn requests() -> Vec<SearchRequest> {
    let fever = || SearchRequest::new(Query::matches("title", "fever"));
    let mut all: Vec<_> = texts().into_iter().chain(others()).map(SearchRequest::new).collect();
    all.extend([
        fever().with_filter(Query::all()),
        fever().with_sort(Sort::by_score()),
        fever().with_sort(Sort::by_score().ascending()),
        fever().with_sort(Sort::by("rank")),
        fever().with_sort(Sort::by("rank").descending()),
        fever().with_sort(Sort::by("rank").missing_first()),
        fever().with_sort(Sort::by("uses")),
        request(),
        fever().with_post_filter(Query::all()),
        fever().with_filter(Query::all()).with_post_filter(Query::all()),
    ]);
    // Kinds that came later, so that the numbers of those before stay where they are.
    all.extend([Query::wildcard("title", "fever"), Query::wildcard("title", "fe*r")].map(SearchRequest::new));
    let exact = || Query::exact_first("title", "fever");
    let others = [exact().operator(Operator::And), exact().without_misspellings(), exact().without_completions()];
    all.extend(
        [exact(), exact().prefix_length(1), exact().boost(2.0)].into_iter().chain(others).map(SearchRequest::new),
    );
    let begun = || Query::phrase_prefix("title", "fever");
    all.extend([begun(), begun().slop(1), begun().max_expansions(1)].map(SearchRequest::new));
    all.extend(functions().into_iter().map(SearchRequest::new));
    all.extend(["rank", "uses"].map(|field| fever().with_collapse(field)));
    all
}

fn functions() -> Vec<Query> {
    let of = |function: ScoreFunction| Query::function_score(Query::all(), function);
    let (value, near) = (|| FieldValueFactor::new("rank"), || Decay::new("rank", 1_i64, 2.0));
    let functions: [ScoreFunction; 8] = [
        value().into(),
        value().factor(2.0).into(),
        value().modifier(Modifier::Sqrt).into(),
        value().missing(1.0).into(),
        near().into(),
        near().offset(2.0).into(),
        near().decay(0.1).into(),
        near().curve(Curve::Linear).into(),
    ];
    let queries = [
        of(value().into()).boost(2.0),
        of(value().into()).max_boost(2.0),
        of(value().into()).boost_mode(BoostMode::Sum),
        Query::function_score(Query::None, value()),
    ];
    functions.map(of).into_iter().chain(queries).map(Into::into).collect()
}

/// Cursors travel between builds: of another compiler, and on other machines.
#[test]
fn the_prints_of_requests_are_those_of_every_build() {
    let schema = schema();
    let prints: Vec<_> = requests().iter().map(|request| print(&schema, request)).collect();
    assert_eq!(prints, GOLDEN);
}

#[rustfmt::skip]
const GOLDEN: [u64; 80] = [
    0xAFAB_AB90_90DB_DE7D, 0x6CD7_64B8_DE00_AF3F, 0xC1AD_F567_C99D_80B9, 0x09ED_4450_5332_25AC,
    0x230F_4D43_023D_86A0, 0x5C75_D4A0_D36A_D07A, 0x1F6E_EE33_BF55_AC76, 0x85AD_29D8_3B33_0E2E,
    0x8CFA_B0EB_AE52_0F4A, 0x4ED5_7153_631C_0075, 0x2053_A151_55A5_DDAB, 0x8EDA_54AE_9D28_02A9,
    0x1156_7E81_06C0_EE11, 0x82B2_A63C_3BAD_CA76, 0xD2E7_00A2_56B6_FF33, 0xD64E_CF16_3855_3482,
    0xD57F_ED1D_CFC8_1F2A, 0xDEA8_76A0_2AEB_6E94, 0x6C5B_F9FD_CB1C_141E, 0xAC12_E25B_332C_80DE,
    0x2DC6_154E_05A3_0B50, 0xE5E5_B34B_BCE5_9B6E, 0xB656_57B0_49BF_6C1B, 0x6AB9_2B95_F36E_3D02,
    0x6261_B099_9F5C_7267, 0x0811_21F5_535E_9DD3, 0xD658_4ABE_4621_7F48, 0xC49C_F3C0_7BC2_4D5B,
    0x3678_F02D_E0B6_1B9B, 0x54E3_15A1_486E_F52E, 0x35F9_9C23_DA4C_41FB, 0x411A_295C_DC6B_5AA8,
    0x62D3_28A2_69E8_B18C, 0x3028_B976_534A_143A, 0xED57_8990_31AC_B82A, 0x6161_AFA7_2EA7_BFBE,
    0x01C8_F802_9AA3_866E, 0xDBD7_E55D_84B4_A2FC, 0xA3B6_6C35_559D_9E03, 0x40B8_4B0E_308B_8673,
    0x1F60_137F_5BA6_3B13, 0x8CD5_D2B8_4888_FE08, 0x921E_33A7_F2B5_8730, 0x3F1B_2DA7_0F3A_2C3A,
    0x963F_88B4_E57B_B712, 0xD153_3F1C_D9FA_6CF2, 0xB661_E49E_C59D_BE11, 0x6F66_DEF3_ECF6_93BA,
    0xC2AE_885A_932A_533A, 0x2A5F_887F_0B1D_EB82, 0x5841_16C4_7E19_0103, 0x28C7_CBD4_703D_6D7B,
    0x14CE_2022_33F5_BD99, 0xFC04_874E_4810_FEA2, 0x7DEF_FAC0_D4FF_7C16, 0x3137_45BF_4CCD_DD23,
    0x313B_C1FC_A750_F3FA, 0x34EB_2D8B_36CE_97E6, 0x4D1D_19A9_8744_B6B8, 0xD722_D0FB_D456_CF6C,
    0xF4CB_33B2_1967_0E68, 0xB9FE_3DBF_0A8D_15D1, 0xF242_2D5E_882A_BF0B, 0x85BD_6FC0_20CC_1819,
    0x6F41_2D89_6937_A45B, 0x25E9_FDBE_AC29_F0CD, 0x6008_597F_CB9A_0EF6, 0x0548_A183_9073_DFAA,
    0xF78F_AA0B_A3BE_523C, 0xAD81_3954_9E46_14F8, 0xCD9F_A256_2F03_8A65, 0x5F2F_12FB_1D6C_F30E,
    0x94A6_FA50_3210_352F, 0xF8EA_BBFC_3F2A_CE7F, 0x9A98_253A_56A9_8929, 0x58EA_698D_AB06_A0C6,
    0xF1AE_2690_DB56_DEEC, 0x1463_808B_EF49_2408, 0xBB87_B9A8_8D84_99C3, 0x5E51_2D1F_5B45_D5BC,
];

/// What a page returns of a hit changes nothing.
#[test]
fn every_request_has_a_print_of_its_own() {
    let all = requests();
    let schema = schema();
    let prints: Vec<_> = all.iter().map(|request| print(&schema, request)).collect();
    for (at, one) in prints.iter().enumerate() {
        assert!(!prints[..at].contains(one), "{:?}", all[at]);
    }
    let page = all[0].clone().with_size(3).with_projection(crate::Projection::Id);
    assert_eq!(print(&schema, &page), prints[0]);
    let other = Schema::builder().analyzer("whole", Analyzer::whole());
    let other = other.field(Field::text("title").analyzed_by("whole")).build().unwrap();
    assert_ne!(print(&other, &all[0]), prints[0], "the field is another");
}

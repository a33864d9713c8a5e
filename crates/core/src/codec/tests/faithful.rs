//! What is encoded comes back, or is refused where it is encoded.

use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use super::*;

const LIMIT: usize = 1 << 20;

fn named() -> Vec<Codec> {
    all().into_iter().filter(|codec| codec.is_self_describing()).collect()
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(codec: Codec, value: &T) {
    for bytes in [codec.encode(value).unwrap(), codec.encode_checked(value, LIMIT).unwrap()] {
        assert_eq!(codec.decode::<T>(&bytes).unwrap(), *value, "{codec:?}");
    }
    assert_eq!(codec.round_trip(value, LIMIT).unwrap().1, *value, "{codec:?}");
}

/// Refused by `encode`, or by the checks that read back; never accepted and then another value, or none.
fn comes_back_or_is_refused<T: Serialize + DeserializeOwned + PartialEq + Debug>(codec: Codec, value: &T) {
    for checked in [codec.encode_checked(value, LIMIT), codec.round_trip(value, LIMIT).map(|(bytes, _)| bytes)] {
        match checked {
            Ok(bytes) => assert_eq!(codec.decode::<T>(&bytes).unwrap(), *value, "{codec:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{codec:?}: {error}"),
        }
    }
}

fn is_refused<T: Serialize + DeserializeOwned + Debug>(codec: Codec, value: &T, why: &str) {
    let refusals = [codec.encode(value), codec.encode_checked(value, LIMIT)];
    for error in refusals.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{codec:?}");
        assert!(error.to_string().contains(why), "{codec:?} {value:?}: {error}");
    }
}

/// As `serde_bytes` does.
#[derive(Clone, Debug, PartialEq)]
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Read;
        impl<'de> serde::de::Visitor<'de> for Read {
            type Value = Blob;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> std::result::Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Blob, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = items.next_element()? {
                    bytes.push(byte);
                }
                Ok(Blob(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Read)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Nothing,
    Newtype(Inner),
    Fields { a: Option<u32>, blob: Blob },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of")]
enum Adjacent {
    Nothing,
    Newtype(Inner),
    Pair(i8, String),
    Fields { a: Option<u32> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Float(f64),
    Text(String),
    List(Vec<Self>),
    Fields { a: u32, shape: Shape },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    list: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u64,
    #[serde(flatten)]
    inner: Inner,
    #[serde(flatten)]
    rest: BTreeMap<String, Untagged>,
}

fn inner() -> Inner {
    Inner { name: "n".into(), note: None, list: Vec::new() }
}

#[test]
fn values_of_every_kind_come_back() {
    for codec in named() {
        comes_back(codec, &(u64::MAX, i64::MIN, i64::MAX, u128::from(u64::MAX), i128::from(i64::MIN)));
        comes_back(codec, &(i128::from(u64::MAX), 0_u128, -1_i128, ()));
        comes_back(codec, &(f64::MIN_POSITIVE, -0.0_f64, f32::MAX, 0.1_f32));
        comes_back(codec, &vec![Some("x"), None].into_iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>());
        comes_back(codec, &HashMap::from([(7_u32, "a".to_owned()), (9, "b".to_owned())]));
        comes_back(codec, &HashMap::from([(-7_i64, HashSet::from(['a', 'ß']))]));
        comes_back(codec, &(Blob(vec![0, 255]), Some(Blob(Vec::new())), 'x', true));
        comes_back(codec, &[Tagged::Nothing, Tagged::Newtype(inner())]);
        comes_back(codec, &Tagged::Fields { a: Some(u32::MAX), blob: Blob(vec![1]) });
        comes_back(codec, &[Adjacent::Nothing, Adjacent::Newtype(inner()), Adjacent::Pair(-1, "p".into())]);
        comes_back(codec, &Adjacent::Fields { a: None });
        comes_back(codec, &[Untagged::Number(i64::MIN), Untagged::Float(1.0), Untagged::Text("7".into())]);
        comes_back(codec, &Untagged::List(vec![Untagged::Fields { a: 1, shape: Shape::Dot }]));
        let rest = BTreeMap::from([("more".to_owned(), Untagged::Float(0.5))]);
        comes_back(codec, &Flat { id: u64::MAX, inner: inner(), rest });
        comes_back(codec, &(SystemTime::now(), std::net::Ipv6Addr::LOCALHOST, Ok::<u8, String>(7)));
        comes_back(codec, &Some(Some(Some(7_u8))));
        comes_back(codec, &None::<Option<()>>);
        comes_back(codec, &(Some(BTreeSet::<u8>::new()), Some(String::new()), Some(Vec::<()>::new())));
    }
}

#[test]
fn keys_of_any_type_come_back_in_messagepack() {
    let codec = Codec::MessagePack;
    comes_back(codec, &BTreeMap::from([((1_u8, "a".to_owned()), 1), ((2, "b".to_owned()), 2)]));
    comes_back(codec, &BTreeMap::from([(vec![None, Some(1_u8)], ()), (vec![], ())]));
    comes_back(codec, &HashMap::from([(Nothing, 1_u8)]));
    comes_back(codec, &BTreeMap::from([(false, 'f'), (true, 't')]));
    comes_back(codec, &HashMap::from([(Some(Shape2::Unit), 1_u8), (Some(Shape2::Pair(1, 2)), 2), (None, 3)]));
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Shape2 {
    Unit,
    Pair(u8, u8),
}

#[test]
fn numbers_that_are_none_come_back_or_are_refused() {
    let bits = |value: &[f64]| value.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let odd = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -f64::NAN];
    let bytes = Codec::MessagePack.encode_checked(&odd, LIMIT).unwrap();
    assert_eq!(bits(&Codec::MessagePack.decode::<Vec<f64>>(&bytes).unwrap()), bits(&odd));
    let bytes = Codec::MessagePack.encode(&f32::NAN).unwrap();
    assert!(Codec::MessagePack.decode::<f32>(&bytes).unwrap().is_nan());
    #[cfg(feature = "json")]
    for odd in odd {
        is_refused(Codec::Json, &Some(odd), "JSON has no infinite numbers");
        is_refused(Codec::Json, &[f32::INFINITY], "JSON has no infinite numbers");
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(Option<()>);

#[test]
fn an_option_of_nothing_is_refused_where_there_is_one_nothing() {
    let why = "an option that has nothing in it";
    for codec in named() {
        is_refused(codec, &Some(None::<u32>), why);
        is_refused(codec, &Some(()), why);
        is_refused(codec, &vec![(1, Some(Some(None::<String>)))], why);
        is_refused(codec, &BTreeMap::from([("a".to_owned(), Some(Newtype(None)))]), why);
        is_refused(codec, &Some(Newtype(Some(()))), why);
        comes_back_or_is_refused(codec, &Some(Nothing));
        comes_back_or_is_refused(codec, &Some(PhantomData::<u8>));
        // Nothing in a list in an option is something.
        comes_back(codec, &Some(vec![None::<u8>]));
        comes_back(codec, &Some((None::<u8>, ())));
    }
    for codec in all().into_iter().filter(|codec| !codec.is_self_describing()) {
        comes_back(codec, &vec![Some(None::<u32>), None, Some(Some(1))]);
        comes_back(codec, &Some(()));
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct WideFields {
    unsigned: u128,
    signed: i128,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum WideTagged {
    Wide { number: u128 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct WideFlat {
    #[serde(flatten)]
    fields: WideFields,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum WideUntagged {
    Bytes(Blob),
    List(Vec<u8>),
    Number(u128),
    Text(String),
}

#[test]
fn a_number_of_more_than_64_bits_comes_back_or_is_refused() {
    for codec in named() {
        for (unsigned, signed) in [(u128::MAX, i128::MIN), (1 << 64, i128::MAX), (u128::MAX - 1, -1 << 100)] {
            let fields = || WideFields { unsigned, signed };
            let bytes = codec.encode_checked(&fields(), LIMIT).unwrap();
            assert_eq!(codec.decode::<WideFields>(&bytes).unwrap(), fields(), "{codec:?}");
            assert!(codec.encode(&fields()).is_err(), "{codec:?}: nobody has looked whether it comes back");
            comes_back_or_is_refused(codec, &WideFlat { fields: fields() });
            comes_back_or_is_refused(codec, &WideTagged::Wide { number: unsigned });
            comes_back_or_is_refused(codec, &WideUntagged::Number(unsigned));
        }
        // One is not taken for the other, nor for bytes.
        let bytes = codec.encode_checked(&u128::MAX, LIMIT).unwrap();
        assert!(codec.decode::<i128>(&bytes).is_err(), "{codec:?}");
        assert!(codec.decode::<Blob>(&bytes).is_err(), "{codec:?}");
        assert!(codec.decode::<u128>(&codec.encode(&-1_i8).unwrap()).is_err(), "{codec:?}");
        assert!(codec.decode::<u128>(&codec.encode(&Blob(vec![1; 16])).unwrap()).is_err(), "{codec:?}");
    }
    let bytes = Codec::MessagePack.encode_checked(&u128::MAX, LIMIT).unwrap();
    assert!(Codec::MessagePack.decode::<f64>(&bytes).is_err());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct NoDefault {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    list: Vec<u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct OtherDefault {
    #[serde(skip_serializing_if = "Option::is_none", default = "seven")]
    number: Option<u8>,
}

#[expect(clippy::unnecessary_wraps, reason = "it is a default of the field's type")]
fn seven() -> Option<u8> {
    Some(7)
}

#[test]
fn a_field_that_is_left_out_and_not_put_in_again_is_refused() {
    for codec in named() {
        comes_back(codec, &NoDefault { list: vec![1] });
        comes_back(codec, &OtherDefault { number: Some(1) });
        assert!(codec.encode_checked(&NoDefault { list: Vec::new() }, LIMIT).is_err(), "{codec:?}");
        assert!(codec.encode_checked(&OtherDefault { number: None }, LIMIT).is_err(), "{codec:?}");
    }
    for codec in all().into_iter().filter(|codec| !codec.is_self_describing()) {
        is_refused(codec, &inner(), "skip_serializing_if");
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name")]
enum TagOfInner {
    Newtype(Inner),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Ambiguous {
    Optional { a: Option<u8> },
    Other { b: Option<u8> },
}

#[test]
fn names_that_stand_twice_and_variants_that_look_alike_are_refused() {
    for codec in named() {
        is_refused(codec, &TagOfInner::Newtype(inner()), "two fields of one name");
        let rest = BTreeMap::from([("id".to_owned(), Untagged::Number(1))]);
        assert!(codec.encode_checked(&Flat { id: 1, inner: inner(), rest }, LIMIT).is_err(), "{codec:?}");
        let error = codec.round_trip(&Ambiguous::Other { b: Some(1) }, LIMIT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{codec:?}: {error}");
        assert_eq!(error.message(), "the value does not survive its codec: it would come back as another");
    }
}

#[test]
fn a_value_above_the_limit_is_too_large_before_all_of_it_is_encoded() {
    for codec in all() {
        let value = vec!["x".repeat(1000); 10];
        let length = codec.encode(&value).unwrap().len();
        assert_eq!(codec.encode_checked(&value, length).unwrap().len(), length, "{codec:?}");
        let error = codec.encode_checked(&value, length - 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{codec:?}");
        assert_eq!(codec.encoded_len(&value).unwrap(), length, "{codec:?}");
    }
}

/// What reads back is in doubt, for a field that is left out, and its map has another order each time.
#[cfg(target_os = "linux")]
#[derive(Serialize, Deserialize)]
struct Doubtful {
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<u8>,
    tags: HashMap<String, u8>,
    body: Vec<u8>,
}

/// The largest that this process has been, in bytes.
#[cfg(target_os = "linux")]
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_read_back_takes_a_few_times_its_own_length() {
    const CHILD: &str = "STATEHOUSE_TEST_READS_BACK";
    if std::env::var_os(CHILD).is_none() {
        // In a process of its own, whose memory no other test takes.
        let name = "codec::tests::faithful::what_is_read_back_takes_a_few_times_its_own_length";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args([name, "--exact"]).env(CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let value = Doubtful { note: None, tags: (0..40).map(|n| (n.to_string(), n)).collect(), body: vec![200; 2 << 20] };
    for codec in named() {
        let before = peak();
        let bytes = codec.encode_checked(&value, 64 << 20).unwrap();
        let grown = peak() - before;
        assert!(grown < 8 * bytes.len(), "{codec:?}: {grown} bytes for {}", bytes.len());
    }
}

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Deserialize;

use super::*;
use crate::conformance::rounds;

mod evolution;
mod faithful;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rate {
    pair: String,
    value: f64,
    history: Vec<Option<u32>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle(u128),
    Line { from: (i8, i64), to: [u16; 2] },
    Group(Vec<Self>),
    Inside(Box<Self>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Chain {
    next: Option<Box<Self>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Nothing;

/// Everything that takes no bytes somewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Empty {
    unit: (),
    marker: PhantomData<String>,
    none: [u8; 0],
    nothing: Nothing,
}

fn all() -> Vec<Codec> {
    (0..=u8::MAX).filter_map(|id| Codec::from_id(CodecId(id))).collect()
}

fn rate() -> Rate {
    Rate { pair: "EUR/USD".into(), value: 1.0842, history: vec![None, Some(7)] }
}

fn chain() -> Chain {
    Chain { next: Some(Box::new(Chain { next: None })) }
}

fn shapes() -> Vec<Shape> {
    let line = Shape::Line { from: (-1, i64::MIN), to: [0, 65_535] };
    vec![Shape::Dot, Shape::Inside(Box::new(Shape::Group(vec![line, Shape::Dot]))), Shape::Circle(7)]
}

#[test]
fn every_codec_round_trips_and_refuses_other_bytes() {
    let rate = rate();
    for codec in all() {
        assert_eq!(Codec::from_id(codec.id()), Some(codec));
        let bytes = codec.encode(&rate).unwrap();
        assert_eq!(codec.encoded_len(&rate).unwrap(), bytes.len());
        assert_eq!(codec.decode::<Rate>(&bytes).unwrap(), rate);
        for end in 0..bytes.len() {
            assert_eq!(codec.decode::<Rate>(&bytes[..end]).unwrap_err().kind(), ErrorKind::Corrupt, "{codec:?}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(codec.decode::<Rate>(&longer).unwrap_err().kind(), ErrorKind::Corrupt, "{codec:?}");
    }
}

#[test]
fn an_unknown_codec_is_told_apart() {
    assert_eq!(Codec::from_id(CodecId(200)), None);
    assert_eq!(Codec::from_id(CodecId::RAW), None);
}

fn round_trips<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    for codec in all() {
        let bytes = codec.encode(value).unwrap();
        assert_eq!(codec.decode::<T>(&bytes).unwrap(), *value, "{codec:?}");
    }
}

#[test]
fn the_limits_let_values_of_every_kind_through() {
    round_trips(&shapes());
    round_trips(&chain());
    round_trips(&(u64::MAX, i64::MIN, u32::MAX, 'ß', true, f32::MIN_POSITIVE));
    round_trips(&HashMap::from([("a".to_owned(), vec![0_u8; 70_000]), (String::new(), Vec::new())]));
    round_trips(&BTreeMap::from([("é".to_owned(), BTreeMap::from([("x".to_owned(), HashSet::from([1, 2]))]))]));
    round_trips(&vec![Empty { unit: (), marker: PhantomData, none: [], nothing: Nothing }; 100]);
    round_trips(&vec![(); 4000]);
    round_trips(&vec![vec![0_u64; 3]; 10_000]);
    round_trips(&"x".repeat(1 << 20));
}

/// A length or count, as each format writes it in the fewest bytes.
fn claims(count: u64) -> Vec<Vec<u8>> {
    let mut varint = Vec::new();
    let mut left = count;
    while left >= 0x80 {
        varint.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
        left >>= 7;
    }
    varint.push(u8::try_from(left).unwrap());
    let short = u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
    let tagged = |tag: u8, bytes: &[u8]| [&[tag], bytes].concat();
    vec![
        varint,                             // postcard
        tagged(0xfd, &count.to_le_bytes()), // bincode
        tagged(0xfc, &u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes()),
        tagged(0xdd, &short), // a list of MessagePack
        tagged(0xdf, &short), // a map
        tagged(0xdb, &short), // text
        tagged(0xc6, &short), // bytes
    ]
}

fn refuses<T: DeserializeOwned>(bytes: &[u8]) {
    for codec in all() {
        let decoded = codec.decode::<T>(bytes);
        let kind = decoded.map(drop).map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::Corrupt), "{codec:?} {} {bytes:?}", std::any::type_name::<T>());
    }
}

#[test]
fn a_length_above_what_the_input_holds_is_refused_before_it_is_believed() {
    for count in [100_000, 1 << 31, u64::from(u32::MAX), 1 << 40, 1 << 63, u64::MAX] {
        for claim in claims(count) {
            for tail in [&b""[..], &[0], &[0xc0; 3], &[1; 16]] {
                let bytes = [&claim[..], tail].concat();
                refuses::<String>(&bytes);
                refuses::<Vec<()>>(&bytes);
                refuses::<Vec<Empty>>(&bytes);
                refuses::<Vec<[Nothing; 2]>>(&bytes);
                refuses::<HashMap<Nothing, ()>>(&bytes);
                refuses::<Vec<u128>>(&bytes);
                refuses::<Vec<Vec<String>>>(&bytes);
                refuses::<BTreeMap<String, Vec<()>>>(&bytes);
                refuses::<Box<[Shape]>>(&bytes);
            }
        }
    }
    // Lists in a list: each claims little and all of them together too much.
    #[cfg(feature = "postcard")]
    {
        let lists = [&[100_u8][..], &[0xff, 0x1f].repeat(100)].concat();
        assert!(Codec::Postcard.decode::<Vec<Vec<()>>>(&lists).is_err());
    }
}

#[test]
fn a_nesting_without_end_is_refused_before_the_stack_overflows() {
    for length in [300, 100_000] {
        for byte in [0, 1, 3, 4, b'[', 0x91, 0x81] {
            let bytes = vec![byte; length];
            refuses::<Chain>(&bytes);
            refuses::<Shape>(&bytes);
            refuses::<Vec<Shape>>(&bytes);
        }
        refuses::<Shape>("{\"Inside\":".repeat(length).as_bytes());
        refuses::<Shape>(&[b"\x81\xa6Inside".as_slice()].repeat(length).concat());
        // Skipped, as the value of a field that nobody knows.
        refuses::<Rate>(&[b"{\"other\":", "[".repeat(length).as_bytes()].concat());
        refuses::<Rate>(&[b"\x81\xa5other".as_slice(), &vec![0x91; length]].concat());
    }
}

#[test]
fn values_as_deep_as_the_limit_come_back_and_deeper_ones_do_not() {
    let nested = |depth: usize| (0..depth).fold(Shape::Dot, |inside, _| Shape::Inside(Box::new(inside)));
    for codec in all() {
        let mut deepest = 0;
        while let Ok(bytes) = codec.encode(&nested(deepest)) {
            assert_eq!(codec.decode::<Shape>(&bytes).unwrap(), nested(deepest), "{codec:?}");
            deepest += 1;
        }
        assert!((60..256).contains(&deepest), "{codec:?}: {deepest}");
        let error = codec.encode(&nested(deepest)).unwrap_err();
        assert_eq!(error.to_string(), "a value is nested deeper than what is decoded again", "{codec:?}");
    }
}

/// A generator of its own, so that a failure is found again by its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// Bytes of no meaning, or such as begin lengths, lists and options.
    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let telling =
            [0, 1, 2, 0x7f, 0x80, 0xff, 0xfb, 0xfc, 0xfd, 0xfe, 0xc0, 0xc6, 0xdb, 0xdd, 0xdf, 0x91, b'[', b'"'];
        let length = self.below(most);
        let any = self.below(2) == 0;
        (0..length).map(|_| if any { self.byte() } else { telling[self.below(telling.len())] }).collect()
    }

    /// A value's bytes, damaged in a few places.
    fn damaged(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => drop(bytes.splice(at..at, self.bytes(12))),
                2 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (self.0 % 8)),
                3 => drop(bytes.splice(at..at, claims(self.0 >> (self.0 % 64)).swap_remove(self.below(7)))),
                _ => bytes = [&bytes[at..], &bytes[..at]].concat(),
            }
        }
        bytes
    }
}

/// Whatever is decoded ends, panics nowhere, and is a value: it is encoded and decoded to the same.
fn survives<T: Serialize + DeserializeOwned>(codec: Codec, bytes: &[u8], seed: u64) {
    let Ok(value) = codec.decode::<T>(bytes) else { return };
    let again = codec.encode(&value).unwrap();
    match codec.decode::<T>(&again) {
        Ok(back) => assert_eq!(codec.encode(&back).unwrap(), again, "{codec:?}, seed {seed}: {bytes:?}"),
        // Lengths that were written longer than need be allow elements without bytes a few more.
        Err(_) => assert!(again.len() < bytes.len(), "{codec:?}, seed {seed}: {bytes:?}"),
    }
}

fn survive_all(codec: Codec, bytes: &[u8], seed: u64) {
    survives::<Rate>(codec, bytes, seed);
    survives::<Vec<Shape>>(codec, bytes, seed);
    survives::<Chain>(codec, bytes, seed);
    survives::<Vec<Empty>>(codec, bytes, seed);
    survives::<Option<Vec<()>>>(codec, bytes, seed);
    survives::<BTreeMap<String, Vec<String>>>(codec, bytes, seed);
    survives::<(u8, String, Vec<u8>, Option<Box<str>>)>(codec, bytes, seed);
    survives::<Result<Duration, std::net::IpAddr>>(codec, bytes, seed);
}

#[test]
fn random_and_damaged_bytes_are_a_value_or_corrupt() {
    let rounds = u64::try_from(rounds(800, 200_000)).unwrap();
    let begin = u64::from(std::process::id()) << 32;
    for codec in all() {
        let good = [
            codec.encode(&rate()).unwrap(),
            codec.encode(&shapes()).unwrap(),
            codec.encode(&chain()).unwrap(),
            codec.encode(&BTreeMap::from([("a".to_owned(), vec!["b".to_owned(); 3])])).unwrap(),
            codec.encode(&(7_u8, "text", vec![1_u8, 2], Some("boxed"))).unwrap(),
        ];
        for seed in begin..begin + rounds {
            let mut random = Random(seed);
            survive_all(codec, &random.bytes(48), seed);
            let at = random.below(good.len());
            survive_all(codec, &random.damaged(&good[at]), seed);
        }
    }
}

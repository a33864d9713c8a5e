//! Two versions of a type: what one wrote is read by the other, or refused, and never another value.

use super::*;

/// The same names for both versions of the types.
mod first {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Stock {
        pub(super) on_shelf: u32,
        pub(super) lent: u32,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Role {
        Nurse,
        Doctor { ward: u8 },
        Guest(String),
    }
}

mod second {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Stock {
        #[serde(default)]
        pub(super) ordered: u8,
        pub(super) lent: u64,
        pub(super) on_shelf: u64,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Role {
        Admin,
        Doctor { ward: u16 },
        Nurse,
        Guest(String),
    }
}

fn named() -> Vec<Codec> {
    all().into_iter().filter(|codec| codec.is_self_describing()).collect()
}

fn read_as<T: DeserializeOwned>(codec: Codec, value: &impl Serialize) -> Option<T> {
    codec.decode(&codec.encode(value).unwrap()).ok()
}

#[test]
fn fields_that_changed_places_grew_or_were_added_are_read_in_both_directions() {
    for codec in named() {
        let (old, new) = (first::Stock { on_shelf: 9, lent: 1 }, second::Stock { ordered: 3, lent: 1, on_shelf: 9 });
        let expected = second::Stock { ordered: 0, ..second::Stock { ordered: 0, lent: 1, on_shelf: 9 } };
        assert_eq!(read_as(codec, &old), Some(expected), "{codec:?}");
        assert_eq!(read_as(codec, &new), Some(old), "{codec:?}");
        let large = second::Stock { ordered: 0, lent: 1, on_shelf: 1 << 40 };
        assert_eq!(read_as::<first::Stock>(codec, &large), None, "{codec:?}: it does not fit");
    }
}

#[test]
fn variants_are_known_by_their_names() {
    for codec in named() {
        for (old, new) in [
            (first::Role::Nurse, second::Role::Nurse),
            (first::Role::Doctor { ward: 7 }, second::Role::Doctor { ward: 7 }),
            (first::Role::Guest("g".into()), second::Role::Guest("g".into())),
        ] {
            assert_eq!(read_as::<second::Role>(codec, &old).as_ref(), Some(&new), "{codec:?}");
            assert_eq!(read_as::<first::Role>(codec, &new), Some(old), "{codec:?}");
        }
        assert_eq!(read_as::<first::Role>(codec, &second::Role::Admin), None, "{codec:?}");
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Renamed {
    on_shelf: u32,
    borrowed: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Letter {
    A,
    B,
    C(u32),
    D { x: u32, y: u32 },
}

#[test]
fn another_type_is_refused_and_never_guessed() {
    for codec in named() {
        let stock = first::Stock { on_shelf: 9, lent: 1 };
        assert_eq!(read_as::<Renamed>(codec, &stock), None, "{codec:?}: a field has another name");
        assert_eq!(read_as::<first::Stock>(codec, &(9, 1)), None, "{codec:?}: a list is no struct");
        assert_eq!(read_as::<first::Stock>(codec, &[9, 1]), None, "{codec:?}");
        assert_eq!(read_as::<(u32, u32)>(codec, &stock), None, "{codec:?}: a struct is no list");
        assert_eq!(read_as::<Letter>(codec, &1), None, "{codec:?}: a number is no variant");
        assert_eq!(read_as::<Letter>(codec, &BTreeMap::from([(3, (1, 2))])), None, "{codec:?}");
        let numbered = BTreeMap::from([(0, 9_u32), (1, 1)]);
        assert_eq!(read_as::<first::Stock>(codec, &numbered), None, "{codec:?}: a number is no field");
        let listed = BTreeMap::from([("D", (1, 2))]);
        assert_eq!(read_as::<Letter>(codec, &listed), None, "{codec:?}: a list is no fields of a variant");
        assert_eq!(read_as::<u8>(codec, &"7"), None, "{codec:?}");
        assert_eq!(read_as::<String>(codec, &7), None, "{codec:?}");
        assert_eq!(read_as::<bool>(codec, &1), None, "{codec:?}");
        assert_eq!(read_as::<u8>(codec, &true), None, "{codec:?}");
        assert_eq!(read_as::<u8>(codec, &1.0), None, "{codec:?}: a number with a point is not whole");
        assert_eq!(read_as::<u8>(codec, &None::<u8>), None, "{codec:?}: what was optional is required");
        assert_eq!(read_as::<(u8, u8)>(codec, &[1, 2, 3]), None, "{codec:?}");
        assert_eq!(read_as::<(u8, u8)>(codec, &[1]), None, "{codec:?}");
        assert_eq!(read_as::<Letter>(codec, &Letter::B), Some(Letter::B), "{codec:?}");
        assert_eq!(read_as::<Option<u8>>(codec, &7), Some(Some(7)), "{codec:?}: what was required is optional");
    }
}

#[test]
fn no_number_is_rounded() {
    for codec in named() {
        assert_eq!(read_as::<f64>(codec, &9_u32), Some(9.0), "{codec:?}");
        assert_eq!(read_as::<f64>(codec, &(1_u64 << 53)), Some(9_007_199_254_740_992.0), "{codec:?}");
        assert_eq!(read_as::<f64>(codec, &((1_u64 << 53) + 1)), None, "{codec:?}");
        assert_eq!(read_as::<f64>(codec, &i64::MIN), None, "{codec:?}");
        assert_eq!(read_as::<f64>(codec, &u64::MAX), None, "{codec:?}");
        assert_eq!(read_as::<f32>(codec, &((1_u32 << 24) + 1)), None, "{codec:?}");
        assert_eq!(read_as::<f32>(codec, &0.5_f64), Some(0.5), "{codec:?}");
        assert_eq!(read_as::<f64>(codec, &0.5_f32), Some(0.5), "{codec:?}");
    }
    assert_eq!(read_as::<f32>(Codec::MessagePack, &0.1_f64), None);
    assert_eq!(read_as::<f32>(Codec::MessagePack, &1e300_f64), None);
    assert!(read_as::<f32>(Codec::MessagePack, &f64::NAN).is_some_and(f32::is_nan));
}

/// Why the compact codecs want their schema named.
#[cfg(feature = "postcard")]
#[test]
fn without_names_another_version_is_misread() {
    let old = first::Stock { on_shelf: 9, lent: 1 };
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Swapped {
        lent: u32,
        on_shelf: u32,
    }
    assert_eq!(read_as(Codec::Postcard, &old), Some(Swapped { lent: 9, on_shelf: 1 }));
    assert_eq!(read_as::<second::Role>(Codec::Postcard, &first::Role::Nurse), Some(second::Role::Admin));
}

/// What is stored by this version is read by every later one.
#[test]
fn the_bytes_are_those_of_every_earlier_release() {
    let value = (first::Stock { on_shelf: 9, lent: 300 }, first::Role::Doctor { ward: 7 }, first::Role::Nurse, 1.5, -1);
    let golden = b"\x95\x82\xa8on_shelf\x09\xa4lent\xcd\x01\x2c\x81\xa6Doctor\x81\xa4ward\x07\xa5Nurse\
                   \xcb\x3f\xf8\0\0\0\0\0\0\xff";
    assert_eq!(Codec::MessagePack.encode(&value).unwrap(), golden);
    let wide = Codec::MessagePack.encode_checked(&[u128::MAX - 1], usize::MAX).unwrap();
    assert_eq!(wide, [&b"\x91\xd8\x01"[..], &[0xff; 15], b"\xfe"].concat());
    let wide = Codec::MessagePack.encode_checked(&i128::MIN, usize::MAX).unwrap();
    assert_eq!(wide, [&b"\xd8\x02\x80"[..], &[0; 15]].concat());
}

#[test]
fn maps_are_equal_in_any_order_at_any_depth_and_lists_are_not() {
    let map = |seed: u32| (0..40).map(|n| (format!("k{n}"), n ^ seed)).collect::<HashMap<_, _>>();
    let nested = |seed| HashMap::from([("a", map(seed)), ("b", map(7))]);
    for codec in named() {
        let encode = |seed| codec.encode(&nested(seed)).unwrap();
        let (one, other) = (encode(0), encode(0));
        assert_ne!(one, other, "two maps of 40 entries have the same order once in a lifetime");
        assert!(codec.is_equal(&one, &other));
        assert!(!codec.is_equal(&one, &encode(1)));
        let list = |list: [u8; 2]| codec.encode(&list).unwrap();
        assert!(!codec.is_equal(&list([1, 2]), &list([2, 1])));
        assert!(!codec.is_equal(&[0xc1], &[0xc1, 0xc1]), "what cannot be read is equal to nothing");
        // Reading back does not mind the order of sets, which are lists.
        codec.round_trip(&(0..40).collect::<HashSet<_>>(), usize::MAX).unwrap();
    }
}

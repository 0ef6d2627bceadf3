//! Keys: the order of canonical bytes is the order of values, the hash is the hash of these bytes, and a key recognises its view.

#![allow(clippy::unwrap_used)]

use std::cmp::Ordering;
use std::fmt::Debug;

use proptest::prelude::*;
use thalweg::record::{Archiver, Key, Record, access};
use xxhash_rust::xxh3::xxh3_64;

#[derive(Record, Key, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Buy,
    Sell,
}

#[derive(Record, Key, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Account(u64);

#[derive(Record, Key, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Nobody,
    Person { first: String, last: String },
    Account(Account, Side),
}

#[derive(Record, Key, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    owner: Owner,
    r#type: Option<i16>,
    symbol: String,
}

fn encoded<K: Key>(key: &K) -> Vec<u8> {
    let mut out = Vec::new();
    K::encode(key.view(), &mut out);
    out
}

/// All that is promised of two keys.
fn check<K: Key + Ord + Debug>(left: &K, right: &K) -> Result<(), TestCaseError> {
    let (left_bytes, right_bytes) = (encoded(left), encoded(right));
    prop_assert_eq!(left_bytes.cmp(&right_bytes), left.cmp(right));
    prop_assert_eq!(K::hash(left.view()), xxh3_64(&left_bytes));
    if left.cmp(right) != Ordering::Equal {
        prop_assert!(!right_bytes.starts_with(&left_bytes), "no key is another's prefix");
    }
    prop_assert_eq!(left.matches(right.view()), left == right);
    prop_assert_eq!(&K::decode(&left_bytes).unwrap(), left);
    if let Some((_, shorter)) = left_bytes.split_last() {
        prop_assert!(K::decode(shorter).is_err());
        prop_assert!(K::decode(&[&left_bytes[..], &[0]].concat()).is_err());
    }
    let archive = Archiver::new().to_bytes(left).unwrap();
    let view = K::view_archived(access::<K>(&archive).unwrap());
    prop_assert!(left.matches(view));
    prop_assert_eq!(K::hash(view), K::hash(left.view()));
    Ok(())
}

/// Strings with many zero bytes, high bytes and common prefixes.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::collection::vec(prop_oneof![Just('\0'), Just('\u{1}'), Just('a'), Just('ÿ')], 0..5).prop_map(String::from_iter),
        any::<String>(),
        "[a-c]{0,300}",
    ]
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        Just(Owner::Nobody),
        (text(), text()).prop_map(|(first, last)| Owner::Person { first, last }),
        (any::<u64>(), any::<bool>()).prop_map(|(id, buy)| Owner::Account(Account(id), if buy { Side::Buy } else { Side::Sell })),
    ]
}

fn order() -> impl Strategy<Value = Order> {
    (owner(), any::<Option<i16>>(), text()).prop_map(|(owner, r#type, symbol)| Order { owner, r#type, symbol })
}

proptest! {
    #[test]
    fn integers(left in any::<(u8, u16, u32, u64, u128)>(), right in any::<(u8, u16, u32, u64, u128)>()) {
        check(&left, &right)?;
        check(&left.0, &right.0)?;
        check(&left.1, &right.1)?;
        check(&left.2, &right.2)?;
        check(&left.3, &right.3)?;
        check(&left.4, &right.4)?;
    }

    #[test]
    fn signed_integers(left in any::<(i8, i16, i32, i64, i128)>(), right in any::<(i8, i16, i32, i64, i128)>()) {
        check(&left, &right)?;
        check(&left.0, &right.0)?;
        check(&left.1, &right.1)?;
        check(&left.2, &right.2)?;
        check(&left.3, &right.3)?;
        check(&left.4, &right.4)?;
    }

    #[test]
    fn strings(left in text(), right in text()) {
        check(&left, &right)?;
        check(&Some(left.clone()), &Some(right.clone()))?;
        check(&Account(left.len() as u64), &Account(right.len() as u64))?;
    }

    #[test]
    fn composites(left in (text(), any::<Option<bool>>(), any::<char>(), text()), right in (text(), any::<Option<bool>>(), any::<char>(), text())) {
        check(&left, &right)?;
        check(&(left.0.clone(), left.3.clone()), &(left.0.clone(), right.3.clone()))?;
    }

    #[test]
    fn derived(left in order(), right in order()) {
        check(&left, &right)?;
        check(&left, &left)?;
        check(&left.owner, &right.owner)?;
    }
}

#[test]
fn strings_of_every_length_hash_like_their_bytes() {
    for len in 0..600 {
        let plain = "x".repeat(len);
        check(&plain, &format!("{plain}\0")).unwrap();
        check(&(plain.clone(), plain.clone()), &(plain.clone(), format!("{plain}\0"))).unwrap();
    }
}

/// Key groups are stored: these bytes and numbers must never change.
#[test]
fn canonical_bytes_and_hashes_are_frozen() {
    assert_eq!(encoded(&(-1i32, 1u16, true, 'a')), [0x7f, 0xff, 0xff, 0xff, 0, 1, 1, 0, 0, 0, 0x61]);
    assert_eq!(encoded(&("a\0b".to_string(), Some(7u8), None::<u8>)), *b"a\0\xffb\0\0\x01\x07\0");
    assert_eq!(encoded(&Owner::Account(Account(1), Side::Sell)), [2, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    assert!(encoded(&()).is_empty());
    assert_eq!(format!("{:016x}", u64::hash(42)), "2e4fe982b68910ac");
    assert_eq!(format!("{:016x}", String::hash("thalweg")), "250821a6ca06c09c");
}

proptest! {
    /// Whatever is read as a key is what that key writes: there is one form of each.
    #[test]
    fn only_canonical_bytes_are_read(bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2), Just(0xFF), Just(b'a'), any::<u8>()], 0..30)) {
        if let Ok(order) = Order::decode(&bytes) {
            prop_assert_eq!(encoded(&order), &bytes[..]);
        }
        if let Ok(key) = <(bool, Option<char>, String)>::decode(&bytes) {
            prop_assert_eq!(encoded(&key), bytes);
        }
    }
}

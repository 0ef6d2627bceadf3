//! Records: what is archived is read back, whole or through views; what is not an archive is refused; layouts that differ are told apart.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use thalweg::record::{Archiver, LayoutHasher, ListRef, Record, access, read_owned};

/// Names that generated code uses too.
mod confusing_names {
    use thalweg::record::Record;

    #[derive(Record, Clone, Debug, PartialEq)]
    pub struct Tag(pub String);

    #[derive(Record, Clone, Debug, PartialEq)]
    pub enum Discriminant {
        Tag(Tag),
        VariantTag { value: Tag, r#type: u8, out: i8, serializer: bool },
        Resolver,
    }
}

use confusing_names::{Discriminant, Tag};

#[derive(Record, Clone, Copy, Debug, PartialEq)]
enum Colour {
    Red = 4,
    Green = 2,
}

#[derive(Record, Clone, Copy, Debug, PartialEq)]
struct Marker;

#[derive(Record, Clone, Copy, Debug, PartialEq)]
struct Plain {
    x: i32,
    y: i32,
}

#[derive(Record, Clone, Copy, Debug, PartialEq)]
struct Metres(f64);

#[derive(Record, Clone, Debug, PartialEq)]
enum Event {
    Empty,
    Number(u64),
    Pair(String, Plain),
    Named { at: i128, what: Vec<String>, colour: Colour },
}

#[derive(Record, Clone, Copy, Debug, PartialEq)]
enum Measured {
    None,
    Some(f32, u8),
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Everything {
    a: bool,
    b: (i8, u8, i16, u16),
    c: (i32, u32, i64, u64, i128, u128),
    d: f64,
    e: char,
    f: (),
    text: String,
    maybe: Option<String>,
    nested_maybe: Option<Option<u32>>,
    list: Vec<u64>,
    lists: Vec<Vec<String>>,
    array: [u16; 3],
    texts: [String; 2],
    plain: Plain,
    plains: Vec<Plain>,
    tuple: (String, Plain, Option<Vec<Event>>),
    event: Event,
    colour: Colour,
    marker: Marker,
    metres: Metres,
    measured: Measured,
    discriminant: Discriminant,
}

fn plain() -> impl Strategy<Value = Plain> {
    any::<(i32, i32)>().prop_map(|(x, y)| Plain { x, y })
}

fn colour() -> impl Strategy<Value = Colour> {
    prop_oneof![Just(Colour::Red), Just(Colour::Green)]
}

/// A few short strings: long lists take the time and find nothing more.
fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("\\PC{0,12}", 0..4)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Empty),
        any::<u64>().prop_map(Event::Number),
        (any::<String>(), plain()).prop_map(|(text, plain)| Event::Pair(text, plain)),
        (any::<i128>(), texts(), colour()).prop_map(|(at, what, colour)| Event::Named { at, what, colour }),
    ]
}

fn discriminant() -> impl Strategy<Value = Discriminant> {
    prop_oneof![
        Just(Discriminant::Resolver),
        any::<String>().prop_map(|text| Discriminant::Tag(Tag(text))),
        any::<(String, u8, i8, bool)>().prop_map(|(text, r#type, out, serializer)| Discriminant::VariantTag {
            value: Tag(text),
            r#type,
            out,
            serializer
        }),
    ]
}

fn everything() -> impl Strategy<Value = Everything> {
    let numbers = any::<(bool, (i8, u8, i16, u16), (i32, u32, i64, u64, i128, u128), i32, char)>();
    let texts = (
        any::<(String, Option<String>, Option<Option<u32>>, [u16; 3], [String; 2])>(),
        prop::collection::vec(any::<u64>(), 0..4),
        prop::collection::vec(texts(), 0..4),
    );
    let users = (
        plain(),
        prop::collection::vec(plain(), 0..4),
        (any::<String>(), plain(), prop::option::of(prop::collection::vec(event(), 0..4))),
        event(),
        colour(),
        any::<(i16, u8)>(),
        discriminant(),
    );
    (numbers, texts, users).prop_map(|((a, b, c, d, e), ((text, maybe, nested_maybe, array, texts), list, lists), users)| {
        let (plain, plains, tuple, event, colour, (metres, byte), discriminant) = users;
        Everything {
            a,
            b,
            c,
            d: f64::from(d) / 3.0,
            e,
            f: (),
            text,
            maybe,
            nested_maybe,
            list,
            lists,
            array,
            texts,
            plain,
            plains,
            tuple,
            event,
            colour,
            marker: Marker,
            metres: Metres(f64::from(metres)),
            measured: if metres > 0 { Measured::Some(f32::from(metres), byte) } else { Measured::None },
            discriminant,
        }
    })
}

proptest! {
    #[test]
    fn archive_and_owned_value_give_equal_views(value in everything()) {
        let bytes = Archiver::new().to_bytes(&value).unwrap();
        let archived = access::<Everything>(&bytes).unwrap();
        let view = Everything::view_archived(archived);
        prop_assert_eq!(view, value.view());
        prop_assert_eq!(format!("{view:?}"), format!("{:?}", value.view()));
        prop_assert_eq!(&Everything::from_view(view), &value);
        prop_assert_eq!(&Everything::from_view(value.view()), &value);
        prop_assert_eq!(&read_owned::<Everything>(&bytes).unwrap(), &value);
        prop_assert_eq!(&rkyv::from_bytes::<Everything, rkyv::rancor::Error>(&bytes).unwrap(), &value);
    }

    #[test]
    fn archives_share_a_buffer(values in prop::collection::vec(event(), 1..8)) {
        let mut archiver = Archiver::new();
        let mut out = rkyv::util::AlignedVec::new();
        let ranges: Vec<_> = values.iter().map(|value| archiver.append(value, &mut out).unwrap()).collect();
        for (value, range) in values.iter().zip(ranges) {
            prop_assert_eq!(&read_owned::<Event>(&out[range]).unwrap(), value);
        }
    }

    /// Any flipped byte either leaves a valid archive of some value or is an error; it is never a panic.
    #[test]
    fn corrupt_bytes_are_refused_or_read(value in event(), place in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut bytes = Archiver::new().to_bytes(&value).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        if let Ok(event) = read_owned::<Event>(&bytes) {
            let _ = format!("{event:?}");
        }
    }

    #[test]
    fn truncated_bytes_are_refused_or_read(value in everything(), place in any::<prop::sample::Index>()) {
        let bytes = Archiver::new().to_bytes(&value).unwrap();
        let _ = read_owned::<Everything>(&bytes[..place.index(bytes.len())]);
    }
}

#[test]
fn an_unknown_variant_is_an_error() {
    let mut bytes = Archiver::new().to_bytes(&Colour::Green).unwrap();
    bytes[0] = 2;
    assert!(access::<Colour>(&bytes).is_err());
}

#[test]
fn misaligned_bytes_are_an_error() {
    let mut archiver = Archiver::new();
    let mut out = rkyv::util::AlignedVec::new();
    archiver.append(&7u128, &mut out).unwrap();
    let mut shifted = rkyv::util::AlignedVec::<16>::new();
    shifted.push(0);
    shifted.extend_from_slice(&out);
    assert!(access::<u128>(&shifted[1..]).is_err());
    assert!(access::<u128>(&[]).is_err());
}

#[test]
fn lists_over_values_and_over_archives_are_equal() {
    let words = vec!["sea".to_string(), String::new(), "river".to_string()];
    let bytes = Archiver::new().to_bytes(&words).unwrap();
    let archived = Vec::<String>::view_archived(access::<Vec<String>>(&bytes).unwrap());
    assert!(matches!(archived, ListRef::Archived(_)));
    assert_eq!(archived, words.view());
    assert_eq!(archived.get(2), Some("river"));
    assert_eq!(archived.get(3), None);
    assert_eq!((archived.first(), archived.last()), (Some("sea"), Some("river")));
    assert_eq!(archived.iter().len(), 3);
    assert_eq!(archived.iter().rev().collect::<Vec<_>>(), ["river", "", "sea"]);
    assert_eq!(archived.into_iter().map(str::len).sum::<usize>(), 8);
    assert_eq!(vec![1u8, 2].view().as_bytes(), [1, 2]);
    assert_eq!(format!("{archived:?}"), r#"["sea", "", "river"]"#);
}

fn description<T: Record>() -> String {
    let mut out = LayoutHasher::new();
    T::layout(&mut out);
    out.description().to_string()
}

#[test]
fn a_layout_is_described_by_names_and_types() {
    assert_eq!(description::<Plain>(), "struct{x:i32,y:i32,}");
    assert_eq!(description::<Metres>(), "struct{0:f64,}");
    assert_eq!(description::<Marker>(), "struct{}");
    assert_eq!(description::<Colour>(), "enum{Red{},Green{},}");
    assert_eq!(
        description::<Event>(),
        "enum{Empty{},Number{0:u64,},Pair{0:string,1:struct{x:i32,y:i32,},},\
         Named{at:i128,what:list{string},colour:enum{Red{},Green{},},},}"
    );
    assert_eq!(description::<(Option<[u8; 4]>, ())>(), "tuple{0:option{array{4:u8}},1:(),}");
}

#[test]
fn layouts_that_differ_have_different_fingerprints() {
    mod other {
        use thalweg::record::Record;
        #[derive(Record, Clone)]
        pub struct Swapped {
            pub y: i32,
            pub x: i32,
        }
        #[derive(Record, Clone)]
        pub struct Retyped {
            pub x: i32,
            pub y: u32,
        }
        #[derive(Record, Clone)]
        pub struct Renamed {
            pub x: i32,
            pub z: i32,
        }
        #[derive(Record, Clone)]
        pub struct Longer {
            pub x: i32,
            pub y: i32,
            pub z: i32,
        }
        #[derive(Record, Clone)]
        pub struct SameLayout {
            pub x: i32,
            pub y: i32,
        }
    }
    let all = [
        Plain::fingerprint(),
        other::Swapped::fingerprint(),
        other::Retyped::fingerprint(),
        other::Renamed::fingerprint(),
        other::Longer::fingerprint(),
        <(i32, i32)>::fingerprint(),
        <[i32; 2]>::fingerprint(),
        Vec::<i32>::fingerprint(),
        Option::<i32>::fingerprint(),
        i32::fingerprint(),
        u32::fingerprint(),
        f32::fingerprint(),
    ];
    for (place, one) in all.iter().enumerate() {
        assert!(all[place + 1..].iter().all(|other| other != one), "{place}");
    }
    assert_eq!(Plain::fingerprint(), other::SameLayout::fingerprint(), "a type's own name is not part of its layout");
    // Stored in files: this number must never change.
    assert_eq!(Plain::fingerprint().to_string(), "9cb81ac17b089e90");
}

/// As an operator is declared: the closure's argument is known from the record's type alone.
fn map<T: Record, O>(values: &[T], mut f: impl for<'a> FnMut(<T as Record>::Ref<'a>) -> O) -> Vec<O> {
    values.iter().map(|value| f(value.view())).collect()
}

fn filter<T: Record>(values: &[T], mut f: impl for<'a> FnMut(&T::Ref<'a>) -> bool) -> Vec<T> {
    values.iter().filter(|value| f(&value.view())).map(|value| T::from_view(value.view())).collect()
}

#[test]
fn closures_over_views_need_no_annotations() {
    let events = [Event::Number(3), Event::Pair("four".to_string(), Plain { x: 1, y: 2 }), Event::Empty];
    let numbers = map(&events, |event| match event {
        EventRef::Empty => 0,
        EventRef::Number(number) => number,
        EventRef::Pair(text, PlainRef { x, y }) => text.len() as u64 + x.unsigned_abs() as u64 + y.unsigned_abs() as u64,
        EventRef::Named { what, colour: Colour::Red, .. } => what.len() as u64,
        EventRef::Named { at, .. } => at as u64,
    });
    assert_eq!(numbers, [3, 7, 0]);
    assert_eq!(map(&[Plain { x: 1, y: 2 }], |plain| plain.x + plain.y), [3]);
    assert_eq!(map(&["a b".to_string()], |line| line.split(' ').count()), [2]);
    assert_eq!(filter(&["a".to_string(), "b".to_string()], |word| word.starts_with('a')), ["a"]);
    assert_eq!(map(&[(1u32, "x".to_string())], |(count, word)| word.repeat(count as usize)), ["x"]);
}

#[test]
fn views_can_be_shortened() {
    fn longer<'a>(left: TagRef<'a>, right: TagRef<'a>) -> usize {
        left.0.len().max(right.0.len())
    }
    use confusing_names::TagRef;
    let right = Tag("right".to_string());
    assert_eq!(longer(TagRef("static"), right.view()), 6);
}

#[test]
fn the_derive_explains_what_it_refuses() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

extern crate thalweg as renamed;

/// In a crate that knows the engine by another name.
#[derive(thalweg::record::Record, thalweg::record::Key, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[record(crate = renamed)]
enum Named {
    Nothing,
    Something { names: Option<String>, id: u64 },
}

#[test]
fn a_crate_that_knows_the_engine_by_another_name_derives_records_and_keys() {
    let named = Named::Something { names: Some("a".to_owned()), id: 7 };
    assert_eq!(Named::from_view(named.view()), named);
    let mut bytes = Vec::new();
    <Named as renamed::record::Key>::encode(named.view(), &mut bytes);
    assert_eq!(<Named as renamed::record::Key>::decode(&bytes), Ok(named));
}

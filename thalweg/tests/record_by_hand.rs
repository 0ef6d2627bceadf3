//! `Record` and `Key` can be implemented by hand, outside the engine: a string of bytes that is viewed as `&[u8]`, as a connector for opaque data may want it.
//!
//! What has to be written is here in full, in the order in which one meets it: the archive, the record, the key. A job then groups by it.

#![allow(clippy::unwrap_used)]

mod common;

use common::{run, sorted};
use proptest::prelude::*;
use rkyv::rancor::Fallible;
use rkyv::ser::{Allocator, Writer};
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::{Archive, Deserialize, Place, Serialize};
use thalweg::StreamExecutionEnvironment;
use thalweg::record::{Archiver, Key, KeyError, KeySink, KeySource, LayoutHasher, Record, access, write_terminated};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bytes(Vec<u8>);

impl Archive for Bytes {
    type Archived = ArchivedVec<u8>;
    type Resolver = VecResolver;

    fn resolve(&self, resolver: VecResolver, out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_slice(&self.0, resolver, out);
    }
}

impl<S: Fallible + Allocator + Writer + ?Sized> Serialize<S> for Bytes {
    fn serialize(&self, serializer: &mut S) -> Result<VecResolver, S::Error> {
        ArchivedVec::serialize_from_slice(&self.0, serializer)
    }
}

impl<D: Fallible + ?Sized> Deserialize<Bytes, D> for ArchivedVec<u8> {
    fn deserialize(&self, _: &mut D) -> Result<Bytes, D::Error> {
        Ok(Bytes(self.to_vec()))
    }
}

impl Record for Bytes {
    type Ref<'a> = &'a [u8];

    fn view(&self) -> &[u8] {
        &self.0
    }

    fn view_archived(archived: &ArchivedVec<u8>) -> &[u8] {
        archived
    }

    fn from_view(view: &[u8]) -> Self {
        Self(view.to_vec())
    }

    fn layout(out: &mut LayoutHasher) {
        // That of a `Vec<u8>`: the archives are the same.
        Vec::<u8>::layout(out);
    }
}

impl Key for Bytes {
    fn write<S: KeySink>(view: &[u8], sink: &mut S) {
        write_terminated(view, sink);
    }

    fn read(source: &mut KeySource<'_>) -> Result<Self, KeyError> {
        source.take_terminated().map(Self)
    }

    fn matches(&self, view: &[u8]) -> bool {
        self.0 == view
    }
}

proptest! {
    #[test]
    fn a_byte_string_written_by_hand_keeps_what_is_promised_of_records_and_keys(left: Vec<u8>, right: Vec<u8>) {
        let (left, right) = (Bytes(left), Bytes(right));
        let archive = Archiver::new().to_bytes(&left).unwrap();
        prop_assert_eq!(Bytes::view_archived(access::<Bytes>(&archive).unwrap()), left.view());
        let bytes = |key: &Bytes| {
            let mut out = Vec::new();
            Bytes::encode(key.view(), &mut out);
            out
        };
        prop_assert_eq!(bytes(&left).cmp(&bytes(&right)), left.cmp(&right));
        prop_assert_eq!(Bytes::decode(&bytes(&left)), Ok(left));
    }
}

#[test]
fn a_job_groups_by_a_key_that_was_written_by_hand() {
    let env = StreamExecutionEnvironment::new();
    let words = [&b"a\0b"[..], b"", b"a\0b", b"\xff"].map(|word| Bytes(word.to_vec()));
    let counts = env.from_collection(words.to_vec()).map(|word| (Bytes(word.to_vec()), 1u64));
    let counts = counts.key_by::<Bytes>(|(word, _)| word).reduce(|left, right| (Bytes::from_view(left.0), left.1 + right.1)).collect();
    run(env, 2);
    let last = |word: &[u8]| sorted(counts.take()).into_iter().filter(|(of, _)| of.0 == word).map(|(_, count)| count).max();
    assert_eq!(last(b"a\0b"), Some(2));
}

//! Records: the values that flow through a job.
//!
//! A [`Record`] is *owned* inside a core (`T`), an rkyv *archive* between processes and in state (`T::Archived`), and user functions see
//! neither: they take the borrowed *view* [`Record::Ref`], which is built from either without copying. So one closure serves records that
//! never left the core and records that came over the network, and only records that a function keeps are made owned ([`Record::from_view`]).
//!
//! Not here: frames and their checksums (they carry archives), state serialisation versions, and savepoints, which are self-describing and never rkyv
//! bytes. An archive does not say which type it holds: code that stores or sends one puts the [`LayoutFingerprint`] beside it, because the bytes of one
//! layout can pass rkyv's check for another and then give wrong data.

mod archive;
mod fingerprint;
mod key;
mod key_source;
mod layout;
mod list;
mod primitives;
mod row_kind;
mod short_hash;
mod writer;

use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::{Archive, Deserialize, Serialize};

pub use archive::{Appending, Archiver, access, read_owned};
pub use fingerprint::{LayoutFingerprint, LayoutHasher};
pub use key::{Key, KeySink, hash_of_pair, write_terminated};
pub use key_source::{KeyError, KeySource};
pub use layout::{Layout, Parts, RecordLayout, UnreadableRecord};
pub use list::{ListIter, ListRef};
pub use rkyv::rancor::Error as ArchiveError;
pub use row_kind::RowKind;
pub use thalweg_derive::{Key, Record};
pub use writer::{ArchiveMemory, ArchiveWriter};

/// Used by the code that the derives generate; not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use rkyv;
}

/// The one serializer strategy of the engine: into aligned memory, scratch space from an arena that the sender owns.
pub type RecordSerializer<'a> = HighSerializer<ArchiveWriter, ArenaHandle<'a>, ArchiveError>;
/// The one deserializer strategy. The engine itself rebuilds values through views.
pub type RecordDeserializer = HighDeserializer<ArchiveError>;
/// The one validator strategy: every offset, tag, length, `bool`, `char` and UTF-8 string of an archive is checked.
pub type RecordValidator<'a> = HighValidator<'a, ArchiveError>;

/// A type that can travel: owned inside a core, as an rkyv archive between processes and in state.
///
/// Derive it with `#[derive(Record)]` on a struct or enum that has no generic parameters and whose fields are records. The derive writes the
/// rkyv implementations as well; nothing else has to be derived but `Clone`. For `struct Order` it adds the view type `OrderRef<'a>` with
/// the same visibility and fields. A type in which no variant has a field (a unit struct, a C-like enum) is its own view instead, and must be
/// `Copy + Debug + PartialEq` for that.
///
/// Numbers, `bool`, `char` and `()` are viewed by value, `String` as `&str`, `Vec<T>` as [`ListRef`], options, tuples (up to eight) and arrays as the same
/// of views. `usize` and `isize` are not records: their width depends on the machine.
///
/// A view is a few loads, made anew for each call, and compiles to nothing for a plain struct; [`from_view`](Record::from_view) allocates the parts that
/// the type owns. Writing `T: Record` is enough for generic code: all rkyv bounds are implied.
///
/// ```
/// # extern crate thalweg_record as thalweg;
/// use thalweg::record::{Archiver, Record, access};
///
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Order {
///     id: u64,
///     customer: String,
///     items: Vec<(u32, f64)>,
/// }
///
/// fn total(order: OrderRef<'_>) -> f64 {
///     order.items.iter().map(|(count, price)| f64::from(count) * price).sum()
/// }
///
/// let order = Order { id: 7, customer: "Ada".to_string(), items: vec![(2, 1.5), (1, 4.0)] };
/// assert_eq!(total(order.view()), 7.0);
///
/// // The same function reads the archive in place.
/// let bytes = Archiver::new().to_bytes(&order)?;
/// let archived = access::<Order>(&bytes)?;
/// let view = Order::view_archived(archived);
/// assert_eq!((view.customer, total(view)), ("Ada", 7.0));
/// assert_eq!(Order::from_view(view), order);
/// # Ok::<(), thalweg::record::ArchiveError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a record: it cannot travel between cores and processes",
    label = "not a `Record`",
    note = "add `#[derive(thalweg::record::Record, Clone)]` to your own struct or enum; it must have no generic parameters",
    note = "built-in records: bool, char, (), fixed-size integers, f32, f64, String, Option, Vec, arrays, tuples up to 8",
    note = "for `usize` use `u64`, for `&str` use `String`, for a map use a `Vec` of pairs"
)]
pub trait Record:
    Archive<Archived: for<'a> CheckBytes<RecordValidator<'a>> + Deserialize<Self, RecordDeserializer> + 'static>
    + for<'a> Serialize<RecordSerializer<'a>>
    + Clone
    + Send
    + 'static
{
    /// The borrowed view: numbers by value, strings and lists by reference.
    type Ref<'a>: Copy + core::fmt::Debug + PartialEq;

    /// The view of an owned value.
    fn view(&self) -> Self::Ref<'_>;

    /// The view of an archive, in place. It equals the [`view`](Record::view) of the archived value.
    fn view_archived(archived: &Self::Archived) -> Self::Ref<'_>;

    /// Rebuilds an owned value: a function calls it for the records it keeps.
    fn from_view(view: Self::Ref<'_>) -> Self;

    /// Describes names and types of the fields, recursively.
    fn layout(out: &mut LayoutHasher);

    /// The fingerprint of [`layout`](Record::layout). Computed anew at each call (about a microsecond): call it once and keep the result.
    fn fingerprint() -> LayoutFingerprint {
        let mut hasher = LayoutHasher::new();
        Self::layout(&mut hasher);
        hasher.finish()
    }
}

//! `Record` for the types of the standard library.
//!
//! Numbers are archived little-endian and read back with a plain load on the machines we run on. `usize` and `isize` are left out: rkyv
//! would archive them in 32 bits. Maps are left out too: a list of pairs has a definite order.

use rkyv::option::ArchivedOption;

use super::{LayoutHasher, ListRef, Record};

macro_rules! by_value {
    ($($ty:ident)*) => {$(
        impl Record for $ty {
            type Ref<'a> = $ty;

            #[inline]
            fn view(&self) -> $ty {
                *self
            }

            #[inline]
            fn view_archived(archived: &Self::Archived) -> $ty {
                (*archived).into()
            }

            #[inline]
            fn from_view(view: $ty) -> $ty {
                view
            }

            fn layout(out: &mut LayoutHasher) {
                out.leaf(stringify!($ty));
            }
        }
    )*};
}

by_value!(bool u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64 char);

impl Record for () {
    type Ref<'a> = ();

    #[inline]
    fn view(&self) {}

    #[inline]
    fn view_archived(_: &Self::Archived) {}

    #[inline]
    fn from_view(_: ()) {}

    fn layout(out: &mut LayoutHasher) {
        out.leaf("()");
    }
}

impl Record for String {
    type Ref<'a> = &'a str;

    #[inline]
    fn view(&self) -> &str {
        self
    }

    #[inline]
    fn view_archived(archived: &Self::Archived) -> &str {
        archived.as_str()
    }

    #[inline]
    fn from_view(view: &str) -> String {
        view.to_owned()
    }

    fn layout(out: &mut LayoutHasher) {
        out.leaf("string");
    }
}

impl<T: Record> Record for Option<T> {
    type Ref<'a> = Option<T::Ref<'a>>;

    #[inline]
    fn view(&self) -> Option<T::Ref<'_>> {
        self.as_ref().map(T::view)
    }

    #[inline]
    fn view_archived(archived: &Self::Archived) -> Option<T::Ref<'_>> {
        match archived {
            ArchivedOption::None => None,
            ArchivedOption::Some(value) => Some(T::view_archived(value)),
        }
    }

    #[inline]
    fn from_view(view: Option<T::Ref<'_>>) -> Self {
        view.map(|value| T::from_view(value))
    }

    fn layout(out: &mut LayoutHasher) {
        out.group("option", T::layout);
    }
}

impl<T: Record> Record for Vec<T> {
    type Ref<'a> = ListRef<'a, T>;

    #[inline]
    fn view(&self) -> ListRef<'_, T> {
        ListRef::Owned(self)
    }

    #[inline]
    fn view_archived(archived: &Self::Archived) -> ListRef<'_, T> {
        ListRef::Archived(archived.as_slice())
    }

    #[inline]
    fn from_view(view: ListRef<'_, T>) -> Self {
        view.to_vec()
    }

    fn layout(out: &mut LayoutHasher) {
        out.group("list", T::layout);
    }
}

impl<T: Record, const N: usize> Record for [T; N] {
    type Ref<'a> = [T::Ref<'a>; N];

    #[inline]
    fn view(&self) -> [T::Ref<'_>; N] {
        self.each_ref().map(T::view)
    }

    #[inline]
    fn view_archived(archived: &Self::Archived) -> [T::Ref<'_>; N] {
        archived.each_ref().map(T::view_archived)
    }

    #[inline]
    fn from_view(view: [T::Ref<'_>; N]) -> Self {
        view.map(|value| T::from_view(value))
    }

    fn layout(out: &mut LayoutHasher) {
        out.group("array", |out| {
            out.leaf(&N.to_string());
            out.leaf(":");
            T::layout(out);
        });
    }
}

macro_rules! tuples {
    ($(($($ty:ident $index:tt),*))*) => {$(
        impl<$($ty: Record),*> Record for ($($ty,)*) {
            type Ref<'a> = ($($ty::Ref<'a>,)*);

            #[inline]
            fn view(&self) -> ($($ty::Ref<'_>,)*) {
                ($(self.$index.view(),)*)
            }

            #[inline]
            fn view_archived(archived: &Self::Archived) -> ($($ty::Ref<'_>,)*) {
                ($($ty::view_archived(&archived.$index),)*)
            }

            #[inline]
            fn from_view(view: ($($ty::Ref<'_>,)*)) -> Self {
                ($($ty::from_view(view.$index),)*)
            }

            fn layout(out: &mut LayoutHasher) {
                out.group("tuple", |out| {
                    $(out.field::<$ty>(stringify!($index));)*
                });
            }
        }
    )*};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}

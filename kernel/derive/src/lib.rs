//! The derives of Thalweg, to be used through `thalweg::record`.
//!
//! `#[derive(Record)]` writes the rkyv implementations of a type, its borrowed view and its `Record` implementation; `#[derive(Key)]` writes
//! its canonical bytes. Both see tokens only: whether a field's type is a record is left to the compiler, which answers with the note on the trait. All
//! paths in generated code start at `::thalweg`, so a crate needs no other dependency; a crate that knows it by another name says
//! `#[record(crate = other_name)]` on the type.

mod archive;
mod input;
mod key;
mod record;
mod view;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

use input::Input;

/// Makes a type a record: see `thalweg::record::Record`.
#[proc_macro_derive(Record, attributes(record))]
pub fn derive_record(tokens: TokenStream) -> TokenStream {
    let input = parse_macro_input!(tokens as DeriveInput);
    Input::parse(&input, "Record").map(|input| record::expand(&input)).unwrap_or_else(|error| error.into_compile_error()).into()
}

/// Makes a record a key: see `thalweg::record::Key`.
#[proc_macro_derive(Key, attributes(record))]
pub fn derive_key(tokens: TokenStream) -> TokenStream {
    let input = parse_macro_input!(tokens as DeriveInput);
    Input::parse(&input, "Key").map(|input| key::expand(&input)).unwrap_or_else(|error| error.into_compile_error()).into()
}

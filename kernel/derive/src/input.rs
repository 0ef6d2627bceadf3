//! The input of the derives, in the one form that all generators share.
//!
//! A struct is treated as an enum of one nameless variant: every generator walks variants and their fields and needs no case for
//! structs, tuple structs, unit structs and the three kinds of variants, since `Path { 0: value }` builds and matches any of them.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Attribute, Data, DeriveInput, Error, Fields, GenericArgument, Member, Path, PathArguments, Type, Visibility, parse_quote};

/// The archived tag is one byte, so it tells 256 variants apart.
const VARIANTS_MAX: usize = 256;

/// A type to derive for.
pub struct Input<'a> {
    pub vis: &'a Visibility,
    pub name: &'a Ident,
    pub is_enum: bool,
    /// The module `record` of the crate that the generated code names: `::thalweg::record`, or the crate of `#[record(crate = ...)]`.
    pub home: Path,
    pub variants: Vec<Variant<'a>>,
}

/// A variant of an enum, or a struct itself.
pub struct Variant<'a> {
    /// `None` for a struct.
    pub name: Option<&'a Ident>,
    pub docs: Vec<&'a Attribute>,
    pub kind: &'a Fields,
    pub fields: Vec<Field<'a>>,
}

/// A field of a variant.
pub struct Field<'a> {
    pub vis: &'a Visibility,
    pub member: Member,
    pub ty: &'a Type,
    pub docs: Vec<&'a Attribute>,
    /// The name that generated patterns bind it to; a field's own name could be that of a constant.
    pub binding: Ident,
    /// The alias of its archived type, numbered through the whole type.
    pub archived: Ident,
    /// The alias of its resolver's type.
    pub resolver: Ident,
}

impl<'a> Input<'a> {
    /// Reads the input; the error says why `derive` does not work for it.
    pub fn parse(input: &'a DeriveInput, derive: &str) -> Result<Self, Error> {
        if !input.generics.params.is_empty() {
            let message = format!(
                "`{derive}` cannot be derived for a generic type: a record's archived layout is fixed, so give `{}` concrete field types \
                 (one type per layout, or an enum over them)",
                input.ident
            );
            return Err(Error::new_spanned(&input.generics, message));
        }
        let mut number = 0;
        let variants: Vec<_> = match &input.data {
            Data::Struct(data) => {
                vec![Variant { name: None, docs: Vec::new(), kind: &data.fields, fields: fields(&data.fields, &mut number) }]
            }
            Data::Enum(data) => data
                .variants
                .iter()
                .map(|variant| Variant {
                    name: Some(&variant.ident),
                    docs: docs(&variant.attrs),
                    kind: &variant.fields,
                    fields: fields(&variant.fields, &mut number),
                })
                .collect(),
            Data::Union(data) => {
                let message = format!("`{derive}` cannot be derived for a union: which of its fields is valid is not known; use an enum");
                return Err(Error::new_spanned(data.union_token, message));
            }
        };
        if variants.is_empty() {
            return Err(Error::new_spanned(
                &input.ident,
                format!("`{derive}` cannot be derived for an enum without variants: it has no values"),
            ));
        }
        if variants.len() > VARIANTS_MAX {
            return Err(Error::new_spanned(
                &input.ident,
                format!("`{derive}` cannot be derived for an enum of more than {VARIANTS_MAX} variants"),
            ));
        }
        for field in variants.iter().flat_map(|variant| &variant.fields) {
            if mentions(field.ty, &input.ident) {
                let message = format!("a record cannot contain itself: `{}` would have no finite layout description", input.ident);
                return Err(Error::new_spanned(field.ty, message));
            }
            if let Some(message) = unsupported(field.ty) {
                return Err(Error::new_spanned(field.ty, message));
            }
        }
        let (is_enum, home) = (matches!(input.data, Data::Enum(_)), home(&input.attrs)?);
        Ok(Self { vis: &input.vis, name: &input.ident, is_enum, home, variants })
    }

    /// Whether no variant has a field: then the type is its own view.
    pub fn is_plain(&self) -> bool {
        self.variants.iter().all(|variant| variant.fields.is_empty())
    }

    /// The name of the view's type: `FooRef`, or `Foo` itself when it is its own view.
    pub fn view_name(&self) -> Ident {
        if self.is_plain() { self.name.clone() } else { format_ident!("{}Ref", self.name.unraw(), span = self.name.span()) }
    }

    /// The type of the view for lifetime `'a` or `'_`.
    pub fn view_type(&self, lifetime: TokenStream) -> TokenStream {
        let name = self.view_name();
        if self.is_plain() { quote!(#name) } else { quote!(#name<#lifetime>) }
    }
}

impl Variant<'_> {
    /// `Type` or `Type::Variant`.
    pub fn path(&self, of: &Ident) -> TokenStream {
        match self.name {
            Some(name) => quote!(#of::#name),
            None => quote!(#of),
        }
    }

    /// A pattern that binds each field to its binding with this prefix: `Type::Variant { a: left_0, .. }`.
    pub fn pattern(&self, of: &Ident, prefix: &str) -> TokenStream {
        let path = self.path(of);
        let members = self.fields.iter().map(|field| &field.member);
        let bindings = self.fields.iter().map(|field| field.bound(prefix));
        quote!(#path { #(#members: #bindings),* })
    }

    /// An expression that gives each field the value of `value`.
    pub fn build(&self, of: &Ident, value: impl Fn(&Field) -> TokenStream) -> TokenStream {
        let path = self.path(of);
        let members = self.fields.iter().map(|field| &field.member);
        let values = self.fields.iter().map(value);
        quote!(#path { #(#members: #values),* })
    }

    /// A declaration of the same shape: the fields in braces or parentheses, without a trailing semicolon.
    pub fn declare(&self, field: impl Fn(&Field) -> (TokenStream, TokenStream)) -> TokenStream {
        let declared = self.fields.iter().map(|it| {
            let (before, ty) = field(it);
            match &it.member {
                Member::Named(name) => quote!(#before #name: #ty),
                Member::Unnamed(_) => quote!(#before #ty),
            }
        });
        match self.kind {
            Fields::Named(_) => quote!({ #(#declared),* }),
            Fields::Unnamed(_) => quote!((#(#declared),*)),
            Fields::Unit => quote!(),
        }
    }
}

impl Field<'_> {
    /// The binding with a prefix, for patterns over two values.
    pub fn bound(&self, prefix: &str) -> Ident {
        format_ident!("__{}_{}", prefix, self.binding)
    }

    /// Its name in layout descriptions.
    pub fn layout_name(&self) -> String {
        match &self.member {
            Member::Named(name) => name.unraw().to_string(),
            Member::Unnamed(index) => index.index.to_string(),
        }
    }
}

fn fields<'a>(fields: &'a Fields, number: &mut usize) -> Vec<Field<'a>> {
    fields
        .iter()
        .zip(fields.members())
        .enumerate()
        .map(|(place, (field, member))| {
            *number += 1;
            Field {
                vis: &field.vis,
                member,
                ty: &field.ty,
                docs: docs(&field.attrs),
                binding: format_ident!("f{place}"),
                archived: format_ident!("__Archived{number}"),
                resolver: format_ident!("__Resolver{number}"),
            }
        })
        .collect()
}

/// The path under which the generated code finds `Record` and the items around it.
fn home(attributes: &[Attribute]) -> Result<Path, Error> {
    let mut home = parse_quote!(::thalweg::record);
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("record")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("`record` knows one argument: `crate = path::of::thalweg`"));
            }
            let named = meta.value()?.call(Path::parse_mod_style)?;
            home = parse_quote!(#named::record);
            Ok(())
        })?;
    }
    Ok(home)
}

fn docs(attributes: &[Attribute]) -> Vec<&Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).collect()
}

/// The commonest wrong types get one clear message here; the compiler repeats its own for each place that uses the field.
fn unsupported(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Reference(_) | Type::Ptr(_) => Some("a record owns what it holds: use `String` for `&str` and `Vec<T>` for `&[T]`"),
        Type::Path(path) if path.path.is_ident("usize") => Some("the width of `usize` depends on the machine: use `u64` or `u32`"),
        Type::Path(path) if path.path.is_ident("isize") => Some("the width of `isize` depends on the machine: use `i64` or `i32`"),
        _ => None,
    }
}

/// Whether `ty` names the type itself, directly or as an argument; a name that hides behind other types is left to the compiler.
fn mentions(ty: &Type, name: &Ident) -> bool {
    match ty {
        Type::Path(path) => {
            let itself = path.qself.is_none() && (path.path.is_ident(name) || path.path.is_ident("Self"));
            itself
                || path.path.segments.iter().any(|segment| match &segment.arguments {
                    PathArguments::AngleBracketed(arguments) => {
                        arguments.args.iter().any(|argument| matches!(argument, GenericArgument::Type(ty) if mentions(ty, name)))
                    }
                    _ => false,
                })
        }
        Type::Tuple(tuple) => tuple.elems.iter().any(|ty| mentions(ty, name)),
        Type::Array(array) => mentions(&array.elem, name),
        Type::Paren(paren) => mentions(&paren.elem, name),
        Type::Group(group) => mentions(&group.elem, name),
        _ => false,
    }
}

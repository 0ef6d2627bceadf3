//! The view type `FooRef<'a>`: the same shape as `Foo`, each field replaced by its view.
//!
//! Types of the standard library are written out (`&'a str`, not `<String as Record>::Ref<'a>`): that reads better in documentation and keeps
//! the view covariant. The lifetime must be used by some field: if all are plain numbers the first is written as a projection, which is the same type and
//! needs no hidden marker, so that views can be built and matched field by field.
//!
//! A type without any field gets no view type: it is its own view.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{GenericArgument, Path, PathArguments, Type};

use crate::input::Input;

/// Types viewed by value.
const BY_VALUE: [&str; 14] = ["bool", "char", "u8", "u16", "u32", "u64", "u128", "i8", "i16", "i32", "i64", "i128", "f32", "f64"];

/// The definition of the view type; nothing for a type that is its own view.
pub fn expand(input: &Input) -> TokenStream {
    if input.is_plain() {
        return quote!();
    }
    let Input { vis, name, home, .. } = input;
    let view = input.view_name();
    let doc = format!("Borrowed view of [`{name}`].");
    let mut lifetime_used = input.variants.iter().flat_map(|variant| &variant.fields).any(|field| view_of(field.ty, home).1);
    let mut bodies = Vec::new();
    for variant in &input.variants {
        // `declare` takes a `Fn`, so the field's number tells which field comes first.
        let use_lifetime_here = !lifetime_used && !variant.fields.is_empty();
        lifetime_used |= use_lifetime_here;
        bodies.push(variant.declare(|field| {
            let docs = &field.docs;
            let vis = field.vis;
            let ty = if use_lifetime_here && field.binding == "f0" { projection(field.ty, home) } else { view_of(field.ty, home).0 };
            (quote!(#(#docs)* #vis), ty)
        }));
    }
    let definition = if input.is_enum {
        let docs = input.variants.iter().map(|variant| &variant.docs);
        let names = input.variants.iter().map(|variant| variant.name);
        quote!(#vis enum #view<'a> { #(#(#docs)* #names #bodies),* })
    } else {
        let semicolon = matches!(input.variants[0].kind, syn::Fields::Unnamed(_)).then(|| quote!(;));
        quote!(#vis struct #view<'a> #(#bodies)* #semicolon)
    };
    quote! {
        #[doc = #doc]
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug, ::core::cmp::PartialEq)]
        #[allow(dead_code, non_snake_case, non_camel_case_types)]
        #definition
    }
}

fn projection(ty: &Type, home: &Path) -> TokenStream {
    quote!(<#ty as #home::Record>::Ref<'a>)
}

/// The view of a type, and whether it uses the lifetime `'a`.
fn view_of(ty: &Type, home: &Path) -> (TokenStream, bool) {
    let known = match ty {
        Type::Paren(paren) => Some(view_of(&paren.elem, home)),
        Type::Group(group) => Some(view_of(&group.elem, home)),
        Type::Tuple(tuple) => {
            let (views, used): (Vec<_>, Vec<_>) = tuple.elems.iter().map(|ty| view_of(ty, home)).unzip();
            Some((if views.is_empty() { quote!(()) } else { quote!((#(#views,)*)) }, used.contains(&true)))
        }
        Type::Array(array) => {
            let (view, used) = view_of(&array.elem, home);
            let len = &array.len;
            Some((quote!([#view; #len]), used))
        }
        Type::Path(path) if path.qself.is_none() => match (path.path.get_ident(), argument_of(ty)) {
            (Some(name), _) if BY_VALUE.iter().any(|known| name == known) => Some((quote!(#ty), false)),
            (Some(name), _) if name == "String" => Some((quote!(&'a ::core::primitive::str), true)),
            (_, Some(("Option", inner))) => {
                let (view, used) = view_of(inner, home);
                Some((quote!(::core::option::Option<#view>), used))
            }
            (_, Some(("Vec", inner))) => Some((quote!(#home::ListRef<'a, #inner>), true)),
            _ => None,
        },
        _ => None,
    };
    known.unwrap_or_else(|| (projection(ty, home), true))
}

/// The container's name and its only argument.
fn argument_of(ty: &Type) -> Option<(&'static str, &Type)> {
    let Type::Path(path) = ty else { return None };
    let segment = path.path.segments.first().filter(|_| path.path.segments.len() == 1)?;
    let name = ["Option", "Vec"].into_iter().find(|name| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) if arguments.args.len() == 1 => Some((name, inner)),
        _ => None,
    }
}

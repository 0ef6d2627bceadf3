//! The archived type and the rkyv implementations.
//!
//! The code that `rkyv_derive` writes for `Archive`, `Serialize` and `Deserialize`, without its attributes and generics: a derive cannot add other derives
//! to the type it stands on. The archived type itself gets rkyv's and bytecheck's own derives, so that this crate need not prove the validity of bytes. A
//! struct is archived as `repr(C)`, an enum as `repr(u8)`.
//!
//! All names live in the `const _` block around this; types of the user's fields enter it only through aliases, because bytecheck's derive
//! declares a `Tag` and a `Discriminant` of its own, which would capture a field of a user type of that name.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;

use crate::input::{Input, Variant};

/// The name of the archived type.
pub fn archived_name(input: &Input) -> Ident {
    format_ident!("Archived{}", input.name.unraw())
}

/// Aliases, the archived type, the resolver, and the three rkyv implementations.
pub fn expand(input: &Input) -> TokenStream {
    let (name, home) = (input.name, &input.home);
    let archived = archived_name(input);
    let aliases = input.variants.iter().flat_map(|variant| &variant.fields).map(|field| {
        let (ty, archived, resolver) = (field.ty, &field.archived, &field.resolver);
        quote! {
            type #archived = <#ty as __rkyv::Archive>::Archived;
            type #resolver = <#ty as __rkyv::Archive>::Resolver;
        }
    });
    let archived_type = archived_type(input, &archived);
    let resolver_type = resolver_type(input);
    let resolve = if input.is_enum { resolve_enum(input) } else { resolve_fields(&input.variants[0], quote!(out)) };
    let resolve_arms = input.variants.iter().zip(resolve).map(|(variant, resolve)| {
        let resolver = variant.pattern(&format_ident!("__Resolver"), "resolver");
        let value = variant.pattern(name, "value");
        quote! { (#resolver, #value) => { #resolve } }
    });
    // Only an enum's resolver can belong to another variant than the value, and only if a caller mixes two values up.
    let mismatch = (input.variants.len() > 1).then(|| {
        quote! { _ => ::core::panic!("a resolver of another value was given to `resolve`"), }
    });
    let serialize_arms = input.variants.iter().map(|variant| {
        let value = variant.pattern(name, "value");
        let resolver = variant.build(&format_ident!("__Resolver"), |field| {
            let (ty, value) = (field.ty, field.bound("value"));
            quote!(<#ty as __rkyv::Serialize<__S>>::serialize(#value, serializer)?)
        });
        quote!(#value => #resolver)
    });
    let serialize_bounds = input.variants.iter().flat_map(|variant| &variant.fields).map(|field| {
        let ty = field.ty;
        quote!(#ty: __rkyv::Serialize<__S>)
    });
    quote! {
        use #home::__private::rkyv as __rkyv;

        #(#aliases)*
        #archived_type
        #resolver_type

        impl __rkyv::Archive for #name {
            type Archived = #archived;
            type Resolver = __Resolver;

            #[inline]
            fn resolve(&self, resolver: __Resolver, out: __rkyv::Place<#archived>) {
                match (resolver, self) {
                    #(#resolve_arms)*
                    #mismatch
                }
            }
        }

        impl<__S: __rkyv::rancor::Fallible + ?::core::marker::Sized> __rkyv::Serialize<__S> for #name
        where
            #(#serialize_bounds,)*
        {
            #[inline]
            fn serialize(&self, serializer: &mut __S) -> ::core::result::Result<__Resolver, <__S as __rkyv::rancor::Fallible>::Error> {
                ::core::result::Result::Ok(match self {
                    #(#serialize_arms,)*
                })
            }
        }

        impl<__D: __rkyv::rancor::Fallible + ?::core::marker::Sized> __rkyv::Deserialize<#name, __D> for #archived {
            #[inline]
            fn deserialize(&self, _: &mut __D) -> ::core::result::Result<#name, <__D as __rkyv::rancor::Fallible>::Error> {
                ::core::result::Result::Ok(<#name as #home::Record>::from_view(
                    <#name as #home::Record>::view_archived(self),
                ))
            }
        }
    }
}

fn archived_type(input: &Input, archived: &Ident) -> TokenStream {
    let home = &input.home;
    let bodies = input.variants.iter().map(|variant| {
        variant.declare(|field| {
            let archived = &field.archived;
            (quote!(), quote!(#archived))
        })
    });
    let (repr, definition) = if input.is_enum {
        let names = input.variants.iter().map(|variant| variant.name);
        (quote!(u8), quote!(pub enum #archived { #(#names #bodies),* }))
    } else {
        let semicolon = (!matches!(input.variants[0].kind, syn::Fields::Named(_))).then(|| quote!(;));
        (quote!(C), quote!(pub struct #archived #(#bodies)* #semicolon))
    };
    quote! {
        #[derive(#home::__private::rkyv::Portable, #home::__private::rkyv::bytecheck::CheckBytes)]
        #[rkyv(crate = #home::__private::rkyv)]
        #[bytecheck(crate = #home::__private::rkyv::bytecheck)]
        #[repr(#repr)]
        #definition
    }
}

fn resolver_type(input: &Input) -> TokenStream {
    let bodies = input.variants.iter().map(|variant| {
        variant.declare(|field| {
            let resolver = &field.resolver;
            (quote!(), quote!(#resolver))
        })
    });
    if input.is_enum {
        let names = input.variants.iter().map(|variant| variant.name);
        quote!(pub enum __Resolver { #(#names #bodies),* })
    } else {
        let semicolon = (!matches!(input.variants[0].kind, syn::Fields::Named(_))).then(|| quote!(;));
        quote!(pub struct __Resolver #(#bodies)* #semicolon)
    }
}

/// Statements that resolve each field in place, for the only variant of a struct.
fn resolve_fields(variant: &Variant, out: TokenStream) -> Vec<TokenStream> {
    let fields = variant.fields.iter().map(|field| {
        let member = &field.member;
        resolve_field(field, quote!(#member), &out)
    });
    vec![quote!(#(#fields)*)]
}

fn resolve_field(field: &crate::input::Field, member: TokenStream, out: &TokenStream) -> TokenStream {
    let (ty, value, resolver) = (field.ty, field.bound("value"), field.bound("resolver"));
    // SAFETY (of the generated code): `out` is a `Place`, which promises a pointer that is valid for writes and properly aligned; the
    // field's pointer is derived from it by `addr_of_mut!` without reading or making a reference, so it points to that field of it.
    quote! {
        let __field = unsafe {
            __rkyv::Place::from_field_unchecked(#out, ::core::ptr::addr_of_mut!((*#out.ptr()).#member))
        };
        <#ty as __rkyv::Archive>::resolve(#value, #resolver, __field);
    }
}

/// For each variant: its layout as a `repr(C)` struct, the tag written, the fields resolved.
fn resolve_enum(input: &Input) -> Vec<TokenStream> {
    input
        .variants
        .iter()
        .enumerate()
        .map(|(tag, variant)| {
            let tag = u8::try_from(tag).expect("invariant: Input::parse refuses more than 256 variants");
            let names: Vec<_> = variant.fields.iter().map(|field| format_ident!("__{}", field.binding)).collect();
            let types = variant.fields.iter().map(|field| &field.archived);
            let fields = variant.fields.iter().zip(&names).map(|(field, name)| resolve_field(field, quote!(#name), &quote!(__out)));
            // SAFETY (of the generated code): a `repr(u8)` enum is laid out as a union of `repr(C)` structs, one per variant, that
            // begin with the tag (Rust reference, "Primitive representation of field-carrying enums"); `__Layout` is that
            // struct, the place is as large and as aligned as the whole enum, and the tag is the variant's place since archived
            // variants have no explicit discriminants.
            quote! {
                #[repr(C)]
                struct __Layout { __tag: ::core::primitive::u8, #(#names: #types),* }
                let __out = unsafe { out.cast_unchecked::<__Layout>() };
                unsafe { ::core::ptr::addr_of_mut!((*__out.ptr()).__tag).write(#tag) };
                #(#fields)*
            }
        })
        .collect()
}

//! The implementation of `Key`: a struct is its fields one after the other, an enum its variant's place as one byte and then its fields.

use proc_macro2::TokenStream;
use quote::quote;

use crate::input::Input;

/// All that `#[derive(Key)]` writes.
pub fn expand(input: &Input) -> TokenStream {
    let (name, home) = (input.name, &input.home);
    let view = input.view_name();
    let view_elided = input.view_type(quote!('_));

    let write_arms = input.variants.iter().enumerate().map(|(place, variant)| {
        let pattern = variant.pattern(&view, "view");
        let tag = input.is_enum.then(|| {
            let tag = u8::try_from(place).expect("invariant: Input::parse refuses more than 256 variants");
            quote!(<__S as #home::KeySink>::put(sink, &[#tag]);)
        });
        let fields = variant.fields.iter().map(|field| {
            let (ty, value) = (field.ty, field.bound("view"));
            quote!(<#ty as #home::Key>::write(#value, sink);)
        });
        quote!(#pattern => { #tag #(#fields)* })
    });
    let built = input.variants.iter().map(|variant| {
        variant.build(name, |field| {
            let ty = field.ty;
            quote!(<#ty as #home::Key>::read(source)?)
        })
    });
    let read = if input.is_enum {
        let tags =
            (0..input.variants.len()).map(|place| u8::try_from(place).expect("invariant: Input::parse refuses more than 256 variants"));
        quote! {
            match #home::KeySource::take_array::<1>(source)? {
                #([#tags] => ::core::result::Result::Ok(#built),)*
                #[allow(unreachable_patterns)]
                _ => ::core::result::Result::Err(#home::KeySource::error(source, "no such variant")),
            }
        }
    } else {
        quote!(#(::core::result::Result::Ok(#built))*)
    };
    let matches_arms = input.variants.iter().map(|variant| {
        let owned = variant.pattern(name, "value");
        let viewed = variant.pattern(&view, "view");
        let fields = variant.fields.iter().map(|field| {
            let (ty, value, view) = (field.ty, field.bound("value"), field.bound("view"));
            quote!(&& <#ty as #home::Key>::matches(#value, #view))
        });
        quote!((#owned, #viewed) => true #(#fields)*)
    });
    let mismatch = (input.variants.len() > 1).then(|| quote!(_ => false,));

    // The bytes of a single field are the bytes of the struct, and that field may know a faster way to hash them.
    let hash = match input.variants.as_slice() {
        [variant] if !input.is_enum && variant.fields.len() == 1 => {
            let pattern = variant.pattern(&view, "view");
            let (ty, value) = (variant.fields[0].ty, variant.fields[0].bound("view"));
            quote! {
                #[inline]
                fn hash(view: #view_elided) -> ::core::primitive::u64 {
                    let #pattern = view;
                    <#ty as #home::Key>::hash(#value)
                }
            }
        }
        _ => quote!(),
    };

    quote! {
        #[automatically_derived]
        impl #home::Key for #name {
            #[inline]
            fn write<__S: #home::KeySink>(view: #view_elided, sink: &mut __S) {
                match view {
                    #(#write_arms)*
                }
            }

            fn read(source: &mut #home::KeySource<'_>) -> ::core::result::Result<Self, #home::KeyError> {
                #read
            }

            #[inline]
            fn matches(&self, view: #view_elided) -> bool {
                match (self, view) {
                    #(#matches_arms,)*
                    #mismatch
                }
            }

            #hash
        }
    }
}

//! The implementation of `Record`: views of both forms, the way back to an owned value, and the layout's description.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;

use crate::input::Input;
use crate::{archive, view};

/// All that `#[derive(Record)]` writes.
///
/// The code allows as few lints as it can: an `allow` of a lint that a user's crate forbids (`unsafe_code`, say) would be an error there, and most lints
/// skip code from foreign macros anyway.
pub fn expand(input: &Input) -> TokenStream {
    let view_definition = view::expand(input);
    let archive = archive::expand(input);
    let record = implementation(input);
    quote! {
        #view_definition

        #[doc(hidden)]
        #[allow(dead_code, non_snake_case, non_camel_case_types)]
        const _: () = {
            #archive
            #record
        };
    }
}

fn implementation(input: &Input) -> TokenStream {
    let (name, home) = (input.name, &input.home);
    let archived = archive::archived_name(input);
    let view = input.view_name();
    let view_a = input.view_type(quote!('a));
    let view_elided = input.view_type(quote!('_));

    let view_arms = input.variants.iter().map(|variant| {
        let pattern = variant.pattern(name, "value");
        let built = variant.build(&view, |field| {
            let (ty, value) = (field.ty, field.bound("value"));
            quote!(<#ty as #home::Record>::view(#value))
        });
        quote!(#pattern => #built)
    });
    let view_archived_arms = input.variants.iter().map(|variant| {
        let pattern = variant.pattern(&archived, "value");
        let built = variant.build(&view, |field| {
            let (ty, value) = (field.ty, field.bound("value"));
            quote!(<#ty as #home::Record>::view_archived(#value))
        });
        quote!(#pattern => #built)
    });
    let from_view_arms = input.variants.iter().map(|variant| {
        let pattern = variant.pattern(&view, "view");
        let built = variant.build(name, |field| {
            let (ty, value) = (field.ty, field.bound("view"));
            quote!(<#ty as #home::Record>::from_view(#value))
        });
        quote!(#pattern => #built)
    });
    let layouts = input.variants.iter().map(|variant| {
        let names = variant.fields.iter().map(|field| field.layout_name());
        let types = variant.fields.iter().map(|field| field.ty);
        let fields = quote!(|out| { #(out.field::<#types>(#names);)* });
        match variant.name {
            Some(name) => {
                let name = name.unraw().to_string();
                quote!(out.variant(#name, #fields);)
            }
            None => quote!(out.group("struct", #fields);),
        }
    });
    let layout = if input.is_enum { quote!(out.group("enum", |out| { #(#layouts)* });) } else { quote!(#(#layouts)*) };

    quote! {
        impl #home::Record for #name {
            type Ref<'a> = #view_a;

            #[inline]
            fn view(&self) -> #view_elided {
                match self {
                    #(#view_arms,)*
                }
            }

            #[inline]
            fn view_archived(archived: &#archived) -> #view_elided {
                match archived {
                    #(#view_archived_arms,)*
                }
            }

            #[inline]
            fn from_view(view: #view_elided) -> Self {
                match view {
                    #(#from_view_arms,)*
                }
            }

            fn layout(out: &mut #home::LayoutHasher) {
                #layout
            }
        }
    }
}

//! `#[derive(Document)]` for `statehouse-search`, which documents its attributes.

mod attributes;
mod expand;

use proc_macro::TokenStream;
use quote::quote;
use syn::{DeriveInput, parse_macro_input};

/// Implements `statehouse_search::Document`: the schema, the conversions, and a handle per field.
#[proc_macro_derive(Document, attributes(document))]
pub fn document(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::document(&input, &quote!(::statehouse_search)).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// The same for applications that depend on the facade alone, which re-exports it as `Document`.
#[proc_macro_derive(FacadeDocument, attributes(document))]
pub fn facade_document(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::document(&input, &quote!(::statehouse::search)).unwrap_or_else(syn::Error::into_compile_error).into()
}

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt as _;
use syn::{Data, DeriveInput, Error, Fields, Ident, Path, Result, Type, Visibility};

use crate::attributes::{self, FieldAttributes, Role};

/// One field of the struct.
struct Member<'a> {
    ident: &'a Ident,
    name: String,
    visibility: &'a Visibility,
    ty: &'a Type,
    attributes: FieldAttributes,
}

/// `krate` is the path of `statehouse_search` in the code that is being compiled.
pub(crate) fn document(input: &DeriveInput, krate: &TokenStream) -> Result<TokenStream> {
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(&input.generics, "a document has no type parameters"));
    }
    let members = members(input)?;
    let id = only(&members, Role::Id, input)?
        .ok_or_else(|| Error::new_spanned(&input.ident, "a document needs one field with #[document(id)]"))?;
    let version = only(&members, Role::Version, input)?;
    let analyzers = attributes::analyzers(&input.attrs)?;

    let schema = schema(&members, krate, analyzers.as_ref());
    let to_record = to_record(&members, krate, id, version);
    let from_record = members.iter().map(|member| from_record(member, krate));
    let handles = members.iter().filter_map(|member| handle(member, krate));
    let name = &input.ident;
    let unversioned = version.is_none().then(|| quote!(impl #krate::Unversioned for #name {}));
    Ok(quote! {
        #unversioned

        impl #name {
            #(#handles)*
        }

        impl #krate::Document for #name {
            fn schema() -> #krate::__private::Result<#krate::Schema> {
                #schema
            }

            fn to_record(&self) -> #krate::__private::Result<#krate::Record> {
                #to_record
            }

            fn from_record(
                record: &#krate::Record,
            ) -> #krate::__private::Result<Self> {
                ::core::result::Result::Ok(Self { #(#from_record)* })
            }
        }
    })
}

fn members(input: &DeriveInput) -> Result<Vec<Member<'_>>> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "only a struct can be a document"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(&input.ident, "a document's fields have names"));
    };
    let member = |field| {
        let attributes = FieldAttributes::parse(field)?;
        let ident = field.ident.as_ref().expect("named fields have names");
        Ok(Member { ident, name: ident.unraw().to_string(), visibility: &field.vis, ty: &field.ty, attributes })
    };
    fields.named.iter().map(member).collect()
}

/// The only member of this role.
fn only<'a>(members: &'a [Member<'a>], role: Role, input: &DeriveInput) -> Result<Option<&'a Member<'a>>> {
    let mut found = members.iter().filter(|member| member.attributes.role == role);
    let first = found.next();
    match found.next() {
        Some(_) => Err(Error::new_spanned(&input.ident, "a document has at most one id and one version")),
        None => Ok(first),
    }
}

fn is_indexed(member: &&Member<'_>) -> bool {
    !matches!(member.attributes.role, Role::Id | Role::Version | Role::Skip)
}

fn schema(members: &[Member<'_>], krate: &TokenStream, analyzers: Option<&Path>) -> TokenStream {
    let fields = members.iter().filter(is_indexed).map(|member| {
        let (name, ty) = (&member.name, member.ty);
        let field = match member.attributes.role {
            Role::Text => quote!(#krate::Field::text(#name)),
            Role::Keyword => quote!(#krate::Field::keyword(#name)),
            _ => quote! {
                <<#ty as #krate::FieldValues>::One as #krate::FieldValue>::field(#name)
            },
        };
        let analyzer = member.attributes.analyzer.iter().map(|name| quote!(.analyzed_by(#name)));
        let sortable = member.attributes.sortable.then(|| quote!(.sortable()));
        let field = quote!(#field #(#analyzer)* #sortable);
        let refined = member.attributes.refine.as_ref().map_or(field.clone(), |refine| quote!(#refine(#field)));
        quote!(let schema = schema.field(#refined);)
    });
    let analyzers = analyzers.map(|path| quote!(let schema = #path(schema);));
    quote! {
        let schema = #krate::Schema::builder();
        #analyzers
        #(#fields)*
        schema.build()
    }
}

fn to_record(
    members: &[Member<'_>],
    krate: &TokenStream,
    id: &Member<'_>,
    version: Option<&Member<'_>>,
) -> TokenStream {
    let id = id.ident;
    let version = version.map(|version| {
        let version = version.ident;
        quote!(let record = record.with_version(self.#version);)
    });
    let values = members.iter().filter(is_indexed).map(|member| {
        let (ident, name) = (member.ident, &member.name);
        quote! {
            for value in #krate::FieldValues::to_values(&self.#ident) {
                record = record.with(#name, value);
            }
        }
    });
    quote! {
        let record = #krate::Record::new(&self.#id)?;
        #version
        let mut record = record;
        #(#values)*
        ::core::result::Result::Ok(record)
    }
}

fn from_record(member: &Member<'_>, krate: &TokenStream) -> TokenStream {
    let (ident, name) = (member.ident, &member.name);
    let value = match member.attributes.role {
        Role::Id => quote!(::std::string::String::from(record.id().as_str())),
        Role::Version => quote!(record.version().unwrap_or_default()),
        Role::Skip => quote!(::core::default::Default::default()),
        _ => quote!(#krate::FieldValues::from_values(#name, record.values(#name))?),
    };
    quote!(#ident: #value,)
}

/// The function that gives the field's handle, named as the field and as visible as it.
fn handle(member: &Member<'_>, krate: &TokenStream) -> Option<TokenStream> {
    let (ident, name, visibility, ty) = (member.ident, &member.name, member.visibility, member.ty);
    let handle = match member.attributes.role {
        Role::Id | Role::Version | Role::Skip => return None,
        Role::Text => quote!(#krate::TextField),
        Role::Keyword => quote!(#krate::KeywordField),
        Role::Value => {
            quote!(#krate::ValueField<<#ty as #krate::FieldValues>::One>)
        }
    };
    let doc = format!("The field `{name}` of the index.");
    Some(quote! {
        #[doc = #doc]
        #[must_use]
        #[allow(dead_code, reason = "not every field is asked for")]
        #visibility fn #ident() -> #handle {
            <#handle>::new(#name)
        }
    })
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn expanded(input: &DeriveInput) -> std::result::Result<String, String> {
        let code = document(input, &quote!(::statehouse_search));
        code.map(|code| code.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_field_may_have_the_name_of_a_keyword() {
        let code = expanded(&parse_quote! {
            struct Finding {
                #[document(id)]
                r#ref: String,
                #[document(keyword)]
                r#type: String,
                r#match: Option<u64>,
            }
        });
        let code = code.unwrap();
        for part in ["fn r#type ()", "fn r#match ()", "self . r#ref", "new (\"type\")"] {
            assert!(code.contains(part), "{part}: {code}");
        }
    }

    #[test]
    fn a_text_or_keyword_is_no_number() {
        let field = |role: &str, ty: &str| {
            let code = format!("struct X {{ #[document(id)] id: String, #[document({role})] field: {ty} }}");
            expanded(&syn::parse_str(&code).unwrap())
        };
        for ty in ["u64", "Option<i32>", "Vec<f64>", "bool", "std::time::SystemTime", "Option<Millis>"] {
            for role in ["text", "keyword", "keyword, sort"] {
                let error = field(role, ty).unwrap_err();
                assert!(error.contains("is no text"), "{role} {ty}: {error}");
            }
        }
        for ty in ["String", "Option<String>", "Vec<std::string::String>", "Status", "Vec<crate::Status>"] {
            field("keyword", ty).unwrap();
        }
        field("sort", "Option<u64>").unwrap();
    }
}

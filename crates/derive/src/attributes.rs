use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned as _;
use syn::{Attribute, Error, Field, GenericArgument, Ident, LitStr, Path, PathArguments, Result, Type};

/// What a field of the struct is in the index.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Id,
    Version,
    Text,
    Keyword,
    /// Numbers, truth values and times: what the type says.
    Value,
    Skip,
}

/// The attributes of one field.
pub(crate) struct FieldAttributes {
    pub(crate) role: Role,
    pub(crate) analyzer: Option<LitStr>,
    pub(crate) sortable: bool,
    pub(crate) refine: Option<Path>,
}

/// The function that names the struct's analyzers.
pub(crate) fn analyzers(attributes: &[Attribute]) -> Result<Option<Path>> {
    let mut path = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("document")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("analyzers") {
                return Err(meta.error("expected `analyzers = path`"));
            }
            path = Some(meta.value()?.parse()?);
            Ok(())
        })?;
    }
    Ok(path)
}

impl FieldAttributes {
    pub(crate) fn parse(field: &Field) -> Result<Self> {
        let mut found = Self { role: Role::Value, analyzer: None, sortable: false, refine: None };
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("document")) {
            attribute.parse_nested_meta(|meta| found.read(&meta))?;
        }
        found.check(field)
    }

    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let role = match meta.path.get_ident().map(Ident::to_string).as_deref() {
            Some("id") => Role::Id,
            Some("version") => Role::Version,
            Some("text") => Role::Text,
            Some("keyword") => Role::Keyword,
            Some("skip") => Role::Skip,
            Some("sort") => {
                self.sortable = true;
                return Ok(());
            }
            Some("analyzer") => {
                self.analyzer = Some(meta.value()?.parse()?);
                return Ok(());
            }
            Some("with") => {
                self.refine = Some(meta.value()?.parse()?);
                return Ok(());
            }
            _ => {
                let accepted = "expected id, version, text, keyword, skip, sort, analyzer = \"…\" or with = path";
                return Err(meta.error(accepted));
            }
        };
        if self.role != Role::Value {
            return Err(meta.error("a field is one of id, version, text, keyword and skip"));
        }
        self.role = role;
        Ok(())
    }

    fn check(self, field: &Field) -> Result<Self> {
        let refuse = |message| Err(Error::new(field.span(), message));
        if self.analyzer.is_some() && self.role != Role::Text {
            return refuse("only a text field has an analyzer");
        }
        if self.sortable && self.role == Role::Text {
            return refuse("a text field cannot be sorted by; add a keyword sub-field by `with`");
        }
        if matches!(self.role, Role::Text | Role::Keyword) && is_no_text(&field.ty) {
            return refuse("its type is no text: numbers, truth values and times need no attribute");
        }
        let outside = matches!(self.role, Role::Id | Role::Version | Role::Skip);
        if outside && (self.sortable || self.refine.is_some()) {
            return refuse("id, version and skip take no further attribute");
        }
        Ok(self)
    }
}

/// Whether this is one of the types that are stored as something else than text, or an `Option` or a `Vec` of one. Of a type of the
/// application's own only its [`FieldValue`] knows.
///
/// [`FieldValue`]: https://docs.rs/statehouse-search/latest/statehouse_search/trait.FieldValue.html
fn is_no_text(ty: &Type) -> bool {
    const OTHERS: [&str; 8] = ["i64", "i32", "u64", "u32", "f64", "bool", "Millis", "SystemTime"];
    let Type::Path(path) = ty else { return false };
    let Some(last) = path.path.segments.last() else { return false };
    match &last.arguments {
        PathArguments::AngleBracketed(inner) if last.ident == "Option" || last.ident == "Vec" => {
            inner.args.iter().any(|inner| matches!(inner, GenericArgument::Type(inner) if is_no_text(inner)))
        }
        _ => OTHERS.iter().any(|other| last.ident == other),
    }
}

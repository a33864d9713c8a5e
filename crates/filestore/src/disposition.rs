//! The value of the header `Content-Disposition` for a file of some name
//! ([RFC 6266](https://www.rfc-editor.org/rfc/rfc6266)), for [`Put::content_disposition`](crate::Put::content_disposition).
//!
//! ```
//! use statehouse_filestore::disposition;
//!
//! assert_eq!(disposition::inline("scan 2.pdf"), "inline; filename=\"scan 2.pdf\"");
//! let name = "attachment; filename=\"R_ntgen.png\"; filename*=UTF-8''R%C3%B6ntgen.png";
//! assert_eq!(disposition::attachment("Röntgen.png"), name);
//! assert_eq!(disposition::attachment("a\r\nset-cookie: a=b"), "attachment; filename=\"a__set-cookie: a=b\"");
//! ```

use std::fmt::Write as _;

/// Saved under this name. What is no part of a name (separators of folders, control characters, and those that turn the direction
/// of writing) becomes `_`; letters outside ASCII are written as [RFC 8187](https://www.rfc-editor.org/rfc/rfc8187) says, beside a
/// name without them for clients that do not read that.
#[must_use]
pub fn attachment(file_name: &str) -> String {
    named("attachment", file_name)
}

/// Shown in the browser's window, and saved from there under this name, which is written as in [`attachment`].
#[must_use]
pub fn inline(file_name: &str) -> String {
    named("inline", file_name)
}

fn named(word: &str, file_name: &str) -> String {
    let (mut header, name) = (word.to_owned(), plain(file_name));
    if !name.is_empty() {
        let fallback: String = name.chars().map(|letter| if is_quotable(letter) { letter } else { '_' }).collect();
        let _ = write!(header, "; filename=\"{fallback}\"");
        if fallback != name {
            header.push_str("; filename*=UTF-8''");
            name.bytes().for_each(|byte| encode(byte, &mut header));
        }
    }
    header
}

/// What [RFC 8187, 3.2.1](https://www.rfc-editor.org/rfc/rfc8187#section-3.2.1) leaves as it is stays so.
fn encode(byte: u8, header: &mut String) {
    if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
        header.push(char::from(byte));
    } else {
        let _ = write!(header, "%{byte:02X}");
    }
}

/// A name without what is none: separators of folders, control characters, and those that show letters in another order than they
/// are in, so that the end of a name is not at its end.
fn plain(name: &str) -> String {
    // Bidi_Control of Unicode.
    let turns = |letter| matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_none = |letter: char| letter.is_control() || matches!(letter, '/' | '\\') || turns(letter);
    name.trim().chars().map(|letter| if is_none(letter) { '_' } else { letter }).collect()
}

/// What clients read alike in quotes. Some take `%41` there for a letter.
const fn is_quotable(letter: char) -> bool {
    matches!(letter, ' '..='~') && !matches!(letter, '"' | '%')
}

/// Whether a stored disposition says that the file is shown.
#[cfg(feature = "http")]
pub(crate) fn is_inline(text: &str) -> bool {
    word(text).eq_ignore_ascii_case("inline")
}

/// What a stored disposition says besides its word, with the semicolon before it; empty if nothing.
#[cfg(feature = "http")]
pub(crate) fn parameters(text: &str) -> &str {
    text.find(';').map_or("", |at| &text[at..])
}

#[cfg(feature = "http")]
fn word(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim()
}

/// An id that nobody can guess: 128 random bits in hexadecimal.
pub(crate) fn new_id() -> String {
    let mut bytes = [0; 16];
    // Without the system's randomness there are no ids, no tokens and no sessions either.
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// Whether the text looks like one of [`new_id`].
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_recognised() {
        let (one, other) = (new_id(), new_id());
        assert_ne!(one, other);
        assert!(is_id(&one) && is_id(&other));
        assert!(
            !is_id("../../../../../../../../etc/pass") && !is_id("") && !is_id(&one.to_uppercase().replace('0', "G"))
        );
    }
}

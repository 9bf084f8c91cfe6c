//! The challenge of hixie-76 (draft-ietf-hybi-thewebsocketprotocol-00 section 5.2).

use md5::{Digest, Md5};

use super::refusal::KeyFault;

/// Length of the third key, which stands behind the head.
pub(super) const KEY3: usize = 8;

/// The number that a key hides: its digits, divided by the number of its spaces.
///
/// # Errors
/// A key that hides none. A request from a browser always does; one made by a page's script or a form cannot.
pub(super) fn number(key: &str) -> Result<u32, KeyFault> {
    let mut digits = key.bytes().filter(u8::is_ascii_digit).peekable();
    if digits.peek().is_none() {
        return Err(KeyFault::NoDigits);
    }
    let number = digits
        .try_fold(0_u32, |number, digit| number.checked_mul(10)?.checked_add(u32::from(digit - b'0')))
        .ok_or(KeyFault::TooLarge)?;
    let spaces = key.bytes().filter(|byte| *byte == b' ').count();
    let spaces = u32::try_from(spaces).unwrap_or(u32::MAX);
    match (number.checked_rem(spaces), number.checked_div(spaces)) {
        (Some(0), Some(quotient)) => Ok(quotient),
        (Some(_), _) => Err(KeyFault::NotDivisible),
        (None, _) => Err(KeyFault::NoSpaces),
    }
}

/// The reply's body.
pub(super) fn digest(numbers: [u32; 2], key3: &[u8]) -> [u8; 16] {
    let mut digest = Md5::new();
    for number in numbers {
        digest.update(number.to_be_bytes());
    }
    digest.update(key3);
    digest.finalize().into()
}

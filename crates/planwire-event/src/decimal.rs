//! Whole numbers as text, without an allocation: rows and frames are made of many.

/// Digits of the largest number.
pub const DECIMAL_CHARS: usize = 20;

/// Writes `number` into `room`, without leading zeros.
///
/// ```
/// use planwire_event::decimal::{DECIMAL_CHARS, decimal};
/// assert_eq!(decimal(1_234, &mut [0; DECIMAL_CHARS]), "1234");
/// ```
pub fn decimal(mut number: u64, room: &mut [u8; DECIMAL_CHARS]) -> &str {
    let mut start = DECIMAL_CHARS;
    loop {
        start -= 1;
        room[start] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            return str::from_utf8(&room[start..]).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_language_writes_them() {
        for number in [0, 9, 10, 99, 100, 1_234_567_890, u64::MAX / 10, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; DECIMAL_CHARS]), number.to_string());
        }
    }
}

//! The forms of a secret's value that are looked for.

use super::PARTIAL_BYTES_MIN;
use crate::base64;

/// Bytes of a line of a value that is looked for by itself. Those of keys have 64.
const LINE_BYTES_MIN: usize = 16;

/// One form of one secret's value.
pub(super) struct Needle {
    pub(super) bytes: Vec<u8>,
    /// Which secret it belongs to.
    pub(super) secret: usize,
}

impl Needle {
    /// Bytes at the end of `text` that are the beginning of this form, if they are many enough.
    pub(super) fn cut_at_end_of(&self, text: &[u8]) -> Option<usize> {
        let least = PARTIAL_BYTES_MIN.min(self.bytes.len().div_ceil(2));
        let longest = (self.bytes.len() - 1).min(text.len());
        (least..=longest).rev().find(|len| text.ends_with(&self.bytes[..*len]))
    }
}

/// All forms of a value: itself, its lines, Base64 and hexadecimal.
pub(super) fn of(secret: usize, value: &str) -> impl Iterator<Item = Needle> {
    let mut forms: Vec<String> = Vec::new();
    add_forms(value, &mut forms);
    if value.contains(' ') {
        // As a form or a query writes it; %XX is decoded when it is looked for.
        forms.push(value.replace(' ', "+"));
    }
    if value.contains('\n') {
        // A key of several lines may be told line by line. Lines with spaces are words, such as -----BEGIN PRIVATE KEY.
        let lines = value.lines().map(str::trim);
        lines
            .filter(|line| line.len() >= LINE_BYTES_MIN && !line.contains(char::is_whitespace))
            .for_each(|line| add_forms(line, &mut forms));
        forms.push(value.split_ascii_whitespace().collect());
        forms.push(value.replace('\n', "\r\n"));
    }
    forms.sort();
    forms.dedup();
    forms.into_iter().map(move |form| Needle { bytes: form.into_bytes(), secret })
}

fn add_forms(value: &str, forms: &mut Vec<String>) {
    forms.push(value.to_owned());
    for before in 0..3 {
        let form = base64_core(value.as_bytes(), before);
        let url_safe = form.replace('+', "-").replace('/', "_");
        forms.extend([form, url_safe]);
    }
    let digits =
        |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]));
    let hex: String = value.as_bytes().iter().flat_map(digits).collect();
    forms.extend([hex.to_ascii_uppercase(), hex]);
}

/// The characters of Base64 that depend on nothing but `value` when it stands behind `before` bytes (modulo 3).
fn base64_core(value: &[u8], before: usize) -> String {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(value);
    let encoded = base64::encode(&bytes);
    encoded[(8 * before).div_ceil(6)..8 * bytes.len() / 6].to_owned()
}

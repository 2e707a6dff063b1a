//! Finds forms in a text, and what a cut leaves of them at its edges.
//!
//! The first bytes of each form are in a filter that tells at once that nothing begins at most places of a text. What
//! passes is compared. The time is that of one pass, unless a value repeats itself; the room is that of the forms.

use std::ops::Range;

use super::edges::{Edges, PARTIAL_BYTES_MIN, PIECE_BYTES_MIN};
use super::needles::Needle;
use super::views::is_blank;
use crate::secrets::SECRET_BYTES_MIN;

/// Bytes at the beginning of a form by which it is looked up: each has as many.
const KEY_BYTES: usize = SECRET_BYTES_MIN;
const KEY_MASK: u64 = (1 << (8 * KEY_BYTES)) - 1;
/// Bits of the filter for each form, and of all of it: one place in sixteen or fewer passes by chance.
const FILTER_BITS: usize = 16;
const FILTER_BITS_MIN: usize = 1 << 12;
const FILTER_BITS_MAX: usize = 1 << 22;

const _: () = assert!(KEY_BYTES < 8 && PARTIAL_BYTES_MIN <= KEY_BYTES);

/// Forms in small letters, in their order, and what tells where one may begin. Case does not count.
pub(super) struct Finder {
    needles: Vec<Needle>,
    /// The first bytes of each form.
    keys: Vec<u64>,
    filter: Vec<u64>,
}

impl Finder {
    pub(super) fn new(mut needles: Vec<Needle>) -> Self {
        needles.iter_mut().for_each(|needle| needle.bytes.make_ascii_lowercase());
        needles.retain(|needle| needle.bytes.len() >= KEY_BYTES);
        needles.sort_by(|a, b| a.bytes.cmp(&b.bytes));
        needles.dedup_by(|a, b| a.bytes == b.bytes && a.secret == b.secret);
        let keys: Vec<u64> = needles.iter().map(|needle| key_of(&needle.bytes[..KEY_BYTES])).collect();
        let bits = (keys.len() * FILTER_BITS).next_power_of_two().clamp(FILTER_BITS_MIN, FILTER_BITS_MAX);
        let mut finder = Self { needles, keys, filter: vec![0; bits / 64] };
        for at in 0..finder.keys.len() {
            let (word, bit) = finder.place(finder.keys[at]);
            finder.filter[word] |= bit;
        }
        finder
    }

    pub(super) fn needles(&self) -> &[Needle] {
        &self.needles
    }

    /// Calls `see` with the place and the secret of each form, and of each part of one that a cut leaves.
    pub(super) fn each(&self, text: &[u8], edges: Edges, mut see: impl FnMut(Range<usize>, usize)) {
        // The line break that blanks at a cut belong to may be behind it.
        let blanks = text.iter().rev().take_while(|byte| is_blank(**byte)).count();
        let end = if edges == Edges::Whole { text.len() } else { text.len() - blanks };
        let mut key = 0;
        for (at, byte) in text.iter().enumerate() {
            key = (key << 8 | u64::from(byte.to_ascii_lowercase())) & KEY_MASK;
            if at + 1 >= KEY_BYTES && self.passes(key) {
                self.begins(key, at + 1 - KEY_BYTES, &text[..end.max(at + 1)], edges, &mut see);
            }
        }
        if edges != Edges::Whole {
            self.ends(&text[..end], edges, &mut see);
        }
        if edges == Edges::Piece {
            self.goes_on(text, &mut see);
        }
    }

    /// Compares the forms whose first bytes are at a place.
    fn begins(
        &self,
        key: u64,
        at: usize,
        text: &[u8],
        edges: Edges,
        see: &mut impl FnMut(Range<usize>, usize),
    ) {
        let rest = &text[at..];
        let first = self.keys.partition_point(|known| *known < key);
        let same = self.keys[first..].iter().take_while(|known| **known == key).count();
        for needle in &self.needles[first..first + same] {
            let len = needle.bytes.len().min(rest.len());
            let is_whole = len == needle.bytes.len();
            if (is_whole || needle.is_told_by(len, edges))
                && rest[..len].eq_ignore_ascii_case(&needle.bytes[..len])
            {
                see(at..at + len, needle.secret);
            }
        }
    }

    /// Finds the beginning of a form in the last bytes, which are fewer than those by which it is looked up.
    fn ends(&self, text: &[u8], edges: Edges, see: &mut impl FnMut(Range<usize>, usize)) {
        for len in 1..KEY_BYTES.min(text.len() + 1) {
            let tail = text[text.len() - len..].to_ascii_lowercase();
            let first = self.needles.partition_point(|needle| *needle.bytes < *tail);
            let same = self.needles[first..].iter().take_while(|needle| needle.bytes.starts_with(&tail));
            if let Some(needle) = { same }.find(|needle| needle.is_told_by(len, edges)) {
                see(text.len() - len..text.len(), needle.secret);
            }
        }
    }

    /// Finds the end of a form that the text begins with, or a form that all of the text is a part of.
    fn goes_on(&self, text: &[u8], see: &mut impl FnMut(Range<usize>, usize)) {
        let Some(head) = text.get(..PIECE_BYTES_MIN) else { return };
        let head = key_of(&head.to_ascii_lowercase());
        for needle in self.needles.iter().filter(|needle| !needle.has_lines) {
            let mut key = 0;
            for (at, byte) in needle.bytes.iter().enumerate() {
                key = key << 8 | u64::from(*byte);
                if key != head || at + 1 < PIECE_BYTES_MIN {
                    continue;
                }
                let part = &needle.bytes[at + 1 - PIECE_BYTES_MIN..];
                let len = part.len().min(text.len());
                if text[..len].eq_ignore_ascii_case(&part[..len]) {
                    see(0..len, needle.secret);
                }
            }
        }
    }

    fn passes(&self, key: u64) -> bool {
        let (word, bit) = self.place(key);
        self.filter[word] & bit != 0
    }

    /// Word and bit of a key.
    const fn place(&self, key: u64) -> (usize, u64) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let hash = key.wrapping_mul(ODD) >> 32;
        ((hash >> 6) as usize & (self.filter.len() - 1), 1 << (hash & 63))
    }
}

/// At most eight bytes as a number.
fn key_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |key, byte| key << 8 | u64::from(*byte))
}

const _: () = assert!(PIECE_BYTES_MIN == 8, "a piece is looked up by a number of 64 bits");

impl Needle {
    /// Whether so many of its first bytes at a cut tell it from other texts.
    fn is_told_by(&self, len: usize, edges: Edges) -> bool {
        let least = match edges {
            Edges::Whole => return false,
            Edges::CutEnd => PARTIAL_BYTES_MIN.min(self.bytes.len().div_ceil(2)),
            // Its lines are forms of their own, and the words between them are no secret.
            Edges::Piece if self.has_lines => return false,
            Edges::Piece => PIECE_BYTES_MIN,
        };
        len >= least && len < self.bytes.len()
    }
}

//! A text as somebody reads it who decodes it: percent-encoding, escapes of JSON, C and HTML, lines put together, and
//! the zero bytes between the letters of wide characters left out.

use std::borrow::Cow;
use std::ops::Range;

/// How often a view is decoded once more: wrapped Base64 within JSON within a URL takes three.
pub(super) const NESTING_MAX: usize = 3;
/// Bytes of the longest escape: two halves of one character.
const ESCAPE_BYTES_MAX: usize = 12;
/// Bytes of an HTML entity.
const ENTITY_BYTES_MAX: usize = 10;

/// Bytes, and where in the source each of them comes from.
pub(super) struct View<'a> {
    bytes: Cow<'a, [u8]>,
    /// What it was decoded from, and how; none: the bytes are the source.
    from: Option<(&'a View<'a>, Vec<Edit>)>,
}

/// A part that reads otherwise than it is written. What lies between two of them is the same in both.
struct Edit {
    /// Where the view has it.
    at: u32,
    len: u32,
    /// Where the other view has it.
    from_at: u32,
    from_len: u32,
}

/// What an escape stands for: at most four bytes.
struct Decoded {
    bytes: [u8; 4],
    len: usize,
}

/// One way to decode.
struct Decoder {
    /// Where, from a place on, something may begin that reads otherwise.
    find: fn(&[u8], usize) -> Option<usize>,
    /// How many bytes at the beginning of the argument stand for which others.
    read: fn(&[u8]) -> Option<(usize, Decoded)>,
}

const DECODERS: [Decoder; 5] = [
    Decoder { find: |bytes, from| next(bytes, from, |byte| byte == b'%'), read: percent },
    Decoder { find: |bytes, from| next(bytes, from, |byte| byte == b'\\'), read: escape },
    Decoder { find: |bytes, from| next(bytes, from, |byte| byte == b'&'), read: entity },
    Decoder { find: next_line_break, read: line_break },
    Decoder { find: |bytes, from| next(bytes, from, |byte| byte == 0), read: zeros },
];

impl<'a> View<'a> {
    /// The source as it is.
    pub(super) const fn plain(bytes: &'a [u8]) -> Self {
        Self { bytes: Cow::Borrowed(bytes), from: None }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of the source that a part of this view, not an empty one, comes from.
    pub(super) fn source(&self, range: Range<usize>) -> Range<usize> {
        let Some((from, edits)) = &self.from else { return range };
        let start = origin(edits, range.start).start;
        from.source(start..origin(edits, range.end - 1).end)
    }

    /// Calls `see` with each other view that this one decodes to. Of a text whose end `is_cut`, the beginning of an
    /// escape there is left out.
    pub(super) fn decoded(&self, is_cut: bool, mut see: impl FnMut(&View<'_>)) {
        for decoder in &DECODERS {
            if let Some(view) = self.decode(decoder, is_cut) {
                see(&view);
            }
        }
    }

    /// Nothing, if there is nothing to decode.
    fn decode(&self, decoder: &Decoder, is_cut: bool) -> Option<View<'_>> {
        let text = &*self.bytes;
        let mut bytes = Vec::new();
        let mut edits = Vec::new();
        // Until here all is done; from there on the next escape is looked for.
        let (mut done, mut from) = (0, 0);
        let mut end = text.len();
        while let Some(at) = (decoder.find)(text, from) {
            let Some((len, decoded)) = (decoder.read)(&text[at..]) else {
                if is_cut && may_go_on(&text[at..]) {
                    end = at;
                    break;
                }
                from = at + 1;
                continue;
            };
            bytes.extend_from_slice(&text[done..at]);
            edits.push(Edit::new(bytes.len(), decoded.len, at, len));
            bytes.extend_from_slice(&decoded.bytes[..decoded.len]);
            (done, from) = (at + len, at + len);
        }
        if edits.is_empty() && end == text.len() {
            return None;
        }
        bytes.extend_from_slice(&text[done..end]);
        Some(View { bytes: Cow::Owned(bytes), from: Some((self, edits)) })
    }
}

impl Edit {
    fn new(at: usize, len: usize, from_at: usize, from_len: usize) -> Self {
        // Texts are far below 4 GiB; a byte beyond would only be told at a wrong place.
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { at: narrow(at), len: narrow(len), from_at: narrow(from_at), from_len: narrow(from_len) }
    }
}

/// What the byte at `at` was decoded from.
fn origin(edits: &[Edit], at: usize) -> Range<usize> {
    let before = edits.partition_point(|edit| edit.at as usize <= at);
    let Some(edit) = before.checked_sub(1).map(|last| &edits[last]) else { return at..at + 1 };
    let (end, from_end) =
        (edit.at as usize + edit.len as usize, edit.from_at as usize + edit.from_len as usize);
    if at < end { edit.from_at as usize..from_end } else { from_end + at - end..from_end + at - end + 1 }
}

/// Whether a text ends within what may be an escape.
fn may_go_on(text: &[u8]) -> bool {
    let may_be_in_one = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'#' | b'{' | b'\\');
    text.len() < ESCAPE_BYTES_MAX && text[1..].iter().all(may_be_in_one)
}

fn next(bytes: &[u8], from: usize, is_it: impl Fn(u8) -> bool) -> Option<usize> {
    bytes[from..].iter().position(|byte| is_it(*byte)).map(|at| from + at)
}

const fn byte(byte: u8) -> Decoded {
    Decoded { bytes: [byte, 0, 0, 0], len: 1 }
}

const NOTHING: Decoded = Decoded { bytes: [0; 4], len: 0 };

fn character(character: char) -> Decoded {
    let mut bytes = [0; 4];
    let len = character.encode_utf8(&mut bytes).len();
    Decoded { bytes, len }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let text =
        std::str::from_utf8(digits).ok().filter(|text| text.chars().all(|digit| digit.is_digit(radix)))?;
    u32::from_str_radix(text, radix).ok()
}

/// `%2B`
fn percent(text: &[u8]) -> Option<(usize, Decoded)> {
    let value = number(text.get(1..3)?, 16)?;
    Some((3, byte(u8::try_from(value).ok()?)))
}

/// `\n`, `\"`, `\x2b`, `\u002b`, `\u{2b}`, `\053`
fn escape(text: &[u8]) -> Option<(usize, Decoded)> {
    let simple = match *text.get(1)? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'x' => return Some((4, byte(u8::try_from(number(text.get(2..4)?, 16)?).ok()?))),
        b'u' => return unicode(text),
        b'0'..=b'3' => return Some((4, byte(u8::try_from(number(text.get(1..4)?, 8)?).ok()?))),
        other @ (b'"' | b'\'' | b'\\' | b'/' | b'`' | b'$' | b' ') => other,
        _ => return None,
    };
    Some((2, byte(simple)))
}

/// `\u00e9`, or two of them for one character; `\u{e9}`.
fn unicode(text: &[u8]) -> Option<(usize, Decoded)> {
    if text.get(2) == Some(&b'{') {
        let digits = text.iter().take(ESCAPE_BYTES_MAX).position(|byte| *byte == b'}')?;
        return Some((digits + 1, character(char::from_u32(number(text.get(3..digits)?, 16)?)?)));
    }
    let unit = |at: usize| u16::try_from(number(text.get(at..at + 4)?, 16)?).ok();
    let first = unit(2)?;
    if let Some(whole) = char::from_u32(u32::from(first)) {
        return Some((6, character(whole)));
    }
    let second = text.get(6..8).filter(|next| *next == b"\\u").and_then(|_| unit(8))?;
    Some((12, character(char::decode_utf16([first, second]).next()?.ok()?)))
}

/// `&amp;`, `&#43;`, `&#x2b;`
fn entity(text: &[u8]) -> Option<(usize, Decoded)> {
    let end = text.iter().take(ENTITY_BYTES_MAX).position(|byte| *byte == b';')?;
    let decoded = match &text[1..end] {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(number(digits, 16)?)?,
        [b'#', digits @ ..] => char::from_u32(number(digits, 10)?)?,
        _ => return None,
    };
    Some((end + 1, character(decoded)))
}

pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The next white space with a line break in it, with the blanks before it.
fn next_line_break(bytes: &[u8], from: usize) -> Option<usize> {
    let at = next(bytes, from, |byte| matches!(byte, b'\n' | b'\r'))?;
    Some(at - bytes[from..at].iter().rev().take_while(|byte| is_blank(**byte)).count())
}

/// A line that goes on in the next one, as `base64` and mail write it.
fn line_break(text: &[u8]) -> Option<(usize, Decoded)> {
    Some((text.iter().take_while(|byte| is_blank(**byte)).count(), NOTHING))
}

/// What UTF-16 has between the letters of ASCII.
fn zeros(text: &[u8]) -> Option<(usize, Decoded)> {
    Some((text.iter().take_while(|byte| **byte == 0).count(), NOTHING))
}

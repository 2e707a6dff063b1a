//! A text as somebody reads it who decodes it: percent-encoding, escapes of JSON, lines put together.

use std::borrow::Cow;
use std::ops::Range;

/// How often a view is decoded once more: JSON within a JSON text within a URL takes three.
pub(super) const NESTING_MAX: usize = 3;

/// Bytes, and where in the source each of them comes from.
pub(super) struct View<'a> {
    bytes: Cow<'a, [u8]>,
    /// Where the source of each byte begins and ends; `None`: the bytes are the source.
    places: Option<Vec<(u32, u32)>>,
}

/// One way to decode: says how many bytes at the beginning of its argument stand for which others.
type Decode = fn(&[u8]) -> Option<(usize, Decoded)>;

/// What an escape stands for: at most four bytes.
struct Decoded {
    bytes: [u8; 4],
    len: usize,
}

const DECODERS: [(u8, Decode); 3] = [(b'%', percent), (b'\\', escape), (b'\n', line_break)];

impl<'a> View<'a> {
    /// The source as it is.
    pub(super) const fn plain(bytes: &'a [u8]) -> Self {
        Self { bytes: Cow::Borrowed(bytes), places: None }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of the source that a part of this view, not an empty one, comes from.
    pub(super) fn source(&self, range: Range<usize>) -> Range<usize> {
        match &self.places {
            None => range,
            Some(places) => places[range.start].0 as usize..places[range.end - 1].1 as usize,
        }
    }

    /// Calls `see` with each other view that this one decodes to.
    pub(super) fn decoded(&self, mut see: impl FnMut(View<'static>)) {
        for (trigger, decode) in DECODERS {
            if self.bytes.contains(&trigger)
                && let Some(view) = self.decode(trigger, decode)
            {
                see(view);
            }
        }
    }

    /// Without the beginning of an escape at its end.
    pub(super) fn without_cut_escape(&self) -> View<'_> {
        const ESCAPE_BYTES_MAX: usize = 6;
        let tail = self.bytes.len().saturating_sub(ESCAPE_BYTES_MAX);
        let cut =
            self.bytes[tail..].iter().rposition(|byte| matches!(byte, b'%' | b'\\')).map(|at| at + tail);
        let end = match cut {
            Some(at) if percent(&self.bytes[at..]).or_else(|| escape(&self.bytes[at..])).is_none() => at,
            _ => self.bytes.len(),
        };
        View { bytes: Cow::Borrowed(&self.bytes[..end]), places: self.places.clone() }
    }

    /// Nothing, if there is nothing to decode.
    fn decode(&self, trigger: u8, decode: Decode) -> Option<View<'static>> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut places = Vec::with_capacity(self.bytes.len());
        let mut changed = false;
        let mut at = 0;
        // Texts are far below 4 GiB; a byte beyond would only be told at a wrong place.
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        while at < self.bytes.len() {
            let escape = if self.bytes[at] == trigger { decode(&self.bytes[at..]) } else { None };
            changed |= escape.is_some();
            let (len, decoded) = escape.unwrap_or_else(|| (1, byte(self.bytes[at])));
            let source = self.source(at..at + len);
            let place = (narrow(source.start), narrow(source.end));
            places.extend(std::iter::repeat_n(place, decoded.len));
            bytes.extend_from_slice(&decoded.bytes[..decoded.len]);
            at += len;
        }
        changed.then_some(View { bytes: Cow::Owned(bytes), places: Some(places) })
    }
}

const fn byte(byte: u8) -> Decoded {
    Decoded { bytes: [byte, 0, 0, 0], len: 1 }
}

fn hex(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u32::from_str_radix(text, 16).ok()
}

/// `%2B`
fn percent(text: &[u8]) -> Option<(usize, Decoded)> {
    let value = hex(text.strip_prefix(b"%")?.get(..2)?)?;
    Some((3, byte(u8::try_from(value).ok()?)))
}

/// `\n`, `\"`, `\x2b`, `\u002b`
fn escape(text: &[u8]) -> Option<(usize, Decoded)> {
    let simple = match text.strip_prefix(b"\\")?.first()? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'x' => return Some((4, byte(u8::try_from(hex(text.get(2..4)?)?).ok()?))),
        b'u' => return unicode(text),
        other @ (b'"' | b'\'' | b'\\' | b'/') => *other,
        _ => return None,
    };
    Some((2, byte(simple)))
}

/// `\u00e9`, or two of them for one character.
fn unicode(text: &[u8]) -> Option<(usize, Decoded)> {
    let unit = |at: usize| u16::try_from(hex(text.get(at..at + 4)?)?).ok();
    let first = unit(2)?;
    let second = text.get(6..8).filter(|next| *next == b"\\u").and_then(|_| unit(8));
    let (len, character) = match (char::from_u32(u32::from(first)), second) {
        (Some(character), _) => (6, character),
        (None, Some(second)) => (12, char::decode_utf16([first, second]).next()?.ok()?),
        (None, None) => return None,
    };
    let mut bytes = [0; 4];
    let len_utf8 = character.encode_utf8(&mut bytes).len();
    Some((len, Decoded { bytes, len: len_utf8 }))
}

/// A line that goes on in the next one, as `base64` and mail write it.
fn line_break(text: &[u8]) -> Option<(usize, Decoded)> {
    let len = text.iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | b' ' | b'\t')).count();
    Some((len, Decoded { bytes: [0; 4], len: 0 }))
}

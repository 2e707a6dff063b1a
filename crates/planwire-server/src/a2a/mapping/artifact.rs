//! The content of an artifact as a part of A2A.

use planwire_event::vocabulary::{ArtifactPart, ArtifactProduced};
use planwire_event::{Digest, PlanId, StoredEvent};

use super::Links;
use crate::a2a::wire::{Content, Part};

/// Bytes of a blob that are sent along, as base64; a larger one is named by its address.
pub(crate) const RAW_BYTES_MAX: u64 = 32 * 1024;

/// The blob that has to be read for the part of `stored`, if there is one and it is small.
pub(crate) fn small_blob(stored: &StoredEvent) -> Option<Digest> {
    match stored.event.read::<ArtifactProduced>()?.part {
        ArtifactPart::Blob { digest, size_bytes } if size_bytes <= RAW_BYTES_MAX => digest.parse().ok(),
        _ => None,
    }
}

/// The part; `raw` are the bytes of its blob, if they were read.
pub(crate) fn part(produced: &ArtifactProduced, plan: &PlanId, links: Links<'_>, raw: Option<&[u8]>) -> Part {
    let content = match &produced.part {
        ArtifactPart::Text(text) => Content::Text(text.clone()),
        ArtifactPart::Data(data) => Content::Data(data.clone()),
        ArtifactPart::Url(url) => Content::Url(url.clone()),
        ArtifactPart::Blob { digest, .. } => match raw {
            Some(raw) => Content::Raw(base64(raw)),
            None => Content::Url(links.blob(plan, digest)),
        },
    };
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Part { filename: given(&produced.name), media_type: given(&produced.media_type), ..content.into() }
}

/// RFC 4648, section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| group.get(at).map_or(0, |byte| u32::from(*byte));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at > group.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        let check = |bytes: &str, expected: &str| assert_eq!(base64(bytes.as_bytes()), expected);
        check("", "");
        check("f", "Zg==");
        check("fo", "Zm8=");
        check("foo", "Zm9v");
        check("foob", "Zm9vYg==");
        check("fooba", "Zm9vYmE=");
        check("foobar", "Zm9vYmFy");
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }
}

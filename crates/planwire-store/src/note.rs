//! Signed notes as C2SP describes them (<https://c2sp.org/signed-note>): a text and lines with its signatures.
//!
//! Keys are Ed25519. Their text forms are those of Go's `golang.org/x/mod/sumdb/note`, so that its tools and those of
//! transparency logs read them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use planwire_event::Digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// Says that a key is Ed25519, in its encodings.
const ED25519_TAG: u8 = 0x01;
const SEED_BYTES: usize = 32;
const PUBLIC_BYTES: usize = 32;
const HASH_BYTES: usize = 4;
const SIGNATURE_BYTES: usize = 64;

/// Begins a line with a signature: an em dash and a space.
const SIGNATURE_START: &str = "\u{2014} ";
/// Bytes of a note that is read.
const NOTE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the name of a key.
const NAME_BYTES_MAX: usize = 200;

/// Why a key or a note was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The name of a key is empty, too long, or holds white space or a plus.
    #[error("the name of a key has 1 to {max} bytes, no white space and no '+'", max = NAME_BYTES_MAX)]
    Name,
    /// A text is no private key.
    #[error("it is no private key: PRIVATE+KEY+<name>+<8 hexadecimal digits>+<Base64>")]
    PrivateKey,
    /// A text is no verifier key.
    #[error("it is no verifier key: <name>+<8 hexadecimal digits>+<Base64>")]
    VerifierKey,
    /// The hash in a key is not that of its name and bytes.
    #[error("the key does not fit the hash that it carries; some of it was changed")]
    KeyHash,
    /// There is no randomness for a new key.
    #[error("there is no randomness for a key")]
    Randomness,
    /// A text is no signed note.
    #[error("it is no signed note: a text, an empty line, and lines with signatures")]
    Note,
    /// Nothing in the note is signed by this key.
    #[error("it is not signed by the key {name}")]
    Unsigned {
        /// The key.
        name: String,
    },
    /// The signature of this key is wrong.
    #[error("the signature of {name} is wrong: the text was changed, or the signature")]
    Signature {
        /// The key.
        name: String,
    },
}

/// Signs notes. Its text form is the private key; the form for debugging leaves it out.
pub struct SigningKey {
    seed: [u8; SEED_BYTES],
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl SigningKey {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// [`NoteError::Name`]; [`NoteError::Randomness`] if the operating system gives none.
    pub fn generate(name: &str) -> Result<Self, NoteError> {
        let mut seed = [0; SEED_BYTES];
        SystemRandom::new().fill(&mut seed).map_err(|_| NoteError::Randomness)?;
        Self::of(name, seed)
    }

    fn of(name: &str, seed: [u8; SEED_BYTES]) -> Result<Self, NoteError> {
        check_name(name)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| NoteError::PrivateKey)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| NoteError::PrivateKey)?;
        Ok(Self { seed, pair, verifier: VerifierKey { name: name.to_owned(), public } })
    }

    /// The key that others verify with.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The text form, which must be kept secret.
    #[must_use]
    pub fn to_private_text(&self) -> String {
        let VerifierKey { name, .. } = &self.verifier;
        format!("PRIVATE+KEY+{name}+{}+{}", self.verifier.shown_hash(), tagged(&self.seed))
    }

    /// The signed note of `text`, which must end with a line break.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        let bytes = [&self.verifier.hash()[..], signature.as_ref()].concat();
        format!("{text}\n{SIGNATURE_START}{} {}\n", self.verifier.name, STANDARD.encode(bytes))
    }
}

impl FromStr for SigningKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let text = text.trim().strip_prefix("PRIVATE+KEY+").ok_or(NoteError::PrivateKey)?;
        let (name, hash, seed) = parts(text).ok_or(NoteError::PrivateKey)?;
        let key = Self::of(name, seed)?;
        if key.verifier.shown_hash() == hash { Ok(key) } else { Err(NoteError::KeyHash) }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

/// Verifies notes that one key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; PUBLIC_BYTES],
}

impl VerifierKey {
    /// Whose it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn hash(&self) -> [u8; HASH_BYTES] {
        let parts = [self.name.as_bytes(), b"\n", &[ED25519_TAG], &self.public];
        let digest = Digest::of_parts(parts);
        let [a, b, c, d, ..] = *digest.as_bytes();
        [a, b, c, d]
    }

    fn shown_hash(&self) -> String {
        self.hash().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The text of a note that this key signed; signatures of other keys do not matter.
    ///
    /// # Errors
    ///
    /// [`NoteError`] if it is no note, or not signed by this key.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        let at = note.rfind("\n\n").filter(|_| note.len() <= NOTE_BYTES_MAX).ok_or(NoteError::Note)?;
        let (text, signatures) = (&note[..=at], &note[at + 2..]);
        if signatures.is_empty() || !signatures.ends_with('\n') {
            return Err(NoteError::Note);
        }
        let mut ours = None;
        for line in signatures.lines() {
            let line = line.strip_prefix(SIGNATURE_START).ok_or(NoteError::Note)?;
            let (name, bytes) = line.split_once(' ').ok_or(NoteError::Note)?;
            let bytes = STANDARD.decode(bytes).map_err(|_| NoteError::Note)?;
            if name == self.name && bytes.starts_with(&self.hash()) {
                ours.get_or_insert(bytes);
            }
        }
        let name = || self.name.clone();
        let signed = ours.ok_or_else(|| NoteError::Unsigned { name: name() })?;
        let signature = &signed[HASH_BYTES..];
        let good = signature.len() == SIGNATURE_BYTES
            && UnparsedPublicKey::new(&ED25519, &self.public).verify(text.as_bytes(), signature).is_ok();
        if good { Ok(text) } else { Err(NoteError::Signature { name: name() }) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, self.shown_hash(), tagged(&self.public))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, hash, public) = parts(text.trim()).ok_or(NoteError::VerifierKey)?;
        check_name(name)?;
        let key = Self { name: name.to_owned(), public };
        if key.shown_hash() == hash { Ok(key) } else { Err(NoteError::KeyHash) }
    }
}

fn check_name(name: &str) -> Result<(), NoteError> {
    let good =
        (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(|c: char| c.is_whitespace() || c == '+');
    if good { Ok(()) } else { Err(NoteError::Name) }
}

fn tagged(key: &[u8; 32]) -> String {
    STANDARD.encode([&[ED25519_TAG][..], key].concat())
}

/// Name, hash and bytes of a key. Base64 may hold a plus, a name may not.
fn parts(text: &str) -> Option<(&str, &str, [u8; 32])> {
    let (name, rest) = text.split_once('+')?;
    let (hash, key) = rest.split_once('+')?;
    let bytes = STANDARD.decode(key).ok()?;
    let (tag, key) = bytes.split_first()?;
    let key = key.try_into().ok().filter(|_| *tag == ED25519_TAG)?;
    Some((name, hash, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Key and note from the package documentation of golang.org/x/mod/sumdb/note.
    const THEIR_PRIVATE: &str =
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const THEIR_VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const THEIR_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn key() -> SigningKey {
        SigningKey::of("planwire/7Q4M2K9A", [7; SEED_BYTES]).unwrap()
    }

    #[test]
    fn keys_and_notes_of_others_are_read_and_written_the_same() {
        let verifier: VerifierKey = THEIR_VERIFIER.parse().unwrap();
        let text = verifier.open(THEIR_NOTE).unwrap();
        assert!(text.ends_with("problem is.\n"), "{text}");
        let signer: SigningKey = THEIR_PRIVATE.parse().unwrap();
        assert_eq!((signer.verifier(), signer.to_private_text().as_str()), (&verifier, THEIR_PRIVATE));
        assert_eq!(verifier.to_string(), THEIR_VERIFIER);
        assert_eq!(signer.sign(text), THEIR_NOTE);
    }

    #[test]
    fn every_changed_bit_of_a_note_is_noticed() {
        let note = key().sign("a\nb\n");
        assert_eq!(key().verifier().open(&note), Ok("a\nb\n"));
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut bytes = note.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                assert!(key().verifier().open(&changed).is_err(), "byte {at}, bit {bit}: {changed:?}");
            }
        }
    }

    #[test]
    fn signatures_of_others_do_not_matter() {
        let other = SigningKey::generate("other").unwrap();
        let (ours, theirs) = (key().sign("text\n"), other.sign("text\n"));
        let both = format!("{ours}{}", &theirs["text\n\n".len()..]);
        assert_eq!(key().verifier().open(&both), Ok("text\n"));
        assert_eq!(other.verifier().open(&both), Ok("text\n"));
        let unsigned = NoteError::Unsigned { name: "other".to_owned() };
        assert_eq!(other.verifier().open(&ours), Err(unsigned));
        let wrong = ours.replace("text", "tixt");
        assert!(matches!(key().verifier().open(&wrong), Err(NoteError::Signature { .. })));
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let dash = "\u{2014}";
        for bad in ["", "text\n", "text\n\n", "text\n\nname AAAA\n", &format!("text\n\n{dash} name\n")] {
            assert_eq!(key().verifier().open(bad), Err(NoteError::Note), "{bad:?}");
        }
        for bad in [format!("text\n\n{dash} name *\n"), key().sign("t\n").trim_end().to_owned()] {
            assert_eq!(key().verifier().open(&bad), Err(NoteError::Note), "{bad:?}");
        }
        let long = key().sign(&"x\n".repeat(NOTE_BYTES_MAX));
        assert_eq!(key().verifier().open(&long), Err(NoteError::Note));
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let key = key();
        assert_eq!(key.to_private_text().parse::<SigningKey>().unwrap().verifier(), key.verifier());
        let verifier = key.verifier().to_string();
        assert_eq!(verifier.replace("7Q4M", "7Q4N").parse::<VerifierKey>(), Err(NoteError::KeyHash));
        for bad in ["", "a", "a+b", "a+b+*", "a+00000000+AQ==", "a+00000000+"] {
            assert_eq!(bad.parse::<VerifierKey>(), Err(NoteError::VerifierKey), "{bad}");
            let private = format!("PRIVATE+KEY+{bad}").parse::<SigningKey>();
            assert_eq!(private.map(drop), Err(NoteError::PrivateKey), "{bad}");
        }
        assert_eq!(verifier.parse::<SigningKey>().map(drop), Err(NoteError::PrivateKey));
        let changed = key.to_private_text().replace("7Q4M", "7Q4N");
        assert_eq!(changed.parse::<SigningKey>().map(drop), Err(NoteError::KeyHash));
        for name in ["", "a b", "a+b", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert_eq!(SigningKey::generate(name).map(drop), Err(NoteError::Name), "{name}");
        }
    }

    #[test]
    fn private_key_is_in_no_message() {
        let shown = format!("{:?}", key());
        assert!(shown.contains("7Q4M2K9A") && !shown.contains("seed"), "{shown}");
    }
}

//! The forms of a secret's value that are looked for.

use super::views::View;
use crate::base64;
use crate::secrets::SECRET_BYTES_MIN;

/// Bytes of a line of a value that is looked for by itself. Those of keys have 64.
const LINE_BYTES_MIN: usize = 16;

/// One form of one secret's value.
pub(super) struct Needle {
    pub(super) bytes: Vec<u8>,
    /// Which secret it belongs to.
    pub(super) secret: usize,
    /// Whether it is a text of several lines, of which each that tells something is a form of its own.
    pub(super) has_lines: bool,
}

/// All forms of a value: itself, its lines, and both in Base64 and hexadecimal. Case does not count where they are
/// looked for.
pub(super) fn of(secret: usize, value: &str) -> impl Iterator<Item = Needle> {
    // Whatever takes a value, a header for example, may leave out the space around it.
    let value = Some(value.trim()).filter(|value| value.len() >= SECRET_BYTES_MIN).unwrap_or(value);
    let mut forms = Forms::default();
    forms.add(value.as_bytes());
    // As texts within JSON or a URL that are Base64 as a whole hold it.
    forms.add_encoded(json_escaped(value).as_bytes());
    forms.add_encoded(percent_encoded(value).as_bytes());
    // As a form or a query writes it; %XX is decoded when it is looked for.
    forms.plain(value.replace(' ', "+").into_bytes());
    latin_1(value).into_iter().for_each(|form| forms.plain(form));
    url_parts(value).for_each(|part| forms.add(part.as_bytes()));
    // A key of several lines may be told line by line, also one that stands within JSON.
    forms.add_lines(value);
    View::plain(value.as_bytes()).decoded(false, |view| {
        if let Ok(text) = std::str::from_utf8(view.bytes()) {
            forms.add_lines(text);
        }
    });
    forms.into_needles(secret)
}

/// Forms, and whether each is a text of several lines.
#[derive(Default)]
struct Forms(Vec<(Vec<u8>, bool)>);

impl Forms {
    fn plain(&mut self, form: Vec<u8>) {
        let has_lines = form.contains(&b'\n');
        self.0.push((form, has_lines));
    }

    fn add(&mut self, value: &[u8]) {
        self.plain(value.to_vec());
        self.add_encoded(value);
    }

    fn add_encoded(&mut self, value: &[u8]) {
        for before in 0..3 {
            let form = base64_core(value, before);
            let url_safe = form.replace('+', "-").replace('/', "_");
            [form, url_safe].into_iter().for_each(|form| self.plain(form.into_bytes()));
        }
        let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
        self.plain(value.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect());
    }

    /// The lines of a value of several. Lines with spaces are words, such as -----BEGIN PRIVATE KEY.
    fn add_lines(&mut self, value: &str) {
        if !value.contains('\n') {
            return;
        }
        let lines = value.lines().map(str::trim);
        lines
            .filter(|line| line.len() >= LINE_BYTES_MIN && !line.contains(char::is_whitespace))
            .for_each(|line| self.add(line.as_bytes()));
        // As a view has it that puts lines together.
        let joined: String = value.lines().map(str::trim).collect();
        self.0.push((joined.into_bytes(), true));
    }

    fn into_needles(mut self, secret: usize) -> impl Iterator<Item = Needle> {
        self.0.sort();
        self.0.dedup_by(|(form, _), (before, _)| form == before);
        self.0.into_iter().map(move |(bytes, has_lines)| Needle { bytes, secret, has_lines })
    }
}

/// What becomes of a URL on its way: a server gets path and query alone and says them again, a client the password.
fn url_parts(value: &str) -> impl Iterator<Item = &str> {
    let whole = value.split_once("://").map_or("", |(_, rest)| rest);
    let whole = whole.split('#').next().unwrap_or_default();
    let (authority, target) = whole.split_at(whole.find(['/', '?']).unwrap_or(whole.len()));
    let path = target.split('?').next().unwrap_or_default();
    let password =
        authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).map(|(_, word)| word);
    let long = [target, path].into_iter().filter(|part| part.len() >= LINE_BYTES_MIN);
    long.chain(password.filter(|word| word.len() >= SECRET_BYTES_MIN))
}

/// The characters of Base64 that depend on nothing but `value` when it stands behind `before` bytes (modulo 3).
fn base64_core(value: &[u8], before: usize) -> String {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(value);
    let encoded = base64::encode(&bytes);
    encoded[(8 * before).div_ceil(6)..8 * bytes.len() / 6].to_owned()
}

fn json_escaped(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// One byte for each character, if it has others than ASCII and that can be.
fn latin_1(value: &str) -> Option<Vec<u8>> {
    if value.is_ascii() {
        return None;
    }
    value.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}

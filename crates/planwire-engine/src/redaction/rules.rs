//! What is redacted although nobody named its value: values under key names, known tokens, variables of the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::secrets::{SECRET_NAME_BYTES_MAX, SecretsError, is_name, marker};

/// Key names of one engine.
pub const KEYS_MAX: usize = 100;

/// Names of members whose values are secrets wherever they stand, unless others are configured. They are compared
/// without case, `-`, `_`, `.` and spaces, and as a whole: `next_page_token` and `input_tokens` are none of them.
pub const KEYS: [&str; 28] = [
    "access_key",
    "access_token",
    "api_key",
    "api_token",
    "auth_token",
    "authorization",
    "bearer_token",
    "client_secret",
    "connection_string",
    "cookie",
    "credentials",
    "id_token",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "proxy_authorization",
    "refresh_token",
    "secret",
    "secret_access_key",
    "secret_key",
    "session_token",
    "set_cookie",
    "signing_key",
    "token",
    "x_api_key",
    "x_auth_token",
    "x_csrf_token",
];

/// Variables of the environment that are looked for.
pub const VARIABLES_MAX: usize = 100;
/// Bytes of a value of a variable that is looked for; a shorter one may be a word, a longer one is no token.
pub const VARIABLE_BYTES_MIN: usize = 8;
/// Most bytes of a value of a variable that is looked for.
pub const VARIABLE_BYTES_MAX: usize = 4 * 1024;
/// Bytes from which on a value is looked for that has letters only: shorter ones are words, such as `postgres`.
const LETTERS_BYTES_MIN: usize = 16;

/// Endings of names of variables that hold keys.
const ENDINGS: [&str; 8] =
    ["TOKEN", "SECRET", "_KEY", "APIKEY", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIALS"];

/// What is redacted although nobody named its value. `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Names of members whose values are replaced, at most [`KEYS_MAX`]. Standard: [`KEYS`].
    pub keys: Vec<String>,
    /// Whether tokens are replaced that are known by their form: [`KINDS`](super::KINDS). Standard: they are.
    pub patterns: bool,
    /// Variables whose values are replaced, as secrets that no document can name. Standard: none.
    pub variables: BTreeMap<String, String>,
}

impl Rules {
    /// Nothing but the values of secrets is replaced.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// What holds unless something else is said: [`KEYS`] and patterns.
    #[must_use]
    pub fn standard() -> Self {
        Self { keys: KEYS.map(str::to_owned).to_vec(), patterns: true, variables: BTreeMap::new() }
    }

    /// Looks for the values of those variables too whose names say that they hold keys, at most [`VARIABLES_MAX`].
    ///
    /// Left out are values of less than [`VARIABLE_BYTES_MIN`] or more than [`VARIABLE_BYTES_MAX`] bytes, words,
    /// numbers, and paths of files that are there: they would be found in texts that have nothing to do with them.
    #[must_use]
    pub fn with_environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let keys = variables.into_iter().filter(|(name, value)| is_key_variable(name) && is_token(value));
        self.variables = keys.take(VARIABLES_MAX).collect();
        self
    }

    /// The key names as they are compared, each with what takes the place of a value.
    pub(super) fn markers_of_keys(&self) -> Result<BTreeMap<String, String>, SecretsError> {
        if self.keys.len() > KEYS_MAX {
            return Err(SecretsError::TooManyKeys);
        }
        let known = |name: &String| match is_key(name) {
            true => Ok((normal(name), marker(name))),
            false => Err(SecretsError::Key { name: name.clone() }),
        };
        self.keys.iter().map(known).collect()
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<_> = self.variables.keys().collect();
        let mut debug = f.debug_struct("Rules");
        debug
            .field("keys", &self.keys)
            .field("patterns", &self.patterns)
            .field("variables", &variables)
            .finish()
    }
}

/// Whether a text can be a key name: letters, digits, `-`, `_` and `.`, at most 64.
#[must_use]
pub fn is_key(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.len() <= SECRET_NAME_BYTES_MAX && name.bytes().all(fits) && !normal(name).is_empty()
}

/// A name as it is compared.
pub(super) fn normal(name: &str) -> String {
    let counts = |letter: &char| !matches!(letter, '-' | '_' | '.' | ' ');
    name.chars().filter(counts).map(|letter| letter.to_ascii_lowercase()).collect()
}

fn is_key_variable(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    is_name(name) && ENDINGS.iter().any(|ending| upper.ends_with(ending))
}

fn is_token(value: &str) -> bool {
    let value = value.trim();
    let has = |is_it: fn(&u8) -> bool| value.as_bytes().iter().any(is_it);
    let has_letters = has(u8::is_ascii_alphabetic);
    let is_word = !has(|byte| !byte.is_ascii_alphabetic()) && value.len() < LETTERS_BYTES_MIN;
    (VARIABLE_BYTES_MIN..=VARIABLE_BYTES_MAX).contains(&value.len())
        && has_letters
        && !is_word
        && !(value.starts_with('/') && Path::new(value).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_taken_that_hold_keys_and_no_words() {
        let given = [
            ("GITHUB_TOKEN", "tok-4f9a81c2"),
            ("DEPLOY_KEY", "abcdefghijklmnop"),
            ("db_password", "pass word 1"),
            ("PGPASSWORD", "postgres"),
            ("MAX_TOKEN", "20261129"),
            ("SHORT_TOKEN", "a1"),
            ("KEYBOARD", "layout-1234"),
            ("SSH_KEY", "/etc/hosts"),
            ("A-TOKEN", "tok-4f9a81c2"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let rules = Rules::standard().with_environment(given);
        let names: Vec<_> = rules.variables.keys().map(String::as_str).collect();
        assert_eq!(names, ["DEPLOY_KEY", "GITHUB_TOKEN", "db_password"]);
        assert!(!format!("{rules:?}").contains("4f9a"));
        let many = (0..=VARIABLES_MAX).map(|at| (format!("A{at}_TOKEN"), format!("value-{at:04}")));
        assert_eq!(Rules::none().with_environment(many).variables.len(), VARIABLES_MAX);
    }

    #[test]
    fn key_names_are_compared_by_their_letters() {
        assert_eq!(normal("X-Api.Key_ "), "xapikey");
        assert!(
            is_key("Set-Cookie") && !is_key("") && !is_key("-_") && !is_key("a*") && !is_key(&"a".repeat(65))
        );
        let of = |keys: Vec<String>| Rules { keys, ..Rules::none() }.markers_of_keys();
        assert_eq!(of(vec!["a b".to_owned()]), Err(SecretsError::Key { name: "a b".to_owned() }));
        assert_eq!(of(vec!["a".to_owned(); KEYS_MAX + 1]), Err(SecretsError::TooManyKeys));
        let mut standard: Vec<_> = KEYS.iter().map(|key| normal(key)).collect();
        standard.dedup();
        assert_eq!(standard.len(), KEYS.len());
    }
}

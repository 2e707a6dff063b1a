//! Secrets by reference: documents name them, tools get their values, events never do.
//!
//! A document says `secret("NAME")` in the `with` of a tool step. The event of the call has a marker in its place; the
//! value is put in ([`slots`]) when the call begins, and nowhere else. What tools give back goes through
//! [`Redactor`] before it becomes an event. The secret inputs of a plan are secrets of its tree, named `inputs.NAME`,
//! as long as the process that it was started in runs it. **Invariant:** no value of a secret is in an event, an error
//! or a `Debug` text.

pub(crate) mod slots;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use crate::redaction::{KEYS_MAX, NEEDLES_BYTES_MAX, Redactor, Rules};

/// Secrets of one engine.
pub const SECRETS_MAX: usize = 100;
/// Bytes of a secret's name.
pub const SECRET_NAME_BYTES_MAX: usize = 64;
/// Bytes that a value must have at least, without the space around it: shorter ones would be found in texts that do not hold them.
pub const SECRET_BYTES_MIN: usize = 6;
/// Bytes of a value: the largest keys in text form are shorter.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;
/// What stands before the name of an input that is a secret. No name of a configured one has a dot.
const INPUT_PREFIX: &str = "inputs.";
/// Bytes of what stands between the stars of a marker.
pub(crate) const MARKER_NAME_BYTES_MAX: usize = INPUT_PREFIX.len() + SECRET_NAME_BYTES_MAX;

/// The values of secrets by name, and what else is redacted. Cheap to clone; `Debug` shows names only.
///
/// ```
/// use planwire_engine::Secrets;
///
/// let secrets = Secrets::new([("TOKEN".to_owned(), "ghp_16C7e42F292c6912E7".to_owned())]).unwrap();
/// assert_eq!(format!("{secrets:?}"), r#"{"TOKEN"}"#);
/// assert_eq!(secrets.redactor().text("token=ghp_16C7e42F292c6912E7;"), "token=***TOKEN***;");
/// ```
#[derive(Clone)]
pub struct Secrets {
    values: Arc<BTreeMap<String, String>>,
    rules: Arc<Rules>,
    redactor: Redactor,
}

/// Why values cannot serve as secrets. Says names and lengths, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// The name is none.
    #[error(
        "'{}' is no name of a secret: letters, digits and _, at most {SECRET_NAME_BYTES_MAX}, no digit first",
        name.escape_debug()
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Two secrets have the same name.
    #[error("the secret {name} is given twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// The value is too short to be told from other texts.
    #[error("the value of secret {name} has {len_bytes} bytes, fewer than {SECRET_BYTES_MIN}")]
    TooShort {
        /// The name.
        name: String,
        /// Bytes of the value.
        len_bytes: usize,
    },
    /// The value is too long.
    #[error("the value of secret {name} has {len_bytes} bytes, more than {SECRET_BYTES_MAX}")]
    TooLong {
        /// The name.
        name: String,
        /// Bytes of the value.
        len_bytes: usize,
    },
    /// There are too many.
    #[error("more than {SECRETS_MAX} secrets")]
    TooMany,
    /// The value is part of what stands in its place, so that it would be found for ever.
    #[error("the value of secret {name} is part of the markers that stand for secrets")]
    InMarker {
        /// The name.
        name: String,
    },
    /// There are too many key names.
    #[error("more than {KEYS_MAX} key names")]
    TooManyKeys,
    /// A key name is none.
    #[error(
        "'{}' is no key name: letters, digits, -, _ and ., at most {SECRET_NAME_BYTES_MAX}",
        name.escape_debug()
    )]
    Key {
        /// The name.
        name: String,
    },
    /// The values, in all forms that are looked for, are too large together.
    #[error(
        "the secrets have {len_bytes} bytes in all forms that are looked for, more than {NEEDLES_BYTES_MAX}"
    )]
    TooLarge {
        /// Bytes of all forms.
        len_bytes: usize,
    },
}

impl Secrets {
    /// No secrets. What looks like one is redacted all the same, see [`Secrets::with_rules`].
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Takes names and values. A line break at the end of a value, as files have it, is not part of it. What looks like
    /// a secret is redacted by [`Rules::standard`].
    ///
    /// # Errors
    ///
    /// [`SecretsError`] for the first name or value that cannot serve.
    pub fn new(given: impl IntoIterator<Item = (String, String)>) -> Result<Self, SecretsError> {
        let mut values = BTreeMap::new();
        for (name, value) in given {
            if !is_name(&name) {
                return Err(SecretsError::Name { name });
            }
            let value = value_of(&name, &value)?;
            if values.insert(name.clone(), value).is_some() {
                return Err(SecretsError::Twice { name });
            }
        }
        if values.len() > SECRETS_MAX {
            return Err(SecretsError::TooMany);
        }
        let rules = Rules::standard();
        let redactor = Redactor::new(&values, &BTreeSet::new(), &rules)?;
        Ok(Self { values: Arc::new(values), rules: Arc::new(rules), redactor })
    }

    /// The same secrets, with other rules for what is redacted although nobody named it.
    ///
    /// # Errors
    ///
    /// [`SecretsError::Key`] or [`SecretsError::TooManyKeys`], if the key names cannot serve.
    pub fn with_rules(self, rules: &Rules) -> Result<Self, SecretsError> {
        let redactor = Redactor::new(&self.values, &BTreeSet::new(), rules)?;
        Ok(Self { rules: Arc::new(rules.clone()), redactor, ..self })
    }

    /// The same secrets, and secret inputs of a plan by their names. One without a value, which is not known any more,
    /// is in no call; its markers stay what they are.
    pub(crate) fn with_inputs<'a>(
        &self,
        inputs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, SecretsError> {
        let (mut values, mut lost) = ((*self.values).clone(), BTreeSet::new());
        for (input, value) in inputs {
            let name = name_of_input(input);
            match value {
                Some(value) => drop(values.insert(name.clone(), value_of(&name, value)?)),
                None => drop(lost.insert(name)),
            }
        }
        let redactor = Redactor::new(&values, &lost, &self.rules)?;
        Ok(Self { values: Arc::new(values), rules: Arc::clone(&self.rules), redactor })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Whether there is a secret of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// What finds the values in texts.
    #[must_use]
    pub const fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// The value, for a call that is about to begin.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

impl Default for Secrets {
    fn default() -> Self {
        static NONE: LazyLock<Secrets> =
            LazyLock::new(|| Secrets::new([]).expect("no values and the standard rules can serve"));
        NONE.clone()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// What stands around a name in a text where something was removed.
pub(crate) const MARK: &str = "***";

/// What stands in a text for the value of a secret.
pub(crate) fn marker(name: &str) -> String {
    format!("{MARK}{name}{MARK}")
}

/// The name of an input as that of a secret.
pub(crate) fn name_of_input(input: &str) -> String {
    format!("{INPUT_PREFIX}{input}")
}

/// The input that a name of a secret means; none, if it is that of a configured one.
pub(crate) fn input_of(name: &str) -> Option<&str> {
    name.strip_prefix(INPUT_PREFIX)
}

/// A value as it is kept, if it can be told from other texts.
fn value_of(name: &str, value: &str) -> Result<String, SecretsError> {
    let value = value.trim_end_matches(['\r', '\n']);
    // The space around it counts for nothing: it may be lost on the way.
    let len_bytes = value.trim().len();
    if len_bytes < SECRET_BYTES_MIN {
        return Err(SecretsError::TooShort { name: name.to_owned(), len_bytes });
    }
    if value.len() > SECRET_BYTES_MAX {
        return Err(SecretsError::TooLong { name: name.to_owned(), len_bytes: value.len() });
    }
    Ok(value.to_owned())
}

/// Whether a text can name a configured secret.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= SECRET_NAME_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str, value: &str) -> Result<Secrets, SecretsError> {
        Secrets::new([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn values_that_cannot_be_kept_are_refused() {
        assert!(matches!(made("A-B", "abcdef"), Err(SecretsError::Name { .. })));
        assert!(matches!(made("1A", "abcdef"), Err(SecretsError::Name { .. })));
        assert!(matches!(made("", "abcdef"), Err(SecretsError::Name { .. })));
        assert!(matches!(made("A", "abcde\n"), Err(SecretsError::TooShort { len_bytes: 5, .. })));
        assert!(matches!(made("A", "\tabcde "), Err(SecretsError::TooShort { len_bytes: 5, .. })));
        let long = "x".repeat(SECRET_BYTES_MAX + 1);
        assert!(matches!(made("A", &long), Err(SecretsError::TooLong { .. })));
        assert!(matches!(made("TOKEN", "*TOKEN*"), Err(SecretsError::InMarker { .. })));
        let twice = ["abcdef", "ghijkl"].map(|value| ("A".to_owned(), value.to_owned()));
        assert!(matches!(Secrets::new(twice), Err(SecretsError::Twice { .. })));
        let line = "+/ab".repeat(16);
        let key = [line.as_str(); 240].join("\n");
        let large = (0..SECRETS_MAX).map(|at| (format!("A{at}"), format!("{key}{at:02}")));
        assert!(matches!(Secrets::new(large), Err(SecretsError::TooLarge { .. })));
        let many = (0..=SECRETS_MAX).map(|at| (format!("A{at}"), format!("value-{at:04}")));
        assert!(matches!(Secrets::new(many), Err(SecretsError::TooMany)));
    }

    #[test]
    fn no_debug_text_and_no_message_holds_a_value() {
        let secrets = made("TOKEN", "correct horse\n").unwrap();
        assert_eq!(secrets.value("TOKEN"), Some("correct horse"));
        assert_eq!(secrets.names().collect::<Vec<_>>(), ["TOKEN"]);
        assert!(secrets.contains("TOKEN") && !secrets.contains("OTHER") && !secrets.is_empty());
        for text in [format!("{secrets:?}"), format!("{:?}", secrets.redactor())] {
            assert!(!text.contains("horse"), "{text}");
        }
        let error = made("TOKEN", "short").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("short"));
    }
}

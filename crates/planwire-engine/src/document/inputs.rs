//! Inputs of a plan: what it is started with, checked against what its document asks for.

use std::path::Path;

use serde_json::{Map, Value};

use super::diagnostic::{did_you_mean, quoted};
use super::keys::INPUT_TYPES;
use super::model::{Document, Input, InputKind};
use crate::redaction::Redactor;

/// Why a plan cannot be started with these inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The document asks for no such input.
    #[error("plan '{plan}' has no input {}{}", quoted(name), hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
    Unknown {
        /// The plan.
        plan: String,
        /// The input that was given.
        name: String,
        /// A name that is near, or all names.
        hint: Option<String>,
    },
    /// An input without default was not given.
    #[error("plan '{plan}' needs the input '{name}' ({wanted})")]
    Missing {
        /// The plan.
        plan: String,
        /// The input that is missing.
        name: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// The value has another type.
    #[error("input '{name}' must be {wanted}, not {}", quoted(given))]
    Type {
        /// The input.
        name: String,
        /// What it must be.
        wanted: &'static str,
        /// What was given.
        given: String,
    },
    /// It is secret, and what was given for it is no text.
    #[error("the secret input '{name}' must be a text")]
    SecretType {
        /// The input.
        name: String,
    },
    /// By its name it is a secret, whose value no event may have, and so no plan.
    #[error(
        "input '{name}' has the name of a secret, so no event may have its value: let the document declare it with \
         secret: true, configure the value as a secret and write ${{secret('NAME')}} where it is used, or take the name \
         from engine.redaction.keys"
    )]
    NamedSecret {
        /// The input.
        name: String,
    },
    /// A path cannot be made absolute, since the working folder is no text.
    #[error("input '{name}' cannot be made an absolute path: the working folder is not UTF-8")]
    Folder {
        /// The input.
        name: String,
    },
}

impl InputKind {
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let kinds = [Self::String, Self::Int, Self::Number, Self::Bool, Self::Path, Self::List, Self::Object];
        INPUT_TYPES.iter().position(|known| *known == name).map(|at| kinds[at])
    }

    /// The name of the type in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => INPUT_TYPES[0],
            Self::Int => INPUT_TYPES[1],
            Self::Number => INPUT_TYPES[2],
            Self::Bool => INPUT_TYPES[3],
            Self::Path => INPUT_TYPES[4],
            Self::List => INPUT_TYPES[5],
            Self::Object => INPUT_TYPES[6],
        }
    }

    /// What a value of this type is, for messages.
    #[must_use]
    pub const fn wanted(self) -> &'static str {
        match self {
            Self::String => "a text",
            Self::Int => "a whole number",
            Self::Number => "a number",
            Self::Bool => "true or false",
            Self::Path => "a path",
            Self::List => "a list",
            Self::Object => "a mapping",
        }
    }

    /// Whether `value` has this type.
    #[must_use]
    pub fn accepts(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Int => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Bool => value.is_boolean(),
            Self::Path => value.as_str().is_some_and(|path| !path.is_empty() && !path.contains('\0')),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

impl Input {
    /// Reads a value as it is given on a command line: texts and paths as they are, everything else as JSON.
    ///
    /// # Errors
    ///
    /// [`InputError::Type`] if the text is no value of this input's type.
    pub fn read_text(&self, text: &str) -> Result<Value, InputError> {
        let value = match self.kind {
            InputKind::String | InputKind::Path => Some(Value::String(text.to_owned())),
            _ => serde_json::from_str(text.trim()).ok(),
        };
        value.filter(|value| self.kind.accepts(value)).ok_or_else(|| self.type_error(text))
    }

    fn type_error(&self, given: &str) -> InputError {
        if self.secret {
            return InputError::SecretType { name: self.name.clone() };
        }
        InputError::Type { name: self.name.clone(), wanted: self.kind.wanted(), given: given.to_owned() }
    }
}

impl Document {
    /// The inputs that the plan runs with: those given and the defaults of the others; paths absolute.
    ///
    /// Relative paths are seen from `working_folder`, which must be absolute.
    ///
    /// # Errors
    ///
    /// [`InputError`] for the first input that is unknown, missing or of another type.
    pub fn check_inputs(
        &self,
        given: &Map<String, Value>,
        working_folder: &Path,
    ) -> Result<Map<String, Value>, InputError> {
        for name in given.keys() {
            self.input(name)?;
        }
        let mut checked = Map::new();
        for input in &self.inputs {
            let Some(value) = given.get(&input.name).or(input.default.as_ref()) else {
                let (plan, name) = (self.name.clone(), input.name.clone());
                return Err(InputError::Missing { plan, name, wanted: input.kind.wanted() });
            };
            if !input.kind.accepts(value) {
                return Err(input.type_error(&value.to_string()));
            }
            let value = match (input.kind, value) {
                (InputKind::Path, Value::String(path)) => absolute(input, path, working_folder)?,
                (_, value) => value.clone(),
            };
            checked.insert(input.name.clone(), value);
        }
        Ok(checked)
    }

    /// Reads inputs given as `name=value` texts; to be checked by [`Document::check_inputs`].
    ///
    /// # Errors
    ///
    /// [`InputError`] for the first input that is unknown or of another type.
    pub fn read_inputs<'a>(
        &self,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Map<String, Value>, InputError> {
        let read =
            pairs.into_iter().map(|(name, text)| Ok((name.to_owned(), self.input(name)?.read_text(text)?)));
        read.collect()
    }

    fn input(&self, name: &str) -> Result<&Input, InputError> {
        self.inputs.iter().find(|input| input.name == name).ok_or_else(|| InputError::Unknown {
            plan: self.name.clone(),
            name: name.to_owned(),
            hint: did_you_mean(name, self.inputs.iter().map(|input| input.name.as_str()), "inputs"),
        })
    }
}

/// The first input that a plan cannot run with, since its event would have a marker in its place.
pub(crate) fn named_like_secrets(
    redactor: &Redactor,
    document: &Document,
    inputs: &Map<String, Value>,
) -> Option<InputError> {
    let is_said = |value: &Value| !matches!(value, Value::Null | Value::Bool(_)) && value != "";
    let is_meant = |name: &str| document.secret_inputs().any(|secret| secret == name);
    let mut named = inputs
        .iter()
        .filter(|(name, value)| redactor.names_a_secret(name) && is_said(value) && !is_meant(name));
    named.next().map(|(name, _)| InputError::NamedSecret { name: name.clone() })
}

/// The path seen from the folder, without `.` in it; links are not followed.
fn absolute(input: &Input, path: &str, working_folder: &Path) -> Result<Value, InputError> {
    let joined: std::path::PathBuf = working_folder.join(path).components().collect();
    let text = joined.to_str().ok_or_else(|| InputError::Folder { name: input.name.clone() })?;
    Ok(Value::String(text.to_owned()))
}

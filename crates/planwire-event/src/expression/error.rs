//! Why an expression cannot be compiled or has no value, in our words.

use cel::ExecutionError;

use super::{COMPREHENSION_ITEMS_MAX, DEPTH_MAX, NODES_MAX, RESULT_BYTES_MAX, SOURCE_BYTES_MAX, WORK_MAX};

/// Why a source is no expression, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (line {line}, column {column} of the expression)")]
pub struct CompileError {
    /// What is wrong.
    pub kind: CompileErrorKind,
    /// Byte offset in the source.
    pub offset: usize,
    /// Line in the source, from 1.
    pub line: usize,
    /// Column in the source, in characters, from 1.
    pub column: usize,
}

impl CompileError {
    pub(super) fn at(kind: CompileErrorKind, source: &str, offset: usize) -> Self {
        let offset = source.floor_char_boundary(offset);
        let before = &source[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            kind,
            offset,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// What is wrong with a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileErrorKind {
    /// Nothing but white space.
    #[error("expression is empty")]
    Empty,
    /// Not CEL.
    #[error("not a CEL expression: {message}")]
    Syntax {
        /// What the parser met and what it expected.
        message: String,
    },
    /// A name that stands for nothing here.
    #[error("unknown variable '{name}'")]
    UnknownVariable {
        /// The name.
        name: String,
        /// The variables there are.
        known: Vec<String>,
    },
    /// A function or method that does not exist.
    #[error("unknown function '{name}'")]
    UnknownFunction {
        /// The name.
        name: String,
        /// The functions there are.
        known: Vec<String>,
    },
    /// A function that is called with too few or too many arguments.
    #[error("function '{name}' takes {expected}, not {given}")]
    Arguments {
        /// The function.
        name: String,
        /// How many it takes, in words.
        expected: &'static str,
        /// How many it was given, its target included.
        given: usize,
    },
    /// Part of CEL that is not offered.
    #[error("{what} is not supported")]
    Unsupported {
        /// Which part.
        what: String,
    },
    /// The source is too long.
    #[error("expression of {len_bytes} bytes exceeds the limit of {SOURCE_BYTES_MAX}")]
    TooLong {
        /// Bytes of the source.
        len_bytes: usize,
    },
    /// The tree has too many nodes.
    #[error("expression has more than {NODES_MAX} nodes")]
    TooManyNodes,
    /// The tree is nested too deeply.
    #[error("expression is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// Too many comprehensions.
    #[error("expression has more than {max} comprehensions (all, exists, exists_one, filter, map)")]
    TooManyComprehensions {
        /// How many are allowed.
        max: usize,
    },
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// A member that the value does not have.
    #[error("'{source_text}': there is no member '{key}'; ask with has() first if it may be missing")]
    NoSuchKey {
        /// The expression.
        source_text: String,
        /// The member.
        key: String,
    },
    /// A variable that was declared but not given.
    #[error("'{source_text}': the variable '{name}' has no value here")]
    NoVariable {
        /// The expression.
        source_text: String,
        /// The variable.
        name: String,
    },
    /// An operation that fails on these values.
    #[error("'{source_text}': {message}")]
    Failed {
        /// The expression.
        source_text: String,
        /// What failed.
        message: String,
    },
    /// A result that JSON does not have, such as an infinite number.
    #[error("'{source_text}': the result is no JSON value: {what}")]
    NotJson {
        /// The expression.
        source_text: String,
        /// What the result is.
        what: String,
    },
    /// The result is too large.
    #[error("'{source_text}': the result exceeds the limit of {RESULT_BYTES_MAX} bytes")]
    ResultTooLarge {
        /// The expression.
        source_text: String,
    },
    /// A comprehension over too many items.
    #[error("'{source_text}': {len} items exceed the limit of {COMPREHENSION_ITEMS_MAX} for a comprehension")]
    TooManyItems {
        /// The expression.
        source_text: String,
        /// Items of the list or map.
        len: usize,
    },
    /// The evaluation would take too long.
    #[error("'{source_text}': evaluation exceeds the limit of {WORK_MAX} values touched")]
    TooMuchWork {
        /// The expression.
        source_text: String,
    },
}

/// Bytes of a source or message that an error repeats.
const EXCERPT_CHARS_MAX: usize = 200;

pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}..", &text[..at]),
    }
}

/// Puts an error of the crate into our words, without the values that it would print in full.
pub(super) fn of_execution(source: &str, error: &ExecutionError) -> EvaluateError {
    let source_text = excerpt(source);
    let message = match error {
        ExecutionError::NoSuchKey(key) => {
            return EvaluateError::NoSuchKey { source_text, key: excerpt(key) };
        }
        ExecutionError::NoSuchOverload(overload) => {
            let types = overload.argument_types().join(", ");
            format!("{} does not take ({types})", operator_name(overload.function()))
        }
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "remainder by zero".to_owned(),
        ExecutionError::Overflow(..) => "the number does not fit 64 bits".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "the index is outside of the list".to_owned(),
        ExecutionError::UnexpectedType { got, want } => format!("expected {want}, got {got}"),
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            let (left, right) = (left.type_of(), right.type_of());
            format!("{} does not take ({left}, {right})", operator_name(operator))
        }
        other => excerpt(&other.to_string()),
    };
    EvaluateError::Failed { source_text, message }
}

/// `_+_` is written `+` by people.
pub(super) fn operator_name(function: &str) -> String {
    match function.trim_start_matches('@').trim_matches('_') {
        "[_]" => "an index".to_owned(),
        "?_:" => "a choice (?:)".to_owned(),
        "." => "a member access".to_owned(),
        "add" => "'+'".to_owned(),
        "sub" => "'-'".to_owned(),
        "mul" => "'*'".to_owned(),
        "div" => "'/'".to_owned(),
        "rem" => "'%'".to_owned(),
        name => format!("'{name}'"),
    }
}

//! CEL within bounds: the expressions of plan documents and filters.
//!
//! An [`Expression`] is compiled once and evaluated often. Its source, its nodes, its depth and its comprehensions are
//! counted when it is compiled; what an evaluation may touch is counted while it runs, since the crate `cel` has no
//! budget of its own. There is no clock and no randomness, and maps are walked in the order of their keys.
//! **Invariant:** equal variables give equal values, and a panic of the crate never leaves this module.
//!
//! - `compile`: from source to a checked tree; what it refers to.
//! - `evaluate`: JSON in, JSON out, within the budget.
//! - `error`: why not, in our words.

mod compile;
mod error;
mod evaluate;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

pub use error::{CompileError, CompileErrorKind, EvaluateError};
use evaluate::Needs;

/// Bytes of an expression's source.
pub const SOURCE_BYTES_MAX: usize = 4 * 1024;
/// Nodes of an expression, those included that a comprehension stands for.
pub const NODES_MAX: usize = 200;
/// Nesting of an expression.
pub const DEPTH_MAX: usize = 32;
/// Items of one list or map that a comprehension walks.
pub const COMPREHENSION_ITEMS_MAX: usize = 10_000;
/// What the comprehensions of one evaluation may touch: 1 for each value, and 1 more for each 64 bytes of a text.
pub const WORK_MAX: u64 = 1_000_000;
/// Bytes of a result as JSON.
pub const RESULT_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(COMPREHENSION_ITEMS_MAX as u64 <= WORK_MAX);

/// What the extensions bring beyond the functions that [`compile`] lists stays out of reach.
static ENV: LazyLock<Arc<cel::Env>> = LazyLock::new(|| {
    let mut env = cel::Env::stdlib().with_optional_support(false);
    for extension in [cel::extensions::strings, cel::extensions::lists] {
        env.add_extension(extension).expect("no name of an extension is taken");
    }
    Arc::new(env)
});

/// What kind of expression is compiled: how many comprehensions it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Tells for each event whether a reader wants it: one comprehension.
    Filter,
    /// Part of a plan document, evaluated once per step: four comprehensions, which may be nested.
    Document,
}

impl Purpose {
    /// Comprehensions that an expression of this kind may have.
    #[must_use]
    pub const fn comprehensions_max(self) -> usize {
        match self {
            Self::Filter => 1,
            Self::Document => 4,
        }
    }
}

/// A compiled expression; cheap to clone.
///
/// ```
/// use planwire_event::expression::{Expression, Purpose, Variables};
///
/// let expression = Expression::compile("steps.list.ok ? 'go' : 'stop'", &["steps"], Purpose::Document).unwrap();
/// let steps = serde_json::json!({"list": {"ok": true}});
/// let value = expression.evaluate(&Variables::new().with("steps", &steps)).unwrap();
/// assert_eq!(value, "go");
/// ```
#[derive(Clone)]
pub struct Expression(Arc<Inner>);

struct Inner {
    source: String,
    tree: cel::parser::Expression,
    references: Vec<Reference>,
    results: Vec<(String, usize)>,
    needs: Needs,
    budgeted: bool,
}

/// A variable that an expression reads, with the members named after it: `steps.list.output` or `steps["list"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The variable, then each member.
    pub path: Vec<String>,
    /// Byte offset of the variable in the source.
    pub offset: usize,
}

/// The variables of an evaluation, borrowed from their owner. Only what an expression names is converted.
#[derive(Clone, Debug, Default)]
pub struct Variables<'a>(BTreeMap<&'a str, &'a Value>);

impl<'a> Variables<'a> {
    /// No variables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a variable.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: &'a Value) -> Self {
        self.set(name, value);
        self
    }

    /// Adds or replaces a variable.
    pub fn set(&mut self, name: &'a str, value: &'a Value) {
        self.0.insert(name, value);
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).copied()
    }
}

impl Expression {
    /// Compiles `source`, which may read `variables` and nothing else.
    ///
    /// # Errors
    ///
    /// [`CompileError`] says what is wrong and where in the source; unknown variables and functions are found here.
    pub fn compile(source: &str, variables: &[&str], purpose: Purpose) -> Result<Self, CompileError> {
        compile::compile(source, variables, purpose).map(|inner| Self(Arc::new(inner)))
    }

    /// The value of the expression.
    ///
    /// # Errors
    ///
    /// [`EvaluateError`] names the member that is missing, the types that do not fit, or the limit that is exceeded.
    pub fn evaluate(&self, variables: &Variables<'_>) -> Result<Value, EvaluateError> {
        evaluate::evaluate(&self.0, variables)
    }

    /// The source.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// What the expression reads, in the order of the source; loop variables are not among it.
    #[must_use]
    pub fn references(&self) -> &[Reference] {
        &self.0.references
    }

    /// The texts that the expression gives literally, alone or as branches of `?:`, with their byte offsets.
    #[must_use]
    pub fn literal_results(&self) -> &[(String, usize)] {
        &self.0.results
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({})", self.source())
    }
}

#[cfg(test)]
#[path = "expression/tests.rs"]
mod tests;

//! Promises of expressions.

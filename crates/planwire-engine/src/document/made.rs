//! Documents that are made at run time: what a step gave, read as a plan.
//!
//! Whoever made it, a model or a program, is trusted less than the author of a file: it names no files and no secrets,
//! and what is wrong with it is an error of the step that wanted to start it.

use std::fmt::Write as _;

use serde_json::Value;

use super::diagnostic::Diagnostics;
use super::model::{Document, Resolved};
use super::resolve::Folder;
use crate::tool_set::ToolSet;

/// Problems of one document that an error tells.
pub(crate) const PROBLEMS_TOLD_MAX: usize = 5;

/// Why a value is no plan that may be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MadeError {
    /// It is neither an object nor a text.
    #[error("a plan is an object, or a text in YAML or JSON, not {0}")]
    NoDocument(&'static str),
    /// It is not sound.
    #[error("{}", told(.0))]
    Unsound(Diagnostics),
    /// It names secrets.
    #[error("it names the secret '{0}'; only plans that are written may use secrets")]
    NamesSecret(String),
    /// It has a secret input.
    #[error("its input '{0}' is secret, so it cannot run as a subplan")]
    SecretInput(String),
}

/// Reads what step `step` gave as a document, which may call `tools`.
pub(crate) fn read(value: &Value, step: &str, tools: &ToolSet) -> Result<Resolved, MadeError> {
    let text = match value {
        Value::String(text) => text.clone(),
        // As a text, so that problems have places and the limits of files hold.
        Value::Object(_) => format!("{value:#}"),
        Value::Null => return Err(MadeError::NoDocument("null")),
        Value::Bool(_) => return Err(MadeError::NoDocument("true or false")),
        Value::Number(_) => return Err(MadeError::NoDocument("a number")),
        Value::Array(_) => return Err(MadeError::NoDocument("a list")),
    };
    let name = format!("plan of step '{step}'");
    let made = Document::parse_with(&text, &name, Folder::None, tools).map_err(MadeError::Unsound)?;
    if let Some(input) = made.document.secret_inputs().next() {
        return Err(MadeError::SecretInput(input.to_owned()));
    }
    match made.document.secrets().first() {
        Some(secret) => Err(MadeError::NamesSecret((*secret).to_owned())),
        None => Ok(made),
    }
}

/// The first problems, in one line each.
fn told(found: &Diagnostics) -> String {
    let problems = found.list();
    let mut told = String::new();
    for problem in problems.iter().take(PROBLEMS_TOLD_MAX) {
        let separator = if told.is_empty() { "" } else { "; " };
        // Writing into a String cannot fail.
        let _ = write!(told, "{separator}line {}: {}", problem.line, problem.message);
        if let Some(hint) = &problem.hint {
            let _ = write!(told, " ({hint})");
        }
    }
    match problems.len().saturating_sub(PROBLEMS_TOLD_MAX) {
        0 => told,
        more => format!("{told}; and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(value: &Value) -> String {
        read(value, "planner", &ToolSet::standard()).unwrap_err().to_string()
    }

    #[test]
    fn object_and_text_give_the_same_document() {
        let object = json!({"plan": "made", "goal": "g", "steps": {"a": {"tool": "exec", "with": {"argv": ["echo"]}}}});
        let text = "plan: made\ngoal: g\nsteps: { a: { tool: exec, with: { argv: [echo] } } }";
        let tools = ToolSet::standard();
        let (of_object, of_text) = (read(&object, "s", &tools), read(&json!(text), "s", &tools));
        assert_eq!(of_object.unwrap().digest, of_text.unwrap().digest);
    }

    #[test]
    fn refusal_says_where_what_and_what_to_do() {
        assert_eq!(refused(&json!([1])), "a plan is an object, or a text in YAML or JSON, not a list");
        let told =
            refused(&json!("plan: made\ngoal: g\nsteps:\n  a: { tool: exce, with: { argv: [echo] } }"));
        assert_eq!(told, "line 4: unknown tool 'exce' (did you mean 'exec'?)");
        let steps: serde_json::Map<_, _> =
            (0..7).map(|at| (format!("s{at}"), json!({"tool": "none"}))).collect();
        let told = refused(&json!({"plan": "made", "goal": "g", "steps": steps}));
        assert!(told.ends_with("; and 2 more") && told.matches("unknown tool").count() == 5, "{told}");
    }

    #[test]
    fn made_documents_name_neither_files_nor_secrets() {
        let told = refused(&json!("plan: m\ngoal: g\nsteps: { a: { plan: ./other.yaml } }"));
        assert!(told.contains("cannot be read here"), "{told}");
        let secret = json!({"argv": ["echo", "${secret('TOKEN')}"]});
        let document = json!({"plan": "m", "goal": "g", "steps": {"a": {"tool": "exec", "with": secret}}});
        let told = refused(&document);
        assert_eq!(told, "it names the secret 'TOKEN'; only plans that are written may use secrets");
        let input = json!({"token": {"type": "string", "secret": true}});
        let document = json!({"plan": "m", "goal": "g", "inputs": input, "steps": {"a": {"tool": "exec", "with": {"argv": ["x"]}}}});
        assert_eq!(refused(&document), "its input 'token' is secret, so it cannot run as a subplan");
    }
}

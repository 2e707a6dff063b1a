//! `planwire check`: whether a plan document is sound, without running it.

use serde_json::json;

use crate::args::CheckArguments;
use crate::documents;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Paint, escape};

/// Checks a document.
///
/// # Errors
///
/// Exit code 2, with all problems and where they are.
pub(crate) fn check(arguments: &CheckArguments, output: Output) -> Result<Exit, Failure> {
    let named = documents::find(&arguments.plan)?;
    let (document, digest) = (&named.resolved.document, &named.resolved.digest);
    if output.json {
        let inputs: Vec<_> = document
            .inputs
            .iter()
            .map(|input| {
                let default = &input.default;
                json!({ "name": input.name, "type": input.kind.name(), "default": default })
            })
            .collect();
        output.json(&json!({
            "name": document.name,
            "goal": document.goal,
            "document_digest": digest,
            "steps": document.steps.len(),
            "inputs": inputs,
        }))?;
        return Ok(Exit::Completed);
    }
    let mark = output.style.paint(Paint::Good, "✔");
    output.line(&format!("{mark} {}: {}", escape(&document.name), escape(&document.goal)))?;
    output.line(&format!("  {} steps, digest {digest}", document.steps.len()))?;
    for input in &document.inputs {
        let default = match &input.default {
            Some(value) => format!("default {}", crate::output::cut(&value.to_string(), 60)),
            None => "required".to_owned(),
        };
        output.line(&format!("  input {} ({}, {})", input.name, input.kind.name(), escape(&default)))?;
    }
    Ok(Exit::Completed)
}

//! `planwire check`: whether a plan document is sound, without running it.

use std::path::Path;

use planwire_engine::ToolSet;
use planwire_engine::document::Document;
use planwire_engine::policy::Verdict;
use planwire_engine::policy::forecast::{Forecast, forecast};
use serde_json::json;

use crate::args::CheckArguments;
use crate::config::Settings;
use crate::documents;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Paint, counted, escape};

/// Checks a document.
///
/// # Errors
///
/// Exit code 2, with all problems and where they are.
pub(crate) fn check(
    arguments: &CheckArguments,
    settings: &Settings,
    output: Output,
) -> Result<Exit, Failure> {
    let named = documents::find(&arguments.plan, &settings.known_tools()?)?;
    let (document, digest) = (&named.resolved.document, &named.resolved.digest);
    let forecasts = arguments.policy.as_deref().map(|policy| forecasts(policy, document)).transpose()?;
    if output.json {
        let inputs: Vec<_> = document
            .inputs
            .iter()
            .map(|input| {
                let default = &input.default;
                let mut said = json!({ "name": input.name, "type": input.kind.name(), "default": default });
                if input.secret {
                    said["secret"] = json!(true);
                }
                said
            })
            .collect();
        let mut said = json!({
            "name": document.name,
            "goal": document.goal,
            "document_digest": digest,
            "steps": document.steps.len(),
            "inputs": inputs,
        });
        if let Some(forecasts) = forecasts {
            said["policy"] = forecasts.iter().map(forecast_value).collect();
        }
        output.json(&said)?;
        return Ok(Exit::Completed);
    }
    let mark = output.style.paint(Paint::Good, "✔");
    output.line(&format!("{mark} {}: {}", escape(&document.name), escape(&document.goal)))?;
    output.line(&format!("  {}, digest {digest}", counted(document.steps.len() as u64, "step")))?;
    for input in &document.inputs {
        let default = match &input.default {
            Some(value) => format!("default {}", crate::output::cut(&value.to_string(), 60)),
            None if input.secret => "secret, required".to_owned(),
            None => "required".to_owned(),
        };
        output.line(&format!("  input {} ({}, {})", input.name, input.kind.name(), escape(&default)))?;
    }
    for forecast in forecasts.into_iter().flatten() {
        let (own, received) = (told(&forecast.own), told(&forecast.received));
        let step = format!("  step {}, {}: ", escape(&forecast.step), escape(&forecast.tool));
        output.line(&if own == received {
            format!("{step}{}", escape(&own))
        } else {
            format!("{step}{}; from the network: {}", escape(&own), escape(&received))
        })?;
    }
    Ok(Exit::Completed)
}

fn forecasts(policy: &Path, document: &Document) -> Result<Vec<Forecast>, Failure> {
    let policy = crate::config::policy::read(policy)?;
    Ok(forecast(&policy, document, &ToolSet::standard(), &documents::working_folder()?))
}

fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Approve { rule } => format!("needs approval (rule '{rule}')"),
        Verdict::Deny { rule: Some(rule) } => format!("denied (rule '{rule}')"),
        Verdict::Deny { rule: None } => "denied (no rule allows it)".to_owned(),
        Verdict::Allow => "allowed".to_owned(),
    }
}

fn forecast_value(forecast: &Forecast) -> serde_json::Value {
    let value = |verdict: &Verdict| match verdict {
        Verdict::Approve { rule } => json!({ "verdict": "approve", "rule": rule }),
        Verdict::Deny { rule } => json!({ "verdict": "deny", "rule": rule }),
        Verdict::Allow => json!({ "verdict": "allow" }),
    };
    let (own, received) = (value(&forecast.own), value(&forecast.received));
    json!({ "step": forecast.step, "tool": forecast.tool, "own": own, "network": received })
}

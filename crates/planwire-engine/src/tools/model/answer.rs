//! What a model gave, checked against the options.

use std::time::Duration;

use planwire_event::vocabulary::Usage;
use serde::Deserialize;
use serde_json::{Value, json};

use super::request::Asked;
use super::{ModelConfig, Price, RETRY_AFTER_MAX, at, excerpt};
use crate::tool::{ToolError, ToolOutput};

/// What a server said.
pub(super) enum Reply<'a> {
    /// The body of a success.
    Body(&'a Value),
    /// It wants to be asked again after this time.
    Later(Duration),
}

impl<'a> Reply<'a> {
    /// Of what the tool `http` gave.
    pub(super) fn of(response: &'a Value) -> Result<Self, ToolError> {
        let status = at(response, "/status").as_u64().unwrap_or_default();
        let told = told(response);
        match status {
            200..=299 => match at(response, "/json") {
                Value::Object(_) => Ok(Self::Body(at(response, "/json"))),
                _ => Err(bad(format!("the server gave no JSON object{told}"))),
            },
            429 | 503 => match retry_after(response) {
                Some(pause) if pause <= RETRY_AFTER_MAX => Ok(Self::Later(pause)),
                _ if status == 429 => {
                    Err(ToolError::new("rate_limited", format!("the server takes no more for now{told}")))
                }
                _ => Err(unavailable(status, &told)),
            },
            400..=499 => {
                let message = format!("the server does not take the request: {status}{told}");
                Err(ToolError::new("model_rejected", message))
            }
            _ => Err(unavailable(status, &told)),
        }
    }
}

fn unavailable(status: u64, told: &str) -> ToolError {
    ToolError::new("model_unavailable", format!("the server cannot answer: {status}{told}"))
}

fn bad(message: String) -> ToolError {
    ToolError::new("bad_answer", message)
}

/// Seconds, as all servers of models write it.
fn retry_after(response: &Value) -> Option<Duration> {
    let seconds = at(response, "/headers/retry-after").as_str()?.trim().parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// What the server says of a failure, for a message.
fn told(response: &Value) -> String {
    let error = at(response, "/json/error/message").as_str().or_else(|| at(response, "/text").as_str());
    error.map(|text| format!(": {}", excerpt(text))).unwrap_or_default()
}

/// What a model must write.
#[derive(Deserialize)]
struct Choice {
    chosen: String,
    #[serde(default)]
    rationale: String,
    confidence: Option<f64>,
}

/// Reads the body of a completion: the option that was chosen and why, and what it used.
pub(super) fn read(asked: &Asked, config: &ModelConfig, body: &Value) -> Result<ToolOutput, ToolError> {
    let usage = usage_of(config, body);
    match choice_of(asked, body) {
        Ok(choice) => {
            let model = at(body, "/model").as_str().unwrap_or(&config.model);
            let mut value = json!({"chosen": choice.chosen, "rationale": choice.rationale, "model": model});
            if let Some(confidence) = choice.confidence {
                value["confidence"] = json!(confidence.clamp(0.0, 1.0));
            }
            Ok(ToolOutput { usage, ..value.into() })
        }
        Err(error) => Err(match usage {
            Some(usage) => error.with_usage(usage),
            None => error,
        }),
    }
}

fn choice_of(asked: &Asked, body: &Value) -> Result<Choice, ToolError> {
    let first = at(body, "/choices/0");
    if let Some(refusal) = at(first, "/message/refusal").as_str() {
        return Err(bad(format!("the model refuses to answer: {}", excerpt(refusal))));
    }
    let content = at(first, "/message/content").as_str();
    let content = content.ok_or_else(|| bad("the model gave no text".to_owned()))?;
    let choice: Choice = serde_json::from_str(content.trim()).map_err(|error| {
        let cut = match at(first, "/finish_reason").as_str() {
            Some("length") => ", which was cut at the most tokens that it may have",
            _ => "",
        };
        bad(format!("the model gave no choice ({error}) but{cut}: {}", excerpt(content)))
    })?;
    if !asked.options.contains_key(&choice.chosen) {
        let names: Vec<&str> = asked.options.keys().map(String::as_str).collect();
        let chosen = excerpt(&choice.chosen);
        return Err(bad(format!("the model chose '{chosen}', which is none of {}", names.join(", "))));
    }
    Ok(choice)
}

/// What the answer used, if the server says it.
fn usage_of(config: &ModelConfig, body: &Value) -> Option<Usage> {
    let input_tokens = at(body, "/usage/prompt_tokens").as_u64();
    let output_tokens = at(body, "/usage/completion_tokens").as_u64();
    let total_tokens = at(body, "/usage/total_tokens").as_u64();
    let sum = input_tokens.unwrap_or(0).saturating_add(output_tokens.unwrap_or(0));
    input_tokens.or(output_tokens).or(total_tokens)?;
    // Where nobody says which tokens they were, they count as the dearer ones.
    let unknown = total_tokens.filter(|_| input_tokens.or(output_tokens).is_none());
    let priced = |price: &Price| price.of(input_tokens.unwrap_or(0), output_tokens.or(unknown).unwrap_or(0));
    let cost = config.price.as_ref().map(priced);
    Some(Usage {
        input_tokens,
        output_tokens,
        total_tokens: total_tokens.filter(|total| *total != sum),
        cost,
        currency: config.price.as_ref().map(|price| price.currency.clone()),
        ..Usage::default()
    })
}

//! The decision engine: chooses by rule and says why. Publishes `DecisionMade`.
//!
//! A decision by rule is a pure function of its document and of what expressions see, so a run that is repeated from its
//! events decides the same. A decision by a model is what the model gave as the output of a call, which is an event.

use planwire_event::expression::Variables;
use planwire_event::vocabulary::{Alternative, DecidedBy, DecisionMade, DecisionOption};
use serde_json::Value;

use serde::Deserialize;

use crate::document::model::{Choice, Decision, ModelDecision};
use crate::failure::{StepFailure, text};
use crate::redaction::Redactor;

/// `decision_type` of a decision step.
pub const CHOICE: &str = "choice";
/// `decision_type` of the decision about a failed step.
pub const RECOVERY: &str = "recovery";

/// The id of the decision about a failed step, or about one failed item of it.
pub(crate) fn recovery_id(step: &str, item: Option<usize>) -> String {
    match item {
        Some(index) => format!("{step}-{index}-recovery"),
        None => format!("{step}-recovery"),
    }
}

/// The item that a decision about a failure is about; none if it is about its whole step.
pub(crate) fn item_of(made: &DecisionMade) -> Option<usize> {
    let about = made.decision_id.strip_prefix(&made.step)?.strip_suffix("-recovery")?;
    about.strip_prefix('-')?.parse().ok()
}

/// What is decided.
pub(crate) struct Question<'a> {
    pub(crate) decision: &'a Decision,
    pub(crate) decision_id: String,
    pub(crate) decision_type: &'static str,
    pub(crate) step: &'a str,
}

/// Decides by the rule of the document.
///
/// Fails if the rule or the rationale has no value, or the rule names no option.
pub(crate) fn decide(
    question: &Question<'_>,
    variables: &Variables<'_>,
    redactor: &Redactor,
) -> Result<DecisionMade, StepFailure> {
    let decision = question.decision;
    let value =
        decision.choose.evaluate(variables).map_err(|error| StepFailure::expression("choose", error))?;
    let chosen = chosen_of(decision, &value, redactor)?;
    let rationale = match &decision.rationale {
        Some(template) => match template.evaluate(variables)? {
            Value::String(text) => text,
            other => other.to_string(),
        },
        None => format!("`{}` gives '{chosen}'", decision.choose.source()),
    };
    let alternatives = decision.options.iter().filter(|option| option.name != chosen);
    Ok(DecisionMade {
        decision_id: question.decision_id.clone(),
        decision_type: question.decision_type.into(),
        step: question.step.into(),
        question: text(redactor, &decision.question),
        options: decision.options.iter().map(|option| option_of(option, redactor)).collect(),
        alternatives: alternatives
            .map(|option| alternative_of(decision, option, &chosen, redactor))
            .collect(),
        chosen,
        rationale: text(redactor, &rationale),
        confidence: None,
        decided_by: DecidedBy::Rule,
        output: None,
        error: None,
    })
}

/// What a model gave, as the output of the tool `model` says it.
#[derive(Deserialize)]
struct Given {
    chosen: String,
    #[serde(default)]
    rationale: String,
    confidence: Option<f64>,
}

/// The decision that a model made, of the output of its call.
///
/// Fails if it chose no option: the tool does not give that, but another in its place may.
pub(crate) fn by_model(
    step: &str,
    decision: &ModelDecision,
    output: &Value,
    redactor: &Redactor,
) -> Result<DecisionMade, StepFailure> {
    let bad = |why: String| StepFailure::new("bad_answer", why);
    let given =
        Given::deserialize(output).map_err(|error| bad(format!("the model gave no choice: {error}")))?;
    if !decision.options.iter().any(|option| option.name == given.chosen) {
        let chosen = text(redactor, &given.chosen);
        return Err(bad(format!("the model chose '{chosen}', which is no option")));
    }
    let confidence = given.confidence.filter(|confidence| (0.0..=1.0).contains(confidence));
    let made = made(step, decision, &given.chosen, "the model chose", redactor);
    Ok(DecisionMade {
        rationale: text(redactor, &given.rationale),
        confidence,
        decided_by: DecidedBy::Model,
        ..made
    })
}

/// The decision of the document where no model decided.
pub(crate) fn without_model(
    step: &str,
    decision: &ModelDecision,
    otherwise: &str,
    failure: StepFailure,
    redactor: &Redactor,
) -> DecisionMade {
    let rationale =
        format!("no model decided ({}), and the document says otherwise: {otherwise}", failure.code);
    let made = made(step, decision, otherwise, "the document says otherwise:", redactor);
    DecisionMade { rationale, error: Some(failure.into_failure(redactor, Some(step))), ..made }
}

/// A decision between the options of a model; `why` comes before the name that was chosen.
fn made(step: &str, decision: &ModelDecision, chosen: &str, why: &str, redactor: &Redactor) -> DecisionMade {
    let others = decision.options.iter().filter(|option| option.name != chosen);
    let reason = format!("{why} '{chosen}'");
    DecisionMade {
        decision_id: step.into(),
        decision_type: CHOICE.into(),
        step: step.into(),
        question: text(redactor, &decision.question),
        options: decision.options.iter().map(|option| option_of(option, redactor)).collect(),
        chosen: chosen.into(),
        alternatives: others
            .map(|option| Alternative { name: option.name.clone(), reason: reason.clone() })
            .collect(),
        rationale: String::new(),
        confidence: None,
        decided_by: DecidedBy::Rule,
        output: None,
        error: None,
    }
}

fn chosen_of(decision: &Decision, value: &Value, redactor: &Redactor) -> Result<String, StepFailure> {
    let name = value.as_str().filter(|name| decision.options.iter().any(|option| option.name == *name));
    name.map(Into::into).ok_or_else(|| {
        let names: Vec<_> = decision.options.iter().map(|option| option.name.as_str()).collect();
        let message = format!(
            "`{}` gives {}, which is none of the options {}",
            decision.choose.source(),
            text(redactor, &value.to_string()),
            names.join(", ")
        );
        StepFailure::new("bad_choice", message)
    })
}

fn option_of(choice: &Choice, redactor: &Redactor) -> DecisionOption {
    DecisionOption { name: choice.name.clone(), description: text(redactor, &choice.description) }
}

fn alternative_of(decision: &Decision, option: &Choice, chosen: &str, redactor: &Redactor) -> Alternative {
    let reason = format!("`{}` gives '{chosen}', not '{}'", decision.choose.source(), option.name);
    Alternative { name: option.name.clone(), reason: text(redactor, &reason) }
}

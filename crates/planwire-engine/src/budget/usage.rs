//! What a call may use, and what it says that it used.

use planwire_event::Cost;
use planwire_event::expression::Variables;
use planwire_event::vocabulary::{Object, Reserved, ToolCompleted, Usage};
use serde_json::Value;

use crate::document::model::ToolStep;
use crate::failure::StepFailure;
use crate::output::size;
use crate::template::Template;
use crate::tool_runner::INTERRUPTED;

/// Bytes of what a call says that it used, as JSON; of more, only what has a name of ours is kept.
pub(crate) const USAGE_BYTES_MAX: usize = 4096;
/// Bytes of the name of a currency in such a case.
const CURRENCY_BYTES_MAX: usize = 64;
const PROBLEM_CHARS_MAX: usize = 500;

/// Member of a usage that says why nobody knows it.
const PROBLEM: &str = "problem";

/// Codes of calls that were ended before they could say what they used.
const CUT_OFF: [&str; 3] = ["timed_out", "cancelled", INTERRUPTED];

/// What a step says that a call uses at most.
pub(crate) fn reserved(step: &ToolStep, variables: &Variables<'_>) -> Result<Reserved, StepFailure> {
    let Some(template) = &step.reserve else { return Ok(Reserved::default()) };
    let members = members_of(template, variables).map_err(|message| expression("reserve", &message))?;
    let tokens = member(&members, "tokens", whole).map_err(|message| expression("reserve", &message))?;
    let cost = member(&members, "cost", |value| Cost::of(value).map_err(|error| error.to_string()));
    Ok(Reserved { tokens, cost: cost.map_err(|message| expression("reserve", &message))? })
}

/// What a call that has ended used.
///
/// `said`: what its event says without that; `told`: what the tool said. What nobody knows counts as what was set aside; a
/// tool that failed by itself and says nothing used nothing.
pub(crate) fn used(
    step: &ToolStep,
    said: &ToolCompleted,
    told: Option<Usage>,
    reserved: Reserved,
    variables: Variables<'_>,
) -> Option<Usage> {
    let unknown = || (!reserved.is_empty()).then(|| reserved.as_usage());
    match (&said.error, &step.usage) {
        (None, Some(template)) => {
            let nothing = Value::Null;
            let output = said.output.as_ref().unwrap_or(&nothing);
            let usage = of_template(template, &variables.with("output", output));
            Some(usage.unwrap_or_else(|message| unreadable(reserved, message)))
        }
        (Some(error), _) if !CUT_OFF.contains(&error.code.as_str()) => told,
        _ => told.or_else(unknown),
    }
    .map(|usage| if size_of(&usage) > USAGE_BYTES_MAX { too_large(usage) } else { usage })
}

fn unreadable(reserved: Reserved, message: String) -> Usage {
    let mut usage = reserved.as_usage();
    usage.more.insert(PROBLEM.into(), message.chars().take(PROBLEM_CHARS_MAX).collect::<String>().into());
    usage
}

fn size_of(usage: &Usage) -> usize {
    serde_json::to_value(usage).map_or(usize::MAX, |value| size(&value))
}

fn too_large(mut usage: Usage) -> Usage {
    usage.more = Object::new();
    usage.currency = usage.currency.filter(|currency| currency.len() <= CURRENCY_BYTES_MAX);
    let problem = format!("more than {USAGE_BYTES_MAX} bytes; what has no name here was left out");
    usage.more.insert(PROBLEM.into(), problem.into());
    usage
}

fn of_template(template: &Template, variables: &Variables<'_>) -> Result<Usage, String> {
    let members = members_of(template, variables)?;
    for name in ["input_tokens", "output_tokens", "total_tokens"] {
        member(&members, name, whole)?;
    }
    member(&members, "cost", |value| Cost::of(value).map_err(|error| error.to_string()))?;
    Ok(Usage::from(members.into_iter().filter(|(_, value)| !value.is_null()).collect::<Object>()))
}

fn members_of(template: &Template, variables: &Variables<'_>) -> Result<Object, String> {
    match template.evaluate(variables).map_err(|error| error.to_string())? {
        Value::Object(members) => Ok(members),
        _ => Err("gives something else than an object".into()),
    }
}

/// A member, if it is given and not null.
fn member<T>(
    members: &Object,
    name: &str,
    read: impl Fn(&Value) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let value = members.get(name).filter(|value| !value.is_null());
    value.map(|value| read(value).map_err(|message| format!("{name}: {message}"))).transpose()
}

fn whole(value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| format!("{value} is no whole number"))
}

fn expression(what: &str, message: &str) -> StepFailure {
    StepFailure::expression(what, message)
}

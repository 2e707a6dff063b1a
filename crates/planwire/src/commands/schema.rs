//! `planwire schema`: JSON Schema of events and of plan documents.

use planwire_event::{EventType, schema};

use crate::args::SchemaArguments;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// The name under which the schema of plan documents is asked for.
const PLAN_DOCUMENT: &str = "plan";

/// Prints a schema.
///
/// # Errors
///
/// Exit code 2 if there is no such event type.
pub(crate) fn print(arguments: &SchemaArguments, output: Output) -> Result<Exit, Failure> {
    let schema = match arguments.name.as_deref() {
        None => schema::all(),
        Some(PLAN_DOCUMENT) => planwire_engine::document::schema(),
        Some(name) => {
            let event_type: EventType = name.parse().map_err(|error| {
                Failure::new(Exit::Usage, error)
                    .hint("`planwire schema plan` prints the schema of plan documents")
            })?;
            schema::of(&event_type)
        }
    };
    if output.json {
        output.json(&schema)?;
    } else {
        output.line(&format!("{schema:#}"))?;
    }
    Ok(Exit::Completed)
}

//! `planwire graph`: a plan document, or a plan as it ran, as a Mermaid flowchart.

use std::path::Path;
use std::sync::Arc;

use planwire_engine::document::Document;
use planwire_event::PlanId;
use planwire_event::state::TreeState;
use planwire_store::EventRepository;

use crate::args::GraphArguments;
use crate::commands::show::fold;
use crate::documents::{self, REGISTERED};
use crate::failure::{Exit, Failure};
use crate::graph::{Ran, of_document, of_plan};
use crate::output::Output;
use crate::place::Place;

/// Draws a document or a plan.
///
/// # Errors
///
/// Exit code 2 if the document has problems; if the log cannot be read, or has no such plan.
pub(crate) async fn graph(
    arguments: &GraphArguments,
    place: impl FnOnce() -> Result<Place, Failure>,
    output: Output,
) -> Result<Exit, Failure> {
    let name = &arguments.plan;
    let is_document = Path::new(name).is_file() || REGISTERED.contains(&name.as_str());
    let text = match name.parse::<PlanId>() {
        Ok(id) if !is_document => of_log(&id, &place()?).await?,
        _ => of_document(&documents::find_for_any_tools(name)?.resolved.document),
    };
    if output.json {
        output.json(&serde_json::json!({ "mermaid": text }))?;
    } else {
        output.line(text.trim_end())?;
    }
    Ok(Exit::Completed)
}

async fn of_log(id: &PlanId, place: &Place) -> Result<String, Failure> {
    let repository = place.require_reader()?;
    let (plan, view) = fold(repository.as_ref(), id, None).await?;
    let plan = plan.ok_or_else(|| {
        Failure::usage(format!("{id} is neither a plan document nor a plan of the log"))
            .hint("name a file, or a plan that `planwire plans` lists")
    })?;
    let mut ran = Ran::default();
    take_documents(repository.as_ref(), &view.tree, &mut ran).await?;
    Ok(of_plan(&plan, &ran))
}

/// The plans of a tree, and the documents that they have.
async fn take_documents(
    repository: &dyn EventRepository,
    tree: &TreeState,
    ran: &mut Ran,
) -> Result<(), Failure> {
    for plan in tree.plans() {
        ran.plans.insert(plan.plan_id.clone(), plan.clone());
        let Some(text) = plan.document_digest.clone().filter(|text| !ran.documents.contains_key(text)) else {
            continue;
        };
        let Ok(digest) = text.parse() else { continue };
        let body = repository.document(digest).await?;
        // One that a later release wrote is drawn from the events.
        if let Some(Ok(resolved)) = body.map(|body| Document::from_body(&body)) {
            ran.documents.insert(text, Arc::clone(&resolved.document));
        }
    }
    Ok(())
}

//! What a policy makes of a document, as far as its calls are written out.

use std::path::Path;

use planwire_event::expression::Variables;
use serde_json::Value;

use super::reach::Below;
use super::{Place, Policy, Source, Subject, Verdict};
use crate::document::Document;
use crate::document::model::{StepKind, ToolStep};
use crate::tool_set::ToolSet;

/// What becomes of the call of a step, if it is made at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The step, after the steps of the plans above it: `folders/list`.
    pub step: String,
    /// What it calls.
    pub tool: String,
    /// The verdict if the document is the operator's.
    pub own: Verdict,
    /// The verdict if it came over the network.
    pub received: Verdict,
}

/// Judges all calls of a document and of those inside it whose arguments hold no expression; relative paths start at
/// `folder`. Steps that call with other arguments are left out: only the run can tell.
#[must_use]
pub fn forecast(policy: &Policy, document: &Document, tools: &ToolSet, folder: &Path) -> Vec<Forecast> {
    let mut found = Vec::new();
    look(&Looking { policy, tools, folder }, document, "", &mut found);
    found
}

struct Looking<'a> {
    policy: &'a Policy,
    tools: &'a ToolSet,
    folder: &'a Path,
}

/// Depth is bounded by that of documents.
fn look(looking: &Looking<'_>, document: &Document, above: &str, found: &mut Vec<Forecast>) {
    for step in &document.steps {
        let name = format!("{above}{}", step.id);
        found.extend(step.kind.call().and_then(|tool| judged(looking, tool, name.clone())));
        // What is made at run time is judged then.
        if let StepKind::Subplan(subplan) = &step.kind
            && let Some(plan) = subplan.plan.written()
        {
            look(looking, &plan.document, &format!("{name}/"), found);
        }
    }
}

fn judged(looking: &Looking<'_>, step: &ToolStep, name: String) -> Option<Forecast> {
    let (mut secrets, mut expressions) = (0, 0);
    step.with.each_secret(&mut |_| secrets += 1);
    step.with.each_expression(&mut |_| expressions += 1);
    if secrets + expressions > 0 {
        return None;
    }
    let arguments = match step.with.evaluate(&Variables::default()).ok()? {
        Value::Object(arguments) => arguments,
        _ => Default::default(),
    };
    let reach = looking.tools.get(&step.tool)?.reach(&arguments, looking.folder);
    let folder = Place::at(looking.folder, Below::Nothing);
    let call = Subject { tool: &step.tool, arguments: &arguments, reach: &reach, folder: &folder };
    let verdict = |source| looking.policy.judge(source, &call);
    let (own, received) = (verdict(Source::Own), verdict(Source::Received));
    Some(Forecast { step: name, tool: step.tool.clone(), own, received })
}

//! `planwire run`: a plan from its start to its end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use planwire_event::PlanId;
use planwire_server::ServerConfig;

use crate::access::Access;
use crate::args::RunArguments;
use crate::config::Settings;
use crate::documents;
use crate::failure::{Exit, Failure};
use crate::output::{Output, escape};
use crate::place::Place;
use crate::signals::Signals;
use crate::watch::{Outcome, verdict};

/// Wherever there is room.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Runs a plan here, or asks the server that holds the log to run it.
///
/// # Errors
///
/// Exit code 2 if the document or its inputs are wrong.
pub(crate) async fn run(
    arguments: &RunArguments,
    settings: &Settings,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    let named = documents::find(&arguments.plan, &settings.known_tools()?)?;
    let inputs = documents::inputs(&named.resolved.document, &arguments.inputs)?;
    let document = named.source()?;
    let begin = async |access: &Access| {
        if let (Access::Server(_), Some(_)) = (access, &arguments.policy) {
            return Err(Failure::usage("the server that holds the log runs the plan, by its own policy")
                .hint("leave --policy out, or give it to `planwire serve`"));
        }
        access.start(document, inputs).await
    };
    until_end(settings, place, output, begin).await
}

/// Shows a plan that `begin` starts or goes on with, until it ends; says how it ended.
pub(super) async fn until_end(
    settings: &Settings,
    place: &Place,
    output: Output,
    begin: impl AsyncFnOnce(&Access) -> Result<PlanId, Failure>,
) -> Result<Exit, Failure> {
    let mut signals = Signals::catch()?;
    let output = output.going_on();
    let access = Access::open(place, settings).await?;
    // Others follow, cancel and start plans by it.
    let serving = match &access {
        Access::Here(house) => {
            let config = ServerConfig { listen: ANY_PORT, ..settings.server() };
            house.serve(config).await.map_err(unserved).ok()
        }
        Access::Server(_) => None,
    };
    let watched = async {
        let plan = begin(&access).await?;
        let outcome = access.watch(&plan, place, output, &mut signals).await?;
        access.wait_for_others(&outcome, &mut signals).await;
        Ok::<_, Failure>(outcome)
    };
    let outcome = watched.await;
    // A second signal does not wait for anybody.
    tokio::select! {
        () = access.end(serving) => {}
        _ = signals.next() => {}
    }
    let outcome = outcome?;
    if !output.json {
        report(&outcome, output)?;
    }
    Ok(outcome.exit())
}

/// The plan runs all the same.
fn unserved(failure: Failure) {
    tracing::warn!("other commands cannot reach this plan: {failure}");
}

fn report(outcome: &Outcome, output: Output) -> Result<(), Failure> {
    output.line(&verdict(outcome, output))?;
    for (name, value) in &outcome.outputs {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output.line(&format!("  {}: {}", escape(name), escape(&value)))?;
    }
    for artifact in &outcome.artifacts {
        output.line(&format!(
            "  artifact {}: planwire events --plan {} --type ArtifactProduced --json",
            escape(&artifact.name),
            outcome.plan_id
        ))?;
    }
    Ok(())
}

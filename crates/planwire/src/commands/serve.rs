//! `planwire serve`: the log over HTTP, until somebody ends it.

use std::collections::BTreeMap;
use std::time::Duration;

use planwire_bus::Health;
use planwire_engine::{EngineConfig, Recovered, Succession};
use planwire_server::ServerConfig;
use serde_json::json;

use crate::config::{Settings, environment};
use crate::documents;
use crate::failure::{Exit, Failure};
use crate::output::{Output, escape, tell};
use crate::place::Place;
use crate::signals::Signals;
use crate::wiring::{House, OpenPlans};

/// Milliseconds for which readers are answered after the log failed for good; then the restart decides.
pub(crate) const FATAL_DRAIN_MS: u64 = 10_000;

/// Serves until Ctrl-C or SIGTERM.
///
/// # Errors
///
/// Exit code 2 if a document or a route is broken, a secret is not there, or containment or sandbox of tools cannot be had; if the log cannot be opened or the address cannot be listened on; exit code 74 after the log failed for good.
pub(crate) async fn serve(settings: &Settings, place: &Place, output: Output) -> Result<Exit, Failure> {
    // What is wrong with documents and routes is said before anything is made.
    let engine = checked(settings)?;
    let facts = settings.facts().await?;
    let mut signals = Signals::catch()?;
    let mut house = House::open(place)?;
    house.start_engine(engine, Succession::Adopts).await?;
    // The log may be away by now; who asks for the end does not wait for it.
    let recovered = tokio::select! {
        recovered = house.recover() => Some(recovered?),
        _ = signals.next() => None,
    };
    let Some(recovered) = recovered else {
        house.end(None, OpenPlans::Left).await;
        return Ok(Exit::Completed);
    };
    let config = ServerConfig { facts: facts.clone(), ..settings.server() };
    let serving = match house.serve(config).await {
        Ok(serving) => serving,
        Err(failure) => {
            house.end(None, OpenPlans::Left).await;
            return Err(failure);
        }
    };
    greet(&serving.url(), &facts, place, recovered, output)?;
    let failed = tokio::select! {
        // Whoever asks for the end of a server whose log has failed is told so by the exit code.
        biased;
        health = house.bus.stopped() => Some(health),
        _ = signals.next() => None,
    };
    match &failed {
        None => farewell(house.open_trees()),
        Some(health) => drain(health, &mut signals).await,
    }
    // A second signal does not wait for anybody.
    tokio::select! {
        () = house.end(Some(serving), OpenPlans::Left) => {}
        _ = signals.next() => {}
    }
    Ok(if failed.is_some() { Exit::Storage } else { Exit::Completed })
}

/// What the engine is told, all of it checked: secrets, documents and routes.
///
/// # Errors
///
/// Exit code 2, with all problems and where they are.
pub(crate) fn checked(settings: &Settings) -> Result<EngineConfig, Failure> {
    let tools = settings.tools(&environment())?;
    let documents = documents::registered(settings.config.engine.plans.as_deref(), &tools)?;
    settings.check_routes(&documents)?;
    settings.engine(tools, documents)
}

fn greet(
    url: &str,
    facts: &BTreeMap<String, String>,
    place: &Place,
    recovered: Recovered,
    output: Output,
) -> Result<(), Failure> {
    if output.json {
        return output.json(&json!({
            "url": url,
            "data": place.folder(),
            "db": place.database_url().map(ToString::to_string),
            "pid": std::process::id(),
            "resumed": recovered.resumed,
            "facts": facts,
        }));
    }
    let log = escape(&place.name());
    let facts: Vec<_> = facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
    output.raw(&format!("planwire serves {log} at {url} ({})\n", facts.join(", ")))?;
    let of_open = [
        (recovered.resumed, "that go on"),
        (recovered.ended, "that cannot and were ended"),
        (recovered.waiting, "of which that is not known yet"),
    ];
    let of_open = of_open.iter().filter(|(plans, _)| *plans > 0);
    let of_open: Vec<_> = of_open.map(|(plans, what)| format!("{what}: {plans}")).collect();
    if of_open.is_empty() {
        return Ok(());
    }
    output.raw(&format!("open plans {}\n", of_open.join("; ")))
}

fn farewell(open: usize) {
    match open {
        0 => tell("planwire: ending"),
        open => tell(&format!("planwire: ending; open plans, which go on at the next start: {open}")),
    }
}

/// Answers readers a little longer after the log failed for good.
async fn drain(health: &Health, signals: &mut Signals) {
    let why = match health {
        Health::Failed { message } => message.as_str(),
        _ => "the log is closed",
    };
    tell(&format!("planwire: nothing can be stored any more: {why}"));
    tell(&format!("  hint: readers are answered for {} s more, then start again", FATAL_DRAIN_MS / 1_000));
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(FATAL_DRAIN_MS)) => {}
        _ = signals.next() => {}
    }
}

//! `planwire demo`: inspects a folder with the plan that comes with planwire, and shows all there is to see.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use planwire_event::vocabulary::{ArtifactPart, Object};
use planwire_event::{Digest, PlanId, PlanStatus};
use planwire_server::ServerConfig;
use serde_json::json;

use crate::access::Access;
use crate::args::DemoArguments;
use crate::config::Settings;
use crate::documents;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Paint, escape, tell};
use crate::place::Place;
use crate::signals::Signals;
use crate::watch::{Outcome, verdict};
use crate::wiring::{House, Serving};

/// The input of the plan that names the folder.
const FOLDER: &str = "folder";

/// Runs the demo. Beside another planwire it asks that one to run the plan, and ends with it.
///
/// # Errors
///
/// Exit code 2 if there is no such folder.
pub(crate) async fn demo(
    arguments: &DemoArguments,
    settings: &Settings,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    let folder = find_folder(&arguments.folder)?;
    let mut signals = Signals::catch()?;
    let output = output.going_on();
    let access = Access::open(place, settings).await?;
    let serving = match &access {
        Access::Here(house) => Some(serve(house, arguments.listen, settings.server()).await?),
        Access::Server(_) => None,
    };
    let shown = async {
        let plan = start(&access, &folder).await?;
        greet(&access, serving.as_ref(), &plan, &folder, output)?;
        let outcome = access.watch(&plan, place, output, &mut signals).await?;
        conclude(&outcome, place, output).await?;
        match serving.as_ref().filter(|_| !arguments.exit && outcome.status != PlanStatus::Open) {
            Some(serving) => stay(&access, serving, output, &mut signals).await?,
            None => access.wait_for_others(&outcome, &mut signals).await,
        }
        Ok(outcome.exit())
    };
    let exit = shown.await;
    // A second signal does not wait for anybody.
    tokio::select! {
        () = access.end(serving) => {}
        _ = signals.next() => {}
    }
    exit
}

/// Serves until somebody ends it.
async fn stay(
    access: &Access,
    serving: &Serving,
    output: Output,
    signals: &mut Signals,
) -> Result<(), Failure> {
    if !output.json {
        output.line(&format!("\nThe page and the streams stay at {} until Ctrl-C.", serving.url()))?;
    }
    let ended = async {
        signals.next().await;
        Ok(())
    };
    access.guarded(ended).await
}

/// The absolute path of a folder, as text, since inputs of plans are.
fn find_folder(folder: &Path) -> Result<String, Failure> {
    let name = folder.display();
    let absolute: PathBuf = folder
        .canonicalize()
        .map_err(|error| Failure::usage(error).context(format!("folder {name} cannot be inspected")))?;
    if !absolute.is_dir() {
        return Err(Failure::usage(format!("{name} is not a folder")).hint("name the folder that it lies in"));
    }
    absolute.into_os_string().into_string().map_err(|_| {
        Failure::usage(format!("the path of folder {name} is not UTF-8"))
            .hint("go there and run `planwire demo .`")
    })
}

/// Serves where it was asked to, else at the usual address, else where there is room.
async fn serve(house: &House, listen: Option<SocketAddr>, config: ServerConfig) -> Result<Serving, Failure> {
    if let Some(listen) = listen {
        return house.serve(ServerConfig { listen, ..config }).await;
    }
    match house.serve(config.clone()).await {
        Err(failure) if failure.exit == Exit::Failed => {
            let listen = SocketAddr::new(config.listen.ip(), 0);
            house.serve(ServerConfig { listen, ..config }).await
        }
        other => other,
    }
}

async fn start(access: &Access, folder: &str) -> Result<PlanId, Failure> {
    let document = documents::find_embedded(documents::REPO_REPORT)?;
    let inputs = Object::from_iter([(FOLDER.to_owned(), json!(folder))]);
    access.start(document.source()?, inputs).await
}

fn greet(
    access: &Access,
    serving: Option<&Serving>,
    plan: &PlanId,
    folder: &str,
    output: Output,
) -> Result<(), Failure> {
    if output.json {
        return Ok(());
    }
    let (url, who) = match access {
        Access::Server(client) => (client.url(), " (another planwire holds the log and runs the plan)"),
        Access::Here(_) => (serving.map(Serving::url).unwrap_or_default(), ""),
    };
    let strong = |text: &str| output.style.paint(Paint::Strong, text);
    output.line(&format!("Inspecting {}{who}", escape(folder)))?;
    output.line(&format!("  page    {}", strong(&format!("{url}/"))))?;
    output.line(&format!(
        "  stream  curl -N -H 'Accept: text/event-stream' '{url}/v1/plans/{plan}/events?tree=true'"
    ))?;
    output.line("")
}

/// Says how it went, and writes the report below the data place.
async fn conclude(outcome: &Outcome, place: &Place, output: Output) -> Result<(), Failure> {
    let report = match report_text(outcome, place).await? {
        Some(text) => Some(write(&text, &outcome.plan_id, place)?),
        None => None,
    };
    if output.json {
        return output.json(&json!({
            "plan_id": outcome.plan_id,
            "state": outcome.status.state(),
            "reason": outcome.status.reason(),
            "report": report,
        }));
    }
    output.line(&verdict(outcome, output))?;
    match report {
        Some(path) => {
            output.line(&format!("  report  {}", path.display()))?;
            output.line(&format!("  events  planwire events --tree --plan {}", outcome.plan_id))
        }
        None => {
            tell("planwire: there is no report, since the plan did not complete");
            Ok(())
        }
    }
}

async fn report_text(outcome: &Outcome, place: &Place) -> Result<Option<String>, Failure> {
    match outcome.artifacts.iter().map(|artifact| &artifact.part).next_back() {
        Some(ArtifactPart::Text(text)) => Ok(Some(text.clone())),
        Some(ArtifactPart::Blob { digest, .. }) => {
            let digest: Digest = digest.parse().map_err(Failure::failed)?;
            let repository = place.require_reader()?;
            let mut body = Vec::new();
            let mut chunks = 0..;
            while let Some(chunk) = repository.blob(digest, chunks.next().unwrap_or(u32::MAX)).await? {
                body.extend(chunk);
            }
            Ok(Some(String::from_utf8_lossy(&body).into_owned()))
        }
        _ => Ok(None),
    }
}

fn write(text: &str, plan: &PlanId, place: &Place) -> Result<PathBuf, Failure> {
    let folder = place.create_reports()?;
    let path = folder.join(format!("{plan}.md"));
    let unfinished = folder.join(format!(".{plan}.md"));
    let written = std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, &path));
    written.map_err(|error| Failure::failed(error).context(format!("failed to write {}", path.display())))?;
    Ok(path)
}

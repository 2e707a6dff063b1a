//! The tool runner: runs a tool within its time and says what came of it. Publishes `ToolCalled`, `ToolProgress` and
//! `ToolCompleted`.
//!
//! `ToolCalled` is durable before the tool runs. Between the two, the [policy](crate::policy) is asked: a call that it
//! denies ends there, and nothing was begun. A call that is asked to end gets [`STOP_GRACE`] to end what it
//! began; then it is dropped, which ends it at once. A tool that panics fails its call and nothing else.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use planwire_bus::Attachments;
use planwire_event::vocabulary::{Object, PROGRESS_CHARS_MAX, ToolCompleted, ToolProgress, Usage};
use planwire_event::{PlanId, Timestamp};
use tokio::time::{Instant, sleep, timeout};

use crate::failure::{failure, text_within};
use crate::output::fit;
use crate::policy::gate::Approval;
use crate::policy::reach::Below;
use crate::policy::{DENIED, Gate, Place, Source};
use crate::progress::{PROGRESS_PAUSE, Progress, Said};
use crate::redaction::{Edges, Redactor};
use crate::secrets::slots::Slots;
use crate::shared::{Shared, Tree};
use crate::stop::{Stop, StopReason, Stopper};
use crate::tool::{CallInfo, Parameters, Tool, ToolContext, ToolError, ToolOutput};

/// Time that a call which is asked to end may take for it.
pub const STOP_GRACE: Duration = Duration::from_secs(3);

/// Tool calls of one engine that run at a time; others wait, and their timeout has not begun.
pub const CALLS_MAX: usize = 64;

/// `code` of a call that ended with its executor.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// `code` of a call that has left something running that it cannot end.
pub(crate) const NOT_ENDED: &str = "not_ended";

/// Age of an acknowledgement beyond which the log is asked who owns the plan before a tool runs: the process may have
/// been stopped meanwhile, and another may have taken the plan over. Below the time after which one may.
pub const STALE_AFTER: Duration = Duration::from_secs(1);

const _: () = assert!(STALE_AFTER.as_millis() < crate::engine::GONE_AFTER_MIN.as_millis());

/// One call, as its `ToolCalled` says it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) plan_id: PlanId,
    pub(crate) root_plan_id: PlanId,
    pub(crate) call_id: String,
    pub(crate) step: String,
    pub(crate) tool: String,
    pub(crate) arguments: Object,
    /// Where the arguments hold secrets, which only the tool sees.
    pub(crate) slots: Slots,
    pub(crate) attempt: u32,
    /// Timestamp of its `ToolCalled`.
    pub(crate) called_at: Timestamp,
    pub(crate) timeout: Duration,
    /// Whose document asks for it.
    pub(crate) source: Source,
    /// Whether a person approved it with these arguments.
    pub(crate) approval: Approval,
    /// Not later than the log took its `ToolCalled`.
    pub(crate) announced: Instant,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) call: Call,
    pub(crate) result: Result<ToolOutput, ToolError>,
    pub(crate) duration_ms: u64,
}

impl Called {
    /// What the tool says that the call used.
    pub(crate) fn told_usage(&self) -> Option<Usage> {
        match &self.result {
            Ok(output) => output.usage.clone(),
            Err(error) => error.usage.as_deref().cloned(),
        }
    }

    /// What its event says.
    pub(crate) fn completed(self, redactor: &Redactor) -> ToolCompleted {
        let (output, error, truncated) = match self.result {
            Ok(output) => {
                let (value, cut) = fit(output.value);
                (Some(value), None, output.truncated || cut)
            }
            Err(error) => {
                let failure = failure(redactor, error.code, &error.message, Some(&self.call.step));
                (None, Some(failure), false)
            }
        };
        ToolCompleted {
            call_id: self.call.call_id,
            step: self.call.step,
            tool: self.call.tool,
            ok: error.is_none(),
            output,
            error,
            truncated,
            duration_ms: self.duration_ms,
            attempt: self.call.attempt,
            usage: None,
        }
    }
}

/// Runs a call whose `ToolCalled` is durable.
pub(crate) async fn run(shared: Arc<Shared>, tree: Arc<Tree>, call: Call, stop: Stop) -> Called {
    let result = AssertUnwindSafe(attempt(&shared, &tree, &call, &stop)).catch_unwind().await;
    let result = result
        .unwrap_or_else(|_| Err(ToolError::new("failed", format!("tool {} ended unexpectedly", call.tool))));
    let result = redacted(shared.secrets.redactor(), result);
    let duration_ms = shared.clock.now().millis_since(call.called_at);
    Called { call, result, duration_ms }
}

/// What a call gave, without values of secrets: before it is made to fit, so that no cut goes through one.
fn redacted(redactor: &Redactor, result: Result<ToolOutput, ToolError>) -> Result<ToolOutput, ToolError> {
    match result {
        Ok(mut output) => {
            redactor.value(&mut output.value, Edges::cut_end_if(output.truncated));
            Ok(output)
        }
        Err(error) => {
            let (code, message) = (redactor.text(&error.code).into(), redactor.text(&error.message).into());
            Err(ToolError { code, message, usage: error.usage })
        }
    }
}

async fn attempt(shared: &Shared, tree: &Tree, call: &Call, stop: &Stop) -> Result<ToolOutput, ToolError> {
    let Some(tool) = shared.tools.get(&call.tool) else {
        return Err(ToolError::new("unknown_tool", format!("there is no tool named {}", call.tool)));
    };
    let _permit = tokio::select! {
        biased;
        reason = stop.wait() => return Err(stopped(&reason)),
        permit = shared.calls.acquire() => permit,
    };
    if call.announced.elapsed() > STALE_AFTER {
        let is_ours = tokio::select! {
            biased;
            reason = stop.wait() => return Err(stopped(&reason)),
            is_ours = shared.owns(&call.plan_id) => is_ours,
        };
        if !is_ours {
            return Err(ToolError::new(INTERRUPTED, "another executor has taken the plan over"));
        }
    }
    let inner = Stopper::new();
    let arguments = call.slots.fill(call.arguments.clone(), &shared.secrets)?;
    let gate = admit(shared, &tool, &tree.folder, call, &arguments).await?;
    if let Parameters::Schema(schema) = tool.arguments() {
        ToolError::check(&schema, &arguments)?;
    }
    let (progress, said) = Progress::heard();
    let context = ToolContext { gate, ..context(shared, tree, call, inner.handle(), progress) };
    let mut running = tool.call(arguments, context);
    let (reason, error) = tokio::select! {
        biased;
        reason = stop.wait() => { let error = stopped(&reason); (reason, error) }
        result = &mut running => return result,
        () = sleep(call.timeout) => (StopReason::TimedOut, timed_out(call)),
        never = tell(shared, call, said) => match never {},
    };
    inner.stop(reason);
    // What it gives now comes too late, but that something is left has to be known, and so has what it used.
    Err(match timeout(STOP_GRACE, running).await {
        Ok(Err(left)) if left.code == NOT_ENDED => error.with_more(&left.message),
        Ok(Err(late)) => ToolError { usage: late.usage, ..error },
        Ok(Ok(_)) => error,
        Err(_) => error.with_more(&format!("it did not end within {STOP_GRACE:?} and was dropped")),
    })
}

/// Asks the policy about a call, whose arguments are those that the tool gets. Nothing of it has begun.
async fn admit(
    shared: &Shared,
    tool: &Arc<dyn Tool>,
    folder: &Path,
    call: &Call,
    arguments: &Object,
) -> Result<Gate, ToolError> {
    if shared.policy.is_open(call.source) {
        return Ok(Gate::default());
    }
    let (tool, known, folder) = (Arc::clone(tool), arguments.clone(), folder.to_path_buf());
    // Looks at files, which may lie far away.
    let found = tokio::task::spawn_blocking(move || {
        (tool.reach(&known, &folder), Place::at(&folder, Below::Nothing))
    });
    let (reach, folder) = found
        .await
        .map_err(|_| ToolError::new(DENIED, "it cannot be found out what the call would touch"))?;
    let gate = Gate::of(&shared.policy, call.source, call.approval, &call.tool, arguments, folder);
    gate.admit(&reach).map(|()| gate)
}

fn context(shared: &Shared, tree: &Tree, call: &Call, stop: Stop, progress: Progress) -> ToolContext {
    let info = CallInfo {
        plan_id: Some(call.plan_id.clone()),
        root_plan_id: Some(call.root_plan_id.clone()),
        step: call.step.clone(),
        call_id: call.call_id.clone(),
        attempt: call.attempt,
    };
    let redactor = shared.secrets.redactor().clone();
    let keep = tree.keep.clone();
    ToolContext {
        call: info,
        progress,
        keep,
        ..ToolContext::new(&*tree.folder, stop).with_redactor(redactor)
    }
}

/// Publishes what a call says of its progress, until it is dropped: what was not sent to the log by then never is.
async fn tell(shared: &Shared, call: &Call, mut said: Said) -> Infallible {
    loop {
        let text = text_within(shared.secrets.redactor(), &said.next().await, PROGRESS_CHARS_MAX);
        let progress = ToolProgress { call_id: call.call_id.clone(), text };
        if let Ok(event) = shared.event(&call.plan_id, &progress)
            && let Err(error) = shared.publish(vec![event], Attachments::default()).await
        {
            tracing::debug!(plan = %call.plan_id, %error, "progress of a tool was not taken");
        }
        sleep(PROGRESS_PAUSE).await;
    }
}

fn timed_out(call: &Call) -> ToolError {
    ToolError::new("timed_out", format!("{} took longer than {:?}", call.tool, call.timeout))
}

fn stopped(reason: &StopReason) -> ToolError {
    match reason {
        StopReason::Interrupted(why) => ToolError::new(INTERRUPTED, format!("the executor ended: {why}")),
        StopReason::Cancelled { .. } | StopReason::TimedOut | StopReason::ParentEnds(_) => {
            ToolError::stopped()
        }
    }
}

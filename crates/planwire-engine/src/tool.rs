//! What a tool is: the trait that all tools implement, those of this crate and those of others.
//!
//! A [`Tool`] does one thing outside of the log when a step asks for it. It knows nothing of events: the tool runner
//! publishes before and after, and what the tool says of its progress meanwhile. **Invariant:** once a call has
//! returned or was dropped, nothing that it began goes on, except for what it gave to [`ToolContext::keep`].

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use planwire_event::arguments::ArgumentSchema;
use planwire_event::vocabulary::{Object, Usage};
use planwire_event::{Digest, PlanId};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::keep::Keep;
use crate::policy::{Gate, Reach};
use crate::progress::Progress;
use crate::redaction::Redactor;
use crate::stop::Stop;

/// Something that a step can call.
///
/// A tool is added to a [`ToolSet`](crate::ToolSet), which an [`EngineConfig`](crate::EngineConfig) names. It may be
/// called by many plans at a time. `examples/own_tool.rs` of this crate is a whole program with one.
///
/// What the engine does around a call:
///
/// - It checks the arguments against [`Tool::arguments`], and has `ToolCalled` on disk before the call begins.
/// - It gives the values of secrets where the document names them, and takes them out of all that comes back: outputs,
///   errors, progress.
/// - It asks for the end by [`ToolContext::stop`] when the step's time is over or the plan ends, waits
///   [`STOP_GRACE`](crate::tool_runner::STOP_GRACE), then drops the future. What comes back later counts for nothing.
/// - It cuts an output beyond [`TOOL_OUTPUT_BYTES_MAX`](crate::output::TOOL_OUTPUT_BYTES_MAX). A panic fails the call
///   and nothing else.
/// - After a crash it calls again only if the step says `idempotent: true`, with the same `call_id`.
pub trait Tool: Send + Sync {
    /// Its name in documents and events, such as `file.list`. Always the same.
    fn name(&self) -> &str;

    /// What it does, in one line for people.
    fn purpose(&self) -> &str;

    /// The arguments that it takes.
    fn arguments(&self) -> Parameters;

    /// Whether its calls say what they used, as tokens or cost. Below a limit of those, a call that does and reserves
    /// nothing takes all that is left until it ends. Default: they do not.
    fn reports_usage(&self) -> bool {
        false
    }

    /// What a call would touch outside of the log, where relative paths start at the absolute `folder`. The
    /// [policy](crate::policy) judges by it, before the call. A tool that says nothing is judged by its name and its
    /// arguments alone.
    fn reach(&self, arguments: &Object, folder: &Path) -> Reach {
        let _ = (arguments, folder);
        Reach::default()
    }

    /// Does it.
    ///
    /// Dropping the future gives the call up at once. A call that is asked to end by [`ToolContext::stop`] ends what
    /// it began and returns [`ToolError::stopped`].
    ///
    /// # Errors
    ///
    /// [`ToolError`] with a code that documents can decide by.
    fn call(&self, arguments: Object, context: ToolContext) -> BoxFuture<'_, Result<ToolOutput, ToolError>>;
}

/// The arguments that a tool takes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Parameters {
    /// These and no others: a document that gives others, or lacks one, is refused before it runs. The tool reads the
    /// values.
    Listed(Cow<'static, [Argument]>),
    /// What fits this JSON Schema: as far as it names arguments a document is checked before it runs, and the values
    /// before each call, which fails with `bad_argument` if they do not fit.
    Schema(ArgumentSchema),
    /// Nobody knows before the call; the tool checks them before it does anything.
    Unknown,
}

impl Parameters {
    /// These and no others.
    #[must_use]
    pub const fn listed(listed: &'static [Argument]) -> Self {
        Self::Listed(Cow::Borrowed(listed))
    }

    /// The names that a document may give; `None`: any.
    #[must_use]
    pub fn names(&self) -> Option<Vec<&str>> {
        match self {
            Self::Listed(listed) => Some(listed.iter().map(|argument| &*argument.name).collect()),
            Self::Schema(schema) => schema.names(),
            Self::Unknown => None,
        }
    }

    /// The names that a document must give, and what each is for.
    #[must_use]
    pub fn required(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Listed(listed) => {
                let required = listed.iter().filter(|argument| argument.required);
                required.map(|argument| (&*argument.name, &*argument.purpose)).collect()
            }
            Self::Schema(schema) => schema.required().map(|name| (name, "")).collect(),
            Self::Unknown => Vec::new(),
        }
    }
}

/// One argument of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name in `with`.
    pub name: Cow<'static, str>,
    /// Its type, for people: `text`, `list of texts` ...
    pub kind: Cow<'static, str>,
    /// Whether a call without it fails.
    pub required: bool,
    /// What it does, in one line.
    pub purpose: Cow<'static, str>,
}

impl Argument {
    /// An argument that every call must give.
    #[must_use]
    pub const fn required(name: &'static str, kind: &'static str, purpose: &'static str) -> Self {
        let (name, kind, purpose) = (Cow::Borrowed(name), Cow::Borrowed(kind), Cow::Borrowed(purpose));
        Self { name, kind, required: true, purpose }
    }

    /// An argument that may be left out.
    #[must_use]
    pub const fn optional(name: &'static str, kind: &'static str, purpose: &'static str) -> Self {
        let (name, kind, purpose) = (Cow::Borrowed(name), Cow::Borrowed(kind), Cow::Borrowed(purpose));
        Self { name, kind, required: false, purpose }
    }
}

/// What a call may use of its surroundings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ToolContext {
    /// Relative paths start here. Absolute.
    pub folder: PathBuf,
    /// Says when the call should end.
    pub stop: Stop,
    /// Replaces values of secrets. All that a call gives back goes through it; a tool that cuts a text does it before.
    pub redactor: Redactor,
    /// Is asked before the call touches what [`Tool::reach`] could not know, as where a redirect leads.
    pub gate: Gate,
    /// Which call this is.
    pub call: CallInfo,
    /// Says how far the call is.
    pub progress: Progress,
    /// Keeps what is to last longer than the call: as long as the tree of its plan runs.
    pub keep: Keep,
}

impl ToolContext {
    /// The surroundings of a call that no plan makes, such as one in a test: without secrets, and nobody hears of its
    /// progress.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, stop: Stop) -> Self {
        Self {
            folder: folder.into(),
            stop,
            redactor: Redactor::default(),
            call: CallInfo::default(),
            gate: Gate::default(),
            progress: Progress::default(),
            keep: Keep::default(),
        }
    }

    /// The same with something that replaces values of secrets.
    #[must_use]
    pub fn with_redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }
}

/// Which call a tool is called for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallInfo {
    /// The plan that calls; none outside of an engine.
    pub plan_id: Option<PlanId>,
    /// The root of its tree.
    pub root_plan_id: Option<PlanId>,
    /// The step that calls.
    pub step: String,
    /// The call, as its events name it. The same when it is made again after a crash.
    pub call_id: String,
    /// 1, 2, 3 ...
    pub attempt: u32,
}

impl CallInfo {
    /// The W3C `traceparent` of the call, for what it asks of others; none outside of an engine.
    ///
    /// It is made of the names that the log has too, so that anybody can find the trace of a plan, and a plan that is
    /// taken up after a crash goes on with its own: the trace is the first 16 bytes of the SHA-256 of the root's id,
    /// the span the first 8 of the SHA-256 of `<plan id>/<call id>`.
    ///
    /// ```
    /// use planwire_engine::tool::CallInfo;
    /// assert_eq!(CallInfo::default().traceparent(), None);
    /// ```
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        let (plan, root) = (self.plan_id.as_ref()?, self.root_plan_id.as_ref()?);
        let trace = Digest::of(root.as_str().as_bytes()).to_string();
        let span = Digest::of(format!("{plan}/{}", self.call_id).as_bytes()).to_string();
        Some(format!("00-{}-{}-01", trace.get(..32)?, span.get(..16)?))
    }
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolOutput {
    /// The output as steps see it.
    pub value: Value,
    /// Whether the tool left something out of it.
    pub truncated: bool,
    /// What the call used, if the tool knows.
    pub usage: Option<Usage>,
}

impl ToolOutput {
    /// An output of which something may have been left out.
    #[must_use]
    pub const fn cut(value: Value, truncated: bool) -> Self {
        Self { value, truncated, usage: None }
    }
}

impl From<Value> for ToolOutput {
    fn from(value: Value) -> Self {
        Self::cut(value, false)
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ToolError {
    /// Short and stable, for programs: `not_found`, `exit_status` ...
    pub code: String,
    /// For people.
    pub message: String,
    /// What the call used all the same, if the tool knows.
    pub usage: Option<Box<Usage>>,
}

impl ToolError {
    /// Makes an error of its code and message.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), usage: None }
    }

    /// Says what the call used although it failed.
    #[must_use]
    pub fn with_usage(self, usage: Usage) -> Self {
        Self { usage: Some(Box::new(usage)), ..self }
    }

    /// The call was asked to end and did.
    #[must_use]
    pub fn stopped() -> Self {
        Self::new("cancelled", "the call was ended before it was done")
    }

    /// The same, with more to say.
    pub(crate) fn with_more(self, more: &str) -> Self {
        Self { message: format!("{}; {more}", self.message), ..self }
    }

    /// An argument is missing, of the wrong type or without sense.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new("bad_argument", message)
    }

    /// Parameters do not fit the schema of their tool; nothing if they do.
    ///
    /// # Errors
    ///
    /// `bad_argument`, with the place of each misfit as a JSON Pointer.
    pub fn check(schema: &ArgumentSchema, arguments: &Object) -> Result<(), Self> {
        let errors = schema.check(arguments.clone());
        if errors.is_empty() {
            return Ok(());
        }
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Err(Self::argument(told.join("; ")))
    }
}

/// Reads the arguments of a call as `T`.
pub(crate) fn read_arguments<T: DeserializeOwned>(arguments: Object) -> Result<T, ToolError> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| ToolError::argument(error.to_string()))
}

impl fmt::Debug for dyn Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tool").field(&self.name()).finish()
    }
}

impl<T: Tool + ?Sized> Tool for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn purpose(&self) -> &str {
        (**self).purpose()
    }

    fn arguments(&self) -> Parameters {
        (**self).arguments()
    }

    fn reports_usage(&self) -> bool {
        (**self).reports_usage()
    }

    fn reach(&self, arguments: &Object, folder: &Path) -> Reach {
        (**self).reach(arguments, folder)
    }

    fn call(&self, arguments: Object, context: ToolContext) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        (**self).call(arguments, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_is_made_of_the_names_that_the_log_has() {
        let plan = |id: &str| Some(id.parse::<PlanId>().unwrap());
        let call = CallInfo {
            plan_id: plan("child"),
            root_plan_id: plan("root"),
            call_id: "list-1".into(),
            ..CallInfo::default()
        };
        let traceparent = call.traceparent().unwrap();
        // printf root | sha256sum; printf child/list-1 | sha256sum
        let root = Digest::of(b"root").to_string();
        assert_eq!(traceparent.len(), 55);
        assert_eq!(traceparent.get(3..35), root.get(..32));
        let other = CallInfo { call_id: "list-2".into(), ..call.clone() }.traceparent().unwrap();
        assert_eq!(other.get(..36), traceparent.get(..36));
        assert_ne!(other, traceparent);
    }
}

//! What a tool is, and which tools an engine has.
//!
//! A [`Tool`] does one thing outside of the log when a step asks for it. It knows nothing of events: the tool runner
//! publishes before and after. **Invariant:** once a call has returned or was dropped, nothing that it began goes on.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use planwire_event::vocabulary::{Object, Usage};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::policy::{Gate, Reach};
use crate::redaction::Redactor;
use crate::secrets::Secrets;
use crate::stop::Stop;

/// Something that a step can call.
pub trait Tool: Send + Sync {
    /// Its name in documents and events, such as `file.list`.
    fn name(&self) -> &'static str;

    /// What it does, in one line for people.
    fn purpose(&self) -> &'static str;

    /// The arguments that it takes; documents with others are refused before they run.
    fn arguments(&self) -> &'static [Argument];

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

/// One argument of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name in `with`.
    pub name: &'static str,
    /// Its type, for people: `text`, `list of texts` ...
    pub kind: &'static str,
    /// Whether a call without it fails.
    pub required: bool,
    /// What it does, in one line.
    pub purpose: &'static str,
}

impl Argument {
    /// An argument that every call must give.
    #[must_use]
    pub const fn required(name: &'static str, kind: &'static str, purpose: &'static str) -> Self {
        Self { name, kind, required: true, purpose }
    }

    /// An argument that may be left out.
    #[must_use]
    pub const fn optional(name: &'static str, kind: &'static str, purpose: &'static str) -> Self {
        Self { name, kind, required: false, purpose }
    }
}

/// What a call may use of its surroundings.
#[derive(Clone, Debug)]
pub struct ToolContext {
    /// Relative paths start here. Absolute.
    pub folder: PathBuf,
    /// Says when the call should end.
    pub stop: Stop,
    /// Replaces values of secrets. All that a call gives back goes through it; a tool that cuts a text does it before.
    pub redactor: Redactor,
    /// Is asked before the call touches what [`Tool::reach`] could not know, as where a redirect leads.
    pub gate: Gate,
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
    pub usage: Option<Usage>,
}

impl ToolError {
    /// Makes an error of its code and message.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), usage: None }
    }

    /// Says what the call used although it failed.
    #[must_use]
    pub fn with_usage(self, usage: Usage) -> Self {
        Self { usage: Some(usage), ..self }
    }

    /// The call was asked to end and did.
    #[must_use]
    pub fn stopped() -> Self {
        Self::new("cancelled", "the call was ended before it was done")
    }

    /// An argument is missing, of the wrong type or without sense.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new("bad_argument", message)
    }
}

/// Reads the arguments of a call as `T`.
pub(crate) fn read_arguments<T: DeserializeOwned>(arguments: Object) -> Result<T, ToolError> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| ToolError::argument(error.to_string()))
}

/// The tools that documents may call, by name, and the secrets that they may name. Cheap to clone.
#[derive(Clone, Default)]
pub struct ToolSet {
    tools: BTreeMap<&'static str, Arc<dyn Tool>>,
    /// `None`: not known here; any name will do.
    secrets: Option<Secrets>,
}

impl ToolSet {
    /// No tools.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The tools of this crate: `exec`, `file.list`, `file.read`, `file.digest`, `file.write`, `http`.
    #[must_use]
    pub fn standard() -> Self {
        Self::empty()
            .with(Arc::new(crate::tools::exec::Exec))
            .with(Arc::new(crate::tools::file::List))
            .with(Arc::new(crate::tools::file::Read))
            .with(Arc::new(crate::tools::file::DigestFiles))
            .with(Arc::new(crate::tools::file::Write))
            .with(Arc::new(crate::tools::http::Http::default()))
    }

    /// Adds a tool, or replaces the one of its name.
    #[must_use]
    pub fn with(mut self, tool: Arc<dyn Tool>) -> Self {
        self.tools.insert(tool.name(), tool);
        self
    }

    /// Says which secrets there are, so that a document that names another is refused when it is checked.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// The secrets that documents may name; `None`: not known, so that any name will do.
    #[must_use]
    pub const fn secrets(&self) -> Option<&Secrets> {
        self.secrets.as_ref()
    }

    /// The tool of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.tools.get(name)
    }

    /// All tools, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Tool>> {
        self.tools.values()
    }
}

impl fmt::Debug for ToolSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.tools.keys()).finish()
    }
}

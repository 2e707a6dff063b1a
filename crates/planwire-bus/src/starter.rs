//! How a facade starts a plan without knowing the engine. Everything after the start is events.

use std::path::PathBuf;

use futures_util::future::BoxFuture;
use planwire_event::vocabulary::{Object, Origin};
use planwire_event::{Cursor, PlanId};

use crate::error::PublishError;

/// Starts plans and says which documents it knows.
pub trait PlanStarter: Send + Sync {
    /// The registered documents.
    fn catalog(&self) -> Vec<CatalogEntry>;

    /// Starts a plan; answers once its PlanStarted is durable.
    ///
    /// # Errors
    ///
    /// [`StartError`] says why nothing was started.
    fn start(&self, request: StartRequest) -> BoxFuture<'_, Result<Started, StartError>>;

    /// Starts a plan under the id that the caller made for it, so that asking twice starts it once. A starter that
    /// cannot choose ids starts it under another one.
    ///
    /// # Errors
    ///
    /// As for [`PlanStarter::start`]; [`StartError::Exists`] if the plan was started before.
    fn start_as(&self, plan_id: PlanId, request: StartRequest) -> BoxFuture<'_, Result<Started, StartError>> {
        drop(plan_id);
        self.start(request)
    }

    /// Replaces values of secrets in something that is about to be published on behalf of others, about `plan` if it is
    /// about one, whose tree may have secrets of its own; says whether there were any. A starter without secrets finds
    /// none.
    fn redact(&self, plan: Option<&PlanId>, value: &mut serde_json::Value) -> bool {
        let _ = (plan, value);
        false
    }
}

/// A registered document.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogEntry {
    /// The name by which it is started.
    pub name: String,
    /// What it is to reach, for people.
    pub goal: String,
    /// JSON Schema of its inputs.
    pub inputs: serde_json::Value,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// The document.
    pub document: DocumentSource,
    /// Inputs by name; defaults are filled in.
    pub inputs: Object,
    /// Who asks, and how.
    pub origin: Origin,
    /// Groups several trees; the plan's own id if not given.
    pub context_id: Option<String>,
}

/// Where a document comes from.
#[derive(Clone, Debug)]
pub enum DocumentSource {
    /// A registered document, by name.
    Registered(String),
    /// A document that the operator of this process sends along.
    Inline {
        /// YAML or JSON.
        text: String,
        /// What to call it in messages.
        name: String,
        /// The folder to which relative files and paths refer; none: it may refer to no file.
        folder: Option<PathBuf>,
    },
    /// A document that came over the network from somebody who need not be the operator: it may refer to no file, and
    /// may do only what the policy allows to such documents.
    Received {
        /// YAML or JSON.
        text: String,
        /// What to call it in messages.
        name: String,
    },
}

/// A plan that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The plan.
    pub plan_id: PlanId,
    /// The place of its PlanStarted.
    pub cursor: Cursor,
}

/// Why a plan was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No document is registered under the name.
    #[error("no plan document named '{name}' is registered")]
    UnknownDocument {
        /// The name.
        name: String,
    },
    /// The document has errors.
    #[error("{message}")]
    Invalid {
        /// Each error with file, line, column and hint; several lines.
        message: String,
        /// The same for programs.
        diagnostics: serde_json::Value,
    },
    /// The inputs do not fit the document.
    #[error("{message}")]
    Inputs {
        /// Which input, and what is wrong with it.
        message: String,
    },
    /// The plan was started before.
    #[error("plan {plan_id} was started before")]
    Exists {
        /// The plan.
        plan_id: PlanId,
    },
    /// More plans run than may.
    #[error("{max} plans run already; try again when one has ended")]
    TooMany {
        /// How many may run.
        max: usize,
    },
    /// The start could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The engine is shut down.
    #[error("the engine is shut down")]
    Closed,
}

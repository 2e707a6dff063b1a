//! Addresses of what does not fit into an update.

use planwire_event::{EventId, PlanId};

use crate::app::App;

/// How clients reach this server: the start of each address that we give. Empty where it is not known; addresses are
/// then absolute paths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links<'a>(&'a str);

impl<'a> Links<'a> {
    pub(crate) fn of(app: &'a App) -> Self {
        Self::below(app.config.a2a.url.as_deref().unwrap_or_default())
    }

    pub(crate) fn below(base: &'a str) -> Self {
        Self(base.trim_end_matches('/'))
    }

    /// One event.
    pub(crate) fn event(self, event_id: EventId) -> String {
        format!("{}/v1/events/{event_id}", self.0)
    }

    /// The bytes of an artifact.
    pub(crate) fn blob(self, plan: &PlanId, digest: &str) -> String {
        format!("{}/v1/plans/{plan}/blobs/{digest}", self.0)
    }

    /// All that the artifacts of a plan are made of.
    pub(crate) fn artifacts(self, plan: &PlanId) -> String {
        format!("{}/v1/plans/{plan}/events?event_type=ArtifactProduced", self.0)
    }
}

//! What a fold counts, also of what it does not keep.

use schemars::JsonSchema;
use serde::Serialize;

/// How much has happened in a plan, without its subplans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
// The payload of PlanCompleted has other counts under this name.
#[schemars(rename = "StateCounts")]
pub struct Counts {
    /// Events of any type.
    pub events: u64,
    /// Tool calls, each attempt counted.
    pub tool_calls: u64,
    /// Tool calls that ended badly.
    pub tool_failures: u64,
    /// Decisions.
    pub decisions: u64,
    /// Subplans spawned by the plan itself.
    pub subplans: u64,
    /// Subplans whose end was reported as bad.
    pub subplan_failures: u64,
    /// Events of ArtifactProduced.
    pub artifacts: u64,
    /// Questions, without those that are repeated for a subplan.
    pub questions: u64,
    /// Events of custom types.
    pub custom: u64,
}

/// What is not in the lists, since they have a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Omitted {
    /// Events of steps that are not kept.
    pub step_events: u64,
    /// Decisions.
    pub decisions: u64,
    /// Subplans.
    pub children: u64,
    /// Events of artifacts that are not kept.
    pub artifact_events: u64,
    /// Open calls.
    pub open_calls: u64,
    /// Open questions.
    pub questions: u64,
}

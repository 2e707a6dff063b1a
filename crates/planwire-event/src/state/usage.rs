//! What a plan used, and what it used together with all below it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::vocabulary::UsageSum;

/// What a plan used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlanUsage {
    /// The plan itself.
    pub own: UsageSum,
    /// The plan and all below it: of subplans that run, what they used counts where the whole tree is read, else once they
    /// have ended.
    pub total: UsageSum,
}

impl PlanUsage {
    /// The plan itself used more.
    pub(super) fn add_own(&mut self, more: &UsageSum) {
        self.own.add(more);
        self.total.add(more);
    }

    /// What is below it used more.
    pub(super) fn add_below(&mut self, more: &UsageSum) {
        self.total.add(more);
    }
}

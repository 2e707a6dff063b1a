//! Whether a plan runs, and how it ended if not.

use crate::vocabulary::FailureReason;

/// Whether a plan runs, and how it ended if not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlanStatus {
    /// It has started and not ended.
    Open,
    /// It reached its goal.
    Completed,
    /// It ended otherwise.
    Failed(FailureReason),
}

impl PlanStatus {
    /// The `state` of the plan in SQL and JSON.
    #[must_use]
    pub const fn state(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Completed => "completed",
            Self::Failed(_) => "failed",
        }
    }

    /// The `reason` beside the state.
    #[must_use]
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Failed(reason) => Some(reason.as_str()),
            _ => None,
        }
    }

    /// Reads what [`PlanStatus::state`] and [`PlanStatus::reason`] wrote.
    #[must_use]
    pub fn parse(state: &str, reason: Option<&str>) -> Option<Self> {
        match state {
            "open" => Some(Self::Open),
            "completed" => Some(Self::Completed),
            "failed" => FailureReason::ALL
                .iter()
                .find(|known| reason == Some(known.as_str()))
                .map(|known| Self::Failed(*known)),
            _ => None,
        }
    }

    /// Whether the plan has not ended.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open)
    }
}

//! What limits are about: how much may be used, is used, is set aside.

use planwire_event::Cost;
use planwire_event::vocabulary::{LimitHit, LimitWarned, Reserved, UsageSum};
use planwire_event::{PlanId, vocabulary};
use serde_json::Number;

/// Limits of what a plan and all below it may use; what has none is not limited by this plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeLimits {
    /// Tool calls, each attempt counted.
    pub tool_calls: Option<u64>,
    /// Tokens that calls report.
    pub tokens: Option<u64>,
    /// Cost that calls report, in the unit in which they do.
    pub cost: Option<Cost>,
    /// Tool calls that run at a time.
    pub parallel_calls: Option<usize>,
    /// Subplans that run at a time, without those that wait for subplans of their own.
    pub parallel_plans: Option<usize>,
}

impl TreeLimits {
    /// No limits.
    pub const NONE: Self =
        Self { tool_calls: None, tokens: None, cost: None, parallel_calls: None, parallel_plans: None };

    /// The smaller of each two limits.
    #[must_use]
    pub fn narrowed(self, other: Self) -> Self {
        Self {
            tool_calls: least(self.tool_calls, other.tool_calls),
            tokens: least(self.tokens, other.tokens),
            cost: least(self.cost, other.cost),
            parallel_calls: least(self.parallel_calls, other.parallel_calls),
            parallel_plans: least(self.parallel_plans, other.parallel_plans),
        }
    }

    /// What may be used of a kind.
    pub(super) fn max(&self, kind: Kind) -> Option<u64> {
        match kind {
            Kind::Calls => self.tool_calls,
            Kind::Tokens => self.tokens,
            Kind::Cost => self.cost.map(Cost::billionths),
        }
    }
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}

/// What can be used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Calls,
    Tokens,
    /// In billionths.
    Cost,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Calls, Self::Tokens, Self::Cost];

    pub(super) const fn at(self) -> usize {
        match self {
            Self::Calls => 0,
            Self::Tokens => 1,
            Self::Cost => 2,
        }
    }

    /// Its name in documents and events.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Calls => "tool_calls",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn number(self, amount: u64) -> Number {
        match self {
            Self::Calls | Self::Tokens => amount.into(),
            Self::Cost => Cost::from_billionths(amount).to_number(),
        }
    }
}

/// An amount of each [`Kind`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts([u64; 3]);

impl Amounts {
    pub(super) fn of(self, kind: Kind) -> u64 {
        self.0[kind.at()]
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(own, other)| *own = own.saturating_add(other));
    }

    pub(super) fn take(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(own, other)| *own = own.saturating_sub(other));
    }

    /// What of these is there beyond the other ones.
    pub(super) fn beyond(mut self, other: Self) -> Self {
        self.take(other);
        self
    }

    /// Tokens and cost that a call reserved; that it began is no longer set aside but used.
    pub(crate) fn reserved(reserved: Option<&Reserved>) -> Self {
        let reserved = reserved.copied().unwrap_or_default();
        Self([0, reserved.tokens.unwrap_or(0), reserved.cost.unwrap_or_default().billionths()])
    }

    pub(crate) fn used(sum: &UsageSum) -> Self {
        Self([sum.tool_calls, sum.tokens, sum.cost.billionths()])
    }
}

/// What a call wants to set aside of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Want {
    /// It uses none.
    #[default]
    None,
    /// At most so much.
    Amount(u64),
    /// Nobody knows how much: all that is left where there is a limit.
    Rest,
}

/// A limit of which more was asked for than is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(super) plan: PlanId,
    pub(super) kind: Kind,
    pub(super) wanted: u64,
    pub(super) used: u64,
    pub(super) max: u64,
}

impl Refusal {
    pub(crate) fn hit(&self) -> LimitHit {
        LimitHit {
            plan_id: self.plan.clone(),
            limit: self.kind.name().into(),
            used: self.kind.number(self.used),
            max: self.kind.number(self.max),
        }
    }

    /// For people.
    pub(crate) fn message(&self) -> String {
        let (name, number) = (self.kind.name(), |amount| self.kind.number(amount));
        format!(
            "the limit {name} of plan {} and all below it would be exceeded: {} of {} used, {} more wanted",
            self.plan,
            number(self.used),
            number(self.max),
            number(self.wanted)
        )
    }
}

/// A limit of which most is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) plan: PlanId,
    pub(super) kind: Kind,
    pub(super) used: u64,
    pub(super) max: u64,
}

impl Warning {
    pub(crate) fn warned(&self) -> vocabulary::LimitWarned {
        let number = |amount| self.kind.number(amount);
        LimitWarned { limit: self.kind.name().into(), used: number(self.used), max: number(self.max) }
    }
}

//! What calls use, as tokens and cost, and the limits that hold for it.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Number, Value};

use super::Object;
use crate::cost::Cost;
use crate::ids::PlanId;

/// What one call used. Members that others add are kept.
///
/// Reading it never fails: a known member of another type counts as one that others added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Usage {
    /// Tokens that went in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens that came out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// All tokens, where they are not the sum of the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
    /// What it cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// The currency of `cost`, such as `USD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Whether nobody knows what it used, and this is what it had reserved.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    pub estimated: bool,
    /// What others added.
    #[serde(flatten)]
    pub more: Object,
}

impl Usage {
    /// All tokens: `total_tokens`, else the sum of what went in and what came out.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let sum = self.input_tokens.unwrap_or(0).saturating_add(self.output_tokens.unwrap_or(0));
        self.total_tokens.unwrap_or(sum)
    }
}

impl From<Object> for Usage {
    fn from(mut more: Object) -> Self {
        let input_tokens = taken(&mut more, "input_tokens", Value::as_u64);
        let output_tokens = taken(&mut more, "output_tokens", Value::as_u64);
        let total_tokens = taken(&mut more, "total_tokens", Value::as_u64);
        let cost = taken(&mut more, "cost", |value| Cost::of(value).ok());
        let currency = taken(&mut more, "currency", |value| value.as_str().map(str::to_owned));
        let estimated = taken(&mut more, "estimated", Value::as_bool).unwrap_or_default();
        Self { input_tokens, output_tokens, total_tokens, cost, currency, estimated, more }
    }
}

/// Takes a member out of an object, if it has the right type.
fn taken<T>(members: &mut Object, name: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
    let value = members.get(name).and_then(read)?;
    members.remove(name);
    Some(value)
}

impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Object::deserialize(deserializer).map(Self::from)
    }
}

/// What a call may use at most, set aside from the limits of its plan and of those above before it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reserved {
    /// Tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

impl Reserved {
    /// Whether nothing is set aside.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tokens.is_none() && self.cost.is_none()
    }

    /// What counts as used where nobody knows it.
    #[must_use]
    pub fn as_usage(&self) -> Usage {
        Usage { total_tokens: self.tokens, cost: self.cost, estimated: true, ..Usage::default() }
    }
}

/// What any number of calls used together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageSum {
    /// Tool calls, each attempt counted.
    #[serde(default)]
    pub tool_calls: u64,
    /// All tokens.
    #[serde(default)]
    pub tokens: u64,
    /// Those of them that are known to have gone in.
    #[serde(default)]
    pub input_tokens: u64,
    /// Those of them that are known to have come out.
    #[serde(default)]
    pub output_tokens: u64,
    /// Cost, added up whatever its currency.
    #[serde(default)]
    pub cost: Cost,
    /// The currency, if the first cost names one and no other names another. Estimated costs name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

impl UsageSum {
    /// One call that has begun.
    #[must_use]
    pub fn of_call() -> Self {
        Self { tool_calls: 1, ..Self::default() }
    }

    /// Whether nothing was used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds others up to what they are.
    pub fn add(&mut self, other: &Self) {
        self.currency = match (self.cost, other.cost) {
            (Cost::ZERO, _) => other.currency.clone().or_else(|| self.currency.take()),
            (_, Cost::ZERO) => self.currency.take(),
            _ => self
                .currency
                .take()
                .filter(|currency| other.currency.as_ref().is_none_or(|other| other == currency)),
        };
        self.tool_calls = self.tool_calls.saturating_add(other.tool_calls);
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        let billionths = self.cost.billionths().saturating_add(other.cost.billionths());
        self.cost = Cost::from_billionths(billionths);
    }
}

impl From<&Usage> for UsageSum {
    /// What a call used; that it began is counted at its beginning.
    fn from(usage: &Usage) -> Self {
        Self {
            tool_calls: 0,
            tokens: usage.tokens(),
            input_tokens: usage.input_tokens.unwrap_or(0),
            output_tokens: usage.output_tokens.unwrap_or(0),
            cost: usage.cost.unwrap_or_default(),
            currency: usage.currency.clone(),
        }
    }
}

/// A limit for a plan and all below it of which more was asked for than is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitHit {
    /// The plan whose limit it is.
    #[schemars(with = "String")]
    pub plan_id: PlanId,
    /// Its name: `tool_calls`, `tokens` or `cost`.
    pub limit: String,
    /// How much was used.
    pub used: Number,
    /// How much may be used.
    pub max: Number,
}

/// Most of what a plan and all below it may use is used, or of its time. Once for each limit of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitWarned {
    /// The limit: `tool_calls`, `tokens`, `cost`, `timeout` ...
    pub limit: String,
    /// How much is used, in the unit of the limit; of `timeout` milliseconds.
    pub used: Number,
    /// How much may be used.
    pub max: Number,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(costs: &[Option<&str>]) -> Option<String> {
        let mut sum = UsageSum::default();
        for currency in costs {
            let cost = Some(Cost::from_billionths(1));
            let usage = Usage { cost, currency: currency.map(str::to_owned), ..Usage::default() };
            sum.add(&UsageSum::of_call());
            sum.add(&UsageSum::from(&usage));
        }
        sum.currency
    }

    #[test]
    fn currency_is_that_of_all_costs_that_name_one() {
        assert_eq!(sum(&[Some("USD"), None, Some("USD")]).as_deref(), Some("USD"));
        assert_eq!(sum(&[Some("USD"), Some("EUR"), Some("USD")]), None);
        assert_eq!(sum(&[None, Some("USD")]), None);
    }
}

//! What calls used, in few words.

use planwire_engine::WARN_PERCENT;
use planwire_event::Cost;
use planwire_event::state::PlanState;
use planwire_event::vocabulary::{LimitWarned, UsageSum};
use serde_json::{Number, Value};

use crate::output::{Paint, duration, escape, grouped};

/// Billionths of one unit of money.
const BILLIONTHS: u64 = 1_000_000_000;
/// Digits of a cost below one unit that are shown.
const COST_DIGITS: u32 = 3;

/// The limit of a plan's time, in milliseconds.
const TIMEOUT: &str = "timeout";

/// What can be used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tokens,
    Cost,
    Calls,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Tokens, Self::Cost, Self::Calls];

    /// Its name in documents and events.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Cost => "cost",
            Self::Calls => "tool_calls",
        }
    }

    pub(crate) const fn used(self, sum: &UsageSum) -> u64 {
        match self {
            Self::Tokens => sum.tokens,
            Self::Cost => sum.cost.billionths(),
            Self::Calls => sum.tool_calls,
        }
    }

    /// An amount as events and documents write it.
    pub(crate) fn read(self, value: &Value) -> Option<u64> {
        match self {
            Self::Cost => Cost::of(value).ok().map(Cost::billionths),
            Self::Tokens | Self::Calls => value.as_u64(),
        }
    }

    fn shown(self, amount: u64, detail: Detail) -> String {
        match (self, detail) {
            (Self::Cost, Detail::Short) => rounded(amount).to_string(),
            (Self::Cost, Detail::Exact) => Cost::from_billionths(amount).to_string(),
            (_, Detail::Short) => short(amount),
            (_, Detail::Exact) => grouped(amount),
        }
    }
}

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// `43.4K`
    Short,
    /// `43,400`
    Exact,
}

/// How much of what may be used was used, and how near it is to the end.
pub(crate) fn words(kind: Kind, used: &UsageSum, max: Option<u64>, detail: Detail) -> (Paint, String) {
    let amount = kind.used(used);
    let of = max.map_or_else(String::new, |max| format!(" of {}", kind.shown(max, detail)));
    let shown = format!("{}{of}", kind.shown(amount, detail));
    let text = match (kind, &used.currency) {
        (Kind::Tokens, _) => format!("{shown} tokens"),
        (Kind::Calls, _) if amount == 1 && max.is_none() => "1 tool call".to_owned(),
        (Kind::Calls, _) => format!("{shown} tool calls"),
        (Kind::Cost, Some(currency)) => format!("{shown} {}", escape(currency)),
        (Kind::Cost, None) => format!("cost {shown}"),
    };
    (max.map_or(Paint::Plain, |max| level(amount, max)), text)
}

fn level(used: u64, max: u64) -> Paint {
    let is_near = u128::from(used) * 100 >= u128::from(max) * u128::from(WARN_PERCENT);
    match used >= max {
        true => Paint::Bad,
        false if is_near => Paint::Warning,
        false => Paint::Plain,
    }
}

/// What a plan and all below it used, for its line in the tree: limits that it was warned of, and what it used unless
/// that is said elsewhere.
pub(super) fn of_plan(plan: &PlanState, said_elsewhere: bool) -> Vec<(Paint, String)> {
    let used = &plan.usage.total;
    let known = Kind::ALL.into_iter().filter_map(|kind| {
        let max = warned(plan, kind);
        let has_used = kind != Kind::Calls && kind.used(used) > 0;
        (max.is_some() || has_used && !said_elsewhere).then(|| {
            let (paint, text) = words(kind, used, max, Detail::Short);
            (if paint == Paint::Plain { Paint::Faint } else { paint }, text)
        })
    });
    let others =
        plan.limits_warned.iter().filter(|warned| Kind::ALL.iter().all(|kind| kind.name() != warned.limit));
    known.chain(others.map(|warned| (Paint::Warning, limit(warned)))).collect()
}

/// A limit of which most is used, as it was when it was warned of.
pub(crate) fn limit(warned: &LimitWarned) -> String {
    let named = Kind::ALL.into_iter().find(|kind| kind.name() == warned.limit);
    let shown = |number: &Number| {
        if let Some(ms) = number.as_u64().filter(|_| warned.limit == TIMEOUT) {
            return duration(ms);
        }
        let amount = named.and_then(|kind| Some((kind, kind.read(&Value::Number(number.clone()))?)));
        amount.map_or_else(|| number.to_string(), |(kind, amount)| kind.shown(amount, Detail::Exact))
    };
    let name = match named {
        Some(Kind::Calls) => "tool calls",
        Some(kind) => kind.name(),
        None => &warned.limit,
    };
    format!("{} nearly used up: {} of {}", escape(name), shown(&warned.used), shown(&warned.max))
}

/// How much may be used, if the plan was warned of it.
pub(crate) fn warned(plan: &PlanState, kind: Kind) -> Option<u64> {
    let mut warnings = plan.limits_warned.iter().filter(|warned| warned.limit == kind.name());
    kind.read(&Value::Number(warnings.next_back()?.max.clone()))
}

/// `999`, `1.2K`, `43M`: never more than there is.
fn short(number: u64) -> String {
    let sizes = [("B", 1_000_000_000), ("M", 1_000_000), ("K", 1_000)];
    let Some((unit, size)) = sizes.into_iter().find(|(_, size)| number >= *size) else {
        return number.to_string();
    };
    match number % size * 10 / size {
        0 => format!("{}{unit}", number / size),
        tenths => format!("{}.{tenths}{unit}", number / size),
    }
}

/// A cost of which nobody needs each billionth: two decimals, more where it is less than one unit.
fn rounded(billionths: u64) -> Cost {
    let digits = billionths.checked_ilog10().map_or(0, |log| log + 1);
    let step = if billionths >= BILLIONTHS {
        BILLIONTHS / 100
    } else {
        10_u64.pow(digits.saturating_sub(COST_DIGITS))
    };
    Cost::from_billionths(billionths.saturating_add(step / 2) / step * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_in_the_tree_and_exact_elsewhere() {
        let shown = [0, 999, 1_000, 43_400, 999_999, 1_250_000, u64::MAX].map(short);
        assert_eq!(shown, ["0", "999", "1K", "43.4K", "999.9K", "1.2M", "18446744073.7B"]);
        let costs = ["0", "0.0000015", "0.0123456", "0.9999", "1.005", "12.3456", "1000000"];
        let shown = costs.map(|cost| rounded(cost.parse::<Cost>().unwrap().billionths()).to_string());
        assert_eq!(shown, ["0", "0.0000015", "0.0123", "1", "1.01", "12.35", "1000000"]);
    }

    #[test]
    fn limits_are_told_whatever_their_name() {
        let told = |limit: &str, used: &str, max: &str| {
            let payload = format!(r#"{{"limit":"{limit}","used":{used},"max":{max}}}"#);
            super::limit(&serde_json::from_str(&payload).unwrap())
        };
        assert_eq!(told("tool_calls", "8", "10"), "tool calls nearly used up: 8 of 10");
        assert_eq!(told("tokens", "81200", "100000"), "tokens nearly used up: 81,200 of 100,000");
        assert_eq!(told("cost", "1.6", "2"), "cost nearly used up: 1.6 of 2");
        assert_eq!(told("timeout", "480000", "600000"), "timeout nearly used up: 8 m 00 s of 10 m 00 s");
        assert_eq!(told("a\\u001b", "-1", "2.5"), "a\\u{1b} nearly used up: -1 of 2.5");
    }
}

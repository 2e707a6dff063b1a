//! Amounts of money, exact.
//!
//! An amount is a whole number of billionths of a unit: what one token costs is below a millionth. So sums of any number
//! of amounts, in any order, are the same everywhere; no floating point is added up.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};

/// The largest amount that can be given, in units. Below it each amount is exact as a JSON number, too.
pub const COST_UNITS_MAX: u64 = 1_000_000;

const BILLIONTHS: u64 = 1_000_000_000;
const DECIMALS: i32 = 9;
/// Digits and exponents beyond these are no amount of money.
const DIGITS_MAX: usize = 30;
const EXPONENT_MAX: i32 = 40;

/// An amount of money, in an unnamed currency: a multiple of a billionth, not negative.
///
/// Written as a JSON number; read from a number or a decimal text. Further decimals are rounded to the nearest billionth.
///
/// ```
/// use planwire_event::cost::Cost;
/// let cost: Cost = serde_json::from_str("0.0000015").unwrap();
/// assert_eq!(cost, "1.5e-6".parse().unwrap());
/// assert_eq!(cost.to_string(), "0.0000015");
/// assert!("-1".parse::<Cost>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cost(u64);

/// Why a text or number is no amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount of money is a decimal number from 0 to {COST_UNITS_MAX}, such as 0.25")]
pub struct CostError;

impl Cost {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of billionths of a unit.
    #[must_use]
    pub const fn from_billionths(billionths: u64) -> Self {
        Self(billionths)
    }

    /// The amount in billionths of a unit.
    #[must_use]
    pub const fn billionths(self) -> u64 {
        self.0
    }

    /// Reads a JSON number or text.
    ///
    /// # Errors
    ///
    /// [`CostError`] if it is something else, negative, or above [`COST_UNITS_MAX`].
    pub fn of(value: &Value) -> Result<Self, CostError> {
        match value {
            Value::Number(number) => number.to_string().parse(),
            Value::String(text) => text.parse(),
            _ => Err(CostError),
        }
    }

    /// As a JSON number.
    #[must_use]
    pub fn to_number(self) -> Number {
        if self.0.is_multiple_of(BILLIONTHS) {
            return (self.0 / BILLIONTHS).into();
        }
        let float = self.to_string().parse().ok().and_then(Number::from_f64);
        float.unwrap_or_else(|| (self.0 / BILLIONTHS).into())
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:09}", self.0 / BILLIONTHS, self.0 % BILLIONTHS);
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl FromStr for Cost {
    type Err = CostError;

    fn from_str(text: &str) -> Result<Self, CostError> {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole, fraction].concat();
        let is_sound = !whole.is_empty()
            && digits.len() <= DIGITS_MAX
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && (mantissa.len() == whole.len() || !fraction.is_empty());
        let exponent: i32 = exponent.parse().map_err(|_| CostError)?;
        if !is_sound || exponent.abs() > EXPONENT_MAX {
            return Err(CostError);
        }
        let digits: u128 = digits.parse().map_err(|_| CostError)?;
        let scale = exponent + DECIMALS - i32::try_from(fraction.len()).map_err(|_| CostError)?;
        let billionths = scaled(digits, scale).and_then(|exact| u64::try_from(exact).ok());
        match billionths {
            Some(billionths) if billionths <= COST_UNITS_MAX * BILLIONTHS => Ok(Self(billionths)),
            _ => Err(CostError),
        }
    }
}

/// `digits` x 10^`scale`, rounded to the nearest; none beyond 128 bits.
fn scaled(digits: u128, scale: i32) -> Option<u128> {
    match 10_u128.checked_pow(scale.unsigned_abs()) {
        Some(power) if scale >= 0 => digits.checked_mul(power),
        Some(power) => Some(digits / power + u128::from(digits % power >= power.div_ceil(2))),
        None => (scale < 0 || digits == 0).then_some(0),
    }
}

impl Serialize for Cost {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_number().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Cost {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cost".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "minimum": 0})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(text: &str) -> Result<u64, CostError> {
        text.parse::<Cost>().map(Cost::billionths)
    }

    #[test]
    fn decimals_are_exact_to_the_billionth_and_rounded_beyond() {
        for (text, billionths) in [
            ("0", 0),
            ("1", 1_000_000_000),
            ("0.1", 100_000_000),
            ("0.30000000000000004", 300_000_000),
            ("0.29999999999999999", 300_000_000),
            ("1.5e-6", 1_500),
            ("12E-1", 1_200_000_000),
            ("0.0000000005", 1),
            ("0.0000000004", 0),
            ("1e-40", 0),
            ("1000000", 1_000_000_000_000_000),
        ] {
            assert_eq!(cost(text), Ok(billionths), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", ".", ".5", "1.", "-1", "+1", "1e", "1e99", "1000000.1", "NaN", "0x1", "1,5", "1 "] {
            assert_eq!(cost(text), Err(CostError), "{text}");
        }
        assert_eq!(Cost::of(&Value::Bool(true)), Err(CostError));
    }

    #[test]
    fn every_amount_below_the_limit_survives_json() {
        let max = COST_UNITS_MAX * BILLIONTHS;
        for billionths in [0, 1, 999, 1_500, 123_456_789, 999_999_999, max - 1, max, max / 3] {
            let text = serde_json::to_string(&Cost(billionths)).unwrap();
            assert_eq!(serde_json::from_str::<Cost>(&text).unwrap(), Cost(billionths), "{text}");
        }
        assert_eq!(serde_json::to_string(&Cost(2_000_000_000)).unwrap(), "2");
        assert_eq!(Cost(2_050_000_000).to_string(), "2.05");
    }
}

//! Medians, and how far the figures behind them lie apart.

use std::time::Duration;

use serde_json::{Value, json};

/// The figures of several blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spread {
    sorted: Vec<f64>,
}

impl Spread {
    /// Takes the figures in.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Self { sorted }
    }

    /// The figure in the middle; of an even number of them the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
        let above = self.sorted.len() / 2;
        let Some(figure) = self.sorted.get(above) else { return f64::NAN };
        match self.sorted.len().is_multiple_of(2) {
            true => self.sorted[above - 1].midpoint(*figure),
            false => *figure,
        }
    }

    /// The figure that so many percent do not exceed.
    pub(crate) fn quantile(&self, percent: usize) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get((self.sorted.len() * percent / 100).min(last)).copied().unwrap_or(f64::NAN)
    }

    /// The lowest and the highest figure.
    pub(crate) fn ends(&self) -> (f64, f64) {
        let end = |figure: Option<&f64>| figure.copied().unwrap_or(f64::NAN);
        (end(self.sorted.first()), end(self.sorted.last()))
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let (lowest, highest) = self.ends();
        json!({ "median": self.median(), "lowest": lowest, "highest": highest, "blocks": self.sorted.len() })
    }
}

impl<const N: usize> From<[f64; N]> for Spread {
    fn from(figures: [f64; N]) -> Self {
        Self::of(figures)
    }
}

/// So many in that time, per second.
pub(crate) fn per_second(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// Milliseconds.
pub(crate) fn millis(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e3
}

/// A whole number with its thousands apart; small ones with as many digits as say something.
pub(crate) fn grouped(number: f64) -> String {
    if !number.is_finite() {
        return "-".to_owned();
    }
    if number < 100.0 {
        return format!("{number:.2}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

//! One row of the table: a figure, the limit beside it, and what was to be reached.

use serde_json::{Value, json};

use crate::blocks::Blocks;
use crate::numbers::{Spread, grouped};

/// What was to be reached.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// At least so many times the limit of the machine.
    OfLimit(f64),
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
    /// Nothing yet.
    Printed,
}

/// One row.
pub(crate) struct Row {
    /// What is measured.
    pub(crate) name: &'static str,
    /// Of what the figures are: `events/s`, `ms`.
    pub(crate) unit: &'static str,
    /// What the limit is.
    pub(crate) limit_name: &'static str,
    /// The product.
    pub(crate) figure: Spread,
    /// The machine.
    pub(crate) limit: Spread,
    /// Product over limit.
    pub(crate) ratio: Spread,
    /// What was to be reached.
    pub(crate) target: Target,
    /// What a reader of the figures has to know.
    pub(crate) notes: Vec<String>,
}

impl Row {
    /// Makes a row of its blocks.
    pub(crate) fn new(
        name: &'static str,
        unit: &'static str,
        limit_name: &'static str,
        blocks: Blocks,
    ) -> Self {
        let Blocks { limit, product, ratio, notes } = blocks;
        Self { name, unit, limit_name, figure: product, limit, ratio, target: Target::Printed, notes }
    }

    /// Says what was to be reached.
    pub(crate) fn target(self, target: Target) -> Self {
        Self { target, ..self }
    }

    /// Adds what a reader of the figures has to know.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Whether it was reached, if anything was to be.
    fn met(&self) -> Option<bool> {
        match self.target {
            Target::OfLimit(least) => Some(self.ratio.median() >= least),
            Target::AtLeast(least) => Some(self.figure.median() >= least),
            Target::AtMost(most) => Some(self.figure.median() <= most),
            Target::Printed => None,
        }
    }

    fn target_text(&self) -> String {
        match self.target {
            Target::OfLimit(least) => format!(">= {least} x limit"),
            Target::AtLeast(least) => format!(">= {}", grouped(least)),
            Target::AtMost(most) => format!("<= {}", grouped(most)),
            Target::Printed => "-".to_owned(),
        }
    }

    fn cells(&self) -> [String; 6] {
        let spread = |figures: &Spread| {
            let (lowest, highest) = figures.ends();
            format!("{} ({}..{})", grouped(figures.median()), grouped(lowest), grouped(highest))
        };
        let limit = match self.limit.median().is_finite() {
            true => format!("{} {}", spread(&self.limit), self.limit_name),
            false => "-".to_owned(),
        };
        let verdict = match self.met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "-",
        };
        [
            self.name.to_owned(),
            format!("{} {}", spread(&self.figure), self.unit),
            limit,
            grouped(self.ratio.median()),
            self.target_text(),
            verdict.to_owned(),
        ]
    }
}

/// The rows as a table, with their notes below.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = ["row", "figure: median (lowest..highest)", "limit in the same run", "ratio", "target", ""];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        for (cell, width) in line.iter().zip(widths) {
            text.push_str(&format!("{cell:width$}  "));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    for row in rows {
        for note in &row.notes {
            text.push_str(&format!("{}: {note}\n", row.name));
        }
    }
    text
}

/// The rows for programs.
pub(crate) fn to_json(rows: &[Row]) -> Vec<Value> {
    let row_json = |row: &Row| {
        let limit = row.limit.median().is_finite();
        json!({
            "row": row.name,
            "unit": row.unit,
            "figure": row.figure.to_json(),
            "limit": limit.then(|| row.limit.to_json()),
            "limit_name": limit.then_some(row.limit_name),
            "ratio": limit.then(|| row.ratio.to_json()),
            "target": row.target_text(),
            "met": row.met(),
            "notes": row.notes,
        })
    };
    rows.iter().map(row_json).collect()
}

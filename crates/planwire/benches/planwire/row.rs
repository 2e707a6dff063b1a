//! One row of the table: a figure, what stands beside it, and what was to be reached.

use serde_json::{Value, json};

use super::numbers::{Spread, grouped};
use super::pairs::Blocks;

/// What was to be reached.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// At least so many times what stands beside it.
    Times(f64),
    /// At most so many times what stands beside it.
    AtMostTimes(f64),
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
    /// What stands beside it: a limit of the machine, or a rival.
    pub(crate) limit_name: &'static str,
    /// The product.
    pub(crate) figure: Spread,
    /// What stands beside it.
    pub(crate) limit: Spread,
    /// Product over limit.
    pub(crate) ratio: Spread,
    /// Milliseconds of an append + fdatasync around the blocks.
    pub(crate) fdatasync_ms: Spread,
    /// What was to be reached.
    pub(crate) target: Target,
    /// What a reader of the figures has to know.
    pub(crate) notes: Vec<String>,
}

impl Row {
    /// Makes a row of its blocks.
    pub(crate) fn new(name: &'static str, unit: &'static str, blocks: Blocks) -> Self {
        let Blocks { limit_name, limit, product, ratio, fdatasync_ms, notes } = blocks;
        let (figure, target) = (product, Target::Printed);
        Self { name, unit, limit_name, figure, limit, ratio, fdatasync_ms, target, notes }
    }

    /// Makes a row of a figure with nothing beside it.
    pub(crate) fn alone(name: &'static str, unit: &'static str, figure: Spread) -> Self {
        Self {
            name,
            unit,
            limit_name: "",
            figure,
            limit: Spread::default(),
            ratio: Spread::default(),
            fdatasync_ms: Spread::default(),
            target: Target::Printed,
            notes: Vec::new(),
        }
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

    /// What was reached over what was to be, so that 1 and more is met; `None` if nothing was to be.
    fn reached(&self) -> Option<f64> {
        match self.target {
            Target::Times(least) => Some(self.ratio.median() / least),
            Target::AtMostTimes(most) => Some(most / self.ratio.median()),
            Target::AtLeast(least) => Some(self.figure.median() / least),
            Target::AtMost(most) => Some(most / self.figure.median()),
            Target::Printed => None,
        }
    }

    /// Whether it was reached, if anything was to be.
    pub(crate) fn met(&self) -> Option<bool> {
        self.reached().map(|reached| reached >= 1.0)
    }

    fn target_text(&self) -> String {
        match self.target {
            Target::Times(least) => format!(">= {least} x"),
            Target::AtMostTimes(most) => format!("<= {most} x"),
            Target::AtLeast(least) => format!(">= {}", grouped(least)),
            Target::AtMost(most) => format!("<= {}", grouped(most)),
            Target::Printed => "-".to_owned(),
        }
    }

    /// Whether it was reached, and if not how much of it.
    pub(crate) fn verdict(&self) -> String {
        match self.reached() {
            Some(reached) if reached >= 1.0 => "met".to_owned(),
            Some(reached) => format!("MISSED: {reached:.2} of it"),
            None => "-".to_owned(),
        }
    }

    fn cells(&self) -> [String; 6] {
        let spread = |figures: &Spread| {
            let (lowest, highest) = figures.ends();
            format!("{} ({}..{})", grouped(figures.median()), grouped(lowest), grouped(highest))
        };
        let (limit, ratio) = match self.limit.median().is_finite() {
            true => (format!("{} {}", spread(&self.limit), self.limit_name), spread(&self.ratio)),
            false => ("-".to_owned(), "-".to_owned()),
        };
        let figure = format!("{} {}", spread(&self.figure), self.unit);
        [self.name.to_owned(), figure, limit, ratio, self.target_text(), self.verdict()]
    }
}

/// The rows as a table, with their notes below.
pub(crate) fn table(rows: &[Row]) -> String {
    let head =
        ["row", "figure: median (lowest..highest)", "beside it in the same run", "ratio", "target", ""];
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
        let fdatasync = row.fdatasync_ms.median().is_finite();
        json!({
            "row": row.name,
            "unit": row.unit,
            "figure": row.figure.to_json(),
            "limit": limit.then(|| row.limit.to_json()),
            "limit_name": limit.then_some(row.limit_name),
            "ratio": limit.then(|| row.ratio.to_json()),
            "fdatasync_ms": fdatasync.then(|| row.fdatasync_ms.to_json()),
            "target": row.target_text(),
            "met": row.met(),
            "notes": row.notes,
        })
    };
    rows.iter().map(row_json).collect()
}

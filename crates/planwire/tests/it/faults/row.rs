//! One row of the table that `cargo xtask faults` prints: what was done how often, and what came of it.
//!
//! A test prints its row for people and appends it, as a line of JSON, to the file that `PLANWIRE_FAULTS_FILE` names.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::chance::percentile;
use super::checker::{Broken, Counts};

const ROWS_VARIABLE: &str = "PLANWIRE_FAULTS_FILE";

/// What a test of one fault has to tell.
#[derive(Debug)]
pub(crate) struct Row {
    fault: &'static str,
    done: String,
    /// None where nothing is published and read, so that no count is printed that nobody made.
    counts: Option<Counts>,
    figures: Vec<String>,
}

impl Row {
    /// `done` says how often the fault was brought about.
    pub(crate) fn new(fault: &'static str, done: impl Into<String>) -> Self {
        Self { fault, done: done.into(), counts: None, figures: Vec::new() }
    }

    /// What the checker counted.
    pub(crate) const fn counts(mut self, counts: Counts) -> Self {
        self.counts = Some(counts);
        self
    }

    /// A figure of this fault alone.
    pub(crate) fn figure(mut self, figure: impl Into<String>) -> Self {
        self.figures.push(figure.into());
        self
    }

    /// Percentiles of times.
    pub(crate) fn times(self, name: &str, times: &mut [Duration]) -> Self {
        let [p50, p99, max] = [50, 99, 100].map(|percent| percentile(times, percent).as_millis());
        self.figure(format!("{name} p50 {p50} ms, p99 {p99} ms, max {max} ms"))
    }

    /// Tells, then demands that nothing is broken.
    pub(crate) fn check(self) {
        self.tell();
        let Some(counts) = self.counts else { return };
        assert_eq!(counts.broken, Broken::default(), "{}: {}", self.fault, counts.line());
    }

    /// Tells without a demand, for what must break something.
    #[expect(clippy::print_stdout, reason = "a test of counts says what it counted")]
    pub(crate) fn tell(&self) {
        let Self { fault, done, counts, figures } = self;
        let figures = figures.join("; ");
        let counted = counts.map_or_else(String::new, |counts| format!("{}; ", counts.line()));
        println!("{fault}: {done}; {counted}{figures}");
        let Some(path) = std::env::var_os(ROWS_VARIABLE) else { return };
        let counts = counts.map(|counts| counts_of(&counts));
        let line = json!({"fault": fault, "done": done, "counts": counts, "figures": figures});
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| writeln!(file, "{line}")).expect("the file of rows can be written");
    }
}

fn counts_of(counts: &Counts) -> Value {
    let Broken { lost, phantom, duplicate, gap, reorder, altered, leak, refused } = counts.broken;
    json!({
        "acked": counts.acked, "delivered": counts.delivered, "lost": lost, "phantom": phantom + refused,
        "duplicate": duplicate, "gap": gap, "reorder": reorder, "altered": altered, "leak": leak,
    })
}

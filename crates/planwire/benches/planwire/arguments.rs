//! What the benchmark is asked for.

use std::path::PathBuf;

/// One run of the program.
pub(crate) enum Asked {
    /// To measure.
    Measure(Arguments),
    /// To be the server whose memory another run of this program looks at.
    Serve(PathBuf),
    /// To say what can be asked.
    Help,
}

/// What is measured, and where the figures go.
pub(crate) struct Arguments {
    /// Fewer rounds of fewer events: shows that everything runs; the figures are rough.
    pub(crate) quick: bool,
    /// Where the figures are written as JSON.
    pub(crate) json: Option<PathBuf>,
    /// Where the logs lie while they are measured; below `target` if not given.
    pub(crate) folder: Option<PathBuf>,
    /// Names of rows; none for all.
    rows: Vec<String>,
}

impl Arguments {
    /// Reads the command line; `names` are the rows that exist.
    pub(crate) fn parse(words: impl Iterator<Item = String>, names: &[&str]) -> Result<Asked, String> {
        let mut parsed = Self { quick: false, json: None, folder: None, rows: Vec::new() };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = |what: &str| words.next().ok_or_else(|| format!("{word} needs {what}"));
            match word.as_str() {
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--quick" => parsed.quick = true,
                "--json" => parsed.json = Some(value("a file")?.into()),
                "--folder" => parsed.folder = Some(value("a folder")?.into()),
                "--serve" => return Ok(Asked::Serve(value("a folder")?.into())),
                "--help" | "-h" => return Ok(Asked::Help),
                row if names.contains(&row) => parsed.rows.push(word),
                other => return Err(format!("'{other}' is no row and no option")),
            }
        }
        Ok(Asked::Measure(parsed))
    }

    /// Whether the row of this name is asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|row| row == name)
    }
}

/// What can be asked.
pub(crate) fn usage(names: &[&str]) -> String {
    format!(
        "cargo xtask bench [--quick] [--json FILE] [--folder DIR] [ROW..]\n\n  rows: {}\n\n  \
         --quick   fewer rounds of fewer events; the figures are rough\n  \
         --json    also writes the figures to FILE\n  \
         --folder  where the logs lie while they are measured (default: below target)",
        names.join(" ")
    )
}

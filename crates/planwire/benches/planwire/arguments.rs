//! What the benchmark is asked for.

use std::path::PathBuf;

/// One run of the program.
pub(crate) enum Asked {
    /// To measure.
    Measure(Arguments),
    /// To be the server whose memory another run of this program looks at.
    Serve(PathBuf),
    /// To run a large plan, so that another run of this program can look at its memory.
    Size {
        /// Which one.
        plan: String,
        /// Where its log lies.
        folder: PathBuf,
    },
    /// To say what can be asked.
    Help,
}

/// The names of the rows that exist.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    /// The product beside the limits of the machine.
    pub(crate) own: &'a [&'a str],
    /// The product beside its rivals.
    pub(crate) against: &'a [&'a str],
}

/// What is measured, and where the figures go.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// Beside rivals instead of limits.
    pub(crate) against: bool,
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
    /// Reads the command line.
    pub(crate) fn parse(words: impl Iterator<Item = String>, names: Names<'_>) -> Result<Asked, String> {
        let mut parsed = Self::default();
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = |what: &str| words.next().ok_or_else(|| format!("{word} needs {what}"));
            match word.as_str() {
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--against" => parsed.against = true,
                "--quick" => parsed.quick = true,
                "--json" => parsed.json = Some(value("a file")?.into()),
                "--folder" => parsed.folder = Some(value("a folder")?.into()),
                "--serve" => return Ok(Asked::Serve(value("a folder")?.into())),
                "--size" => {
                    let plan = value("a plan")?;
                    return Ok(Asked::Size { plan, folder: value("a folder")?.into() });
                }
                "--help" | "-h" => return Ok(Asked::Help),
                option if option.starts_with('-') => return Err(format!("'{option}' is no option")),
                _ => parsed.rows.push(word),
            }
        }
        let (known, other, hint) = match parsed.against {
            true => (names.against, names.own, "without"),
            false => (names.own, names.against, "with"),
        };
        match parsed.rows.iter().find(|row| !known.contains(&row.as_str())) {
            None => Ok(Asked::Measure(parsed)),
            Some(row) if other.contains(&row.as_str()) => {
                Err(format!("'{row}' is a row {hint} --against alone"))
            }
            Some(row) => Err(format!("'{row}' is no row")),
        }
    }

    /// Whether no row is asked for by its name.
    pub(crate) fn wants_all(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether the row of this name is asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|row| row == name)
    }
}

/// What can be asked.
pub(crate) fn usage(names: Names<'_>) -> String {
    format!(
        "cargo xtask bench [--quick] [--json FILE] [--folder DIR] [ROW..]\n\
         cargo xtask bench --against [--install] [--quick] [--json FILE] [--folder DIR] [ROW..]\n\n\
         The first measures Planwire beside the limits of the machine, the second beside what else\n\
         could be used, in turns and with the same events and the same durability. A rival that is\n\
         not installed is named with the package that has it.\n\n  \
         rows: {}\n  rows with --against: {}\n\n  \
         --install  first installs the Debian packages of rivals that are missing (as root)\n  \
         --quick    fewer rounds of fewer events; the figures are rough\n  \
         --json     also writes the figures to FILE\n  \
         --folder   where the logs lie while they are measured (default: below target)",
        names.own.join(" "),
        names.against.join(" ")
    )
}

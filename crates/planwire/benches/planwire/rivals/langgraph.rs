//! LangGraph with checkpoints in SQLite, in a process of its own that runs one graph after the other.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::setting::Setting;

const ABSENT: &str =
    "LangGraph: PLANWIRE_PYTHON names no Python that has it (PyPI: langgraph, langgraph-checkpoint-sqlite)";

/// What a graph is made of. Its nodes do nothing.
#[derive(Clone, Copy)]
pub(crate) enum Graph {
    /// So many nodes, one after the other.
    Sequence(usize),
    /// So many subgraphs in parallel, each of so many nodes.
    Children(usize, usize),
}

/// The process. Stopped when this is dropped.
pub(crate) struct LangGraph {
    child: Child,
    asked: ChildStdin,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl LangGraph {
    /// Starts it; `None` where the Python that tests use lacks it.
    pub(crate) fn start(setting: &Setting) -> Result<Option<Self>> {
        let Some(python) = std::env::var_os("PLANWIRE_PYTHON").map(PathBuf::from) else {
            setting.not_measured(ABSENT);
            return Ok(None);
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/planwire/rivals/langgraph_steps.py");
        let mut command = Command::new(python);
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("failed to start Python")?;
        let asked = child.stdin.take().context("its input is piped")?;
        let answers = BufReader::new(child.stdout.take().context("its output is piped")?);
        let mut graphs = Self { child, asked, answers, folder: setting.folder().to_owned() };
        if graphs.line()?.trim() != "ready" {
            setting.not_measured(ABSENT);
            return Ok(None);
        }
        Ok(Some(graphs))
    }

    /// How long each of so many runs of a graph took, one after the other, in a new database. One more runs before.
    pub(crate) fn run(&mut self, graph: Graph, runs: usize) -> Result<Vec<Duration>> {
        let (children, steps) = match graph {
            Graph::Sequence(steps) => (0, steps),
            Graph::Children(children, steps) => (children, steps),
        };
        let folder = tempfile::tempdir_in(&self.folder)?;
        let database = folder.path().join("graphs.db");
        let request =
            serde_json::json!({"children": children, "steps": steps, "runs": runs, "database": database});
        writeln!(self.asked, "{request}")?;
        let line = self.line()?;
        let seconds: Vec<f64> =
            serde_json::from_str(&line).with_context(|| format!("LangGraph said '{}'", line.trim()))?;
        Ok(seconds.into_iter().map(Duration::from_secs_f64).collect())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for LangGraph {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

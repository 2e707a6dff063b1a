//! A real browser with the page.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::chance::skip;

/// A browser that `page.mjs` drives: a line in, a line of JSON out.
pub(crate) struct Browser {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Browser {
    /// None where there is no browser.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let (Some(chromium), Some(modules)) =
            (std::env::var_os("PLANWIRE_CHROMIUM"), std::env::var_os("PLANWIRE_NODE_MODULES"))
        else {
            skip(test, "there is no browser with its driver (PLANWIRE_CHROMIUM, PLANWIRE_NODE_MODULES)");
            return None;
        };
        let driver = PathBuf::from(modules).join("playwright-core");
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/page.mjs");
        let mut command = Command::new("node");
        command.arg(script).arg(driver).arg(chromium).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("node starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
        Some(Self { child, stdin, stdout })
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the browser listens");
        writeln!(stdin, "{line}").expect("the browser listens");
    }

    /// What it says next.
    pub(crate) fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Waits until a row of the tree holds `word`; then all rows, with their texts and states.
    pub(crate) fn rows(&mut self, word: &str) -> Value {
        self.tell(&format!("rows {word}"));
        let seen = self.answer();
        assert_eq!(seen["problems"], json!([]));
        seen["rows"].clone()
    }

    /// Waits until what stands above the tree holds `word`; then its facts, each with its class.
    pub(crate) fn head(&mut self, word: &str) -> Value {
        self.tell(&format!("head {word}"));
        let seen = self.answer();
        assert_eq!(seen["problems"], json!([]));
        seen["head"].clone()
    }

    /// Waits until the pane of a row holds `word`; then how many events it shows, and how many of them stood there the
    /// last time.
    pub(crate) fn pane(&mut self, word: &str) -> Value {
        self.tell(&format!("pane {word}"));
        let seen = self.answer();
        assert_eq!(seen["problems"], json!([]));
        seen["pane"].clone()
    }

    /// Waits until the page counts PlanStarted and `notes` more events; then each of them has one row, in order.
    pub(crate) fn check(&mut self, notes: u64) {
        self.tell(&format!("await {}", notes + 1));
        let seen = self.answer();
        let expected: Vec<_> = (1..=notes).map(|number| json!({ "number": number }).to_string()).collect();
        assert_eq!(seen["notes"], json!(expected));
        assert_eq!(seen["loads"], 1, "the page was not loaded again");
        assert_eq!(seen["problems"], json!([]));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without input it closes the browser and ends; a kill would leave the browser behind.
        self.stdin = None;
        let _ = self.child.wait();
    }
}

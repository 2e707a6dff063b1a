//! The steps of a run with their times, counts and skips.
//!
//! A step that fails does not stop the run: a person wants to see everything that is wrong at once.
//! **Invariant:** whatever did not run is in [`Report::skipped`], with its reason.

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How many tests ran, and how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// Reads the closing line of a test runner. The same words in the output of a test, which nextest
    /// repeats, are not one.
    fn from_closing_line(runner: Runner, line: &str) -> Option<Self> {
        let begins = match runner {
            Runner::Nextest => line.trim_start().starts_with("Summary ["),
            Runner::DocTests => line.starts_with("test result: "),
        };
        if !begins {
            return None;
        }
        let passed = number_before(line, " passed")?;
        let skipped = number_before(line, " skipped").or_else(|| number_before(line, " ignored"));
        let run = number_before(line, " tests run").or_else(|| number_before(line, " test run"));
        // nextest names failures, timeouts and failed starts apart; all that ran and did not pass counts.
        let failed = match run {
            Some(run) => run.saturating_sub(passed),
            None => number_before(line, " failed").unwrap_or(0),
        };
        Some(Self { passed, failed, skipped: skipped.unwrap_or(0) })
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The number that ends where `word` begins; of `3/5 tests run` it is 3.
fn number_before(line: &str, word: &str) -> Option<u64> {
    let head = &line[..line.find(word)?];
    let token = head.rsplit(|c: char| c.is_whitespace() || c == '(').next()?;
    token.split('/').next()?.parse().ok()
}

/// Who runs tests, and so where its closing line is and how it looks.
#[derive(Clone, Copy)]
pub(crate) enum Runner {
    /// Closes with one line on standard error.
    Nextest,
    /// Closes with a line for each crate on standard output.
    DocTests,
}

struct Step {
    name: &'static str,
    took: Duration,
    result: &'static str,
}

/// What a run has done so far.
#[derive(Default)]
pub(crate) struct Report {
    steps: Vec<Step>,
    /// One line `name: reason` for each thing that did not run.
    pub(crate) skipped: Vec<String>,
    /// Tests of all runners together.
    pub(crate) counts: Counts,
}

impl Report {
    /// Runs one step, prints its name before and its time after; remembers a failure and goes on.
    pub(crate) fn step(&mut self, name: &'static str, work: impl FnOnce(&mut Self) -> Result<()>) -> bool {
        println!("\n==> {name}");
        let began = Instant::now();
        let outcome = work(self);
        let took = began.elapsed();
        if let Err(error) = &outcome {
            println!("    {name}: {error:#}");
        }
        let result = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("    {name}: {result} in {:.1} s", took.as_secs_f64());
        self.steps.push(Step { name, took, result });
        outcome.is_ok()
    }

    /// Notes a step that can not run here.
    pub(crate) fn skip(&mut self, name: &'static str, reason: &str) {
        println!("\n==> {name}\n    SKIPPED: {name}: {reason}");
        self.skipped.push(format!("{name}: {reason}"));
        self.steps.push(Step { name, took: Duration::ZERO, result: "skipped" });
    }

    /// Runs a test runner, passes its output on and adds its closing lines to the counts.
    ///
    /// # Errors
    ///
    /// If it can not be started or does not end with 0.
    pub(crate) fn tests(&mut self, mut command: Command, runner: Runner) -> Result<()> {
        println!("    {}", shown(&command));
        if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        match runner {
            Runner::DocTests => command.stdout(Stdio::piped()),
            Runner::Nextest => command.stderr(Stdio::piped()),
        };
        let mut child = command.spawn().context("failed to start the test runner")?;
        let source: Option<Box<dyn Read>> = match runner {
            Runner::DocTests => child.stdout.take().map(|pipe| Box::new(pipe) as _),
            Runner::Nextest => child.stderr.take().map(|pipe| Box::new(pipe) as _),
        };
        for line in BufReader::new(source.context("no output to read")?).split(b'\n') {
            let line = line.context("failed to read the output of the test runner")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            if let Some(counts) = Counts::from_closing_line(runner, &without_colour(&line)) {
                self.counts.add(counts);
            }
        }
        let status = child.wait().context("failed to wait for the test runner")?;
        if !status.success() {
            bail!("ended with {status}");
        }
        Ok(())
    }

    /// Prints the table of steps, what was skipped and the closing line; true if all is well.
    pub(crate) fn close(&self, ci: bool) -> bool {
        println!("\nStep              Time   Result");
        for step in &self.steps {
            println!("{:<14} {:>6.1} s  {}", step.name, step.took.as_secs_f64(), step.result);
        }
        let total: Duration = self.steps.iter().map(|step| step.took).sum();
        println!("{:<14} {:>6.1} s", "together", total.as_secs_f64());
        for line in &self.skipped {
            println!("SKIPPED: {line}");
        }
        let skipped = self.skipped.len() as u64 + self.counts.skipped;
        let failed_steps = self.steps.iter().filter(|step| step.result == "FAILED").count();
        if ci && skipped > 0 {
            println!("CI=true: what is skipped counts as a failure");
        }
        if failed_steps > 0 {
            println!("steps failed: {failed_steps}");
        }
        let Counts { passed, failed, .. } = self.counts;
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        failed_steps == 0 && failed == 0 && !(ci && skipped > 0)
    }
}

/// Runs `command`, which talks to the person directly.
///
/// # Errors
///
/// If it can not be started or does not end with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("    {}", shown(command));
    let status = command.status().with_context(|| format!("failed to start {}", shown(command)))?;
    if !status.success() {
        bail!("ended with {status}");
    }
    Ok(())
}

/// The command line as a person would type it, without the folder of the program.
fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    command.get_args().fold(name, |line, word| format!("{line} {}", word.to_string_lossy()))
}

fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            // A colour ends with its first letter.
            let _ = rest.by_ref().find(|c| c.is_ascii_alphabetic());
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(runner: Runner, line: &str, expected: Option<(u64, u64, u64)>) {
        let counts = Counts::from_closing_line(runner, &without_colour(line));
        assert_eq!(counts.map(|c| (c.passed, c.failed, c.skipped)), expected, "{line}");
    }

    #[test]
    fn closing_line_of_nextest_is_counted() {
        let check = |line: &str, expected| check(Runner::Nextest, line, Some(expected));
        check("     Summary [   0.005s] 3 tests run: 3 passed, 0 skipped", (3, 0, 0));
        check("     Summary [   1.2s] 1 test run: 1 passed (1 slow), 4 skipped", (1, 0, 4));
        check("Summary [ 9s] 5 tests run: 2 passed, 1 failed, 2 timed out, 1 skipped", (2, 3, 1));
        check("Summary [ 9s] 3/5 tests run: 2 passed, 1 failed, 0 skipped", (2, 1, 0));
        check("\u{1b}[32;1m Summary\u{1b}[0m [ 1s] \u{1b}[1m3\u{1b}[0m tests run: 3 passed", (3, 0, 0));
    }

    #[test]
    fn closing_line_of_doc_tests_is_counted() {
        let check = |line: &str, expected| check(Runner::DocTests, line, Some(expected));
        check("test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out", (2, 0, 1));
        check("test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured", (1, 1, 0));
    }

    #[test]
    fn other_lines_are_not_counted() {
        check(Runner::Nextest, "PASS [0.1s] planwire-event 3 passed", None);
        check(Runner::Nextest, "    test result: FAILED. 0 passed; 1 failed; 0 ignored", None);
        check(Runner::DocTests, "running 3 tests", None);
    }

    #[test]
    fn skips_fail_the_run_only_in_ci() {
        let mut report = Report::default();
        report.skip("coverage", "no llvm");
        assert!(report.close(false));
        assert!(!report.close(true));
    }

    #[test]
    fn failing_step_fails_the_run_and_lets_the_next_run() {
        let mut report = Report::default();
        assert!(!report.step("one", |_| bail!("broken")));
        assert!(report.step("two", |_| Ok(())));
        assert!(!report.close(false));
    }
}

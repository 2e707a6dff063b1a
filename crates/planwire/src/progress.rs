//! How far a command is that takes a while: one line on the terminal, drawn again and again, and gone at the end.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use planwire_store::Stage;

use crate::output::Output;

/// How often the line is drawn at most.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);
/// Characters of the bar.
const BAR_CHARS: u64 = 24;

/// The line.
pub(crate) struct Progress {
    what: &'static str,
    live: bool,
    drawn: Option<Instant>,
}

impl Progress {
    /// A line on standard error, if that is a terminal and people read it.
    pub(crate) fn new(what: &'static str, output: Output) -> Self {
        let live = std::io::stderr().is_terminal() && !output.json;
        Self { what, live, drawn: None }
    }

    /// Shows that `done` of `all` is done.
    pub(crate) fn show(&mut self, done: u64, all: u64) {
        if !self.live || self.drawn.is_some_and(|drawn| drawn.elapsed() < DRAW_INTERVAL) {
            return;
        }
        self.drawn = Some(Instant::now());
        // Nobody to tell is no failure.
        let _ = write!(std::io::stderr().lock(), "\r{}\x1b[K", line(self.what, done, all));
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// The line of a command that copies and then verifies.
pub(crate) struct Stages {
    copying: Progress,
    verifying: Progress,
}

impl Stages {
    /// A line that says `what` while the copy is made.
    pub(crate) fn new(what: &'static str, output: Output) -> Self {
        Self { copying: Progress::new(what, output), verifying: Progress::new("verifying", output) }
    }

    /// Shows that `done` of `all` is done.
    pub(crate) fn show(&mut self, stage: Stage, done: u64, all: u64) {
        match stage {
            Stage::Copying => self.copying.show(done, all),
            Stage::Verifying => self.verifying.show(done, all),
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        self.copying.clear();
        self.verifying.clear();
    }
}

fn line(what: &str, done: u64, all: u64) -> String {
    let part =
        |of: u64| u64::try_from(u128::from(done) * u128::from(of) / u128::from(all.max(1))).unwrap_or(of);
    let filled = part(BAR_CHARS).min(BAR_CHARS);
    let bar = |mark: &str, chars: u64| mark.repeat(usize::try_from(chars).unwrap_or(0));
    format!(
        "{what} [{}{}] {:>3} % of {all}",
        bar("=", filled),
        bar(" ", BAR_CHARS - filled),
        part(100).min(100)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_is_empty_at_the_beginning_and_full_at_the_end() {
        assert_eq!(line("verifying", 0, 50), format!("verifying [{}]   0 % of 50", " ".repeat(24)));
        let half = format!("verifying [{}{}]  50 % of 50", "=".repeat(12), " ".repeat(12));
        assert_eq!(line("verifying", 25, 50), half);
        assert_eq!(line("verifying", 50, 50), format!("verifying [{}] 100 % of 50", "=".repeat(24)));
        assert_eq!(line("verifying", 0, 0), format!("verifying [{}]   0 % of 0", " ".repeat(24)));
        assert_eq!(line("verifying", u64::MAX, u64::MAX).len(), line("verifying", 1, u64::MAX).len());
    }
}

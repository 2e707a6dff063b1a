//! What commands print: lines for people, JSON Lines for programs.

use std::io::{IsTerminal as _, Write as _};

use crate::args::{ColorChoice, GlobalArguments};
use crate::failure::Failure;

/// Width of lines where nothing says how wide they may be.
const COLUMNS_DEFAULT: usize = 80;
/// Height of the live tree where nothing says how high it may be.
const ROWS_DEFAULT: usize = 24;

/// Where and how a command prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON Lines instead of lines for people.
    pub(crate) json: bool,
    /// Colours of standard output.
    pub(crate) style: Style,
    /// Whether standard output is a terminal on which lines can be drawn again.
    pub(crate) live: bool,
    /// What to do when nobody reads standard output any more.
    pub(crate) unread: Unread,
}

/// What a command does whose standard output is closed by its reader, as `| head` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It ends: printing was all that it was for.
    End,
    /// It goes on in silence: its work is not in the printing.
    GoOn,
}

impl Output {
    /// The same for a command that does more than print.
    pub(crate) const fn going_on(self) -> Self {
        Self { unread: Unread::GoOn, ..self }
    }

    fn forgive(self, written: std::io::Result<()>) -> Result<(), Failure> {
        match written {
            Err(error) if self.unread == Unread::GoOn && error.kind() == std::io::ErrorKind::BrokenPipe => {
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// Looks at the flags, the environment and standard output.
    pub(crate) fn detect(global: &GlobalArguments) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        let colored = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !dumb && !set("NO_COLOR"),
        };
        let style = Style { colored: colored && !global.json };
        Self { json: global.json, style, live: terminal && !dumb && !global.json, unread: Unread::End }
    }

    /// Prints one line to standard output.
    ///
    /// # Errors
    ///
    /// A broken pipe is a quiet failure, or none, see [`Unread`].
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        self.forgive(stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n")))
    }

    /// Prints text as it is and flushes it.
    ///
    /// # Errors
    ///
    /// A broken pipe is a quiet failure, or none, see [`Unread`].
    pub(crate) fn raw(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        self.forgive(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
    }

    /// Prints one JSON line.
    ///
    /// # Errors
    ///
    /// A broken pipe is a quiet failure, or none, see [`Unread`].
    pub(crate) fn json(&self, value: &serde_json::Value) -> Result<(), Failure> {
        self.line(&value.to_string())
    }

    /// Columns and rows of the terminal.
    pub(crate) fn size() -> (usize, usize) {
        match terminal_size::terminal_size() {
            Some((width, height)) if width.0 > 0 && height.0 > 0 => (width.0.into(), height.0.into()),
            _ => (COLUMNS_DEFAULT, ROWS_DEFAULT),
        }
    }
}

/// Prints one line to standard error; that nobody reads it is no failure.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Colours, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Whether there are any.
    pub(crate) colored: bool,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// As it is.
    Plain,
    /// The most important word.
    Strong,
    /// Less important.
    Faint,
    /// Something went well.
    Good,
    /// Something went wrong.
    Bad,
    /// Something went wrong, and was got over.
    Warning,
    /// Something runs.
    Active,
    /// A decision.
    Choice,
}

impl Style {
    /// Wraps `text` into the escape sequences of `paint`.
    pub(crate) fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Plain => return text.to_owned(),
            Paint::Strong => "1",
            Paint::Faint => "2",
            Paint::Good => "32",
            Paint::Bad => "31",
            Paint::Warning => "33",
            Paint::Active => "36",
            Paint::Choice => "35",
        };
        if self.colored && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Makes a text from outside safe for a terminal: control characters and those that reorder a line are escaped.
pub(crate) fn escape(text: &str) -> String {
    let unsafe_char = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(unsafe_char) {
        return text.to_owned();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if unsafe_char(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Cuts a text to `columns` characters; a cut is shown by `…`.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    match text.char_indices().nth(columns) {
        None => text.to_owned(),
        Some(_) if columns == 0 => String::new(),
        Some(_) => {
            let mut short: String = text.chars().take(columns - 1).collect();
            short.push('…');
            short
        }
    }
}

/// So many of something: `1 step`, `1,200 steps`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{} {what}s", grouped(count)) }
}

/// A number for people: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A duration for people: `87 ms`, `1.4 s`, `2 m 05 s`.
pub(crate) fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} m {:02} s", ms / 60_000, ms / 1_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(escape("plain é ✓"), "plain é ✓");
        assert_eq!(escape("a\x1b[31mb\r\n\u{9b}\u{202e}"), "a\\u{1b}[31mb\\r\\n\\u{9b}\\u{202e}");
    }

    #[test]
    fn long_text_is_cut_visibly() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn numbers_can_be_read() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1, 1_200].map(|count| counted(count, "step")), ["0 steps", "1 step", "1,200 steps"]);
    }

    #[test]
    fn durations_have_two_digits_that_matter() {
        let shown = [0, 999, 1_000, 59_999, 61_500, 3_600_000].map(duration);
        assert_eq!(shown, ["0 ms", "999 ms", "1.0 s", "59.9 s", "1 m 01 s", "60 m 00 s"]);
    }

    #[test]
    fn paint_is_only_used_where_there_are_colours() {
        assert_eq!(Style { colored: false }.paint(Paint::Bad, "x"), "x");
        assert_eq!(Style { colored: true }.paint(Paint::Bad, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Style { colored: true }.paint(Paint::Plain, "x"), "x");
        assert_eq!(Style { colored: true }.paint(Paint::Good, ""), "");
    }
}

//! A picture that is drawn again in its place, and lines that scroll by above it.

use crate::failure::Failure;
use crate::output::Output;

/// Hides the cursor and keeps long lines from wrapping.
const BEGIN: &str = "\x1b[?25l\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?25h";

/// The bottom of a terminal. Dropping it shows the cursor again.
#[derive(Debug)]
pub(crate) struct Screen {
    output: Output,
    drawn: Vec<String>,
}

impl Screen {
    /// Takes the terminal of `output`.
    ///
    /// # Errors
    ///
    /// If standard output cannot be written.
    pub(crate) fn open(output: Output) -> Result<Self, Failure> {
        output.raw(BEGIN)?;
        Ok(Self { output, drawn: Vec::new() })
    }

    /// Draws `lines` over what was drawn before.
    ///
    /// # Errors
    ///
    /// If standard output cannot be written.
    pub(crate) fn draw(&mut self, lines: Vec<String>) -> Result<(), Failure> {
        if lines != self.drawn {
            self.output.raw(&redraw(self.drawn.len(), &lines))?;
            self.drawn = lines;
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone, then there is no cursor to show.
        let _ = self.output.raw(END);
    }
}

fn redraw(above: usize, lines: &[String]) -> String {
    let mut text = String::from("\x1b[?2026h\r");
    if above > 0 {
        text.push_str(&format!("\x1b[{above}A"));
    }
    for line in lines {
        text.push_str(line);
        text.push_str("\x1b[K\n");
    }
    text.push_str("\x1b[J\x1b[?2026l");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_is_drawn_in_its_place() {
        assert_eq!(redraw(0, &["a".into()]), "\x1b[?2026h\ra\x1b[K\n\x1b[J\x1b[?2026l");
        assert_eq!(redraw(2, &[]), "\x1b[?2026h\r\x1b[2A\x1b[J\x1b[?2026l");
    }
}

//! The text of a document file, and which line and column a part of it has.

/// Bytes of one document file.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// A place in a file: line and column from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// How a text is written in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    /// `|` or `>`.
    Block,
    /// It stands in no file.
    Nowhere,
}

/// A file as read: its name as people know it, and its text with `\n` alone at the ends of lines.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// Takes a text; a byte order mark and carriage returns before line feeds are dropped.
    pub(super) fn new(name: &str, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name: name.to_owned(), text, line_starts }
    }

    /// A line without its end; from 1.
    pub(super) fn line(&self, line: usize) -> Option<&str> {
        let start = *self.line_starts.get(line.checked_sub(1)?)?;
        self.text.get(start..)?.split('\n').next()
    }

    /// `place`, or the end of the text if it lies behind it, as the end of a file may.
    pub(super) fn within(&self, place: Place) -> Place {
        if place.line > self.line_starts.len() { self.place_of(self.text.trim_end().len()) } else { place }
    }

    /// The place of a byte.
    pub(super) fn place_of(&self, offset: usize) -> Place {
        let offset = offset.min(self.text.len());
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|at| self.line_starts.get(at)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        Place { line: line.max(1), column: column + 1 }
    }

    fn offset_of(&self, place: Place) -> Option<usize> {
        let start = *self.line_starts.get(place.line.checked_sub(1)?)?;
        let rest = self.text.get(start..)?;
        let skipped = rest.char_indices().nth(place.column.checked_sub(1)?).map_or(rest.len(), |(at, _)| at);
        Some(start + skipped)
    }

    /// The place in the file of byte `offset` of a text `value` that is written at `place` in `style`.
    ///
    /// Quotes, escapes, folded lines and indentation are followed; where that is not possible the place of the text
    /// itself is given.
    pub(super) fn place_in(&self, value: &str, style: Style, place: Place, offset: usize) -> Place {
        let Some(start) = self.offset_of(place) else { return place };
        let mut raw = Raw { text: &self.text, at: start, style };
        match style {
            Style::Nowhere => return place,
            // The place of a block is its first line, not its `|` or `>`.
            Style::Plain | Style::Block => {}
            Style::SingleQuoted | Style::DoubleQuoted => raw.at += 1,
        }
        for (at, character) in value.char_indices() {
            if raw.find(character).is_none() {
                return place;
            }
            if at >= offset {
                break;
            }
            raw.pass();
        }
        self.place_of(raw.at)
    }
}

/// A walk over the raw text of a scalar, character by character of its value.
struct Raw<'a> {
    text: &'a str,
    at: usize,
    style: Style,
}

impl Raw<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Goes to where `character` of the value is written.
    fn find(&mut self, character: char) -> Option<()> {
        loop {
            let next = self.rest().chars().next()?;
            let escape = self.style == Style::DoubleQuoted && next == '\\';
            if escape && self.rest().starts_with("\\\n") {
                self.at += 2;
            } else if escape || next == character || (character.is_whitespace() && next.is_whitespace()) {
                return Some(());
            } else if next.is_whitespace() {
                self.at += next.len_utf8();
            } else {
                return None;
            }
        }
    }

    /// Goes behind the character of the value that is written here.
    fn pass(&mut self) {
        let mut characters = self.rest().chars();
        let Some(first) = characters.next() else { return };
        let len = match (self.style, first, characters.next()) {
            (Style::SingleQuoted, '\'', Some('\'')) => 2,
            (Style::DoubleQuoted, '\\', Some('x')) => 4,
            (Style::DoubleQuoted, '\\', Some('u')) => 6,
            (Style::DoubleQuoted, '\\', Some('U')) => 10,
            (Style::DoubleQuoted, '\\', Some(other)) => 1 + other.len_utf8(),
            _ => first.len_utf8(),
        };
        self.at += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        text: &str,
        value: &str,
        style: Style,
        place: (usize, usize),
        needle: &str,
        expected: (usize, usize),
    ) {
        let source = Source::new("a.yaml", text);
        let place = Place { line: place.0, column: place.1 };
        let offset = value.find(needle).unwrap();
        let got = source.place_in(value, style, place, offset);
        assert_eq!((got.line, got.column), expected, "{text:?}");
    }

    #[test]
    fn places_inside_of_texts_follow_quotes_escapes_and_lines() {
        check("a: one two", "one two", Style::Plain, (1, 4), "two", (1, 8));
        check("a: one\n  two", "one two", Style::Plain, (1, 4), "two", (2, 3));
        check("a: 'it''s X'", "it's X", Style::SingleQuoted, (1, 4), "X", (1, 11));
        check(r#"a: "é\"\u0041 X""#, "é\"A X", Style::DoubleQuoted, (1, 4), "X", (1, 15));
        check("a: \"one \\\n  X\"", "one X", Style::DoubleQuoted, (1, 4), "X", (2, 3));
        check("a: |\n  one\n    two X\n", "one\n  two X\n", Style::Block, (2, 3), "X", (3, 9));
        check("a: >-\n  one\n  X\n", "one X", Style::Block, (2, 3), "X", (3, 3));
        check("", "X", Style::Plain, (7, 1), "X", (7, 1));
        check("a: b", "X", Style::Plain, (1, 4), "X", (1, 4));
    }

    #[test]
    fn byte_order_marks_and_carriage_returns_are_dropped() {
        let source = Source::new("a.yaml", "\u{feff}a: 1\r\nb: 2\r\n");
        assert_eq!(source.text, "a: 1\nb: 2\n");
        assert_eq!(source.line(2), Some("b: 2"));
        assert_eq!(source.line(9), None);
        assert_eq!(source.place_of(5), Place { line: 2, column: 1 });
    }
}

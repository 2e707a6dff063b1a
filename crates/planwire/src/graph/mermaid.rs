//! A flowchart, in the language of Mermaid (<https://mermaid.js.org/syntax/flowchart.html>).

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Characters of one line in a shape.
const LINE_CHARS_MAX: usize = 60;

/// How a step is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// It calls a tool.
    Rectangle,
    /// It decides, by a rule or by a model.
    Hexagon,
    /// It asks people.
    Slanted,
    /// It ends the plan.
    Stadium,
    /// It leaves an artifact.
    Flag,
    /// It runs a plan of which nothing is known here.
    Subroutine,
}

impl Shape {
    const fn brackets(self) -> (&'static str, &'static str) {
        match self {
            Self::Rectangle => ("[", "]"),
            Self::Hexagon => ("{{", "}}"),
            Self::Slanted => ("[/", "/]"),
            Self::Stadium => ("([", "])"),
            Self::Flag => (">", "]"),
            Self::Subroutine => ("[[", "]]"),
        }
    }
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Ok,
    Recovered,
    Failed,
    Running,
    Waiting,
    Skipped,
}

impl Class {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Recovered => "recovered",
            Self::Failed => "failed",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Skipped => "skipped",
        }
    }

    /// Readable on light and dark pages alike, since text has a colour of its own.
    const fn style(self) -> &'static str {
        match self {
            Self::Ok => "fill:#d7f0dd,stroke:#2e7d46,color:#10331c",
            Self::Recovered => "fill:#fdf0cf,stroke:#a87b00,color:#3d2d00",
            Self::Failed => "fill:#fbdcdc,stroke:#b3261e,color:#410e0b",
            Self::Running => "fill:#d9e8fb,stroke:#1f62b0,color:#0b2545",
            Self::Waiting => "fill:#f4f4f4,stroke:#8a8a8a,color:#333333",
            Self::Skipped => "fill:#f4f4f4,stroke:#bbbbbb,color:#8a8a8a,stroke-dasharray:4 3",
        }
    }
}

/// A flowchart that is being written.
pub(super) struct Chart {
    text: String,
    indent: usize,
    classes: BTreeMap<Class, Vec<String>>,
}

impl Chart {
    pub(super) fn new(title: &str) -> Self {
        // As JSON, which is a text of YAML too.
        let title = serde_json::Value::from(title);
        let text = format!("---\ntitle: {title}\n---\nflowchart TD\n");
        Self { text, indent: 1, classes: BTreeMap::new() }
    }

    pub(super) fn node(&mut self, id: &str, shape: Shape, lines: &[&str], class: Option<Class>) {
        let (open, close) = shape.brackets();
        self.line(&format!("{id}{open}\"{}\"{close}", label(lines)));
        self.note(id, class);
    }

    /// Begins a part with nodes of its own.
    pub(super) fn begin(&mut self, id: &str, lines: &[&str], class: Option<Class>) {
        // Mermaid leaves room for one line.
        self.line(&format!("subgraph {id}[\"{}\"]", joined(lines, " · ")));
        self.note(id, class);
        self.indent += 1;
    }

    pub(super) fn end(&mut self) {
        self.indent -= 1;
        self.line("end");
    }

    pub(super) fn edge(&mut self, from: &str, to: &str) {
        self.line(&format!("{from} --> {to}"));
    }

    pub(super) fn into_text(mut self) -> String {
        let classes = std::mem::take(&mut self.classes);
        for (class, ids) in classes {
            self.line(&format!("classDef {} {}", class.name(), class.style()));
            self.line(&format!("class {} {}", ids.join(","), class.name()));
        }
        self.text
    }

    fn note(&mut self, id: &str, class: Option<Class>) {
        if let Some(class) = class {
            self.classes.entry(class).or_default().push(id.to_owned());
        }
    }

    fn line(&mut self, line: &str) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.text, "{}{line}", "    ".repeat(self.indent));
    }
}

/// Lines of a label: what Mermaid or a browser would take for markup is written as entities.
fn label(lines: &[&str]) -> String {
    joined(lines, "<br/>")
}

fn joined(lines: &[&str], separator: &str) -> String {
    let lines = lines.iter().filter(|line| !line.is_empty());
    lines.map(|line| escaped(line)).collect::<Vec<_>>().join(separator)
}

fn escaped(line: &str) -> String {
    let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut kept: String = words.chars().take(LINE_CHARS_MAX).collect();
    if kept.len() < words.len() {
        kept.push('…');
    }
    let mut text = String::new();
    for char in kept.chars() {
        match char {
            '"' => text.push_str("#quot;"),
            '#' => text.push_str("#35;"),
            // Two of them begin a comment or a directive, wherever they stand.
            '%' => text.push_str("#37;"),
            '<' => text.push_str("#lt;"),
            '>' => text.push_str("#gt;"),
            '&' => text.push_str("#amp;"),
            '`' => text.push_str("#96;"),
            _ if char.is_control() => {}
            _ => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_markup_is_no_markup() {
        assert_eq!(
            escaped("a \"b\" <c> & #d `e`\n\u{7}f %%{init}"),
            "a #quot;b#quot; #lt;c#gt; #amp; #35;d #96;e#96; f #37;#37;{init}"
        );
        assert_eq!(escaped(&"x".repeat(61)), format!("{}…", "x".repeat(60)));
        assert_eq!((label(&["a", "", "b"]), joined(&["a", "b"], " · ")), ("a<br/>b".into(), "a · b".into()));
        assert!(
            Chart::new("a: \"b\"\n---").into_text().starts_with("---\ntitle: \"a: \\\"b\\\"\\n---\"\n---\n")
        );
    }
}

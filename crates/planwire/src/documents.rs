//! Plan documents: those that come with planwire, and those that people name.

use std::path::{Path, PathBuf};

use planwire_bus::DocumentSource;
use planwire_engine::document::model::InputKind;
use planwire_engine::document::{Diagnostics, Document, Folder, Resolved};
use planwire_event::vocabulary::Object;
use serde_json::Value;

use crate::failure::Failure;

/// Name of the plan that `demo` runs.
pub(crate) const REPO_REPORT: &str = "repo-report";

/// The files of the documents that come with planwire; subplans name each other by these paths.
const EMBEDDED: &[(&str, &str)] = &[
    ("repo-report.yaml", include_str!("../../../plans/repo-report.yaml")),
    ("repo-report/survey.yaml", include_str!("../../../plans/repo-report/survey.yaml")),
    ("repo-report/group.yaml", include_str!("../../../plans/repo-report/group.yaml")),
    ("repo-report/detail.yaml", include_str!("../../../plans/repo-report/detail.yaml")),
    ("repo-report/git-activity.yaml", include_str!("../../../plans/repo-report/git-activity.yaml")),
];

/// The embedded files that are started by name; the others are their subplans.
const REGISTERED: &[&str] = &[REPO_REPORT];

/// The documents that can be started by name, resolved.
///
/// # Errors
///
/// Never in a build whose tests pass.
pub(crate) fn registered() -> Result<Vec<Resolved>, Diagnostics> {
    REGISTERED.iter().map(|name| embedded(name)).collect()
}

fn embedded(name: &str) -> Result<Resolved, Diagnostics> {
    let file = format!("{name}.yaml");
    let text = EMBEDDED.iter().find(|(known, _)| *known == file).map(|(_, text)| *text);
    Document::parse(text.unwrap_or_default(), &file, Folder::Embedded(EMBEDDED))
}

/// A document that somebody named on the command line.
#[derive(Debug)]
pub(crate) struct Named {
    /// What it says.
    pub(crate) resolved: Resolved,
    name: String,
}

impl Named {
    /// The document as an engine takes it, whichever process that is in: subplans inlined, so that no other file is
    /// needed and what was checked is what runs.
    ///
    /// # Errors
    ///
    /// If there is no working folder, to which relative paths refer.
    pub(crate) fn source(&self) -> Result<DocumentSource, Failure> {
        let folder = working_folder()?;
        Ok(DocumentSource::Inline {
            text: self.resolved.body.to_string(),
            name: self.name.clone(),
            folder: Some(folder),
        })
    }
}

/// Reads the document that `name` means: a file, else one that comes with planwire.
///
/// # Errors
///
/// Exit code 2, with all problems of the document and where they are.
pub(crate) fn find(name: &str) -> Result<Named, Failure> {
    let path = Path::new(name);
    let resolved = if path.is_file() {
        Document::load(path)
    } else if REGISTERED.contains(&name) {
        embedded(name)
    } else {
        let known = REGISTERED.join(", ");
        let what = if path.exists() { "is not a file" } else { "is not there" };
        return Err(Failure::usage(format!("plan document {} {what}", path.display()))
            .hint(format!("name a YAML or JSON file, or one that comes with planwire: {known}")));
    };
    Ok(Named { resolved: resolved.map_err(Failure::document)?, name: name.to_owned() })
}

/// A document that comes with planwire, whatever files there are.
///
/// # Errors
///
/// Never in a build whose tests pass.
pub(crate) fn find_embedded(name: &str) -> Result<Named, Failure> {
    Ok(Named { resolved: embedded(name).map_err(Failure::document)?, name: name.to_owned() })
}

/// The folder to which the paths of a plan refer.
fn working_folder() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| Failure::failed(error).context("there is no working folder"))
}

/// Reads `NAME=VALUE` texts into the inputs of `document`.
///
/// # Errors
///
/// Exit code 2 if one has no `=`, or is no JSON where the document wants something else than text.
pub(crate) fn inputs(document: &Document, texts: &[String]) -> Result<Object, Failure> {
    let mut inputs = Object::new();
    for text in texts {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            Failure::usage(format!("input '{text}' has no value")).hint("write --input NAME=VALUE")
        })?;
        let kind = document.inputs.iter().find(|input| input.name == name).map(|input| input.kind);
        inputs.insert(name.to_owned(), value_of(name, value, kind)?);
    }
    Ok(inputs)
}

fn value_of(name: &str, value: &str, kind: Option<InputKind>) -> Result<Value, Failure> {
    match kind {
        // Whoever starts the plan says that there is no such input.
        None | Some(InputKind::String | InputKind::Path) => Ok(Value::String(value.to_owned())),
        Some(kind) => serde_json::from_str(value).map_err(|error| {
            Failure::usage(error).context(format!("input '{name}' must be {}", kind.wanted()))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn embedded_documents_are_sound_wherever_they_run() {
        let documents = registered().unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(documents[0].document.name, REPO_REPORT);
    }

    #[test]
    fn embedded_files_are_those_of_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plans");
        for (name, text) in EMBEDDED {
            assert_eq!(std::fs::read_to_string(folder.join(name)).unwrap(), *text, "{name}");
        }
    }

    #[test]
    fn inputs_are_read_as_the_document_says() {
        let text = "plan: p\ngoal: g\ninputs: { t: { type: string }, n: { type: int }, l: { type: list } }\nsteps: {}\n";
        let text = text
            .replace("steps: {}", "steps: { a: { decide: q, options: { x: x, y: y }, choose: \"'x'\" } }");
        let document =
            Document::parse(&text, "p.yaml", Folder::None).unwrap_or_else(|problems| panic!("{problems}"));
        let read = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            inputs(&document.document, &texts)
        };
        let values = read(&["t=1", "n=1", "l=[1]", "other=a=b"]).unwrap();
        assert_eq!(Value::Object(values), serde_json::json!({"t": "1", "n": 1, "l": [1], "other": "a=b"}));
        assert_eq!(read(&["t"]).unwrap_err().exit, Exit::Usage);
        assert!(read(&["n=x"]).unwrap_err().to_string().contains("input 'n' must be a whole number"));
    }

    #[test]
    fn document_that_is_not_there_is_a_usage_error() {
        let failure = find("no-such-plan.yaml").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("repo-report"));
    }
}

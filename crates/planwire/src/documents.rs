//! Plan documents: those that come with planwire, and those that people name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use planwire_bus::DocumentSource;
use planwire_engine::ToolSet;
use planwire_engine::document::model::InputKind;
use planwire_engine::document::{Diagnostic, Diagnostics, Document, Folder, Resolved};
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

/// What names of document files end with.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Documents that can be started by name.
const REGISTERED_MAX: usize = 1_000;

/// The embedded files that are started by name; the others are their subplans.
pub(crate) const REGISTERED: &[&str] = &[REPO_REPORT];

/// Documents that can be started by name.
pub(crate) type Registry = BTreeMap<String, Resolved>;

/// The documents of `folder`, else those that come with planwire.
///
/// # Errors
///
/// Exit code 2, with all problems of all documents and where they are.
pub(crate) fn registered(folder: Option<&Path>, tools: &ToolSet) -> Result<Registry, Failure> {
    match folder {
        Some(folder) => in_folder(folder, tools),
        None => {
            let all = REGISTERED.iter().map(|name| Ok(((*name).to_owned(), embedded(name)?)));
            all.collect::<Result<_, _>>().map_err(|problems: Diagnostics| Failure::document(problems))
        }
    }
}

fn in_folder(folder: &Path, tools: &ToolSet) -> Result<Registry, Failure> {
    let mut registry = Registry::new();
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut problems = Vec::new();
    for path in document_files(folder)? {
        match Document::load_with(&path, tools) {
            Err(found) => problems.push(found.to_string()),
            Ok(resolved) => {
                let name = resolved.document.name.clone();
                match files.get(&name) {
                    Some(first) => problems.push(duplicate(&path, &name, first).to_string()),
                    None => {
                        files.insert(name.clone(), path);
                        registry.insert(name, resolved);
                    }
                }
            }
        }
    }
    if problems.is_empty() { Ok(registry) } else { Err(Failure::document(problems.join("\n"))) }
}

/// The files of documents directly in a folder, by name.
fn document_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::usage(error)
            .context(format!("failed to read the folder of plan documents {}", folder.display()))
            .hint(
                "name one with --plans DIR or in the configuration: `planwire config` shows where it is set",
            )
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        // What begins with a dot is a draft of an editor, or meant to be left alone.
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let fits =
            path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known));
        if fits && !hidden && path.is_file() {
            files.push(path);
        }
        if files.len() > REGISTERED_MAX {
            return Err(Failure::usage(format!(
                "{} has more than {REGISTERED_MAX} documents",
                folder.display()
            )));
        }
    }
    files.sort();
    Ok(files)
}

fn duplicate(path: &Path, name: &str, first: &Path) -> Diagnostic {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let (line, column) = place_of_name(&text);
    Diagnostic {
        file: path.display().to_string(),
        line,
        column,
        message: format!("there is another plan '{name}' in {}", first.display()),
        hint: Some("give one of them another name".to_owned()),
        source_line: text.lines().nth(line - 1).map(str::to_owned),
    }
}

/// Line and column of the key `plan` of a sound document, from 1; the first line if it is written in an unusual way.
fn place_of_name(text: &str) -> (usize, usize) {
    let key = |line: &str| {
        let start = line.trim_start_matches(['{', ' ', '\t']);
        let rest = start.trim_start_matches(['"', '\'']).strip_prefix("plan")?;
        let named = rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':');
        named.then(|| line.len() - start.len() + 1)
    };
    // The least indented one is that of the document; others are steps.
    let found = text.lines().enumerate().filter_map(|(at, line)| Some((key(line)?, at + 1)));
    found.min().map_or((1, 1), |(column, line)| (line, column))
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

/// Reads the document that `name` means: a file, which may call `tools`, else one that comes with planwire.
///
/// # Errors
///
/// Exit code 2, with all problems of the document and where they are.
pub(crate) fn find(name: &str, tools: &ToolSet) -> Result<Named, Failure> {
    find_by(name, |path| Document::load_with(path, tools))
}

/// The same, whatever tools it calls: for those who only look at it.
///
/// # Errors
///
/// As for [`find`].
pub(crate) fn find_for_any_tools(name: &str) -> Result<Named, Failure> {
    find_by(name, Document::load_for_any_tools)
}

fn find_by(name: &str, load: impl Fn(&Path) -> Result<Resolved, Diagnostics>) -> Result<Named, Failure> {
    let path = Path::new(name);
    let resolved = if path.is_file() {
        load(path)
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
///
/// # Errors
///
/// If there is none.
pub(crate) fn working_folder() -> Result<PathBuf, Failure> {
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
        let documents = registered(None, &ToolSet::standard()).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(documents[REPO_REPORT].document.name, REPO_REPORT);
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
        let failure = find("no-such-plan.yaml", &ToolSet::standard()).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("repo-report"));
    }
}

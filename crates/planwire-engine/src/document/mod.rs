//! Plan documents: from YAML or JSON to something the executor can walk, or to messages that help.
//!
//! A text becomes a tree of nodes with places (`node`), the tree a [`Document`] with compiled expressions (`parse`,
//! `steps`, `decisions`), its subplans are loaded with it (`resolve`), and the whole is written as one JSON text
//! (`body`) that is stored and can be read back. **Invariant:** nothing is repaired in silence; a document either
//! gives a [`Resolved`] or [`Diagnostics`] with a place for each problem.
//!
//! - [`model`]: what a sound document says.
//! - [`Diagnostics`]: what is wrong with any other.
//! - `made`: documents that steps give at run time.
//! - [`schema()`]: the shape of documents as JSON Schema.

mod artifacts;
mod body;
mod decisions;
mod diagnostic;
mod graph;
mod inputs;
mod keys;
pub(crate) mod made;
pub mod model;
mod model_decisions;
mod node;
mod parse;
mod questions;
mod reading;
mod references;
mod resolve;
mod schema;
mod secrets;
mod source;
mod steps;

use std::path::Path;

pub use body::BODY_BYTES_MAX;
pub use diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Diagnostics, did_you_mean};
pub use inputs::InputError;
pub(crate) use inputs::named_like_secrets;
pub use model::{Document, Resolved};
pub use node::{NODE_DEPTH_MAX, NODES_MAX};
pub use reading::EXPRESSIONS_MAX;
pub use resolve::{FILES_MAX, Folder};
pub use schema::schema;
pub use source::FILE_BYTES_MAX;

use node::Node;
use resolve::{Loader, Unreadable, read_file};
use source::{Place, Source};

use crate::tool_set::ToolSet;

/// The name that problems of stored documents have.
const STORED_NAME: &str = "stored document";

impl Document {
    /// Reads a file with its subplans; the tools are those of [`ToolSet::standard`].
    ///
    /// # Errors
    ///
    /// All problems of the file and of its subplans, up to [`DIAGNOSTICS_MAX`].
    pub fn load(path: &Path) -> Result<Resolved, Diagnostics> {
        Self::load_with(path, &ToolSet::standard())
    }

    /// Reads a file with its subplans, which may call `tools`.
    ///
    /// # Errors
    ///
    /// As for [`Document::load`].
    pub fn load_with(path: &Path, tools: &ToolSet) -> Result<Resolved, Diagnostics> {
        Self::load_from(path, Some(tools))
    }

    /// Reads a file with its subplans, whatever tools they call and with whatever arguments: for those who do not run it.
    ///
    /// # Errors
    ///
    /// As for [`Document::load`].
    pub fn load_for_any_tools(path: &Path) -> Result<Resolved, Diagnostics> {
        Self::load_from(path, None)
    }

    fn load_from(path: &Path, tools: Option<&ToolSet>) -> Result<Resolved, Diagnostics> {
        let name = path.to_string_lossy();
        let text = read_file(path, &name).map_err(|problem| match problem {
            Unreadable::Missing(why) => Diagnostic::of_file(&name, format!("the file cannot be read: {why}")),
            Unreadable::Text(diagnostic) => diagnostic,
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Loader::new(tools, Folder::Path(folder)).run(&Source::new(&name, &text), Some(path))
    }

    /// Reads a text that problems call `name`; files of subplans are looked for in `folder`.
    ///
    /// The tools are those of [`ToolSet::standard`].
    ///
    /// # Errors
    ///
    /// As for [`Document::load`].
    pub fn parse(text: &str, name: &str, folder: Folder<'_>) -> Result<Resolved, Diagnostics> {
        Self::parse_with(text, name, folder, &ToolSet::standard())
    }

    /// Reads a text as [`Document::parse`] does; it may call `tools`.
    ///
    /// # Errors
    ///
    /// As for [`Document::load`].
    pub fn parse_with(
        text: &str,
        name: &str,
        folder: Folder<'_>,
        tools: &ToolSet,
    ) -> Result<Resolved, Diagnostics> {
        if text.len() > FILE_BYTES_MAX {
            let message = format!("the file exceeds the limit of {FILE_BYTES_MAX} bytes");
            return Err(Diagnostic::of_file(name, message).into());
        }
        let file = match folder {
            Folder::Path(folder) => folder.join(Path::new(name).file_name().unwrap_or_default()),
            Folder::None | Folder::Embedded(_) => name.into(),
        };
        Loader::new(Some(tools), folder).run(&Source::new(name, text), Some(&file))
    }

    /// Reads the body of a [`Resolved`] back. The tools are not checked: the call of one that is gone fails when it
    /// is reached.
    ///
    /// # Errors
    ///
    /// Problems without useful places, if the body is none that was written here.
    pub fn from_body(body: &str) -> Result<Resolved, Diagnostics> {
        let source = Source::new(STORED_NAME, "");
        let value = serde_json::from_str(body)
            .map_err(|error| Diagnostic::new(&source, Place::START, format!("not JSON: {error}")))?;
        Loader::new(None, Folder::None).run_tree(&source, &Node::of_value(value))
    }
}

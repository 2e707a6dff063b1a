//! Which tools a document may call, and which arguments they take.

/// A tool as documents see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolSpec {
    /// Name, such as `file.list`.
    pub name: String,
    /// Arguments that must be given.
    pub required: Vec<String>,
    /// Arguments that may be given.
    pub optional: Vec<String>,
}

impl ToolSpec {
    /// A tool with these arguments.
    #[must_use]
    pub fn new(name: &str, required: &[&str], optional: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self { name: name.to_owned(), required: owned(required), optional: owned(optional) }
    }
}

/// The tools that documents may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCatalog(Vec<ToolSpec>);

impl ToolCatalog {
    /// A catalog of these tools.
    #[must_use]
    pub fn new(tools: Vec<ToolSpec>) -> Self {
        Self(tools)
    }

    /// The tools that come with the engine.
    #[must_use]
    pub fn built_in() -> Self {
        Self(vec![
            ToolSpec::new("exec", &["argv"], &["cwd", "stdin", "env", "ok_exit_codes", "max_output_bytes"]),
            ToolSpec::new(
                "file.list",
                &["root"],
                &["path", "recursive", "max_entries", "skip", "extensions"],
            ),
            ToolSpec::new(
                "file.read",
                &["root"],
                &[
                    "path",
                    "paths",
                    "max_bytes",
                    "contains",
                    "max_lines",
                    "recursive",
                    "extensions",
                    "skip",
                    "max_files",
                ],
            ),
            ToolSpec::new(
                "file.digest",
                &["root"],
                &["path", "recursive", "extensions", "skip", "max_files"],
            ),
            ToolSpec::new("file.write", &["root", "path", "text"], &["append"]),
        ])
    }

    /// The tool called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ToolSpec> {
        self.0.iter().find(|tool| tool.name == name)
    }

    /// Names of all tools.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|tool| tool.name.as_str())
    }
}

impl Default for ToolCatalog {
    fn default() -> Self {
        Self::built_in()
    }
}

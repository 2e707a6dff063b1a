//! Which tools an engine has: those that are known one by one, and families whose members are found by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::secrets::Secrets;
use crate::tool::Tool;

/// Tools that are found when a document names them, such as those of a server that runs elsewhere.
pub trait ToolFamily: Send + Sync {
    /// What the names of all its tools begin with, such as `mcp:`.
    fn prefix(&self) -> &str;

    /// The tool of a name that begins with the prefix; `None` if there can be none.
    fn get(&self, name: &str) -> Option<Arc<dyn Tool>>;

    /// Why there is no tool of a name that begins with the prefix, for people; such as which there are.
    fn hint(&self, name: &str) -> Option<String>;
}

/// The tools that documents may call, by name, and the secrets that they may name. Cheap to clone.
#[derive(Clone, Default)]
pub struct ToolSet {
    tools: BTreeMap<String, Arc<dyn Tool>>,
    families: Vec<Arc<dyn ToolFamily>>,
    /// `None`: not known here; any name will do.
    secrets: Option<Secrets>,
}

impl ToolSet {
    /// No tools.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The tools of this crate: `exec`, `file.list`, `file.read`, `file.digest`, `file.write`, `http`.
    #[must_use]
    pub fn standard() -> Self {
        Self::empty()
            .with(Arc::new(crate::tools::exec::Exec::default()))
            .with(Arc::new(crate::tools::file::List))
            .with(Arc::new(crate::tools::file::Read))
            .with(Arc::new(crate::tools::file::DigestFiles))
            .with(Arc::new(crate::tools::file::Write))
            .with(Arc::new(crate::tools::http::Http::default()))
    }

    /// Adds a tool, or replaces the one of its name.
    #[must_use]
    pub fn with(mut self, tool: Arc<dyn Tool>) -> Self {
        self.tools.insert(tool.name().to_owned(), tool);
        self
    }

    /// Adds a family of tools, or replaces the one of its prefix. A tool that was added by itself goes before.
    #[must_use]
    pub fn with_family(mut self, family: Arc<dyn ToolFamily>) -> Self {
        self.families.retain(|known| known.prefix() != family.prefix());
        self.families.push(family);
        self
    }

    /// Says which secrets there are, so that a document that names another is refused when it is checked.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// The secrets that documents may name; `None`: not known, so that any name will do.
    #[must_use]
    pub const fn secrets(&self) -> Option<&Secrets> {
        self.secrets.as_ref()
    }

    /// The tool of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<dyn Tool>> {
        self.tools.get(name).cloned().or_else(|| self.family(name)?.get(name))
    }

    /// Why a family has no tool of a name, if the name belongs to one.
    #[must_use]
    pub fn hint(&self, name: &str) -> Option<String> {
        self.family(name)?.hint(name)
    }

    /// The tools that were added one by one, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Tool>> {
        self.tools.values()
    }

    fn family(&self, name: &str) -> Option<&Arc<dyn ToolFamily>> {
        self.families.iter().find(|family| name.starts_with(family.prefix()))
    }
}

impl fmt::Debug for ToolSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = self.families.iter().map(|family| format!("{}*", family.prefix()));
        f.debug_set().entries(self.tools.keys()).entries(families).finish()
    }
}

//! How a command ends: exit codes, and messages that say what to do.

use std::fmt;

use planwire_store::StoreError;

use crate::client::Refused;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was asked for.
    Completed,
    /// It, or the plan, failed.
    Failed,
    /// The command line or a document is wrong.
    Usage,
    /// The log could not be opened, read or written.
    Storage,
    /// Somebody cancelled it.
    Cancelled,
}

impl Exit {
    /// The exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Completed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Storage => 74,
            Self::Cancelled => 130,
        }
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    error: anyhow::Error,
    hint: Option<String>,
    /// The message begins with a place in a file, so that tools find it.
    bare: bool,
}

impl Failure {
    /// A failure with the exit code `exit`.
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), hint: None, bare: false }
    }

    /// Something went wrong: exit code 1.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, anyhow::anyhow!("{message}"))
    }

    /// The command line or a document is wrong: exit code 2.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, anyhow::anyhow!("{message}"))
    }

    /// A document has problems, which are told as they are: exit code 2.
    pub(crate) fn document(problems: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, error: anyhow::anyhow!("{problems}"), hint: None, bare: true }
    }

    /// The log could not be opened, read or written: exit code 74.
    pub(crate) fn storage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Storage, anyhow::anyhow!("{message}"))
    }

    /// Says what was being done.
    pub(crate) fn context(mut self, what: impl fmt::Display) -> Self {
        self.error = self.error.context(what.to_string());
        self
    }

    /// Says what could help.
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Whether a server could not be reached.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.error.chain().any(|cause| cause.is::<Unreachable>())
    }

    /// Whether a server answered that it cannot do it just now.
    pub(crate) fn is_busy(&self) -> bool {
        let busy = |refused: &Refused| refused.status == hyper::StatusCode::SERVICE_UNAVAILABLE;
        self.error.chain().any(|cause| cause.downcast_ref().is_some_and(busy))
    }

    /// Why, without what was being done.
    pub(crate) fn reason(&self) -> String {
        self.error.root_cause().to_string()
    }

    /// Which event of a request a server refused, from 0.
    pub(crate) fn refused_event(&self) -> Option<usize> {
        self.error.chain().find_map(|cause| cause.downcast_ref::<Refused>()?.index)
    }

    /// Whether another process holds the log.
    pub(crate) fn is_held(&self) -> bool {
        self.error.chain().any(|cause| {
            matches!(
                cause.downcast_ref(),
                Some(planwire_store::OpenError::Lock(planwire_store::LockError::Held { .. }))
            )
        })
    }

    /// Whether whoever read our output went away; nobody is to be told.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.error.chain().any(|cause| {
            cause
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
        })
    }
}

/// A server did not answer at its address.
#[derive(Debug, thiserror::Error)]
#[error("failed to reach the server at {url}")]
pub(crate) struct Unreachable {
    /// Its address.
    pub(crate) url: String,
    /// Why.
    #[source]
    pub(crate) source: anyhow::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.bare {
            write!(f, "planwire: ")?;
        }
        let mut shown = String::new();
        for cause in self.error.chain() {
            let text = cause.to_string();
            // Some causes repeat what the error before them said already.
            if !shown.contains(&text) {
                write!(f, "{}{text}", if shown.is_empty() { "" } else { ": " })?;
                shown.push_str(&text);
            }
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(Exit::Storage, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_has_its_causes_once_and_a_hint() {
        let failure = Failure::failed("disk full").context("failed to write").hint("make room");
        assert_eq!(failure.to_string(), "planwire: failed to write: disk full\n  hint: make room");
        let repeated = Failure::failed("disk full").context("failed: disk full");
        assert_eq!(repeated.to_string(), "planwire: failed: disk full");
    }

    #[test]
    fn exit_codes_are_those_that_scripts_expect() {
        let exits = [Exit::Completed, Exit::Failed, Exit::Usage, Exit::Storage, Exit::Cancelled];
        assert_eq!(exits.map(Exit::code), [0, 1, 2, 74, 130]);
        assert_eq!(Failure::storage("x").exit, Exit::Storage);
        assert_eq!(Failure::usage("x").exit, Exit::Usage);
    }

    #[test]
    fn reader_that_went_away_is_recognised() {
        let pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(Failure::from(pipe).context("failed to print").is_broken_pipe());
        assert!(!Failure::failed("x").is_broken_pipe());
    }
}

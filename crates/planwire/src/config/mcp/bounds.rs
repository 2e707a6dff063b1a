//! What a server that is a program may use and touch: keys of its table.

use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};

use super::super::SANDBOXES;
use super::super::file::{File, Member, Value};
use super::super::layers::Problems;
use super::texts;

/// What the table says; what it does not say is as for the tool `exec`, or a limit that is usual for servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// One of [`SANDBOXES`].
    pub(crate) sandbox: Option<&'static str>,
    /// Where it changes files, beside where tools do.
    pub(crate) write: Vec<PathBuf>,
    pub(crate) memory_mib: Option<u64>,
    pub(crate) processes_max: Option<u64>,
    pub(crate) files_max: Option<u64>,
    pub(crate) file_mib: Option<u64>,
    pub(crate) cpu_s: Option<u64>,
}

impl Bounds {
    /// Takes what a key says.
    pub(super) fn take(&mut self, file: &File, name: &str, member: &Member, problems: &mut Problems) {
        match name {
            "sandbox" => self.sandbox = sandbox(file, member, problems),
            "write" => self.write = folders(file, member, problems),
            "memory_mib" => self.memory_mib = count(file, member, (16, 1_048_576), "MiB", problems),
            "processes_max" => {
                self.processes_max = count(file, member, (1, 100_000), "processes", problems);
            }
            "files_max" => self.files_max = count(file, member, (16, 1_000_000), "descriptors", problems),
            "file_mib" => self.file_mib = count(file, member, (1, 16_777_216), "MiB", problems),
            _ => self.cpu_s = count(file, member, (1, 1_000_000_000), "seconds", problems),
        }
    }

    /// The keys that say something.
    pub(crate) fn shown(&self) -> Map<String, Json> {
        let all = [
            ("sandbox", json!(self.sandbox)),
            ("write", if self.write.is_empty() { Json::Null } else { json!(self.write) }),
            ("memory_mib", json!(self.memory_mib)),
            ("processes_max", json!(self.processes_max)),
            ("files_max", json!(self.files_max)),
            ("file_mib", json!(self.file_mib)),
            ("cpu_s", json!(self.cpu_s)),
        ];
        all.into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.into(), value))
            .collect()
    }
}

fn sandbox(file: &File, member: &Member, problems: &mut Problems) -> Option<&'static str> {
    let said = match &member.node.value {
        Value::Text(text) => SANDBOXES.into_iter().find(|known| known == text),
        _ => None,
    };
    if said.is_none() {
        let wanted = format!("one of {}", SANDBOXES.join(", "));
        problems.misfit_in(file, &member.name, &member.node.misfit(&wanted));
    }
    said
}

fn folders(file: &File, member: &Member, problems: &mut Problems) -> Vec<PathBuf> {
    let paths = texts(file, member, problems).unwrap_or_default();
    paths.into_iter().map(|path| file.folder().join(path)).collect()
}

/// A whole number within bounds, of a unit.
pub(super) fn count(
    file: &File,
    member: &Member,
    (least, most): (u64, u64),
    unit: &str,
    problems: &mut Problems,
) -> Option<u64> {
    let count = match &member.node.value {
        Value::Integer(count) => u64::try_from(*count).ok().filter(|count| (least..=most).contains(count)),
        _ => None,
    };
    if count.is_none() {
        let wanted = format!("a whole number from {least} to {most} ({unit})");
        problems.misfit_in(file, &member.name, &member.node.misfit(&wanted));
    }
    count
}

//! How programs of tools are started, and what people are told of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use planwire_engine::launcher::{Launcher, LauncherConfig, Limits, ProbeError, Sandbox};

use super::tables::SecretFrom;
use super::{MIB, SANDBOXES, Settings};
use crate::failure::{Exit, Failure};
use crate::place::Place;

impl Settings {
    /// How tools start programs.
    pub(crate) fn launcher(&self) -> Launcher {
        let tools = &self.config.engine.tools;
        let limits = Limits {
            memory_bytes: tools.memory_mib * MIB,
            processes: tools.processes_max,
            files: tools.files_max,
            file_bytes: tools.file_mib * MIB,
            cpu_s: Some(tools.cpu_s),
        };
        self.launcher_with(limits, self.sandbox(tools.sandbox))
    }

    /// How an MCP server starts: as programs of tools, but for what its table says and limits for what lives long.
    #[cfg(feature = "mcp")]
    pub(crate) fn launcher_of_server(&self, bounds: &super::mcp::Bounds) -> Launcher {
        let usual = planwire_mcp::limits::SERVER_LIMITS;
        let bytes = |mib: Option<u64>, usual| mib.map_or(usual, |mib| mib * MIB);
        let limits = Limits {
            memory_bytes: bytes(bounds.memory_mib, usual.memory_bytes),
            processes: bounds.processes_max.unwrap_or(usual.processes),
            files: bounds.files_max.unwrap_or(usual.files),
            file_bytes: bytes(bounds.file_mib, usual.file_bytes),
            cpu_s: bounds.cpu_s.or(usual.cpu_s),
        };
        let mut sandbox = self.sandbox(bounds.sandbox.unwrap_or(self.config.engine.tools.sandbox));
        if let Some(sandbox) = &mut sandbox {
            sandbox.writable.extend(bounds.write.iter().cloned());
        }
        self.launcher_with(limits, sandbox)
    }

    fn launcher_with(&self, limits: Limits, sandbox: Option<Sandbox>) -> Launcher {
        // What names none leaves the choice.
        let containment = self.config.engine.tools.containment.parse().ok();
        Launcher::new(LauncherConfig { limits, sandbox, containment, ..LauncherConfig::default() })
    }

    /// What people are told of how programs are held, found out by doing it.
    ///
    /// # Errors
    ///
    /// Exit code 2 if the configuration asks for what cannot be had here.
    pub(crate) async fn facts(&self) -> Result<BTreeMap<String, String>, Failure> {
        let launcher = self.launcher();
        let found = launcher.probe().await.map_err(|error| match error {
            ProbeError::NoAnswer(_) => Failure::new(Exit::Failed, error),
            _ => Failure::new(Exit::Usage, error).context("engine.tools"),
        })?;
        let sandbox = match found.landlock {
            _ if !launcher.is_sandboxed() => "off".to_owned(),
            Some(version) => format!("landlock {version}"),
            None => "none".to_owned(),
        };
        let containment = found.containment.to_string();
        Ok(BTreeMap::from([("containment".to_owned(), containment), ("sandbox".to_owned(), sandbox)]))
    }

    /// The sandbox of a kind of [`SANDBOXES`].
    fn sandbox(&self, kind: &str) -> Option<Sandbox> {
        let tools = &self.config.engine.tools;
        let [off, _, required] = SANDBOXES;
        if kind == off {
            return None;
        }
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let mut sandbox = Sandbox::new(home.as_deref());
        sandbox.required = kind == required;
        sandbox.readable = tools.read.iter().map(PathBuf::from).collect();
        sandbox.writable.extend(tools.write.iter().map(PathBuf::from));
        sandbox.hidden.extend(tools.hide.iter().map(PathBuf::from));
        // Without a place there is no log, and nothing to hide.
        let data = Place::find(self.config.data.clone()).ok();
        sandbox.work = data.as_ref().map(Place::work);
        sandbox.hidden.extend(data.map(|place| place.folder().to_path_buf()));
        sandbox.hidden.extend(self.file.as_ref().map(|file| file.path.clone()));
        sandbox.hidden.extend(self.config.engine.policy.clone());
        sandbox.hidden.extend(self.config.engine.secrets.iter().filter_map(|secret| match &secret.from {
            SecretFrom::File(path) => Some(path.clone()),
            SecretFrom::Variable(_) => None,
        }));
        Some(sandbox)
    }
}

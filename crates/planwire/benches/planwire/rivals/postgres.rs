//! A PostgreSQL server of the benchmark's own, durable as it comes.
//!
//! PostgreSQL does not run as root: then it runs as the user that Debian makes for it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Signal, getuid};
use tempfile::TempDir;

use crate::rivals::process::{self, Process};
use crate::setting::Setting;

/// What has it.
const PACKAGE: &str = "PostgreSQL is not installed (Debian: postgresql)";

/// Where Debian has its programs, a folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The user and the group under which root starts servers.
const UNPRIVILEGED: &str = "postgres";

/// A server with a folder of its own.
pub(crate) struct Postgres {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Postgres {
    /// Starts a server; `None` where none is installed, or where it may not reach the folder of the benchmark.
    pub(crate) fn start(setting: &Setting) -> Result<Option<Self>> {
        let Some(programs) = programs() else {
            setting.not_measured(PACKAGE);
            return Ok(None);
        };
        let folder = tempfile::tempdir_in(setting.folder())?;
        if !give_away(setting.folder(), folder.path())? {
            setting.not_measured(format!(
                "PostgreSQL: its user '{UNPRIVILEGED}' can not reach {}; name another folder with --folder",
                setting.folder().display()
            ));
            return Ok(None);
        }
        let (data, address) = (folder.path().join("data"), process::free_address()?);
        make_data(&programs, &data)?;
        let own = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\nsynchronous_commit = on\n\
             fsync = on\nmax_connections = 200\nshared_buffers = 256MB\nmax_wal_size = 4GB\n",
            address.port(),
            folder.path().display(),
        );
        let mut file = OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        file.write_all(own.as_bytes())?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = unprivileged(&programs.join("postgres"));
        command.arg("-D").arg(&data).stdout(Stdio::null()).stderr(log);
        let mut process = Process::start(&mut command, Signal::INT)?;
        process.await_port(address).with_context(|| {
            format!("PostgreSQL: {}", std::fs::read_to_string(folder.path().join("log")).unwrap_or_default())
        })?;
        Ok(Some(Self { address, _process: process, _folder: folder }))
    }

    /// Where a log of ours lies in it.
    pub(crate) fn url(&self, schema: &str) -> String {
        format!("postgres://planwire@{}/postgres?schema={schema}", self.address)
    }

    /// What a client is told.
    pub(crate) fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host(self.address.ip().to_string()).port(self.address.port());
        config.user("planwire").dbname("postgres");
        config
    }
}

/// The programs of the newest version that is here.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).ok()?.flatten();
    let number = |folder: &PathBuf| -> u32 {
        let version = folder.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().parse());
        version.and_then(Result::ok).unwrap_or(0)
    };
    let folders = versions.map(|version| version.path().join("bin"));
    folders.filter(|folder| folder.join("postgres").exists()).max_by_key(number)
}

fn make_data(programs: &Path, data: &Path) -> Result<()> {
    let mut initdb = unprivileged(&programs.join("initdb"));
    initdb.args([
        "--auth=trust",
        "--username=planwire",
        "--encoding=UTF8",
        "--no-locale",
        "--no-instructions",
    ]);
    let made = initdb.arg(data).output().context("failed to start initdb")?;
    ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

/// A program that does not run as root.
fn unprivileged(program: &Path) -> Command {
    if !getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={UNPRIVILEGED}"), format!("--regid={UNPRIVILEGED}")]);
    command.args(["--clear-groups", "--pdeathsig=QUIT"]).arg(program);
    command
}

/// Lets the unprivileged user have `folder` and pass through `parent`; false if it still can not be reached.
fn give_away(parent: &Path, folder: &Path) -> Result<bool> {
    if !getuid().is_root() {
        return Ok(true);
    }
    std::fs::set_permissions(parent, Permissions::from_mode(0o711))?;
    let id = |flag: &str| -> Result<u32> {
        let id = Command::new("id").args([flag, UNPRIVILEGED]).output()?;
        Ok(String::from_utf8_lossy(&id.stdout).trim().parse()?)
    };
    chown(folder, Some(id("-u")?), Some(id("-g")?))?;
    let mut look = unprivileged(Path::new("test"));
    Ok(look.arg("-w").arg(folder).status()?.success())
}

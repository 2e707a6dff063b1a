//! A PostgreSQL server of one test: made of a copy, on a free port, ended by its process id.
//!
//! PostgreSQL does not run as root: then it runs as the user that Debian makes for it. The tests of the program bring
//! faults about in such a server, and use more of it than those of the store.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Where Debian has PostgreSQL's programs, a folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The user and the group under which root starts servers.
const UNPRIVILEGED: &str = "postgres";

/// A server that runs, or was stopped for a while.
#[derive(Debug)]
pub(crate) struct Cluster {
    programs: PathBuf,
    folder: tempfile::TempDir,
    data: PathBuf,
    port: u16,
    server: Option<Child>,
}

/// Where the files of a server lie; none is a folder of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Disks<'a> {
    pub(crate) data: Option<&'a Path>,
    /// The write-ahead log, if it shall lie elsewhere than the rest.
    pub(crate) wal: Option<&'a Path>,
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It ends sessions and writes everything.
    Fast,
    /// It ends as in a crash.
    Immediate,
}

impl Cluster {
    /// Starts a server; `None`, and a word in the file of skipped tests, where there is none to start.
    pub(crate) fn start(test: &str) -> Option<Self> {
        Self::start_with(test, "")
    }

    /// Starts a server with further lines of configuration.
    pub(crate) fn start_with(test: &str, settings: &str) -> Option<Self> {
        Self::start_on(test, Disks::default(), settings)
    }

    /// Starts a server whose files lie on chosen disks.
    pub(crate) fn start_on(test: &str, disks: Disks<'_>, settings: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            skip(test, "PostgreSQL is not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        give_away(folder.path());
        let data = disks.data.unwrap_or(folder.path()).join("data");
        let mut cluster = Self { programs, folder, data, port: 0, server: None };
        cluster.make_data();
        if let Some(wal) = disks.wal {
            cluster.move_wal(wal);
        }
        cluster.port = free_port();
        let own = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\nshared_buffers = 16MB\n{settings}\n",
            cluster.port,
            cluster.folder.path().display(),
        );
        let file = std::fs::OpenOptions::new().append(true).open(cluster.data.join("postgresql.conf"));
        file.unwrap().write_all(own.as_bytes()).unwrap();
        cluster.run();
        Some(cluster)
    }

    /// Copies a data folder that the first test made.
    fn make_data(&self) {
        let version =
            self.programs.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
        let template = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgresql-{version}"));
        if template.exists() {
            copy(&template, &self.data);
            return;
        }
        give_away(self.data.parent().unwrap());
        let initdb = self.programs.join("initdb");
        let mut initdb = unprivileged(&initdb);
        initdb.args([
            "--auth=trust",
            "--username=planwire",
            "--encoding=UTF8",
            "--no-locale",
            "--wal-segsize=1",
        ]);
        let made = initdb.arg("--no-instructions").arg(&self.data).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // Made elsewhere and renamed: another test may do the same, and finds all of it or nothing.
        let whole = template.with_extension(std::process::id().to_string());
        copy(&self.data, &whole);
        if std::fs::rename(&whole, &template).is_err() {
            std::fs::remove_dir_all(&whole).unwrap();
        }
    }

    /// Lets the write-ahead log lie in another folder.
    fn move_wal(&self, folder: &Path) {
        let (from, to) = (self.data.join("pg_wal"), folder.join("pg_wal"));
        copy(&from, &to);
        std::fs::remove_dir_all(&from).unwrap();
        std::os::unix::fs::symlink(&to, &from).unwrap();
    }

    /// Starts the server and waits until it takes connections.
    pub(crate) fn run(&mut self) {
        assert!(self.server.is_none(), "the server runs");
        let mut command = unprivileged(&self.programs.join("postgres"));
        command.arg("-D").arg(&self.data).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let mut told = Vec::new();
        loop {
            let Some(line) = lines.next() else { panic!("the server did not start: {told:#?}") };
            let line = line.unwrap();
            // A standby takes "read-only connections".
            if line.contains("database system is ready to accept") {
                break;
            }
            told.push(line);
        }
        // What it says later is read away, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        self.server = Some(server);
    }

    /// Stops the server and waits for its end.
    pub(crate) fn stop(&mut self, how: Stop) {
        let Some(mut server) = self.server.take() else { return };
        // One that a test stopped hears nothing else.
        send("CONT", &[server.id()]);
        let signal = match how {
            Stop::Fast => "INT",
            Stop::Immediate => "QUIT",
        };
        if !send(signal, &[server.id()]) {
            let _ = server.kill();
        }
        let _ = server.wait();
    }

    /// Whether the server has ended by itself; then it can be run again.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self.server.as_mut().is_none_or(|server| server.try_wait().unwrap().is_some());
        if ended {
            self.server = None;
        }
        ended
    }

    /// Its process ids: the first one, which starts the others, before all others.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let first = self.server.as_ref().unwrap().id();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
        std::iter::once(first).chain(ids.filter(|id| parent(*id) == Some(first))).collect()
    }

    /// Stops the process that starts the others, so that these are all: their ids.
    pub(crate) fn hold(&self) -> Vec<u32> {
        send("STOP", &[self.server.as_ref().unwrap().id()]);
        self.processes()
    }

    /// Waits for the end of these processes of its own, which somebody killed.
    pub(crate) fn was_killed(&mut self, processes: &[u32]) {
        self.server.take().unwrap().wait().unwrap();
        // Those that nobody waits for stay as zombies, without files.
        let lives = |id: &u32| stat(*id).is_some_and(|stat| !stat.starts_with('Z'));
        while processes.iter().any(lives) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// The folder of its files.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Where a log lies in this server.
    pub(crate) fn url(&self, schema: &str) -> String {
        self.url_at(self.port, schema)
    }

    /// The same through another port, that of a proxy.
    pub(crate) fn url_at(&self, port: u16, schema: &str) -> String {
        format!("postgres://planwire@127.0.0.1:{port}/postgres?schema={schema}")
    }

    /// The same by the Unix socket.
    pub(crate) fn socket_url(&self, schema: &str) -> String {
        let folder = self.folder.path().display();
        format!("postgres://planwire@/postgres?host={folder}&port={}&schema={schema}", self.port)
    }

    /// The port on 127.0.0.1.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    fn psql(&self) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "planwire", "-d", "postgres"]);
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        psql
    }

    /// Runs SQL and gives what it prints.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs SQL in a server that may not be there; gives what it prints, or what it complains of.
    pub(crate) fn try_sql(&self, sql: &str) -> Result<String, String> {
        let done = self.psql().args(["-c", sql]).output().unwrap();
        let said = if done.status.success() { &done.stdout } else { &done.stderr };
        let said = String::from_utf8_lossy(said).trim().to_owned();
        if done.status.success() { Ok(said) } else { Err(said) }
    }

    /// A session that stays open.
    pub(crate) fn session(&self) -> SqlSession {
        let mut psql =
            self.psql().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (psql.stdin.take().unwrap(), BufReader::new(psql.stdout.take().unwrap()));
        SqlSession { psql, input, output }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop(Stop::Immediate);
    }
}

/// A session whose transactions last as long as a test wants.
pub(crate) struct SqlSession {
    psql: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl SqlSession {
    /// Runs SQL, waits until it is done, and gives what it prints.
    pub(crate) fn sql(&mut self, sql: &str) -> String {
        self.try_sql(sql).unwrap_or_else(|| panic!("the session ended: {sql}"))
    }

    /// The same; none if the session ended.
    pub(crate) fn try_sql(&mut self, sql: &str) -> Option<String> {
        writeln!(self.input, "{sql};\n\\echo done").ok()?;
        self.input.flush().ok()?;
        let mut said = String::new();
        loop {
            let from = said.len();
            if self.output.read_line(&mut said).ok()? == 0 {
                return None;
            }
            if said[from..].trim() == "done" {
                said.truncate(from);
                return Some(said.trim().to_owned());
            }
        }
    }
}

impl Drop for SqlSession {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

/// The programs of the newest version that is here.
pub(crate) fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).ok()?.flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    let number = |folder: &PathBuf| -> u32 {
        let version = folder.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().parse());
        version.and_then(Result::ok).unwrap_or(0)
    };
    folders.filter(|folder| folder.join("postgres").exists()).max_by_key(number)
}

/// State, parent and more of a process; none if there is none.
fn stat(process: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before may hold everything.
    Some(stat.rsplit_once(") ")?.1.to_owned())
}

fn parent(process: u32) -> Option<u32> {
    stat(process)?.split(' ').nth(1)?.parse().ok()
}

/// Sends a signal to processes; whether all of them were there.
pub(crate) fn send(signal: &str, processes: &[u32]) -> bool {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{signal}")).args(processes.iter().map(u32::to_string));
    kill.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

/// A program that does not run as root.
fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={UNPRIVILEGED}"), format!("--regid={UNPRIVILEGED}")]);
    // Ended together with the test, however that ends.
    command.args(["--clear-groups", "--pdeathsig=QUIT"]).arg(program);
    command
}

/// Lets the unprivileged user have a folder.
fn give_away(folder: &Path) {
    if is_root() {
        let id = |flag: &str| {
            let id = Command::new("id").args([flag, UNPRIVILEGED]).output().unwrap();
            String::from_utf8_lossy(&id.stdout).trim().parse().ok()
        };
        chown(folder, id("-u"), id("-g")).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(done.success(), "failed to copy {}", from.display());
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Says that a test cannot run here; see CONTRIBUTING.md.
pub(crate) fn skip(test: &str, reason: &str) {
    if let Some(path) = std::env::var_os("PLANWIRE_SKIPPED_FILE") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "{test}: {reason}"));
    }
}

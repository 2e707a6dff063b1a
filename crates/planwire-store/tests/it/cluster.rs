//! A PostgreSQL server of one test: made of a copy, on a free port, ended by its process id.
//!
//! PostgreSQL does not run as root: then it runs as the user that Debian makes for it.

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
    port: u16,
    server: Option<Child>,
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It ends sessions and writes everything.
    #[expect(dead_code, reason = "not every test program stops a server in order")]
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
        let Some(programs) = programs() else {
            skip(test, "PostgreSQL is not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Self { programs, folder, port: 0, server: None };
        cluster.make_data();
        cluster.port = free_port();
        let own = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\nshared_buffers = 16MB\n{settings}\n",
            cluster.port,
            cluster.folder.path().display(),
        );
        let file = std::fs::OpenOptions::new().append(true).open(cluster.data().join("postgresql.conf"));
        file.unwrap().write_all(own.as_bytes()).unwrap();
        cluster.run();
        Some(cluster)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Copies a data folder that the first test made.
    fn make_data(&self) {
        let version =
            self.programs.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
        let template = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgresql-{version}"));
        give_away(self.folder.path());
        if template.exists() {
            copy(&template, &self.data());
            return;
        }
        let initdb = self.programs.join("initdb");
        let mut initdb = unprivileged(&initdb);
        initdb.args([
            "--auth=trust",
            "--username=planwire",
            "--encoding=UTF8",
            "--no-locale",
            "--wal-segsize=1",
        ]);
        let made = initdb.arg("--no-instructions").arg(self.data()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // Made elsewhere and renamed: another test may do the same, and finds all of it or nothing.
        let whole = template.with_extension(std::process::id().to_string());
        copy(&self.data(), &whole);
        if std::fs::rename(&whole, &template).is_err() {
            std::fs::remove_dir_all(&whole).unwrap();
        }
    }

    /// Starts the server and waits until it takes connections.
    pub(crate) fn run(&mut self) {
        assert!(self.server.is_none(), "the server runs");
        let mut command = unprivileged(&self.programs.join("postgres"));
        command.arg("-D").arg(self.data()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let mut told = Vec::new();
        loop {
            let Some(line) = lines.next() else { panic!("the server did not start: {told:#?}") };
            let line = line.unwrap();
            if line.contains("database system is ready to accept connections") {
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
        let signal = match how {
            Stop::Fast => "-INT",
            Stop::Immediate => "-QUIT",
        };
        let sent = Command::new("kill").args([signal, &server.id().to_string()]).status();
        if !sent.is_ok_and(|status| status.success()) {
            let _ = server.kill();
        }
        let _ = server.wait();
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
        let done = self.psql().args(["-c", sql]).output().unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
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
    /// Runs SQL and waits until it is done.
    pub(crate) fn sql(&mut self, sql: &str) {
        writeln!(self.input, "{sql};\n\\echo done").unwrap();
        self.input.flush().unwrap();
        let mut line = String::new();
        while line.trim() != "done" {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the session ended: {sql}");
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

//! Data places of their own, and `planwire` processes that end with their test.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::faults::chance::Chance;
use crate::http::Http;

/// How long anything may take before a test gives up; no test waits for it to pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Ports that the operating system gives to nobody by itself, so that a server finds its own again.
const PORTS: (u64, u64) = (20_000, 30_000);

/// An address at which a server can be started again after it was killed.
pub(crate) fn free_address() -> String {
    let mut chance = Chance::of(u64::from(std::process::id()));
    let mut addresses = std::iter::repeat_with(|| format!("127.0.0.1:{}", chance.between(PORTS.0, PORTS.1)));
    addresses.find(|address| TcpListener::bind(address).is_ok()).expect("there is always another port")
}

/// A data place that is gone afterwards.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    data: PathBuf,
    /// What its commands find in their environment beside the usual.
    variables: Vec<(OsString, OsString)>,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Ran {
    /// Standard output as JSON Lines; the exit code must be `code`.
    pub(crate) fn json(&self, code: i32) -> Vec<Value> {
        assert_eq!(self.code, Some(code), "{self:?}");
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// Checks the exit code and gives standard output.
    pub(crate) fn text(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        &self.stdout
    }
}

/// The policy of a place whose server takes documents from anybody.
const OPEN_POLICY: &str = "network-may-all.toml";

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("planwire-").tempdir().expect("a folder for the test");
        Self { data: folder.path().join("data"), folder, variables: Vec::new() }
    }

    /// A data place whose log lies in `data`, which somebody else removes.
    pub(crate) fn on(data: PathBuf) -> Self {
        Self { data, ..Self::new() }
    }

    /// The data place itself.
    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// The database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.data.join("default.db")
    }

    /// Commands find this in their environment from now on.
    pub(crate) fn set_variable(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.into(), value.into()));
    }

    /// Commands find the usual environment from now on.
    pub(crate) fn clear_variables(&mut self) {
        self.variables.clear();
    }

    /// A folder beside it, made on first use.
    pub(crate) fn folder(&self, name: impl AsRef<Path>) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// Writes a file beside it.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// A command of the real program with this data place.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_planwire"));
        command.args(arguments).env("PLANWIRE_DATA", self.data()).env("HOME", self.folder.path());
        for name in
            ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "NO_COLOR", "PLANWIRE_CONFIG", "PLANWIRE_DB", "PLANWIRE_LOG"]
        {
            command.env_remove(name);
        }
        let policy = self.folder.path().join(OPEN_POLICY);
        if policy.exists() {
            command.env("PLANWIRE_ENGINE_POLICY", policy);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Ran {
        finish(self.command(arguments), "")
    }

    /// Runs a command that reads `input`.
    pub(crate) fn run_with<A: AsRef<OsStr>>(&self, arguments: &[A], input: &str) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        finish(command, input)
    }

    /// Starts a command and gives it back as soon as it runs.
    pub(crate) fn start<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Running {
        Running::start(self.command(arguments))
    }

    /// Starts `serve` on a free port and waits until it answers.
    pub(crate) fn serve(&self, more: &[&str]) -> Server {
        self.serve_at("127.0.0.1:0", more)
    }

    /// Starts `serve` so that anybody may send documents along, which may do everything, also after a restart.
    pub(crate) fn serve_documents(&self) -> Server {
        self.file(OPEN_POLICY, "[[network.allow]]\n");
        self.serve(&["--allow-inline-documents"])
    }

    /// Starts `serve` on an address and waits until it answers.
    pub(crate) fn serve_at(&self, listen: &str, more: &[&str]) -> Server {
        let arguments: Vec<&str> =
            ["--json", "serve", "--listen", listen].into_iter().chain(more.iter().copied()).collect();
        let mut running = self.start(&arguments);
        let line = running.line().expect("a server says where it answers");
        let greeting: Value = serde_json::from_str(&line).expect("a greeting in JSON");
        let url = greeting["url"].as_str().expect("an address").to_owned();
        Server { http: Http::new(&url), url, running }
    }
}

/// Waits for the end of a command.
pub(crate) fn finish(mut command: Command, input: &str) -> Ran {
    let mut child = command.spawn().expect("planwire starts");
    if let Some(mut stdin) = child.stdin.take() {
        // A command that refuses its arguments does not read.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().expect("planwire ends");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A process that is killed when its test ends, however that ends.
pub(crate) struct Running {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::inherit()).spawn().expect("planwire starts");
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout }
    }

    /// The next line of standard output; none at its end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().expect("standard output is open");
        let length = stdout.read_line(&mut line).expect("standard output can be read");
        (length > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    /// Writes a line to its standard input, which must be piped.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("standard input is piped");
        writeln!(stdin, "{line}").expect("it listens");
    }

    /// Reads lines until one holds `text`.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.line().unwrap_or_else(|| panic!("no line holds {text}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the process is there");
    }

    /// Waits for the end, and gives the rest of standard output too.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        while let Some(line) = self.line() {
            rest.push_str(&line);
            rest.push('\n');
        }
        (self.wait(), rest)
    }

    /// Closes our end of its standard output, as `head` does, and waits for its end.
    pub(crate) fn close_and_wait(mut self) -> ExitStatus {
        self.stdout = None;
        self.wait()
    }

    fn wait(&mut self) -> ExitStatus {
        eventually("the end of the process", || self.child.try_wait().expect("the process can be waited for"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `planwire serve` of a test.
pub(crate) struct Server {
    /// Its address.
    pub(crate) url: String,
    /// A client of it.
    pub(crate) http: Http,
    /// The process.
    pub(crate) running: Running,
}

impl Server {
    /// Ends it as a service manager does.
    pub(crate) fn stop(self) -> ExitStatus {
        self.running.signal(Signal::TERM);
        self.running.end().0
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(self) {
        self.running.signal(Signal::KILL);
        self.running.end();
    }
}

/// Waits until `condition` gives something.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

//! The TypeScript client in `clients/typescript`: built strictly, then its own tests against the real program, in Node
//! and in a browser.
//!
//! Its tests are programs of their own (`node:test`); here they get the program, a compiler and a browser. Each Rust
//! test builds the client in a folder of its own, so that nothing is left in the source tree.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::faults::chance::skip;
use crate::harness::{Place, Ran, finish};

/// What belongs to the package and its tests.
const PARTS: [&str; 5] = ["package.json", "tsconfig.json", "README.md", "src", "test"];

#[test]
fn client_for_typescript_keeps_its_promises() {
    let Some(client) = Client::build("client_for_typescript_keeps_its_promises") else { return };
    let files: Vec<_> = client.suites().into_iter().filter(|file| !file.starts_with("kills")).collect();
    assert!(files.len() >= 6, "{files:?}");
    let tests = client.check(&files, ".");
    println!("the TypeScript client passes {tests} tests of its own");
}

#[test]
fn client_in_node_loses_and_doubles_nothing_while_its_server_is_killed() {
    let Some(client) = Client::build("client_in_node_loses_and_doubles_nothing_while_its_server_is_killed")
    else {
        return;
    };
    assert_eq!(client.check(&["kills.test.mjs".to_owned()], "in Node"), 1);
}

#[test]
fn client_in_a_browser_loses_and_doubles_nothing_while_its_server_is_killed() {
    const TEST: &str = "client_in_a_browser_loses_and_doubles_nothing_while_its_server_is_killed";
    if std::env::var_os("PLANWIRE_CHROMIUM").is_none() {
        return skip(TEST, "there is no browser (PLANWIRE_CHROMIUM)");
    }
    let Some(client) = Client::build(TEST) else { return };
    assert_eq!(client.check(&["kills.test.mjs".to_owned()], "in Chromium"), 1);
}

/// The client, built in a folder of its own.
struct Client {
    _place: Place,
    folder: PathBuf,
}

impl Client {
    /// None where there is no Node or no compiler.
    fn build(test: &str) -> Option<Self> {
        let node = Command::new("node").arg("--version").stdout(Stdio::null()).status();
        if node.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            skip(test, "there is no node");
            return None;
        }
        let Some(modules) = std::env::var_os("PLANWIRE_NODE_MODULES") else {
            skip(test, "there is no TypeScript compiler (PLANWIRE_NODE_MODULES)");
            return None;
        };
        let place = Place::new();
        let folder = place.folder("client");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/typescript");
        for part in PARTS {
            copy(&source.join(part), &folder.join(part));
        }
        std::os::unix::fs::symlink(modules, folder.join("node_modules")).expect("a link to the compiler");
        let client = Self { _place: place, folder };
        let built = client.node(&["node_modules/typescript/bin/tsc", "-p", "."]);
        assert_eq!(built.code, Some(0), "{}{}", built.stdout, built.stderr);
        Some(client)
    }

    /// The files of its tests.
    fn suites(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.join("test")).expect("a folder of tests").flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.retain(|name| name.ends_with(".test.mjs"));
        names.sort();
        names
    }

    /// Runs those tests of `files` whose name contains `pattern`, prints what they counted, and gives their number.
    #[expect(clippy::print_stdout, reason = "what was counted is told")]
    fn check(&self, files: &[String], pattern: &str) -> usize {
        let named = format!("--test-name-pattern={pattern}");
        let files: Vec<_> = files.iter().map(|file| format!("test/{file}")).collect();
        let mut arguments = vec!["--test", "--test-reporter=tap", &named];
        arguments.extend(files.iter().map(String::as_str));
        let ran = self.node(&arguments);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        for line in ran.stdout.lines().filter(|line| line.contains(" kills: ")) {
            println!("{}", line.trim_start_matches(['#', ' ']));
        }
        let passed = ran.stdout.lines().find_map(|line| line.strip_prefix("# pass ")?.parse().ok());
        let passed = passed.unwrap_or_else(|| panic!("no summary: {}", ran.stdout));
        if pattern == "." {
            assert!(!ran.stdout.contains("# SKIP"), "{}", ran.stdout);
        }
        passed
    }

    fn node(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("node");
        command.args(arguments).current_dir(&self.folder).env("PLANWIRE_BIN", env!("CARGO_BIN_EXE_planwire"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command, "")
    }
}

/// Copies a file, or a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        std::fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        return;
    }
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a readable folder").flatten() {
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

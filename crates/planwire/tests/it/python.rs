//! The Python client: its own tests, in a real Python, against the real program.
//!
//! `clients/python/tests` says what is promised. What needs a package that is missing there is skipped, and said.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::faults::chance::skip;

/// Prints whether this Python is one for which the client is made.
const PROBE: &str = "import sys; print(sys.version_info >= (3, 9))";

/// The tests that kill the server; they run beside the others.
const KILLING: &str = "test_kill";

#[test]
fn python_client_keeps_its_promises() {
    let modules: Vec<String> = modules().into_iter().filter(|module| module != KILLING).collect();
    assert!(!modules.is_empty(), "there are tests");
    run("python_client_keeps_its_promises", &modules);
}

#[test]
fn python_client_loses_and_doubles_nothing_while_its_server_is_killed_ten_times() {
    let out = run(
        "python_client_loses_and_doubles_nothing_while_its_server_is_killed_ten_times",
        &[KILLING.to_owned()],
    );
    let Some(out) = out else { return };
    for client in ["sync", "async"] {
        let begin = format!("{client}: 10 kills: published ");
        assert!(
            out.lines().any(|line| line.contains(&begin) && line.contains("lost 0, doubled 0;")),
            "{out}"
        );
    }
}

/// Runs modules of tests and gives what they printed; none where there is no Python.
#[expect(clippy::print_stdout, reason = "what was counted is told")]
fn run(test: &str, modules: &[String]) -> Option<String> {
    let python = std::env::var("PLANWIRE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&python).args(["-c", PROBE]).output();
    if !probe.is_ok_and(|probe| probe.stdout.starts_with(b"True")) {
        skip(test, &format!("{python} (PLANWIRE_PYTHON) is no Python 3.9 or later"));
        return None;
    }
    let mut command = Command::new(&python);
    command.args(["-m", "unittest", "-v"]).args(modules.iter().map(|module| format!("tests.{module}")));
    command.current_dir(client()).stdin(Stdio::null());
    command.env("PLANWIRE_BIN", env!("CARGO_BIN_EXE_planwire"));
    // Nothing is written beside the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().expect("Python starts");
    let (out, report) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{out}\n{report}");
    for (skipped, reason) in skips(&report) {
        skip(&format!("{test}: {skipped}"), &reason);
    }
    let ran = report.lines().find(|line| line.starts_with("Ran ")).expect("it says how many tests ran");
    println!("{python}: {ran}\n{out}");
    Some(out.into_owned())
}

/// The folder of the client.
fn client() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/python")
}

/// The names of all modules of tests.
fn modules() -> Vec<String> {
    let files = std::fs::read_dir(client().join("tests")).expect("the folder of the tests");
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let mut modules: Vec<String> = names
        .filter(|name| name.starts_with("test_"))
        .filter_map(|name| name.strip_suffix(".py").map(str::to_owned))
        .collect();
    modules.sort();
    modules
}

/// What was skipped, with the reasons, as `unittest -v` says it: `name (class) ... skipped 'reason'`.
fn skips(report: &str) -> Vec<(String, String)> {
    let skipped = report.lines().filter_map(|line| line.split_once(" ... skipped "));
    skipped
        .map(|(name, reason)| {
            let name = name.split(' ').next().unwrap_or_default();
            (name.to_owned(), reason.trim_matches(['\'', '"']).to_owned())
        })
        .collect()
}

//! What people see on a terminal, by the program `script`, which gives a command one.

use std::io::Write as _;
use std::process::Command;

use crate::harness::{Place, finish};

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const GREEN: &str = "\x1b[32m";

/// What `demo --exit` writes to a terminal; none where there is no `script`.
fn demo_on_terminal(variables: &[(&str, &str)]) -> Option<String> {
    if Command::new("script").arg("--version").output().is_err() {
        if let Some(path) = std::env::var_os("PLANWIRE_SKIPPED_FILE") {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            writeln!(file.expect("the list"), "planwire on a terminal: there is no script")
                .expect("the list");
        }
        return None;
    }
    let place = Place::new();
    let folder = place.folder("subject");
    let words = [env!("CARGO_BIN_EXE_planwire"), "demo", "--exit", "--listen", "127.0.0.1:0"];
    let words = words.into_iter().chain(folder.to_str());
    let line = words.map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.env_remove("NO_COLOR").env("TERM", "xterm-256color").env("PLANWIRE_DATA", place.data());
    script.envs(variables.iter().copied());
    script.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    Some(finish(script, "").text(0).to_owned())
}

#[test]
fn tree_is_drawn_in_place_and_the_cursor_comes_back() {
    let Some(shown) = demo_on_terminal(&[]) else { return };
    let (before, after) = shown.split_once(SHOW_CURSOR).expect("the cursor is shown again");
    assert!(before.contains(HIDE_CURSOR) && before.contains(GREEN), "{shown}");
    assert!(before.contains("repo-report") && before.contains("plans"), "{shown}");
    assert!(after.contains("completed in") && after.contains("report"), "{shown}");
    assert!(!shown.contains("calls file.list"), "events are no lines of their own here: {shown}");
}

#[test]
fn no_color_is_respected() {
    let Some(shown) = demo_on_terminal(&[("NO_COLOR", "1")]) else { return };
    assert!(shown.contains(HIDE_CURSOR) && !shown.contains(GREEN), "{shown}");
}

#[test]
fn dumb_terminal_gets_plain_lines() {
    let Some(shown) = demo_on_terminal(&[("TERM", "dumb")]) else { return };
    assert!(!shown.contains('\x1b') && shown.contains("calls file.list"), "{shown}");
}

#[test]
fn pipe_gets_colours_only_on_request() {
    let place = Place::new();
    let started = r#"{"event_type":"PlanStarted","plan_id":"p","payload":{"name":"n"}}"#;
    place.run_with(&["publish", "-"], started).text(0);
    assert!(!place.run(&["plans"]).text(0).contains('\x1b'));
    assert!(place.run(&["--color", "always", "plans"]).text(0).contains("\x1b[36m"));
    assert!(!place.run(&["--color", "always", "--json", "plans"]).text(0).contains('\x1b'));
}

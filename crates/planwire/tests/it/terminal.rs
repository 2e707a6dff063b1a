//! What people see on a terminal, by the program `script`, which gives a command one.

use std::io::Write as _;
use std::process::Command;

use crate::harness::{Place, finish};
use crate::script::script;

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const GREEN: &str = "\x1b[32m";

/// What `demo --exit` writes to a terminal; none where there is no `script`.
fn demo_on_terminal(variables: &[(&str, &str)]) -> Option<String> {
    let place = Place::new();
    let folder = place.folder("subject");
    let words = ["demo", "--exit", "--listen", "127.0.0.1:0"].into_iter().chain(folder.to_str());
    on_terminal(&place, words, variables)
}

/// What a command writes to a terminal; none where there is no `script`.
fn on_terminal<'a>(
    place: &Place,
    words: impl Iterator<Item = &'a str>,
    variables: &[(&str, &str)],
) -> Option<String> {
    if Command::new("script").arg("--version").output().is_err() {
        if let Some(path) = std::env::var_os("PLANWIRE_SKIPPED_FILE") {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            writeln!(file.expect("the list"), "planwire on a terminal: there is no script")
                .expect("the list");
        }
        return None;
    }
    let words = [env!("CARGO_BIN_EXE_planwire")].into_iter().chain(words);
    let line = words.map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    terminal.env_remove("NO_COLOR").env("TERM", "xterm-256color").env("PLANWIRE_DATA", place.data());
    terminal.envs(variables.iter().copied());
    terminal.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    Some(finish(terminal, "").text(0).to_owned())
}

#[test]
fn commands_that_take_a_while_show_how_far_they_are_and_leave_no_trace_of_it() {
    let place = Place::new();
    let lines = place.file("events.jsonl", &script(100));
    let lines = lines.to_str().expect("UTF-8");
    let out = place.folder("out");
    let [export, backup] = ["a.jsonl", "a.db"].map(|name| out.join(name).to_str().expect("UTF-8").to_owned());
    for (words, bar) in [
        (vec!["import", lines], "importing ["),
        (vec!["export", "--out", &export], "exporting ["),
        (vec!["backup", &backup], "backing up ["),
    ] {
        let command = words[0];
        let Some(shown) = on_terminal(&place, words.into_iter(), &[]) else { return };
        let (_, after) = shown.rsplit_once("\r\x1b[K").unwrap_or_else(|| panic!("{command}: {shown}"));
        assert!(shown.contains(bar) && !after.contains(bar), "{command}: {shown}");
        assert!(after.contains("100"), "{command} ends with what it did: {shown}");
    }
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

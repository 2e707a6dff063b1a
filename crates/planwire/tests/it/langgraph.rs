//! The LangGraph example of the Python client: its tree is seen live, on the page and by `planwire events`.
//!
//! Live means: while the example is held in the middle of a tool, both show what it has begun and not yet done.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::faults::browser::Browser;
use crate::faults::chance::skip;
use crate::harness::{Place, Running};

const TEST: &str = "langgraph_example_is_seen_live_on_the_page_and_by_events";

/// Seconds that a tool of the example takes at least, so that it can be held while one runs.
const PACE_S: &str = "2";

/// Events of the example for two folders, on three plans.
const EVENTS: usize = 42;

#[test]
fn langgraph_example_is_seen_live_on_the_page_and_by_events() {
    let Some(python) = python() else { return };
    let mut browser = Browser::start(TEST);
    let place = Place::new();
    place.file("subject/one/long.txt", "some text\n");
    place.file("subject/one/short.txt", "\n");
    place.file("subject/two/only.txt", "\n");
    let server = place.serve(&[]);
    let mut follower = place.start(&["events", "--follow"]);
    let mut example = example(&python, &server.url, &place.folder("subject"));
    let address = example.line().expect("where to look");
    let plan = address.split('#').nth(1).expect("a plan").to_owned();
    follower.line_with("PlanStarted");
    if let Some(browser) = &mut browser {
        browser.tell(&format!("open {address}"));
    }
    follower.line_with("count calls count_files");
    example.signal(Signal::STOP);
    check_live(place.run(&["events", "--plan", &plan, "--tree"]).text(0), browser.as_mut());
    example.signal(Signal::CONT);
    let (status, report) = example.end();
    assert!(status.success() && report.contains("one: largest is long.txt (10 bytes)"), "{report}");
    let events = place.run(&["--json", "events", "--plan", &plan, "--tree"]).json(0);
    check_whole(&events, browser.as_mut());
    let page = if browser.is_some() { "and the page" } else { "(no browser)" };
    println!("`events --tree` {page} showed the run live, and {EVENTS} events at its end");
    follower.signal(Signal::TERM);
    follower.end();
    assert!(server.stop().success());
}

/// The Python that has LangGraph; none, and said so, where there is none.
fn python() -> Option<String> {
    let python = std::env::var("PLANWIRE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&python).args(["-c", "import langgraph.callbacks"]).output();
    if probe.is_ok_and(|probe| probe.status.success()) {
        return Some(python);
    }
    skip(TEST, &format!("{python} (PLANWIRE_PYTHON) has no langgraph"));
    None
}

fn example(python: &str, url: &str, folder: &Path) -> Running {
    let client = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../clients/python");
    let mut command = Command::new(python);
    command
        .arg(client.join("examples/langgraph_report.py"))
        .arg(folder)
        .args(["--url", url, "--pace", PACE_S]);
    command.env("PYTHONPATH", client.join("src")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Running::start(command)
}

/// What `planwire events --tree` and the page show in the middle of it.
fn check_live(text: &str, browser: Option<&mut Browser>) {
    for line in
        ["folder-report starts: Say what a folder holds", "look calls list_folder", "folder spawns folder"]
    {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
    assert!(text.contains("count calls count_files") && !text.contains("plan completed"), "{text}");
    let Some(browser) = browser else { return };
    let rows = browser.rows("count_files");
    assert_eq!(states(&rows, "Say what a folder holds"), ["open"], "{rows}");
    assert_eq!(states(&rows, "list_folder"), ["done"], "{rows}");
    assert!(states(&rows, "count_files").contains(&"open"), "{rows}");
}

/// Three plans that completed, each call and subplan with its end; all of it is on the page.
fn check_whole(events: &[Value], browser: Option<&mut Browser>) {
    let count = |event_type: &str| events.iter().filter(|event| event["event_type"] == event_type).count();
    let plans = ["PlanStarted", "PlanCompleted", "SubplanSpawned", "SubplanCompleted"].map(count);
    let work = ["ToolCalled", "ToolCompleted", "DecisionMade"].map(count);
    assert_eq!((plans, work), ([3, 3, 2, 2], [15, 15, 2]));
    assert_eq!(events.len(), EVENTS);
    let last = &events[EVENTS - 1];
    assert_eq!((&last["event_type"], &last["depth"]), (&json!("PlanCompleted"), &json!(0)));
    let model =
        events.iter().find(|event| event["payload"]["usage"].is_object()).expect("a model with its usage");
    assert_eq!(model["payload"]["tool"], "model:GenericFakeChatModel");
    let Some(browser) = browser else { return };
    browser.tell(&format!("await {EVENTS}"));
    assert_eq!(browser.answer()["problems"], json!([]));
    let rows = browser.rows("model:GenericFakeChatModel");
    assert_eq!(states(&rows, "after look? → split"), [""], "{rows}");
    let (decisions, rest): (Vec<_>, Vec<_>) =
        states(&rows, "").into_iter().partition(|state| state.is_empty());
    assert_eq!((decisions.len(), rest), (2, vec!["done"; 3 + 15]), "{rows}");
}

/// The states of the rows of the page whose text holds `text`.
fn states<'a>(rows: &'a Value, text: &str) -> Vec<&'a str> {
    let rows = rows.as_array().expect("rows").iter();
    let with_text = rows.filter(|row| row["text"].as_str().is_some_and(|shown| shown.contains(text)));
    with_text.filter_map(|row| row["state"].as_str()).collect()
}

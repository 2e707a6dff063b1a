//! The commands that the README shows do what it says.

use std::io::Write as _;
use std::process::Command;

use crate::harness::{Place, finish};

const README: &str = include_str!("../../../../README.md");

/// The `curl` lines of the README, in their order.
fn curl_commands() -> Vec<String> {
    let blocks = README.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.starts_with("curl ")).map(str::to_owned).collect()
}

#[test]
fn events_are_published_and_followed_and_a_plan_is_started_with_curl() {
    if Command::new("curl").arg("--version").output().is_err() {
        let Some(path) = std::env::var_os("PLANWIRE_SKIPPED_FILE") else { return };
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("the list");
        return writeln!(file, "README: there is no curl").expect("the list");
    }
    let place = Place::new();
    let plans = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plans");
    let server = place.serve(&["--plans", plans]);
    let outputs: Vec<String> = curl_commands()
        .iter()
        .map(|command| {
            let mut shell = Command::new("sh");
            let command = command.replace("http://127.0.0.1:7420", &server.url);
            shell.args(["-c", &command]).env("NO_PROXY", "*").env("no_proxy", "*");
            shell.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
            finish(shell, "").text(0).to_owned()
        })
        .collect();
    assert_eq!(outputs.len(), 3, "one publishes, one follows, one starts a plan over A2A");
    assert!(outputs[0].contains("\"position\":3"), "{}", outputs[0]);
    let data = outputs[1].lines().filter(|line| line.starts_with("data: {\"event_id\"")).count();
    assert_eq!(data, 3, "{}", outputs[1]);
    assert!(outputs[1].contains("event: end"), "{}", outputs[1]);
    let steps: Vec<_> = outputs[2].lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert!(steps[0].starts_with("{\"task\":"), "{}", outputs[2]);
    assert!(steps.last().is_some_and(|last| last.contains("TASK_STATE_INPUT_REQUIRED")), "{}", outputs[2]);
    assert!(server.stop().success());
}

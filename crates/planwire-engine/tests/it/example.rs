//! The example of an own tool does what it shows.

use std::path::Path;
use std::process::Command;

#[test]
fn example_of_an_own_tool_prints_its_events() {
    // Cargo builds examples with the tests, beside their folder.
    let test = std::env::current_exe().unwrap();
    let target = std::env::var_os("CARGO_TARGET_DIR").map(|target| Path::new(&target).join("debug"));
    let folders = target.into_iter().chain(test.ancestors().map(Path::to_path_buf));
    let example = folders.map(|folder| folder.join("examples/own_tool")).find(|path| path.is_file());
    let ran = Command::new(example.expect("the example was built")).output().unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{text}{}", String::from_utf8_lossy(&ran.stderr));
    let types: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    let others: Vec<&str> = types.into_iter().filter(|name| *name != "ToolProgress").collect();
    assert_eq!(others, ["PlanStarted", "ToolCalled", "ToolCompleted", "PlanCompleted"], "{text}");
    assert!(text.contains(r#""outputs":{"words":8}"#), "{text}");
}

//! Help, exit codes and messages: what a stranger meets first.

use crate::harness::Place;

const COMMANDS: [&str; 27] = [
    "demo",
    "run",
    "serve",
    "plans",
    "show",
    "events",
    "publish",
    "export",
    "import",
    "answer",
    "cancel",
    "pause",
    "resume",
    "end",
    "redact",
    "verify",
    "attest",
    "accept-loss",
    "backup",
    "restore",
    "move",
    "graph",
    "decisions",
    "check",
    "schema",
    "config",
    "completions",
];

#[test]
fn help_says_what_there_is() {
    let place = Place::new();
    insta::assert_snapshot!("help", place.run(&["--help"]).text(0));
    for command in COMMANDS {
        insta::assert_snapshot!(format!("help_{command}"), place.run(&[command, "--help"]).text(0));
    }
}

#[test]
fn wrong_usage_exits_with_2_and_says_why() {
    let place = Place::new();
    for arguments in [
        &["evnts"][..],
        &["events", "--tree"],
        &["events", "--type", "toolcalled"],
        &["events", "--after", "17"],
        &["show"],
        &["show", "a/b"],
        &["end", "p"],
        &["schema", "NoSuchType"],
        &["check", "no-such-plan.yaml"],
        &["run", "no-such-plan.yaml"],
        &["run", "repo-report", "--input", "folder"],
        &["run", "repo-report", "--input", "skip=x"],
        &["run", "repo-report", "--input", "foldr=x"],
        &["demo", "no-such-folder"],
        &["demo", "/dev/null"],
        &["serve", "--listen", "0.0.0.0:0"],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert!(ran.stdout.is_empty() && ran.stderr.len() > 20, "{arguments:?}: {ran:?}");
    }
}

#[test]
fn message_has_a_hint() {
    let place = Place::new();
    let ran = place.run(&["events"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with("planwire: there is no log in "), "{}", ran.stderr);
    assert!(ran.stderr.contains("\n  hint: "), "{}", ran.stderr);
    assert!(place.run(&["evnts"]).stderr.contains("'events'"));
    let nothing = place.run::<&str>(&[]);
    assert_eq!((nothing.code, nothing.stderr.contains("Commands:")), (Some(2), true), "{nothing:?}");
}

#[test]
fn file_that_is_no_log_is_left_alone() {
    let place = Place::new();
    place.file(
        "data/default.db",
        "this is somebody's diary, and long enough to have the size of a header ".repeat(20).as_str(),
    );
    for arguments in
        [&["events"][..], &["plans"], &["serve", "--listen", "127.0.0.1:0"], &["run", "repo-report"]]
    {
        let ran = place.run(arguments);
        assert_eq!(ran.code, Some(74), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("is not a database"), "{}", ran.stderr);
    }
    let text = std::fs::read_to_string(place.data().join("default.db")).expect("still a text");
    assert!(text.starts_with("this is somebody's diary"));
}

#[test]
fn place_that_cannot_be_made_is_a_storage_failure() {
    let place = Place::new();
    place.file("data", "a file where the folder should be");
    let ran = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, Some(74), "{ran:?}");
}

#[test]
fn sound_document_is_described_and_broken_one_told_by_line() {
    let place = Place::new();
    let described = place.run(&["check", "repo-report"]);
    assert!(described.text(0).contains("repo-report"), "{described:?}");
    let object = &place.run(&["--json", "check", "repo-report"]).json(0)[0];
    assert_eq!(object["name"], "repo-report");
    let text = "plan: p\ngoal: g\nsteps:\n  a: { tool: file.lst, with: { root: \"${inputs.x}\" } }\n";
    let broken = place.file("broken.yaml", text);
    let ran = place.run(&["check".as_ref(), broken.as_os_str()]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("broken.yaml:4:"), "{}", ran.stderr);
    assert!(ran.stderr.contains("file.list"), "{}", ran.stderr);
    let run = place.run(&["run".as_ref(), broken.as_os_str()]);
    assert_eq!((run.code, &run.stderr), (Some(2), &ran.stderr));
}

#[test]
fn schemas_are_json_schemas() {
    let place = Place::new();
    for arguments in
        [&["schema"][..], &["schema", "ToolCalled"], &["schema", "plan"], &["schema", "acme.hit"]]
    {
        let schema: serde_json::Value = serde_json::from_str(place.run(arguments).text(0)).expect("JSON");
        assert!(schema["$schema"].as_str().is_some_and(|name| name.contains("2020-12")), "{arguments:?}");
    }
    assert_eq!(place.run(&["--json", "schema", "ToolCalled"]).json(0).len(), 1);
}

//! The demo on folders of all kinds; what it must hold on each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Place, finish};

/// What a demo left behind.
struct Demo {
    events: Vec<Value>,
    report: String,
}

impl Demo {
    fn decided(&self, step: &str) -> Vec<&str> {
        let made = self.events.iter().filter(|event| event["event_type"] == "DecisionMade");
        let made = made.map(|event| &event["payload"]).filter(|payload| payload["step"] == step);
        made.filter_map(|payload| payload["chosen"].as_str()).collect()
    }

    fn count(&self, event_type: &str) -> usize {
        self.events.iter().filter(|event| event["event_type"] == event_type).count()
    }

    fn levels(&self) -> u64 {
        self.events.iter().filter_map(|event| event["depth"].as_u64()).max().unwrap_or(0) + 1
    }
}

fn demo(place: &Place, folder: &Path) -> Demo {
    demo_by(place, folder, |command| command)
}

/// Runs the demo, checks what holds on every folder, and gives the rest to the test.
fn demo_by(place: &Place, folder: &Path, change: impl Fn(&mut Command) -> &mut Command) -> Demo {
    let before = listing(folder);
    let mut command = place.command(&[
        "--json".as_ref(),
        "demo".as_ref(),
        "--exit".as_ref(),
        "--listen".as_ref(),
        "127.0.0.1:0".as_ref(),
        folder.as_os_str(),
    ]);
    change(&mut command);
    let lines = finish(command, "").json(0);
    let (end, events) = lines.split_last().expect("a last line");
    assert_eq!(end["state"], "completed");
    let report = std::fs::read_to_string(end["report"].as_str().expect("a path")).expect("a report");
    let plan = end["plan_id"].as_str().expect("an id");
    let exported = place.run(&["--json", "events", "--tree", "--plan", plan]).json(0);
    assert_eq!(events, exported, "what was followed is what is stored");
    check_tree(&exported);
    assert_eq!(listing(folder), before, "nothing is written into the folder");
    Demo { events: exported, report }
}

fn listing(folder: &Path) -> BTreeSet<std::ffi::OsString> {
    std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.file_name()).collect()
}

/// One start and one end of each plan, every call and subplan with its end, no gaps.
fn check_tree(events: &[Value]) {
    let mut plans: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for (event, next) in events.iter().zip(&events[1..]) {
        assert_eq!(
            event["position"].as_u64().map(|at| at + 1),
            next["position"].as_u64(),
            "positions have no gaps"
        );
    }
    for event in events {
        plans.entry(event["plan_id"].as_str().expect("an id")).or_default().push(event);
    }
    for (plan, events) in &plans {
        let seqs: Vec<_> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
        assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>(), "seq of {plan} has no gaps");
        let named = |event_type: &str, member: &str| -> BTreeSet<String> {
            let of_type = events.iter().filter(|event| event["event_type"] == event_type);
            let all: Vec<String> = of_type.map(|event| event["payload"][member].to_string()).collect();
            let unique: BTreeSet<String> = all.iter().cloned().collect();
            assert_eq!(all.len(), unique.len(), "{event_type} names each {member} once");
            unique
        };
        assert_eq!(events[0]["event_type"], "PlanStarted");
        assert_eq!(named("PlanStarted", "name").len(), 1);
        let last = events[events.len() - 1]["event_type"].as_str();
        assert!(matches!(last, Some("PlanCompleted" | "PlanFailed")), "{plan} ends with {last:?}");
        assert_eq!(named("PlanCompleted", "duration_ms").len() + named("PlanFailed", "duration_ms").len(), 1);
        assert_eq!(named("ToolCalled", "call_id"), named("ToolCompleted", "call_id"));
        assert_eq!(named("SubplanSpawned", "child_plan_id"), named("SubplanCompleted", "child_plan_id"));
    }
    for event in events.iter().filter(|event| event["event_type"] == "DecisionMade") {
        let payload = &event["payload"];
        assert!(payload["options"].as_array().is_some_and(|options| options.len() >= 2), "{payload}");
        assert!(payload["rationale"].as_str().is_some_and(|rationale| !rationale.is_empty()), "{payload}");
    }
}

/// Runs git in a folder; tells whether there is a git.
fn git(folder: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    command.output().is_ok_and(|output| output.status.success())
}

/// A repository of the usual kind, with more files than a first look takes.
fn repository(place: &Place) -> Option<std::path::PathBuf> {
    let folder = place.folder("repository");
    for n in 0..120 {
        place.file(&format!("repository/src/file{n}.rs"), &format!("// file {n}\nfn main() {{}}\n"));
    }
    place.file("repository/README.md", "# Example of a repository\n");
    place.file("repository/src/a.rs", "// TODO say more\n");
    place.file("repository/copy/b.rs", "// TODO say more\n");
    let identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"];
    let commit = [&identity[..], &["commit", "-q", "-m", "begin"]].concat();
    let made = git(&folder, &["init", "-q"]) && git(&folder, &["add", "."]) && git(&folder, &commit);
    made.then_some(folder)
}

#[test]
fn repository_is_reported_with_its_history() {
    let place = Place::new();
    let Some(folder) = repository(&place) else { return skip("there is no git") };
    let demo = demo(&place, &folder);
    assert_eq!(demo.levels(), 4);
    assert_eq!(demo.decided("history"), ["git"]);
    let attempts: Vec<_> = demo.events.iter().filter(|event| event["payload"]["step"] == "measure").collect();
    assert_eq!(attempts[1]["payload"]["error"]["code"], "limit_exceeded", "the quick look meets its limit");
    assert_eq!(attempts[3]["payload"]["ok"], true, "the second look takes more");
    assert_ne!(attempts[0]["payload"]["arguments"], attempts[2]["payload"]["arguments"]);
    for text in [
        "| Rust | 122 |",
        "TODO say more",
        "`copy/b.rs`, `src/a.rs`",
        "begin (Somebody)",
        "# Example of a repo",
    ] {
        assert!(demo.report.contains(text), "{text} is missing:\n{}", demo.report);
    }
    let parallel = widest(&demo.events);
    assert!(parallel >= 12, "{parallel} subplans at a time");
}

/// The largest number of plans of one level that were open at the same time.
fn widest(events: &[Value]) -> usize {
    let (mut open, mut widest) = (0_usize, 0);
    for event in events.iter().filter(|event| event["depth"] == 2) {
        match event["event_type"].as_str() {
            Some("PlanStarted") => open += 1,
            Some("PlanCompleted" | "PlanFailed") => open -= 1,
            _ => {}
        }
        widest = widest.max(open);
    }
    widest
}

#[test]
fn machine_without_git_is_no_obstacle() {
    let place = Place::new();
    let folder = place.folder("subject");
    // It looks like a repository, and there is no program that could tell.
    place.file("subject/.git/HEAD", "ref: refs/heads/main\n");
    let empty = place.folder("no-programs");
    let demo = demo_by(&place, &folder, |command| command.env("PATH", &empty));
    assert_eq!((demo.decided("history"), demo.decided("log")), (vec!["git"], vec!["without"]));
    assert!(demo.report.contains("The history could not be read: "), "{}", demo.report);
}

#[test]
fn folder_that_only_looks_like_a_repository_is_no_obstacle() {
    let place = Place::new();
    let folder = place.folder("subject");
    place.file("subject/.git", "gitdir: /nowhere\n");
    let demo = demo(&place, &folder);
    assert_eq!(demo.decided("log"), ["without"]);
}

#[test]
fn empty_folder_is_reported() {
    let place = Place::new();
    let folder = place.folder("empty");
    let demo = demo(&place, &folder);
    assert_eq!(demo.decided("history"), ["files"]);
    assert!(demo.report.contains("0 files in 0 folders"), "{}", demo.report);
    assert_eq!(demo.count("SubplanSpawned"), 15);
}

#[test]
fn names_with_spaces_line_breaks_and_odd_bytes_are_reported() {
    use std::os::unix::ffi::OsStrExt as _;
    let place = Place::new();
    let folder = place.folder("a folder\nwith a line break");
    place.file("a folder\nwith a line break/the file\n.md", "TODO x | y `z` \u{1b}[31m\n");
    place.file("a folder\nwith a line break/${inputs.folder}.md", "two\n");
    let odd = std::ffi::OsStr::from_bytes(b"odd-\xff.md");
    std::fs::write(folder.join(odd), "odd\n").expect("Linux takes any byte");
    let demo = demo(&place, &folder);
    assert!(demo.report.contains("3 files in 0 folders"), "{}", demo.report);
    assert!(demo.report.contains("`${inputs.folder}.md`"), "{}", demo.report);
}

#[test]
fn what_cannot_be_read_is_passed_over() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    let folder = place.folder("subject");
    place.file("subject/good.rs", "// TODO good\n");
    let secret = place.file("subject/secret.rs", "// TODO secret\n");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o0)).expect("it is ours");
    symlink("/nowhere/at/all.rs", folder.join("dangling.rs")).expect("a link");
    symlink("..", folder.join("up")).expect("a link");
    let fifo = Command::new("mkfifo").arg(folder.join("pipe.rs")).status();
    assert!(fifo.is_ok_and(|status| status.success()), "mkfifo is part of every system");
    let demo = demo(&place, &folder);
    assert!(demo.report.contains("TODO good"), "{}", demo.report);
    // Root may read it all the same.
    if std::fs::read(&secret).is_err() {
        assert!(demo.report.contains("- `secret.rs`"), "{}", demo.report);
    }
}

#[test]
fn many_files_are_reported() {
    let place = Place::new();
    let folder = place.folder("many");
    for n in 0..3_000 {
        let name = format!("many/{}/file{n}.{}", n % 50, ["rs", "py", "md", "json"][n % 4]);
        place.file(&name, &format!("{}\n", n % 700));
    }
    let demo = demo(&place, &folder);
    assert!(demo.report.contains("3000 files in 50 folders"), "{}", demo.report);
    assert_eq!(demo.levels(), 4);
}

/// A report of more than 64 KiB is a blob beside the log, and comes to its file all the same.
#[test]
fn long_report_is_whole() {
    let place = Place::new();
    let folder = place.folder("subject");
    let extensions = ["rs", "py", "js", "go", "java", "c", "sh", "html", "md", "toml", "json", "png", "zip"];
    for extension in extensions {
        for n in 0..20 {
            let name = format!("subject/{n:02}-{}.{extension}", "long-".repeat(44));
            place.file(&name, &format!("// TODO {}\n{}\n", "x".repeat(200), n / 4));
        }
    }
    let demo = demo(&place, &folder);
    let artifact =
        demo.events.iter().find(|event| event["event_type"] == "ArtifactProduced").expect("a report");
    let size = artifact["payload"]["part"]["blob"]["size_bytes"].as_u64().expect("a blob");
    assert!(size > 64 * 1024, "{size}");
    assert_eq!(demo.report.len() as u64, size);
    assert!(demo.report.contains("Everything could be read."));
}

#[test]
fn two_demos_find_two_ports() {
    let (first, second) = (Place::new(), Place::new());
    let mut pages = Vec::new();
    let mut running = Vec::new();
    for place in [&first, &second] {
        let folder = place.folder("subject");
        let mut demo = place.start(&["demo".as_ref(), folder.as_os_str()]);
        pages.push(demo.line_with("page"));
        demo.line_with("until Ctrl-C");
        running.push(demo);
    }
    assert_ne!(pages[0], pages[1]);
    for demo in running {
        demo.signal(rustix::process::Signal::TERM);
        assert!(demo.end().0.success());
    }
}

#[test]
fn demo_beside_a_server_runs_there() {
    let place = Place::new();
    let folder = place.folder("subject");
    let server = place.serve(&[]);
    let demo = demo(&place, &folder);
    assert_eq!(demo.events[0]["payload"]["origin"]["protocol"], "http");
    assert!(server.stop().success());
}

#[test]
fn demo_serves_until_it_is_ended() {
    let place = Place::new();
    let folder = place.folder("subject");
    let arguments = ["demo".as_ref(), "--listen".as_ref(), "127.0.0.1:0".as_ref(), folder.as_os_str()];
    let mut running = place.start(&arguments);
    let page = running.line_with("page");
    let url = page.split_whitespace().last().expect("an address").to_owned();
    let curl = running.line_with("curl -N");
    assert!(curl.contains("text/event-stream") && curl.contains("?tree=true"), "{curl}");
    running.line_with("until Ctrl-C");
    let http = crate::http::Http::new(&url);
    assert!(http.send("GET", "/", &[("Accept", "text/html")], "").body.contains("<html"));
    let plans = http.get("/v1/plans").json(200);
    assert_eq!(plans["plans"][0]["state"], json!("completed"));
    running.signal(rustix::process::Signal::INT);
    let (status, _) = running.end();
    assert_eq!(status.code(), Some(0));
}

/// Notes that a test cannot run here.
fn skip(why: &str) {
    use std::io::Write as _;
    if let Some(path) = std::env::var_os("PLANWIRE_SKIPPED_FILE") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("the list");
        writeln!(file, "planwire demo of a repository: {why}").expect("the list");
    }
}

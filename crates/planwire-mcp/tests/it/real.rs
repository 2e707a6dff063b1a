//! Servers that people use, from the registries of Python and Node.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use planwire_engine::tools::http::{AllowPrivate, HttpConfig};
use planwire_event::EventType;
use planwire_event::vocabulary::ToolProgress;
use planwire_mcp::{McpConfig, ServerConfig};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::house::House;

/// Notes that a test cannot run here.
pub(crate) fn skip(test: &str, reason: &str) {
    use std::io::Write as _;
    if let Some(path) = std::env::var_os("PLANWIRE_SKIPPED_FILE") {
        let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
        writeln!(file, "{test}: {reason}").unwrap();
    }
}

/// A server of PyPI, if it is installed beside the Python of the tests.
pub(crate) fn of_python(module: &str, args: &[&str]) -> Option<ServerConfig> {
    let python = PathBuf::from(std::env::var_os("PLANWIRE_PYTHON")?);
    let module_is_there = Command::new(&python).args(["-c", &format!("import {module}")]).status();
    module_is_there.is_ok_and(|status| status.success()).then(|| {
        let args = ["-m", module].into_iter().chain(args.iter().copied());
        ServerConfig::program(python.to_str().unwrap(), args)
    })
}

/// The script of the server of npm that has everything.
pub(crate) fn everything() -> Option<PathBuf> {
    let modules = PathBuf::from(std::env::var_os("PLANWIRE_NODE_MODULES")?);
    Some(modules.join("@modelcontextprotocol/server-everything/dist/index.js"))
        .filter(|script| script.is_file())
}

fn git(folder: &Path, args: &[&str]) {
    let ran = Command::new("git").current_dir(folder).args(args).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test]
async fn server_of_python_is_used_by_a_plan() {
    let Some(server) = of_python("mcp_server_git", &[]) else {
        return skip("server_of_python_is_used_by_a_plan", "mcp-server-git is missing");
    };
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "--quiet", "--initial-branch", "main"]);
    let identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"];
    git(
        folder.path(),
        &[&identity[..], &["commit", "--quiet", "--allow-empty", "-m", "the first commit"]].concat(),
    );
    let house = House::with(folder, [("git".to_owned(), server)]);
    let document = r#"
plan: log
goal: g
inputs: { folder: { type: path, default: . } }
steps: { log: { tool: "mcp:git/git_log", with: { repo_path: "${inputs.folder}", max_count: 1 } } }
outputs: { all: "${steps.log.output}" }
"#;
    let output = house.run(document).await.output();
    assert!(output.to_string().contains("the first commit"), "{output}");
    let bad = document.replace("max_count: 1", "max_count: many");
    assert_eq!(house.run(&bad).await.failure().0, "bad_argument");
}

#[tokio::test]
async fn server_of_python_gives_structured_output() {
    let Some(server) = of_python("mcp_server_time", &["--local-timezone", "UTC"]) else {
        return skip("server_of_python_gives_structured_output", "mcp-server-time is missing");
    };
    let house = House::with(tempfile::tempdir().unwrap(), [("time".to_owned(), server)]);
    let document = r#"
plan: time
goal: g
steps:
  a: { tool: "mcp:time/convert_time", with: { source_timezone: UTC, time: "12:00", target_timezone: Asia/Tokyo } }
outputs: { all: "${steps.a.output}" }
"#;
    let output = house.run(document).await.output();
    assert!(output.to_string().contains("21:00"), "{output}");
}

async fn everything_works(house: &House) {
    let document = r#"
plan: everything
goal: g
steps:
  sum: { tool: "mcp:every/get-sum", with: { a: 2, b: 3 } }
  weather: { tool: "mcp:every/get-structured-content", with: { location: Chicago } }
  image: { tool: "mcp:every/get-tiny-image" }
  long: { tool: "mcp:every/trigger-long-running-operation", with: { duration: 1, steps: 4 } }
outputs:
  all: { sum: "${steps.sum.output.text}", weather: "${steps.weather.output.structured}", image: "${steps.image.output.content[0].mimeType}" }
"#;
    let events = house.run(document).await;
    let all = events.output();
    assert!(all["sum"].as_str().unwrap().contains('5'), "{all}");
    assert!(all["weather"]["temperature"].is_number(), "{all}");
    assert_eq!(all["image"], "image/png");
    assert!(events.count(&EventType::ToolProgress) >= 1);
    let told: Vec<String> = events.all::<ToolProgress>().into_iter().map(|progress| progress.text).collect();
    assert!(told.iter().all(|text| text.contains("of 4")), "{told:?}");
    let bad =
        r#"{ plan: bad, goal: g, steps: { a: { tool: "mcp:every/get-sum", with: { a: two, b: 3 } } } }"#;
    let failure = house.run(bad).await.failure();
    assert_eq!((failure.0.as_str(), Value::from(failure.1.contains("/a: "))), ("bad_argument", json!(true)));
}

#[tokio::test]
async fn server_of_node_is_used_by_a_plan() {
    let Some(script) = everything() else {
        return skip("server_of_node_is_used_by_a_plan", "server-everything is missing");
    };
    let server = ServerConfig::program("node", [script.to_str().unwrap(), "stdio"]);
    let house = House::with(tempfile::tempdir().unwrap(), [("every".to_owned(), server)]);
    everything_works(&house).await;
}

/// The server over streamable HTTP; ended when it is dropped.
struct Web(Child, u16);

impl Web {
    fn start(script: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("node");
        command.arg(script).arg("streamableHttp").env("PORT", port.to_string());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // It says when it listens.
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("listening")));
        std::thread::spawn(move || lines.for_each(drop));
        Self(child, port)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn at(port: u16, allow: &[&str]) -> House {
    let mut config = McpConfig {
        http: HttpConfig { allow_private: AllowPrivate::parse(allow).unwrap(), ..HttpConfig::default() },
        ..McpConfig::default()
    };
    config.servers.insert("every".into(), ServerConfig::address(format!("http://127.0.0.1:{port}/mcp")));
    House::of(tempfile::tempdir().unwrap(), config)
}

#[tokio::test]
async fn server_at_an_address_is_used_by_a_plan_where_the_address_is_allowed() {
    let test = "server_at_an_address_is_used_by_a_plan_where_the_address_is_allowed";
    let Some(script) = everything() else { return skip(test, "server-everything is missing") };
    let web = Web::start(&script);
    everything_works(&at(web.1, &["127.0.0.1"])).await;

    let document =
        r#"{ plan: p, goal: g, steps: { a: { tool: "mcp:every/get-sum", with: { a: 1, b: 2 } } } }"#;
    let (code, message) = at(web.1, &[]).run(document).await.failure();
    assert_eq!(code, "mcp_unavailable");
    assert!(message.contains("not a public one and not allowed"), "{message}");
    let gone = at(web.1, &["127.0.0.1"]);
    drop(web);
    let (code, message) = gone.run(document).await.failure();
    assert_eq!((code.as_str(), message.contains("127.0.0.1")), ("mcp_unavailable", true), "{message}");
}

/// The server that this process has started.
fn pid_of(script: &Path) -> Option<Pid> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let parent: u32 = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
        let is_it = String::from_utf8_lossy(&command).contains(script.to_str()?);
        (is_it && parent == std::process::id()).then(|| Pid::from_raw(pid)).flatten()
    })
    .next()
}

#[tokio::test]
async fn server_of_node_that_is_killed_in_a_call_is_started_anew_for_the_next_attempt() {
    let test = "server_of_node_that_is_killed_in_a_call_is_started_anew_for_the_next_attempt";
    let Some(script) = everything() else { return skip(test, "server-everything is missing") };
    let server = ServerConfig::program("node", [script.to_str().unwrap(), "stdio"]);
    let house = House::with(tempfile::tempdir().unwrap(), [("every".to_owned(), server)]);
    let document = r#"
plan: killed
goal: g
steps:
  long:
    tool: "mcp:every/trigger-long-running-operation"
    with: { duration: "${attempt == 1 ? 60 : 1}", steps: "${attempt == 1 ? 600 : 2}" }
    timeout: 2m
    retry: { attempts: 2, when: "error.code == 'mcp_unavailable'" }
outputs: { all: "${steps.long.output.text}" }
"#;
    let plan = house.start(document, json!({})).await;
    let filter = planwire_event::Filter::plan(plan.clone()).with_types([EventType::ToolProgress]);
    let mut stream = house.bus.stream(filter, planwire_bus::StartAt::Start).await.unwrap();
    // It is in the middle of the call.
    assert!(matches!(stream.next().await.unwrap(), Some(planwire_bus::Item::Event(_))));
    let first = pid_of(&script).unwrap();
    kill_process(first, Signal::KILL).unwrap();
    let events = house.tree(&plan).await;
    assert!(events.output().as_str().unwrap().contains("completed"), "{}", events.output());
    assert_eq!(events.count(&EventType::ToolCalled), 2);
    assert_eq!(pid_of(&script), None, "nothing is left of either");
}

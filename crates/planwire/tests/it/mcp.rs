//! Plans that call tools of MCP servers, by the configuration that people write.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::harness::{Place, Ran, finish};

const PLAN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plans/mcp/recent-changes.yaml");

/// Notes that a test cannot run here.
fn skip(test: &str, reason: &str) {
    use std::io::Write as _;
    if let Some(path) = std::env::var_os("PLANWIRE_SKIPPED_FILE") {
        let file = std::fs::File::options().append(true).create(true).open(path);
        writeln!(file.expect("the file of skips"), "{test}: {reason}").expect("a line");
    }
}

/// The Python with the server of git, and the script of the server of files.
fn servers() -> Option<(PathBuf, PathBuf)> {
    let python = PathBuf::from(std::env::var_os("PLANWIRE_PYTHON")?);
    let modules = PathBuf::from(std::env::var_os("PLANWIRE_NODE_MODULES")?);
    let script = modules.join("@modelcontextprotocol/server-filesystem/dist/index.js");
    let has_git = Command::new(&python).args(["-c", "import mcp_server_git"]).status();
    (script.is_file() && has_git.is_ok_and(|status| status.success())).then_some((python, script))
}

fn run_in(place: &Place, folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = place.command(arguments);
    command.current_dir(folder);
    finish(command, "")
}

fn git(folder: &Path, arguments: &[&str]) {
    let ran = Command::new("git").current_dir(folder).args(arguments).output().expect("git");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn example_with_a_server_of_python_and_one_of_node_tells_what_changed() {
    let test = "example_with_a_server_of_python_and_one_of_node_tells_what_changed";
    let Some((python, script)) = servers() else { return skip(test, "MCP servers are missing") };
    let place = Place::new();
    let folder = place.folder("repository");
    git(&folder, &["init", "--quiet", "--initial-branch", "main"]);
    std::fs::write(folder.join("large.txt"), "x".repeat(5_000)).expect("a file");
    git(&folder, &["add", "."]);
    let identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"];
    git(&folder, &[&identity[..], &["commit", "--quiet", "-m", "a large file"]].concat());
    let config = format!(
        "[mcp.servers.git]\ncommand = {}\nargs = [\"-m\", \"mcp_server_git\"]\n\n\
         [mcp.servers.files]\ncommand = \"node\"\nargs = [{}, \".\"]\n",
        json!(python),
        json!(script)
    );
    let config = place.file("planwire.toml", &config);
    let config = config.to_str().expect("UTF-8");
    let ran = run_in(&place, &folder, &["--config", config, "--json", "run", PLAN]);
    let events = ran.json(0);
    let outputs = &events.last().expect("an end")["payload"]["outputs"];
    assert_eq!(outputs["tidy"], "clean", "{outputs}");
    assert!(outputs["commits"].as_str().is_some_and(|text| text.contains("a large file")), "{outputs}");
    assert!(outputs["files"].as_str().is_some_and(|text| text.contains("large.txt")), "{outputs}");
}

#[test]
fn names_of_servers_are_known_where_they_are_configured() {
    let place = Place::new();
    let folder = place.folder("here");
    let unknown = run_in(&place, &folder, &["check", PLAN]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("unknown tool 'mcp:git/git_log'"), "{unknown:?}");
    assert!(unknown.stderr.contains("[mcp.servers.git]"), "{unknown:?}");
    let config = place.file(
        "planwire.toml",
        "[mcp.servers.git]\ncommand = \"mcp-server-git\"\n\n[mcp.servers.files]\nurl = \"https://files.example/mcp\"\n\
         headers = { authorization = \"Bearer ${secret('FILES')}\" }\ncall_timeout_ms = 5000\n\n\
         [engine.secrets]\nFILES = { env = \"FILES_TOKEN\" }\n",
    );
    let config = config.to_str().expect("UTF-8");
    run_in(&place, &folder, &["--config", config, "check", PLAN]).text(0);
    let shown = run_in(&place, &folder, &["--config", config, "config"]);
    let text = shown.text(0);
    assert!(text.contains("[mcp.servers.files]") && text.contains("Bearer ${secret('FILES')}"), "{text}");
    assert!(text.contains("call_timeout_ms = 5000"), "{text}");
}

#[test]
fn what_is_wrong_with_a_server_is_said_with_its_line() {
    let place = Place::new();
    for (text, message) in [
        ("[mcp.servers.a]\nargs = []\n", "MCP server a must have either 'command' or 'url'"),
        ("[mcp.servers.a]\ncommand = \"b\"\nurl = \"http://c\"\n", "must have either 'command' or 'url'"),
        ("[mcp.servers.a]\ncommand = \"b\"\nheaders = {}\n", "has 'headers', which belong to a 'url'"),
        (
            "[mcp.servers.a]\nurl = \"b\"\nargs = []\n",
            "has 'args', 'env' or something else that belongs to a 'command'",
        ),
        ("[mcp.servers.a]\ncomand = \"b\"\n", "MCP server a has no key 'comand'"),
        (
            "[mcp.servers.a]\ncommand = \"b\"\nstart_timeout_ms = 0\n",
            "'start_timeout_ms' must be a whole number",
        ),
        ("[mcp.servers.a]\ncommand = \"b\"\nenv = { A = \"${secret('X')\" }\n", "'A': '${' is not closed"),
        ("[mcp.servers.a]\ncommand = \"b\"\nenv = { A = 1 }\n", "'A': it must be a text"),
        (
            "[mcp.servers.a]\ncommand = \"b\"\nenv = { A = \"${secret('NONE')}\" }\n",
            "there is no secret named 'NONE'",
        ),
        ("[mcp.servers.a]\ncommand = \"b\"\nargs = \"c\"\n", "'args' must be a list of texts"),
        ("[mcp.servers]\na = 1\n", "'mcp.servers.a' must be a table"),
        ("[mcp]\nb = 1\n", "[mcp] has no key 'b'"),
        ("[mcp.servers.\"a b\"]\ncommand = \"b\"\n", "'a b' is no name of an MCP server"),
    ] {
        let config = place.file("planwire.toml", text);
        let config = config.to_str().expect("UTF-8");
        let ran = place.run(&["--config", config, "config", "--check"]);
        assert_eq!(ran.code, Some(2), "{text}: {ran:?}");
        assert!(ran.stderr.contains(message), "{text}: {ran:?}");
    }
}

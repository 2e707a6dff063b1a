//! The file, the variables and the flags: what holds, where it comes from, and what is said of what is wrong.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Place, Ran, finish};

/// Runs `planwire --json config` and gives value and source of each key.
fn shown(mut command: Command) -> BTreeMap<String, (Value, String)> {
    command.args(["--json", "config"]);
    let lines = finish(command, "").json(0);
    let row = |line: Value| {
        let source = match line["place"].as_str() {
            Some(place) => format!("{} {}", line["source"].as_str().expect("a source"), place),
            None => line["source"].as_str().expect("a source").to_owned(),
        };
        (line["key"].as_str().expect("a key").to_owned(), (line["value"].clone(), source))
    };
    lines.into_iter().map(row).collect()
}

/// Writes a file, and checks that it is refused with these texts.
fn check_refused(text: &str, expected: &[&str]) {
    let place = Place::new();
    let file = place.file("planwire.toml", text);
    let ran = place.run(&["--config".as_ref(), file.as_os_str(), "config".as_ref()]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{text}: {ran:?}");
    for expected in expected {
        assert!(ran.stderr.contains(expected), "{text}\nlacks: {expected}\n{}", ran.stderr);
    }
}

#[test]
fn flag_is_stronger_than_variable_is_stronger_than_file_is_stronger_than_default() {
    let place = Place::new();
    let text = "[server]\nlisten = \"127.0.0.1:1001\"\nstreams_max = 11\nheartbeat_ms = 111\n";
    let file = place.file("planwire.toml", text);
    let at = |line: usize| format!("file {}:{line}", file.display());
    let mut command = place.command::<&str>(&[]);
    command.arg("--config").arg(&file).env("PLANWIRE_SERVER_LISTEN", "127.0.0.1:1002");
    command.env("PLANWIRE_SERVER_STREAMS_MAX", "12").arg("--data").arg(place.folder("here"));
    command.args(["config", "--listen", "127.0.0.1:1003"]);
    let mut command_again = place.command(&["--data", "x", "--config"]);
    command_again.arg(&file).env("PLANWIRE_SERVER_STREAMS_MAX", "12").env("PLANWIRE_SERVER_LISTEN", "");
    let ran = finish(command, "").text(0).to_owned();
    let line = |start: &str| ran.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    assert_eq!(line("listen"), "listen = \"127.0.0.1:1003\"  # --listen");
    assert_eq!(line("streams_max"), "streams_max = 12  # $PLANWIRE_SERVER_STREAMS_MAX");
    assert_eq!(line("heartbeat_ms"), format!("heartbeat_ms = 111  # {}:4", file.display()));
    assert_eq!(line("connections_max"), "connections_max = 20000  # default");
    let shown = shown(command_again);
    // An empty variable says nothing.
    assert_eq!(shown["server.listen"], (json!("127.0.0.1:1001"), at(2)));
    assert_eq!(shown["server.streams_max"], (json!(12), "variable PLANWIRE_SERVER_STREAMS_MAX".into()));
    assert_eq!(shown["server.connections_max"], (json!(20_000), "default".into()));
    assert_eq!(shown["data"].1, "flag --data");
    assert_eq!(shown["log"], (json!("warn"), "default".into()));
}

#[test]
fn file_is_found_by_flag_then_by_variable_then_in_the_usual_place() {
    let place = Place::new();
    let usual = place.file("conf/planwire/planwire.toml", "log = \"error\"");
    let named = place.file("named.toml", "log = \"info\"");
    let flagged = place.file("flagged.toml", "log = \"debug\"");
    let command = || {
        let mut command = place.command::<&str>(&[]);
        command.env("XDG_CONFIG_HOME", place.folder("conf"));
        command
    };
    assert_eq!(shown(command())["log"], (json!("error"), format!("file {}:1", usual.display())));
    let mut by_variable = command();
    by_variable.env("PLANWIRE_CONFIG", &named);
    assert_eq!(shown(by_variable)["log"].0, "info");
    let mut by_flag = command();
    by_flag.env("PLANWIRE_CONFIG", &named).arg("--config").arg(&flagged);
    assert_eq!(shown(by_flag)["log"].0, "debug");
    let mut none = command();
    none.args(["--config", "/dev/null"]);
    assert_eq!(shown(none)["log"], (json!("warn"), "default".into()));
    let mut home = place.command::<&str>(&[]);
    home.env("XDG_CONFIG_HOME", "relative");
    assert_eq!(shown(home)["log"].1, "default");
    let ran = place.run(&["--config", "not-there.toml", "config"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("not-there.toml") && ran.stderr.contains("hint: "), "{}", ran.stderr);
}

#[test]
fn what_is_printed_is_a_file_that_says_the_same() {
    let place = Place::new();
    let text = "log = 'INFO'\n\
[server]\nhosts = [\"a.example\", \"b.example:80\"]\norigins = ['https://console.example']\n\
allow_inline_documents = true\n\
[engine]\nplans = 'p \"q\\'\n[engine.http]\nallow_private = ['10.0.0.0/8']\n\
[engine.secrets]\nTOKEN = { env = 'TOKEN_OF_US' }\nKEY = { file = 'key' }\n\
[engine.models.small]\nbase_url = 'http://[::1]:80/v1'\nmodel = 's \"q'\nsecret = 'TOKEN'\ntemperature = 0.5\n\
input_price = 0.0375\noutput_price = '2'\nformat = 'words'\n\
[engine.models.large]\nbase_url = 'https://a.example/v1'\nmodel = 'l'\n\
[a2a]\nname = 'é'\nurl = 'https://agent.example/base'\nprovider = { organization = 'o', url = 'http://o.example' }\n\
[[a2a.routes]]\nwhen = \"message.text == 'ping'\"\nanswer = \"{'said': message.text}\"\n\
[[a2a.routes]]\nplan = 'p'\ninputs = { a = \"message.data.a\", \"b c\" = '1' }\n";
    let file = place.file("one/planwire.toml", text);
    let first = place.run(&["--config".as_ref(), file.as_os_str(), "config".as_ref()]).text(0).to_owned();
    let again = place.file("two/planwire.toml", &first);
    let values = |file: &std::path::Path| {
        let mut command = place.command::<&str>(&["--config"]);
        command.arg(file);
        let shown = shown(command);
        shown.into_iter().map(|(key, (value, _))| (key, value)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(values(&file), values(&again));
    let values = values(&file);
    assert_eq!(values["log"], "info");
    assert_eq!(values["engine.secrets.TOKEN"], json!({"env": "TOKEN_OF_US"}));
    assert_eq!(
        values["engine.models.small"],
        json!({
            "base_url": "http://[::1]:80/v1", "model": "s \"q", "secret": "TOKEN", "temperature": 0.5,
            "answer_tokens_max": 1024, "format": "words", "input_price": 0.0375, "output_price": 2,
            "currency": "USD",
        })
    );
    assert_eq!(values["engine.plans"], json!(file.parent().expect("a folder").join("p \"q\\")));
    assert_eq!(values["a2a.provider.organization"], "o");
}

#[test]
fn unknown_key_is_told_by_line_and_column_with_what_was_meant() {
    check_refused(
        "[server]\n  listn = 1\n",
        &[":2:3: error: [server] has no key 'listn'", "did you mean 'listen'?"],
    );
    check_refused(
        "[servr]\n",
        &[":1:2: error: the top of the file has no key 'servr'", "did you mean 'server'?"],
    );
    check_refused("listen = 1", &[":1:1: error: ", "it belongs to [server]"]);
    check_refused("[engine]\ndata = 'x'", &[":2:1: ", "it belongs to the top of the file"]);
    check_refused("[a2a.provider]\nnam = 1", &["[a2a.provider] has no key 'nam'"]);
    check_refused("[[a2a.routes]]\nplan = 'p'\nwhn = 'true'", &[":3:1: ", "did you mean 'when'?"]);
    check_refused(
        "[engine.secrets]\nA = { en = 'A' }",
        &[":2:7: ", "secret A has no key 'en'", "did you mean 'env'?"],
    );
}

#[test]
fn value_that_does_not_fit_is_told_with_what_would() {
    check_refused("data = 1", &[":1:8: error: 'data' must be text: a path, not 1"]);
    check_refused("log = 'loud'", &["'log' must be one of off, error, warn, info, debug, trace, not 'loud'"]);
    check_refused(
        "[server]\nheartbeat_ms = 99\nstreams_max = -1\nconnections_max = 1.5\nlisten = 7420",
        &[
            "'server.heartbeat_ms' must be a whole number from 100 to 5000 (milliseconds), not 99",
            ":3:15: error: 'server.streams_max' must be a whole number from 1 to 1000000 (streams), not -1",
            "not 1.5",
            "must be text: an IP address with a port, as '127.0.0.1:7420', not 7420",
        ],
    );
    check_refused("[server]\nlisten = 'localhost:1'", &["as '127.0.0.1:7420', not 'localhost:1'"]);
    check_refused("[server]\nhosts = ['a', 'b c']", &[":2:15: ", "not 'b c'"]);
    check_refused("[server]\norigins = 'a'", &["a list of texts"]);
    check_refused("[server]\nallow_inline_documents = 'yes'", &["must be true or false, not 'yes'"]);
    check_refused("server = 1", &["'server' must be a table, not 1"]);
    check_refused(
        "[a2a]\nurl = 'agent.example'\nname = ''",
        &["an http or https address", "text on one line"],
    );
    check_refused(
        "[a2a.provider]\nurl = 'https://o.example'",
        &["planwire.toml:2: error: 'a2a.provider' must have both"],
    );
    check_refused("[engine]\nplans = ''", &["must be text: a path"]);
    check_refused("log = 2026-01-01", &["not the date 2026-01-01"]);
}

#[test]
fn file_that_is_no_toml_is_told_by_line_and_column() {
    check_refused("[server]\nlisten = \n", &[":2:", "not TOML: "]);
    check_refused("log = 'warn'\nlog = 'info'\n", &[":2:1: error: not TOML: duplicate key"]);
    let place = Place::new();
    let file = place.file("planwire.toml", &"#".repeat(1024 * 1024 + 1));
    let ran = place.run(&["--config".as_ref(), file.as_os_str(), "plans".as_ref()]);
    assert!(ran.code == Some(2) && ran.stderr.contains("exceeds the limit of 1048576 bytes"), "{ran:?}");
    std::fs::write(&file, b"a = '\xff'").expect("a file");
    let ran = place.run(&["--config".as_ref(), file.as_os_str(), "plans".as_ref()]);
    assert!(ran.code == Some(2) && ran.stderr.contains("not UTF-8"), "{ran:?}");
}

#[test]
fn route_and_secret_that_make_no_sense_are_told() {
    check_refused(
        "[[a2a.routes]]\nwhen = 'true'",
        &[":1:1: error: a route must have either 'plan' or 'answer'"],
    );
    check_refused("[[a2a.routes]]\nplan = 'p'\nanswer = \"'a'\"", &["either 'plan' or 'answer'"]);
    check_refused("[[a2a.routes]]\nanswer = \"'a'\"\ninputs = { a = '1' }", &["has no 'inputs'"]);
    check_refused(
        "[[a2a.routes]]\nplan = 'p'\nwhen = 'mesage.id'",
        &[":3:9: error: 'when': unknown variable 'mesage'"],
    );
    check_refused(
        "[[a2a.routes]]\nplan = 'p'\ninputs = { a = \"message.text +\" }",
        &[":3:", "'a': not a CEL expression"],
    );
    check_refused("[[a2a.routes]]\nplan = 'p'\nwhen = '''\n  true &&\n  nix'''", &[":5:3: error: "]);
    check_refused("[[a2a.routes]]\nplan = 'p'\ninputs = 'a'", &["'inputs' must be a table of expressions"]);
    check_refused("[a2a]\nroutes = 'a'", &["must be a list of tables"]);
    check_refused("[a2a]\nroutes = ['a']", &["a route must be a table"]);
    check_refused("[engine.secrets]\n1A = { env = 'A' }", &["'1A' is no name of a secret"]);
    check_refused("[engine.secrets]\nA = {}", &["secret A must have either 'env' or 'file'"]);
    check_refused("[engine.secrets]\nA = { env = 'A', file = 'f' }", &["either 'env' or 'file'"]);
    check_refused("[engine.secrets]\nA = { env = 1 }", &["'env' must be text, not 1"]);
}

#[test]
fn model_that_cannot_be_asked_is_told_where_it_stands() {
    let model =
        |more: &str| format!("[engine.models.m]\nbase_url = 'https://a.example/v1'\nmodel = 'm'\n{more}\n");
    check_refused("[engine.models.'a b']\nmodel = 'm'", &[":1:16: ", "'a b' is no name of a model"]);
    check_refused("[engine.models.m]\nmodel = 'm'", &[":1:16: ", "model 'm' must have 'base_url'"]);
    check_refused("[engine.models]\nm = 'small'", &["'m' must be a table, not 'small'"]);
    check_refused(&model("key = 'x'"), &[":4:1: ", "model 'm' has no key 'key'"]);
    check_refused(&model("answer_tokens_max = 0"), &["must be tokens, 1 to 1000000, not 0"]);
    check_refused(&model("temperature = 3"), &["must be a number from 0 to 2, not 3"]);
    check_refused(&model("input_price = -1"), &["must be a price for a million tokens"]);
    check_refused(&model("format = 'yaml'"), &["must be json_schema, json_object or words, not 'yaml'"]);
    let place = Place::new();
    let file = place.file("planwire.toml", &model("secret = 'TOKEM'"));
    let ran = place.run(&["--config".as_ref(), file.as_os_str(), "config".as_ref(), "--check".as_ref()]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains(":4:10: error: there is no secret 'TOKEM' for model 'm'"), "{}", ran.stderr);
}

#[test]
fn secret_that_somebody_wrote_into_the_file_is_not_shown() {
    let place = Place::new();
    let file = place.file("planwire.toml", "[engine.secrets]\nTOKEN = \"hunter2hunter2\"\n");
    let ran = place.run(&["--config".as_ref(), file.as_os_str(), "config".as_ref()]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains(":2:1: error: secret TOKEN must say where its value lies"), "{}", ran.stderr);
    assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
}

#[test]
fn variable_and_flag_that_do_not_fit_are_told_by_name() {
    let place = Place::new();
    let run = |name: &str, value: &str| -> Ran {
        let mut command = place.command(&["config"]);
        command.env(name, value);
        finish(command, "")
    };
    let ran = run("PLANWIRE_SERVER_HEARTBEAT_MS", "fast");
    assert_eq!(ran.code, Some(2));
    let expected = "PLANWIRE_SERVER_HEARTBEAT_MS: error: 'server.heartbeat_ms' must be a whole number";
    assert!(ran.stderr.starts_with(expected), "{}", ran.stderr);
    let ran = run("PLANWIRE_SERVER_HOSTS", "a.example, b c");
    assert!(ran.code == Some(2) && ran.stderr.contains("(commas between several), not 'b c'"), "{ran:?}");
    assert!(
        run("PLANWIRE_SERVER_HOSTS", "a.example, b.example").text(0).contains(r#"["a.example","b.example"]"#)
    );
    assert!(
        run("PLANWIRE_SERVER_ALLOW_INLINE_DOCUMENTS", "1").text(0).contains("allow_inline_documents = true")
    );
    assert_eq!(run("PLANWIRE_LOG", "loud").code, Some(2));
    // Others set such names too: a warning.
    let ran = run("PLANWIRE_SERVER_LISTN", "127.0.0.1:1");
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("did you mean 'PLANWIRE_SERVER_LISTEN'?"), "{}", ran.stderr);
    assert!(run("PLANWIRE_OTHER", "x").stderr.is_empty());
}

#[test]
fn command_that_needs_no_configuration_works_beside_a_broken_one() {
    let place = Place::new();
    let file = place.file("planwire.toml", "nonsense");
    for (arguments, code) in [
        (&["check", "repo-report"][..], 0),
        (&["schema", "ToolCalled"], 0),
        (&["completions", "bash"], 0),
        (&["config", "--reference"], 0),
        (&["plans"], 2),
        (&["config"], 2),
        (&["serve", "--listen", "127.0.0.1:0"], 2),
    ] {
        let mut command = place.command(arguments);
        command.env("PLANWIRE_CONFIG", &file);
        assert_eq!(finish(command, "").code, Some(code), "{arguments:?}");
    }
}

#[test]
fn reference_in_the_repository_is_what_the_code_says() {
    let page = Place::new().run(&["config", "--reference"]).text(0).to_owned();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == page, "run `planwire config --reference > docs/configuration.md`");
}

#[test]
fn example_of_the_reference_is_a_sound_file() {
    let place = Place::new();
    let page = place.run(&["config", "--reference"]).text(0).to_owned();
    let example =
        page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let file = place.file("planwire.toml", example);
    place.run(&["--config".as_ref(), file.as_os_str(), "config".as_ref()]).text(0);
}

#[test]
fn completions_know_the_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&["completions", shell]).text(0).to_owned();
        assert!(script.contains("completions") && script.contains("listen"), "{shell}: {script}");
    }
    assert_eq!(place.run(&["completions", "tcsh"]).code, Some(2));
}

//! The tool `exec`: what it gives, what it refuses, and that nothing survives it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use planwire_engine::launcher::LauncherConfig;
use planwire_engine::stop::{StopReason, Stopper};
use planwire_engine::tool::{Tool as _, ToolContext, ToolError, ToolOutput};
use planwire_engine::tools::exec::Exec;
use serde_json::{Value, json};

use crate::supervised::launcher;

async fn run_in(folder: &Path, stopper: &Stopper, arguments: Value) -> Result<ToolOutput, ToolError> {
    let context = ToolContext::new(folder, stopper.handle());
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    Exec::default().call(arguments, context).await
}

/// With and without a supervisor; both have to give the same.
async fn run(arguments: Value) -> Result<ToolOutput, ToolError> {
    let alone = run_in(Path::new("/tmp"), &Stopper::new(), arguments.clone()).await;
    assert_eq!(supervised(arguments).await, alone);
    alone
}

async fn supervised(arguments: Value) -> Result<ToolOutput, ToolError> {
    let context = ToolContext::new("/tmp", Stopper::new().handle());
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    Exec::launched_by(launcher(LauncherConfig::default())).call(arguments, context).await
}

async fn code_of(arguments: Value) -> String {
    run(arguments).await.unwrap_err().code
}

#[tokio::test]
async fn program_gets_its_arguments_as_they_are() {
    let output = run(json!({"argv": ["printf", "%s|", "a b", "$HOME", "*", "; ls"]})).await.unwrap();
    assert_eq!(output.value, json!({"exit_code": 0, "stdout": "a b|$HOME|*|; ls|", "stderr": ""}));
    assert!(!output.truncated);
}

#[tokio::test]
async fn environment_holds_only_what_is_declared() {
    let arguments = json!({"argv": ["env"], "env": {"ASKED": "for"}});
    let alone = run_in(Path::new("/tmp"), &Stopper::new(), arguments.clone()).await.unwrap();
    for output in [alone, supervised(arguments).await.unwrap()] {
        let text = output.value["stdout"].as_str().unwrap();
        let names: Vec<_> = text.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(names.contains(&"ASKED") && names.contains(&"PATH"));
        let known = ["ASKED", "PATH", "LANG", "HOME", "TMPDIR"];
        assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    }
}

#[tokio::test]
async fn standard_input_is_empty_unless_given() {
    assert_eq!(run(json!({"argv": ["cat"]})).await.unwrap().value["stdout"], "");
    let long = "line\n".repeat(40_000);
    let counted = run(json!({"argv": ["wc", "-l"], "stdin": long})).await.unwrap();
    assert_eq!(counted.value["stdout"].as_str().unwrap().trim(), "40000");
    // A program that does not read its input is no failure.
    assert_eq!(run(json!({"argv": ["true"], "stdin": long})).await.unwrap().value["exit_code"], 0);
}

#[tokio::test]
async fn failures_have_codes_that_documents_can_decide_by() {
    assert_eq!(code_of(json!({"argv": ["no-such-program-here"]})).await, "not_found");
    assert_eq!(code_of(json!({"argv": ["/etc/passwd"]})).await, "not_executable");
    assert_eq!(code_of(json!({"argv": ["true"], "cwd": "no-such-folder"})).await, "bad_cwd");
    assert_eq!(code_of(json!({"argv": []})).await, "bad_argument");
    assert_eq!(code_of(json!({"argv": ["a\0b"]})).await, "bad_argument");
    assert_eq!(code_of(json!({"argv": ["env"], "env": {"A=B": "c"}})).await, "bad_argument");
    assert_eq!(code_of(json!({"argv": ["true"], "shell": true})).await, "bad_argument");
    assert_eq!(code_of(json!({"argv": ["true"], "max_output_bytes": 10_000_000})).await, "bad_argument");
    let error = run(json!({"argv": ["sh", "-c", "echo broken >&2; exit 3"]})).await.unwrap_err();
    assert_eq!(error, ToolError::new("exit_status", "sh ended with exit code 3: broken"));
    assert_eq!(code_of(json!({"argv": ["sh", "-c", "kill -9 $$"]})).await, "signal");
    let output = run(json!({"argv": ["sh", "-c", "exit 3"], "ok_exit_codes": [0, 3]})).await.unwrap();
    assert_eq!(output.value["exit_code"], 3);
}

#[tokio::test]
async fn cwd_does_not_lead_out_of_the_working_folder_unless_it_is_absolute() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("work/in")).unwrap();
    std::os::unix::fs::symlink("in", folder.path().join("work/near")).unwrap();
    std::os::unix::fs::symlink("..", folder.path().join("work/far")).unwrap();
    let work = folder.path().join("work");
    let pwd = async |cwd: &str| {
        let output = run_in(&work, &Stopper::new(), json!({"argv": ["pwd", "-P"], "cwd": cwd})).await;
        output.map(|output| output.value["stdout"].as_str().unwrap().trim_end().to_owned())
    };
    let inside = work.canonicalize().unwrap();
    for (cwd, expected) in [("", ""), (".", ""), ("in", "/in"), ("near", "/in"), ("in/..", "")] {
        assert_eq!(pwd(cwd).await.unwrap(), format!("{}{expected}", inside.display()), "{cwd}");
    }
    for cwd in ["..", "in/../..", "far", "far/work"] {
        assert_eq!(pwd(cwd).await.unwrap_err().code, "denied", "{cwd}");
    }
    assert_eq!(pwd("/").await.unwrap(), "/");
}

#[tokio::test]
async fn flood_of_output_is_cut_while_it_is_read() {
    let flood = ["sh", "-c", "yes é | head -c 5000000"];
    let output = run(json!({"argv": flood})).await.unwrap();
    assert!(output.truncated);
    assert!(
        output.value["stdout"].as_str().unwrap().len() <= planwire_engine::tools::exec::OUTPUT_BYTES_DEFAULT
    );
    let limited = run(json!({"argv": flood, "max_output_bytes": 1000})).await.unwrap_err();
    assert_eq!(limited.code, "output_limit");
    // One that never ends is ended at the limit that its step asked for.
    assert_eq!(code_of(json!({"argv": ["yes"], "max_output_bytes": 1000})).await, "output_limit");
}

#[tokio::test]
async fn output_that_is_no_text_becomes_text() {
    let output = run(json!({"argv": ["printf", "a\\377b\\000c"]})).await.unwrap();
    assert_eq!(output.value["stdout"], "a\u{fffd}b\0c");
}

/// Waits until `path` holds a process id and gives it.
async fn pid_in(path: &Path) -> u32 {
    loop {
        if let Some(pid) = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()) {
            return pid;
        }
        tokio::task::yield_now().await;
    }
}

fn alive(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie that its new parent has not reaped yet runs no more.
    !state.is_empty() && state.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z'))
}

async fn ends(pid: u32) {
    while alive(pid) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn grandchild_that_keeps_the_pipe_open_does_not_hold_the_call_and_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let script = "sleep 1000 & echo $! > pid; echo done";
    let output = run_in(folder.path(), &Stopper::new(), json!({"argv": ["sh", "-c", script]})).await.unwrap();
    assert_eq!(output.value["stdout"], "done\n");
    ends(pid_in(&folder.path().join("pid")).await).await;
}

#[tokio::test]
async fn grandchild_in_another_group_does_not_hold_the_call() {
    let folder = tempfile::tempdir().unwrap();
    let script = "setsid sh -c 'echo $$ > pid; exec sleep 30' & while ! test -s pid; do :; done; echo done";
    let output = run_in(folder.path(), &Stopper::new(), json!({"argv": ["sh", "-c", script]})).await.unwrap();
    assert_eq!(output.value["stdout"], "done\n");
    let pid = pid_in(&folder.path().join("pid")).await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn stopping_ends_the_whole_group_also_where_it_ignores_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > pid; while :; do sleep 1000; done' & wait";
    let stopper = Arc::new(Stopper::new());
    let call = run_in(folder.path(), &stopper, json!({"argv": ["sh", "-c", script]}));
    let stop = async {
        let pid = pid_in(&folder.path().join("pid")).await;
        stopper.stop(StopReason::TimedOut);
        pid
    };
    let (result, pid) = tokio::join!(call, stop);
    assert_eq!(result.unwrap_err(), ToolError::stopped());
    ends(pid).await;
}

#[tokio::test]
async fn dropping_the_call_kills_the_group() {
    let folder = tempfile::tempdir().unwrap();
    let script = "sh -c 'echo $$ > pid; exec sleep 1000' & wait";
    let stopper = Stopper::new();
    let mut call = Box::pin(run_in(folder.path(), &stopper, json!({"argv": ["sh", "-c", script]})));
    let file = folder.path().join("pid");
    let pid = tokio::select! {
        result = &mut call => panic!("ended early: {result:?}"),
        pid = pid_in(&file) => pid,
    };
    drop(call);
    tokio::time::timeout(Duration::from_secs(60), ends(pid)).await.unwrap();
}

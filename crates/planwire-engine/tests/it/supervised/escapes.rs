//! Programs that run away from whoever ends them, and supervisors that are stopped, killed or deaf.

use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use planwire_engine::ToolSet;
use planwire_engine::launcher::{Containment, Launcher, LauncherConfig, Limits};
use planwire_engine::stop::{StopReason, Stopper};
use planwire_engine::tools::exec::Exec;
use planwire_event::vocabulary::ToolCompleted;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::tree::{all_gone, all_there, pause, says_all_ended, states, staying, until};
use super::{call, containments, launcher};
use crate::house::House;

/// Processes that each start the next one and end, at four places, for as long as the stack of a shell lasts; and the
/// same in sessions of their own, for ever. All of them hold the pipe `held`.
const RUNNERS: [&str; 2] = [
    "trap '' TERM; exec 9> held; hop() { hop & }; hop; hop; hop; hop; echo > there; exec sleep 1000",
    "trap '' TERM; exec 9> held; echo 'setsid sh hop &' > hop; for n in 1 2 3 4; do sh hop & done; echo > there; exec sleep 1000",
];

/// Without a limit that such a program could be over before it is stopped.
fn unlimited(containment: Containment) -> Exec {
    let limits = Limits { processes: 10_000, ..Limits::default() };
    let config = LauncherConfig { containment: Some(containment), limits, ..LauncherConfig::default() };
    Exec::launched_by(launcher(config))
}

#[tokio::test]
async fn processes_that_run_from_one_to_the_next_are_caught() {
    for containment in containments("processes_that_run_from_one_to_the_next").await {
        for script in RUNNERS {
            let folder = tempfile::tempdir().unwrap();
            let mut held = pipe(&folder.path().join("held"));
            let stopper = Arc::new(Stopper::new());
            let exec = unlimited(containment);
            let running = call(&exec, folder.path(), &stopper, json!({"argv": ["sh", "-c", script]}));
            let stop = async {
                until(|| folder.path().join("there").exists()).await;
                stopper.stop(StopReason::TimedOut);
            };
            let (result, ()) = tokio::join!(running, stop);
            // Who runs fast enough is in no list. But the pipe ends only when nobody holds it.
            let mut held_by_nobody = || held.read(&mut [0]).is_ok_and(|read| read == 0);
            match says_all_ended(result) {
                true => assert!(held_by_nobody(), "{containment}: somebody still runs: {script}"),
                false => {
                    while !held_by_nobody() {
                        pause().await;
                    }
                }
            }
        }
    }
}

/// A named pipe, of which the end to read is open.
fn pipe(path: &Path) -> std::fs::File {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    std::fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path).unwrap()
}

#[tokio::test]
async fn stopped_supervisor_goes_on_and_ends_everything() {
    for containment in containments("stopped_supervisor_goes_on").await {
        let folder = tempfile::tempdir().unwrap();
        let stopper = Arc::new(Stopper::new());
        let exec = unlimited(containment);
        let running = call(&exec, folder.path(), &stopper, json!({"argv": ["sh", "-c", staying()]}));
        let stop = async {
            all_there(folder.path()).await;
            kill_process(supervisor_of(folder.path()), Signal::STOP).unwrap();
            stopper.stop(StopReason::TimedOut);
        };
        let (result, ()) = tokio::join!(running, stop);
        if says_all_ended(result) {
            assert_eq!(states(folder.path()), [], "{containment}");
        }
        all_gone(folder.path()).await;
    }
}

#[tokio::test]
async fn stopped_supervisor_of_a_dropped_call_goes_on_and_ends_everything() {
    for containment in containments("stopped_supervisor_of_a_dropped_call").await {
        let folder = tempfile::tempdir().unwrap();
        let stopper = Stopper::new();
        let exec = unlimited(containment);
        let arguments = json!({"argv": ["sh", "-c", staying()]});
        let mut running = Box::pin(call(&exec, folder.path(), &stopper, arguments));
        tokio::select! {
            result = &mut running => panic!("ended early: {result:?}"),
            () = all_there(folder.path()) => {}
        }
        kill_process(supervisor_of(folder.path()), Signal::STOP).unwrap();
        drop(running);
        all_gone(folder.path()).await;
    }
}

#[tokio::test]
async fn tree_whose_supervisor_is_killed_ends_where_the_kernel_holds_it_and_else_the_call_says_so() {
    for containment in containments("tree_whose_supervisor_is_killed").await {
        let folder = tempfile::tempdir().unwrap();
        let stopper = Stopper::new();
        let exec = unlimited(containment);
        let running = call(&exec, folder.path(), &stopper, json!({"argv": ["sh", "-c", staying()]}));
        let kill = async {
            all_there(folder.path()).await;
            kill_process(supervisor_of(folder.path()), Signal::KILL).unwrap();
        };
        let (result, ()) = tokio::join!(running, kill);
        let error = result.unwrap_err();
        assert_eq!(error.code, "failed", "{error}");
        let says_so = error.message.ends_with("; what sh has started may go on");
        assert_eq!(says_so, containment == Containment::Subreaper, "{containment}: {error}");
        if says_so {
            for pid in inside(folder.path()) {
                kill_process(pid, Signal::KILL).unwrap();
            }
        }
        all_gone(folder.path()).await;
    }
}

#[tokio::test]
async fn call_that_cannot_end_what_it_started_says_so() {
    let folder = tempfile::tempdir().unwrap();
    // Takes what it is told and does nothing, until nobody tells it anything any more.
    let deaf = executable(folder.path(), "#!/bin/sh\nexec cat > /dev/null\n");
    let exec =
        Exec::launched_by(Launcher::new(LauncherConfig { executable: deaf, ..LauncherConfig::default() }));
    let tools = ToolSet::standard().with(Arc::new(exec));
    let house = House::open_with(|config| planwire_engine::EngineConfig { tools, ..config });
    let document = "plan: deaf\ngoal: g\nsteps:\n  run: { tool: exec, timeout: 1s, with: { argv: [sleep, \"1000\"] } }\n";
    let root = house.start(document).await;
    let events = house.tree(&root).await;
    let errors: Vec<_> = events.all::<ToolCompleted>().into_iter().filter_map(|done| done.error).collect();
    let [error] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!(error.code, "timed_out");
    let expected = "not everything that sleep started has ended 2.5s later; process ";
    assert!(error.message.contains(expected) && error.message.contains(" goes on to end it"), "{error:?}");
}

/// Something that can be run in place of a supervisor.
fn executable(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("executable");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn sandbox_that_is_required_and_missing_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let answer = "{\"Ok\":{\"containment\":\"subreaper\",\"landlock\":null}}";
    let without = executable(folder.path(), &format!("#!/bin/sh\ncat > /dev/null; echo '{answer}'\n"));
    let mut sandbox = planwire_engine::launcher::Sandbox::new(None);
    for (required, starts) in [(false, true), (true, false)] {
        sandbox.required = required;
        let launcher = Launcher::new(LauncherConfig {
            executable: without.clone(),
            sandbox: Some(sandbox.clone()),
            ..LauncherConfig::default()
        });
        assert_eq!(launcher.probe().await.is_ok(), starts, "required: {required}");
    }
}

/// The processes that work in a folder.
fn inside(folder: &Path) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let inside = entries.filter_map(|entry| {
        let is_inside = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|working| working == folder);
        is_inside.then(|| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).flatten()
    });
    inside.collect()
}

/// The ancestor of a process in `folder` that is a child of this process.
fn supervisor_of(folder: &Path) -> Pid {
    let parent = |pid: Pid| -> Option<Pid> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        Pid::from_raw(stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?)
    };
    let mut pid = inside(folder)[0];
    loop {
        let above = parent(pid).unwrap();
        if above == rustix::process::getpid() {
            return pid;
        }
        pid = above;
    }
}

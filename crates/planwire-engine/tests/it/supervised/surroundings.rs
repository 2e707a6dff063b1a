//! What a program finds around it: descriptors, environment, folders, limits of who started it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use planwire_engine::launcher::{Containment, Launcher, LauncherConfig, Limits};
use planwire_engine::stop::Stopper;
use planwire_engine::tools::exec::Exec;
use serde_json::json;

use super::{call, contained, containments, launcher, said, sh, skip};

#[tokio::test]
async fn descriptors_of_whoever_started_the_engine_are_not_inherited() {
    // As a shell leaves one open for everything that it starts.
    let left_open = std::fs::File::open("/dev/zero").unwrap();
    rustix::io::fcntl_setfd(&left_open, rustix::io::FdFlags::empty()).unwrap();
    for containment in containments("descriptors_are_not_inherited").await {
        // 3 is that of the folder which is listed.
        let listed = said(&contained(containment), "/tmp".as_ref(), "ls /proc/self/fd").await;
        assert_eq!(listed, "0\n1\n2\n3\n", "{containment}");
    }
    drop(left_open);
}

#[tokio::test]
async fn program_has_a_session_of_its_own_the_usual_signals_and_the_priority_of_the_engine() {
    for containment in containments("program_has_a_session_of_its_own").await {
        let exec = contained(containment);
        let script = "cut -d' ' -f1,5,6,7,19 /proc/self/stat; grep -E 'Sig(Blk|Ign)' /proc/self/status";
        let text = said(&exec, "/tmp".as_ref(), script).await;
        let masks = text.lines().filter_map(|line| line.strip_prefix("Sig")?.split_once('\t'));
        // Those from 32 on are the threads' own.
        let masks: Vec<_> =
            masks.map(|(_, mask)| u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff).collect();
        assert_eq!(masks, [0, 0], "{text}");
        let own = format!(" {} ", std::process::id());
        let expected = format!(" 0 {}", rustix::process::getpriority_process(None).unwrap());
        assert!(
            !text.contains(&own) && text.lines().next().unwrap().ends_with(&expected),
            "no terminal: {text}"
        );
    }
}

#[tokio::test]
async fn each_call_has_a_temporary_folder_that_is_gone_afterwards() {
    let exec = Exec::launched_by(launcher(LauncherConfig::default()));
    let script =
        "test -d $TMPDIR && mkdir -p $TMPDIR/a/b && touch $TMPDIR/a/b/c && chmod 0 $TMPDIR/a/b; echo $TMPDIR";
    let first = said(&exec, "/tmp".as_ref(), script).await;
    assert!(!PathBuf::from(first.trim()).exists(), "{first}");
    let arguments = json!({"argv": ["sh", "-c", "echo $TMPDIR"], "env": {"TMPDIR": "/var/tmp"}});
    let declared = call(&exec, "/tmp".as_ref(), &Stopper::new(), arguments).await.unwrap();
    assert_eq!(declared.value["stdout"], "/var/tmp\n");
}

#[tokio::test]
async fn large_arguments_and_environment_arrive_whole() {
    let exec = Exec::launched_by(launcher(LauncherConfig::default()));
    let large = "é\n\u{1}".repeat(20_000);
    let arguments =
        json!({"argv": ["sh", "-c", "printf %s \"$1$LARGE\" | wc -c", "sh", large], "env": {"LARGE": large}});
    let output = call(&exec, "/tmp".as_ref(), &Stopper::new(), arguments).await.unwrap();
    assert_eq!(output.value["stdout"].as_str().unwrap().trim(), (2 * large.len()).to_string());
    // The kernel takes no argument of this size.
    let arguments = json!({"argv": ["true", "x".repeat(3_000_000)]});
    assert_eq!(call(&exec, "/tmp".as_ref(), &Stopper::new(), arguments).await.unwrap_err().code, "failed");
}

#[tokio::test]
async fn executable_that_supervises_nothing_is_an_error() {
    let config = LauncherConfig { executable: "/bin/true".into(), ..LauncherConfig::default() };
    let exec = Exec::launched_by(Launcher::new(config.clone()));
    assert_eq!(sh(&exec, "/tmp".as_ref(), "true").await.unwrap_err().code, "failed");
    assert!(Launcher::new(config).probe().await.is_err());
    let config = LauncherConfig { executable: "/nowhere".into(), ..LauncherConfig::default() };
    let exec = Exec::launched_by(Launcher::new(config.clone()));
    assert_eq!(sh(&exec, "/tmp".as_ref(), "true").await.unwrap_err().code, "failed");
    assert!(Launcher::new(config).probe().await.is_err());
}

#[tokio::test]
async fn folder_for_temporary_files_of_somebody_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let user = rustix::process::getuid().as_raw();
    let theirs = folder.path().join(format!("planwire-{user}"));
    std::fs::create_dir(&theirs).unwrap();
    std::fs::set_permissions(&theirs, std::fs::Permissions::from_mode(0o777)).unwrap();
    let exec = Exec::launched_by(launcher(LauncherConfig {
        temporary: folder.path().into(),
        ..LauncherConfig::default()
    }));
    let error = sh(&exec, "/tmp".as_ref(), "true").await.unwrap_err();
    assert!(error.message.contains("not a folder of this user alone"), "{error}");
}

#[tokio::test]
async fn what_killed_supervisors_left_behind_is_removed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = LauncherConfig { temporary: folder.path().into(), ..LauncherConfig::default() };
    let exec = Exec::launched_by(launcher(config.clone()));
    sh(&exec, "/tmp".as_ref(), "true").await.unwrap();
    let user = rustix::process::getuid().as_raw();
    let all = folder.path().join(format!("planwire-{user}"));
    let ours = std::fs::metadata("/proc/self/ns/pid").unwrap().ino();
    let of = |namespace: u64, pid: u32| all.join(format!("call-{namespace:x}-{pid}"));
    // A process of another pid namespace cannot be asked for here.
    let (gone, lives, elsewhere) =
        (of(ours, 2_147_483_647), of(ours, std::process::id()), of(1, 2_147_483_647));
    std::fs::create_dir_all(gone.join("deep")).unwrap();
    std::fs::create_dir_all(&lives).unwrap();
    std::fs::create_dir_all(&elsewhere).unwrap();
    launcher(config).probe().await.unwrap();
    assert!(!gone.exists() && lives.exists() && elsewhere.exists());
}

/// A supervisor that becomes nobody first. It lies in `folder`, which is opened to all.
fn becoming_nobody(folder: &Path) -> PathBuf {
    let open_to_all =
        |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    open_to_all(folder);
    let (executable, wrapper) = (folder.join("tool-init"), folder.join("as-nobody"));
    std::fs::copy(env!("CARGO_BIN_EXE_planwire-tool-init"), &executable).unwrap();
    let become_nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    std::fs::write(&wrapper, format!("#!/bin/sh\nexec {become_nobody} {} \"$@\"\n", executable.display()))
        .unwrap();
    open_to_all(&executable);
    open_to_all(&wrapper);
    wrapper
}

#[tokio::test]
async fn temporary_folder_of_a_user_without_rights_is_gone_whatever_is_denied_in_it() {
    let test = "temporary_folder_of_a_user_without_rights";
    if !rustix::process::getuid().is_root() {
        return skip(test, "it takes root to become somebody else");
    }
    let folder = tempfile::tempdir().unwrap();
    let config = LauncherConfig {
        executable: becoming_nobody(folder.path()),
        temporary: folder.path().into(),
        containment: Some(Containment::Subreaper),
        ..LauncherConfig::default()
    };
    let exec = Exec::launched_by(Launcher::new(config));
    let script = "mkdir -p $TMPDIR/a/b/c && touch $TMPDIR/a/b/c/d && chmod 0 $TMPDIR/a/b/c $TMPDIR/a/b; echo $TMPDIR; id -u";
    let text = said(&exec, folder.path(), script).await;
    let (temporary, user) = text.trim().split_once('\n').unwrap();
    assert!(user == "65534" && !PathBuf::from(temporary).exists(), "{text}");
}

#[tokio::test]
async fn user_without_rights_has_a_namespace_in_which_its_processes_are_counted() {
    let test = "user_without_rights_has_a_namespace";
    if !rustix::process::getuid().is_root() {
        return skip(test, "it takes root to become somebody else");
    }
    let folder = tempfile::tempdir().unwrap();
    let config = LauncherConfig {
        executable: becoming_nobody(folder.path()),
        temporary: folder.path().into(),
        containment: Some(Containment::PidNamespace),
        limits: Limits { processes: 8, ..Limits::default() },
        ..LauncherConfig::default()
    };
    if let Err(error) = Launcher::new(config.clone()).probe().await {
        return skip(test, &error.to_string());
    }
    let exec = Exec::launched_by(Launcher::new(config));
    let ids =
        said(&exec, folder.path(), "id -u; echo $$; grep -o 'processes  *[0-9][0-9]*' /proc/self/limits")
            .await;
    assert_eq!(ids.split_whitespace().collect::<Vec<_>>(), ["65534", "2", "processes", "18"], "{ids}");
    // The kernel refuses at 18 what is faster than we look.
    let script = "n=0; while test $n -lt 200; do n=$((n+1)); sleep 1000 & done; wait";
    let error = sh(&exec, folder.path(), script).await.unwrap_err();
    assert_eq!(error.code, "process_limit", "{error}");
}

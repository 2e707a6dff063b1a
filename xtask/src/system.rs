//! Programs that Debian packages provide: which are missing, why they matter, how to get them.
//!
//! The tables in [`packages`] and [`rivals`] are the only lists of system packages in this repository. A C compiler is
//! not in it: without one this program would not have been built.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::report::run;
use crate::workspace::{Workspace, output};

/// What to do about missing system packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Say so, and run what can be run.
    List,
    /// Install them; needs root.
    Install,
}

/// One system package and what stands still without it.
struct Package {
    /// On `PATH`, or where [`Package::folders`] says, this shows that the package is not needed.
    program: String,
    /// Where Debian has programs that are not on `PATH`: a folder for each version, below it this one.
    folders: Option<(&'static str, &'static str)>,
    debian: String,
    reason: &'static str,
}

/// Where Debian has PostgreSQL's programs.
const POSTGRES: Option<(&str, &str)> = Some(("/usr/lib/postgresql", "bin"));

fn packages(llvm_major: u32) -> Vec<Package> {
    let row = |program: &str, debian: &str, reason: &'static str| Package {
        program: program.to_owned(),
        folders: None,
        debian: debian.to_owned(),
        reason,
    };
    let llvm = format!("llvm-{llvm_major}");
    vec![
        row(&format!("llvm-cov-{llvm_major}"), &llvm, "coverage is measured with rustc's own LLVM version"),
        row("git", "git", "the demo's tests build repositories, and one runs without git on purpose"),
        row("curl", "curl", "the README's way to follow a stream is tested with the real program"),
        row("mkfs.ext4", "e2fsprogs", "the power of a disk is cut below a log on an ext4 of the test's own"),
        row("mount", "mount", "mounts that ext4, and small disks that can be full"),
        row("faketime", "faketime", "a real server survives a clock that jumps"),
        row("chromium", "chromium", "the page is tested in a real browser"),
        row(
            "npm",
            "npm",
            "installs the driver of that browser, and clients that tests run, below target/tools",
        ),
        row("node", "nodejs", "runs the TypeScript client and the driver of that browser"),
        row("python3", "python3", "runs the Python client and the official A2A clients"),
        row("pip3", "python3-pip", "installs these below target/tools, and ready-made cargo tools"),
        Package {
            folders: POSTGRES,
            ..row(
                "postgres",
                "postgresql",
                "the log in PostgreSQL is tested with a server of each test's own",
            )
        },
    ]
}

/// What `cargo xtask bench --against` measures beside.
fn rivals() -> Vec<Package> {
    let row = |program: &str, debian: &str, folders, reason| Package {
        program: program.to_owned(),
        folders,
        debian: debian.to_owned(),
        reason,
    };
    vec![
        row("redis-server", "redis-server", None, "a stream with appendfsync always"),
        row("postgres", "postgresql", POSTGRES, "statements by hand, and the log in PostgreSQL"),
        row(
            "ngx_nchan_module.so",
            "libnginx-mod-nchan",
            Some(("/usr/lib", "modules")),
            "event streams of nginx",
        ),
    ]
}

/// Services that Debian starts with these packages; the benchmark starts servers of its own.
const SERVICES: [(&str, &str); 3] =
    [("redis-server", "redis-server"), ("postgresql", "postgresql"), ("libnginx-mod-nchan", "nginx")];

/// Lists the packages of rivals that are missing and, if asked to, installs them and stops what that has started.
///
/// # Errors
///
/// If the installation fails, or is asked for where it is not possible.
pub(crate) fn prepare_rivals(workspace: &Workspace, missing: Missing) -> Result<()> {
    let mut absent = rivals();
    absent.retain(|package| package.is_absent(workspace));
    let is_new = |debian: &str| absent.iter().any(|package| package.debian == debian);
    let services: Vec<&str> =
        SERVICES.iter().filter(|(debian, _)| is_new(debian)).map(|(_, service)| *service).collect();
    settle(workspace, missing, &absent, "cargo xtask bench --against --install")?;
    if missing == Missing::Install && !services.is_empty() && workspace.find("systemctl").is_some() {
        // Where nothing is in charge of services, none was started.
        let _ = run(workspace.command("systemctl").args(["disable", "--now", "--quiet"]).args(&services));
    }
    Ok(())
}

/// Lists the packages of tests that are missing and, if asked to, installs them.
///
/// # Errors
///
/// If the installation fails, or is asked for where it is not possible.
pub(crate) fn prepare(workspace: &Workspace, missing: Missing) -> Result<()> {
    settle(workspace, missing, &absent(workspace)?, "cargo xtask test --install")
}

/// Lists these packages and, if asked to, installs them; `install` is the command that does so.
fn settle(workspace: &Workspace, missing: Missing, absent: &[Package], install: &str) -> Result<()> {
    if absent.is_empty() {
        println!("    all system packages are here");
        return Ok(());
    }
    println!("    missing system packages:");
    for package in absent {
        println!("      {:<12} {}", package.debian, package.reason);
    }
    let names: Vec<&str> = absent.iter().map(|package| package.debian.as_str()).collect();
    if missing == Missing::List {
        println!("    to install them: {install}");
        println!("    or by hand:      apt-get install {}", names.join(" "));
        return Ok(());
    }
    if workspace.find("apt-get").is_none() || !is_root() {
        bail!("--install needs root and apt-get; install by hand: {}", names.join(" "));
    }
    run(apt(workspace).arg("update"))?;
    run(apt(workspace).args(["install", "--yes", "--no-install-recommends"]).args(&names))
}

fn absent(workspace: &Workspace) -> Result<Vec<Package>> {
    let tools_of_toolchain = llvm_tools(workspace).is_some();
    let mut absent = packages(llvm_major(workspace)?);
    absent.retain(|package| {
        let covered = package.debian.starts_with("llvm-") && tools_of_toolchain;
        !covered && package.is_absent(workspace)
    });
    Ok(absent)
}

impl Package {
    fn is_absent(&self, workspace: &Workspace) -> bool {
        workspace.find(&self.program).is_none() && !self.is_beside_path()
    }

    /// Whether the program is in a folder of its own.
    fn is_beside_path(&self) -> bool {
        let Some((versions, below)) = self.folders else { return false };
        let mut versions = std::fs::read_dir(versions).into_iter().flatten().flatten();
        versions.any(|version| version.path().join(below).join(&self.program).is_file())
    }
}

fn apt(workspace: &Workspace) -> Command {
    let mut command = workspace.command("apt-get");
    command.arg("--quiet=2").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// `llvm-cov` and `llvm-profdata` that can read what this rustc writes.
pub(crate) struct LlvmTools {
    pub(crate) cov: PathBuf,
    pub(crate) profdata: PathBuf,
}

/// Finds the LLVM tools: those of the Rust toolchain, else those of the system in rustc's version.
pub(crate) fn llvm_tools(workspace: &Workspace) -> Option<LlvmTools> {
    let sysroot = output(workspace.command("rustc").args(["--print", "sysroot"])).ok()?;
    let host = rustc_line(workspace, "host: ").ok()?;
    let folder = PathBuf::from(sysroot.trim()).join("lib/rustlib").join(host).join("bin");
    let (cov, profdata) = (folder.join("llvm-cov"), folder.join("llvm-profdata"));
    if cov.is_file() && profdata.is_file() {
        return Some(LlvmTools { cov, profdata });
    }
    let major = llvm_major(workspace).ok()?;
    let cov = workspace.find(&format!("llvm-cov-{major}"))?;
    let profdata = workspace.find(&format!("llvm-profdata-{major}"))?;
    Some(LlvmTools { cov, profdata })
}

/// The LLVM version of rustc; llvm-cov of another major version can not read its profiles.
fn llvm_major(workspace: &Workspace) -> Result<u32> {
    let version = rustc_line(workspace, "LLVM version: ")?;
    let major = version.split('.').next().unwrap_or_default();
    major.parse().with_context(|| format!("rustc names a strange LLVM version: {version}"))
}

fn rustc_line(workspace: &Workspace, start: &str) -> Result<String> {
    let text = output(workspace.command("rustc").arg("-vV"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(start));
    Ok(line.with_context(|| format!("rustc -vV has no line '{start}'"))?.to_owned())
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

//! A rival in a process of its own: found, started, waited for, and stopped by its id.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a rival may take until it answers.
const START_MAX: Duration = Duration::from_secs(30);

/// Between two looks whether it does.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A process. Stopped when this is dropped.
pub(crate) struct Process {
    child: Child,
    stop: Signal,
}

impl Process {
    /// Starts it; `stop` is the signal that ends it together with its children.
    pub(crate) fn start(command: &mut Command, stop: Signal) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child =
            command.stdin(Stdio::null()).spawn().with_context(|| format!("failed to start {name}"))?;
        Ok(Self { child, stop })
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it takes connections.
    pub(crate) fn await_port(&mut self, address: SocketAddr) -> Result<()> {
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status} instead of listening on {address}");
            }
            if begun.elapsed() > START_MAX {
                bail!("it does not listen on {address} after {} s", START_MAX.as_secs());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let signalled = Pid::from_raw(self.child.id().cast_signed()).map(|id| kill_process(id, self.stop));
        if !matches!(signalled, Some(Ok(()))) {
            // It may have ended by itself.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Finds a program on `PATH`, or where Debian has those of the administrator.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// An address on loopback that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

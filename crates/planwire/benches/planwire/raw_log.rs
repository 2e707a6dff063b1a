//! What the disk can do without the product: lines appended to a file, then fdatasync.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use crate::numbers::{Spread, millis, per_second};
use crate::product::EVENT_BYTES;
use crate::setting::SIDE_MAX;

/// Appends whose median is the disk's state.
const STATE_APPENDS: usize = 40;

/// Bytes that a scan reads at a time.
const SCAN_BYTES: usize = 256 * 1024;

/// A file of lines. Its folder is removed with it.
pub(crate) struct RawLog {
    file: File,
    folder: TempDir,
    line: Vec<u8>,
}

impl RawLog {
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let folder = tempfile::tempdir_in(folder)?;
        let file = File::create(folder.path().join("raw.log")).context("failed to make a file")?;
        let mut line = vec![b'x'; EVENT_BYTES];
        line.push(b'\n');
        Ok(Self { file, folder, line })
    }

    /// Appends so many lines with one write and one fdatasync.
    pub(crate) fn append(&mut self, lines: usize) -> Result<()> {
        self.file.write_all(&self.line.repeat(lines))?;
        self.file.sync_data()?;
        Ok(())
    }

    /// Reads the whole file and counts its lines.
    pub(crate) fn scan(&self) -> Result<usize> {
        let mut file = File::open(self.folder.path().join("raw.log"))?;
        let (mut buffer, mut lines) = (vec![0; SCAN_BYTES], 0);
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok(lines);
            }
            lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count();
        }
    }
}

/// Milliseconds of one append + fdatasync now: the state that the disk is in.
pub(crate) fn fdatasync_ms(folder: &Path) -> Result<f64> {
    let mut log = RawLog::create(folder)?;
    let mut times = Vec::with_capacity(STATE_APPENDS);
    for _ in 0..STATE_APPENDS {
        let begun = Instant::now();
        log.append(1)?;
        times.push(millis(begun.elapsed()));
    }
    Ok(Spread::of(times).median())
}

/// Events per second, `group` of them in each write, one write in flight.
pub(crate) fn appends(folder: &Path, events: usize, group: usize) -> Result<f64> {
    let mut log = RawLog::create(folder)?;
    let (begun, mut appended) = (Instant::now(), 0);
    while appended < events && begun.elapsed() < SIDE_MAX {
        log.append(group)?;
        appended += group;
    }
    Ok(per_second(appended, begun.elapsed()))
}

/// Events per second of publishers that each wait for their own line, and a thread that appends all that waits.
pub(crate) fn group_commit(runtime: &Runtime, folder: &Path, publishers: usize, each: usize) -> Result<f64> {
    let mut log = RawLog::create(folder)?;
    let (queue, mut queued) = mpsc::unbounded_channel::<oneshot::Sender<()>>();
    let writer = std::thread::spawn(move || -> Result<()> {
        while let Some(first) = queued.blocking_recv() {
            let mut waiting = vec![first];
            while let Ok(next) = queued.try_recv() {
                waiting.push(next);
            }
            log.append(waiting.len())?;
            for reply in waiting {
                // Whoever waits is there until it is answered.
                let _ = reply.send(());
            }
        }
        Ok(())
    });
    let begun = Instant::now();
    let appended = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..publishers {
            let queue = queue.clone();
            tasks.spawn(async move {
                let mut appended = 0;
                while appended < each && begun.elapsed() < SIDE_MAX {
                    let (reply, answer) = oneshot::channel();
                    queue.send(reply).context("the writer is gone")?;
                    answer.await.context("the writer is gone")?;
                    appended += 1;
                }
                anyhow::Ok(appended)
            });
        }
        tasks.join_all().await.into_iter().sum::<Result<usize>>()
    })?;
    let elapsed = begun.elapsed();
    drop(queue);
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    Ok(per_second(appended, elapsed))
}

//! A file that is there whole or not at all, or standard output; compressed if wanted.
//!
//! What is written goes into a temporary file beside the target, which gets its name once everything is on disk.
//! **Invariant:** a file that was there is not touched unless that was asked for, and then it is replaced at once.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use planwire_store::Existing;

use crate::failure::{Exit, Failure};

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 256 * 1024;
/// Level of compression: that of the command `zstd`.
const ZSTD_LEVEL: i32 = 3;

/// Whether what is written is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// It is not.
    None,
    /// With zstd.
    Zstd,
}

/// What is being written. Dropping it before [`NewFile::finish`] leaves nothing behind.
pub(crate) struct NewFile {
    writer: Option<Writer>,
    target: Option<Target>,
}

enum Writer {
    Plain(BufWriter<Raw>),
    Zstd(Box<zstd::Encoder<'static, BufWriter<Raw>>>),
}

enum Raw {
    Stdout(io::Stdout),
    File(File),
}

struct Target {
    path: PathBuf,
    temporary: PathBuf,
    existing: Existing,
}

impl NewFile {
    /// Begins a file at `path`; `-` is standard output.
    ///
    /// # Errors
    ///
    /// Exit code 2 if there is a file that is to be kept, or none can be made there.
    pub(crate) fn create(path: &Path, existing: Existing, compression: Compression) -> Result<Self, Failure> {
        let (raw, target) = match path == Path::new("-") {
            true => (Raw::Stdout(io::stdout()), None),
            false => {
                let target = Target::new(path, existing)?;
                let file =
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target.temporary);
                let file = file.map_err(|error| {
                    Failure::usage(error).context(format!("failed to make {}", target.temporary.display()))
                })?;
                (Raw::File(file), Some(target))
            }
        };
        let buffered = BufWriter::with_capacity(BUFFER_BYTES, raw);
        let writer = match compression {
            Compression::None => Writer::Plain(buffered),
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(buffered, ZSTD_LEVEL)?;
                // So that a damaged file is known as such when it is read.
                encoder.include_checksum(true)?;
                Writer::Zstd(Box::new(encoder))
            }
        };
        Ok(Self { writer: Some(writer), target })
    }

    /// Writes a line.
    ///
    /// # Errors
    ///
    /// Exit code 74 if the disk does not take it; a broken pipe is a quiet failure.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let written = writer.write_all(line).and_then(|()| writer.write_all(b"\n"));
        written.map_err(|error| self.failed(error))
    }

    /// Brings everything to disk and gives the file its name.
    ///
    /// # Errors
    ///
    /// Exit code 74 if the disk does not take it, 2 if a file has come there meanwhile.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let raw = writer.finish().map_err(|error| self.failed(error))?;
        if let Raw::File(file) = raw {
            file.sync_all().map_err(|error| self.failed(error))?;
        }
        match self.target.take() {
            Some(target) => target.name_it(),
            None => Ok(()),
        }
    }

    fn failed(&self, error: io::Error) -> Failure {
        match &self.target {
            Some(target) => Failure::new(Exit::Storage, error)
                .context(format!("failed to write {}", target.path.display())),
            None => Failure::from(error),
        }
    }
}

impl Writer {
    fn finish(self) -> io::Result<Raw> {
        let buffered = match self {
            Self::Plain(buffered) => buffered,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        buffered.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(writer) => writer.write(bytes),
            Self::Zstd(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(writer) => writer.flush(),
            Self::Zstd(writer) => writer.flush(),
        }
    }
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

impl Target {
    fn new(path: &Path, existing: Existing) -> Result<Self, Failure> {
        let name =
            path.file_name().ok_or_else(|| Failure::usage(format!("{} names no file", path.display())))?;
        if path.is_dir() {
            return Err(Failure::usage(format!("{} is a folder", path.display())));
        }
        if existing == Existing::Keep && path.exists() {
            return Err(there_already(path));
        }
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.part", std::process::id()));
        Ok(Self { path: path.to_owned(), temporary: path.with_file_name(temporary), existing })
    }

    fn name_it(self) -> Result<(), Failure> {
        let named = match self.existing {
            Existing::Replace => std::fs::rename(&self.temporary, &self.path),
            // A name that is taken is an error, whoever took it; the temporary one goes when this is dropped.
            Existing::Keep => std::fs::hard_link(&self.temporary, &self.path),
        };
        match named {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(there_already(&self.path));
            }
            // Not every file system has links.
            Err(_) if self.existing == Existing::Keep && !self.path.exists() => {
                std::fs::rename(&self.temporary, &self.path)
            }
            other => other,
        }
        .map_err(|error| {
            Failure::new(Exit::Storage, error).context(format!("failed to name {}", self.path.display()))
        })?;
        sync_folder_of(&self.path);
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It has its name, or is not wanted.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

fn there_already(path: &Path) -> Failure {
    Failure::usage(format!("{} is there already", path.display())).hint("name another file, or say --force")
}

/// Brings the name of a file to disk.
fn sync_folder_of(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Not every file system can.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn file_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut file = NewFile::create(&path, Existing::Keep, Compression::None).unwrap();
        file.line(b"one").unwrap();
        assert!(!path.exists());
        drop(file);
        assert!(names(folder.path()).is_empty(), "what was not finished leaves nothing");
        let mut file = NewFile::create(&path, Existing::Keep, Compression::None).unwrap();
        file.line(b"one").unwrap();
        file.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\n");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn file_that_is_there_is_kept_also_if_it_came_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file = NewFile::create(&path, Existing::Keep, Compression::None).unwrap();
        std::fs::write(&path, "other").unwrap();
        assert_eq!(file.finish().unwrap_err().exit, Exit::Usage);
        assert!(NewFile::create(&path, Existing::Keep, Compression::None).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"other");
        NewFile::create(&path, Existing::Replace, Compression::Zstd).unwrap().finish().unwrap();
        assert_eq!(zstd::decode_all(File::open(&path).unwrap()).unwrap(), b"");
        assert_eq!(names(folder.path()), ["a"]);
        assert!(NewFile::create(folder.path(), Existing::Replace, Compression::None).is_err());
    }
}

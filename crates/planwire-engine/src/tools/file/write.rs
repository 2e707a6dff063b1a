//! `file.write`: a text file, whole or continued.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use futures_util::future::BoxFuture;
use planwire_event::Digest;
use planwire_event::vocabulary::Object;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, mkdirat, renameat, unlinkat};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::json;

use super::root::{Root, failure, given, shown};
use super::{Attention, ROOT, Watched, blocking};
use crate::policy::Reach;
use crate::tool::{Argument, Parameters, Tool, ToolContext, ToolError, ToolOutput, read_arguments};

const FILE_MODE: Mode = Mode::from_raw_mode(0o644);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);

/// The tool `file.write`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Write;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    root: PathBuf,
    path: String,
    text: String,
    #[serde(default)]
    append: bool,
}

impl Tool for Write {
    fn name(&self) -> &str {
        "file.write"
    }

    fn purpose(&self) -> &str {
        "writes a text file; readers see the old or the new one, never a part"
    }

    fn arguments(&self) -> Parameters {
        Parameters::listed(
            const {
                &[
                    ROOT,
                    Argument::required("path", "path", "the file, below the root; its folders are made"),
                    Argument::required("text", "text", "what it shall hold"),
                    Argument::optional(
                        "append",
                        "true or false",
                        "whether the text comes after what is there",
                    ),
                ]
            },
        )
    }

    fn reach(&self, arguments: &Object, folder: &Path) -> Reach {
        super::reach::of(arguments, folder)
    }

    fn call(&self, arguments: Object, context: ToolContext) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let arguments: Arguments = read_arguments(arguments)?;
            blocking(context, move |context, attention| write(&arguments, context, attention)).await
        })
    }
}

fn write(
    arguments: &Arguments,
    context: &ToolContext,
    attention: &Attention,
) -> Result<ToolOutput, ToolError> {
    attention.check()?;
    let root = Root::open(context, &arguments.root)?;
    let path = given(&arguments.path);
    let Some(Component::Normal(name)) = path.components().next_back() else {
        return Err(ToolError::argument("path names no file"));
    };
    let folder = open_or_make(&root, path.parent().unwrap_or(Path::new("")))
        .map_err(|error| failure(error, &shown(&path)))?;
    let written = if arguments.append {
        append(&root, &path, &arguments.text)
    } else {
        replace(&folder, name, &arguments.text)
    };
    written.map_err(|error| match Errno::from_io_error(&error) {
        Some(errno) => failure(errno, &shown(&path)),
        None => ToolError::new("failed", format!("{}: {error}", shown(&path).escape_debug())),
    })?;
    let read_back = root
        .open_file(&path)
        .map_err(io::Error::from)
        .and_then(|(file, _)| Digest::of_reader(Watched { source: file, attention }))
        .map_err(|error| ToolError::new("failed", format!("{}: {error}", shown(&path).escape_debug())))?;
    Ok(json!({"path": shown(&path), "size_bytes": read_back.1, "digest": read_back.0}).into())
}

/// Opens a folder below the root, and makes it and those above it where they are missing.
fn open_or_make(root: &Root, folder: &Path) -> Result<OwnedFd, Errno> {
    let missing = match root.open_folder(folder) {
        Err(Errno::NOENT) => folder,
        other => return other,
    };
    let mut reached = PathBuf::new();
    let mut parent = root.open_folder(&reached)?;
    for component in missing.components() {
        reached.push(component);
        parent = match root.open_folder(&reached) {
            Err(Errno::NOENT) => {
                match mkdirat(&parent, component.as_os_str(), FOLDER_MODE) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
                root.open_folder(&reached)?
            }
            other => other?,
        };
    }
    Ok(parent)
}

/// Writes beside the file and renames, so that nobody sees a part and a link is replaced, not followed.
fn replace(folder: &OwnedFd, name: &OsStr, text: &str) -> io::Result<()> {
    let target = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    if target.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory) {
        return Err(Errno::ISDIR.into());
    }
    let (fd, beside) = create_beside(folder, name)?;
    let mut file = File::from(fd);
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| Ok(renameat(folder, &beside, folder, name)?));
    if written.is_err() {
        let _ = unlinkat(folder, &beside, AtFlags::empty());
    }
    written
}

/// Creates an empty file of a name that nobody else uses.
fn create_beside(folder: &OwnedFd, name: &OsStr) -> io::Result<(OwnedFd, String)> {
    const TRIES: u32 = 100;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for attempt in 0..TRIES {
        let parts = [name.as_encoded_bytes(), &std::process::id().to_le_bytes(), &attempt.to_le_bytes()];
        let beside = format!(".planwire-{}", &Digest::of_parts(parts).to_string()[..16]);
        match rustix::fs::openat(folder, &beside, flags, FILE_MODE) {
            Err(Errno::EXIST) => {}
            created => return Ok((created?, beside)),
        }
    }
    Err(Errno::EXIST.into())
}

fn append(root: &Root, path: &Path, text: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = root.open_below(path, flags, FILE_MODE)?;
    if FileType::from_raw_mode(fstat(&fd)?.st_mode) != FileType::RegularFile {
        return Err(Errno::NXIO.into());
    }
    let mut file = File::from(fd);
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

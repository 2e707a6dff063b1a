//! What engine, supervisor and program stage tell each other: JSON behind its length, over a socket that also carries
//! descriptors.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::containment::Containment;
use super::limits::{Limit, Limits};
use super::sandbox::Sandbox;

/// Bytes of one message. The kernel takes 2 MiB of arguments and environment; as JSON they are at most four times that.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of the length before a message.
pub(crate) const LENGTH_BYTES: usize = 4;

/// Descriptors that go with a [`Launch`]: standard input, output and error, and the working folder.
pub(crate) const DESCRIPTORS: usize = 4;

/// Ask everything to end, then end it.
pub(crate) const TERMINATE: u8 = b'T';
/// End everything now.
pub(crate) const KILL: u8 = b'K';

/// What to start, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// The program, found in the `PATH` of `env` or absolute, and its arguments.
    pub(crate) argv: Vec<OsString>,
    /// All of its environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// What it may use.
    pub(crate) limits: Limits,
    /// What it may touch; none: whatever its user may.
    pub(crate) sandbox: Option<Sandbox>,
    /// How everything is to be ended at once; none: by the first that can be had.
    pub(crate) containment: Option<Containment>,
    /// Where the folder of temporary files of calls is.
    pub(crate) temporary: PathBuf,
    /// Milliseconds between [`TERMINATE`] and the end.
    pub(crate) grace_ms: u64,
    /// What the supervisor tells the program stage.
    pub(crate) inside: Inside,
}

/// What the program stage is to do to be inside.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Inside {
    /// The file that takes it into its control group.
    pub(crate) group: Option<PathBuf>,
    /// Processes and threads that its user may have, where only those of this call are counted.
    pub(crate) own_processes_max: Option<u64>,
    /// The priority that the engine has, and the supervisor may not.
    pub(crate) priority: i32,
}

/// What the supervisor says, and the later stages to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    /// What follows can be ended so; nothing has begun. The folder is that of the control group.
    Prepared {
        /// How.
        containment: Containment,
        /// The folder of its control group.
        group: Option<PathBuf>,
    },
    /// The program was not started.
    NotStarted(NotStarted),
    /// The program has ended with this status of `wait`; what it left behind may go on.
    Exited {
        /// As the kernel gives it.
        status: i32,
        /// Bytes of memory that the largest process below had at its peak, as far as its end was noticed.
        peak_bytes: u64,
    },
    /// Everything is being ended since it used more than it may.
    Over {
        /// Of what.
        limit: Limit,
    },
    /// No process is left. Its temporary folder is being removed, which takes as long as there is in it.
    NoneLeft,
    /// Nothing is left.
    Gone,
}

/// Why the program was not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotStarted {
    /// What could not be done.
    pub(crate) step: Step,
    /// Number of the system's error, if it was one.
    pub(crate) errno: Option<i32>,
    /// For people.
    pub(crate) message: String,
}

/// What has to be done before a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Preparing a place in which it can be ended.
    Containment,
    /// Limits and folders.
    Limits,
    /// The sandbox.
    Sandbox,
    /// Starting the program itself.
    Program,
}

impl NotStarted {
    pub(crate) fn new(step: Step, error: &io::Error) -> Self {
        Self { step, errno: error.raw_os_error(), message: error.to_string() }
    }
}

/// A message as it is sent.
pub(crate) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; LENGTH_BYTES];
    serde_json::to_writer(&mut bytes, message)?;
    let length = u32::try_from(bytes.len() - LENGTH_BYTES).map_err(io::Error::other)?;
    bytes[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// The length that stands before a message.
pub(crate) fn length(bytes: [u8; LENGTH_BYTES]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
    if length > MESSAGE_BYTES_MAX { Err(io::ErrorKind::InvalidData.into()) } else { Ok(length) }
}

/// Sends the length of an encoded message with `descriptors`; the rest of the message is to follow.
pub(crate) fn send_head(
    socket: impl AsFd,
    encoded: &[u8],
    descriptors: &[BorrowedFd<'_>; DESCRIPTORS],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    let head = [IoSlice::new(&encoded[..LENGTH_BYTES])];
    let sent = sendmsg(socket, &head, &mut ancillary, SendFlags::NOSIGNAL)?;
    if sent == LENGTH_BYTES { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Sends a launch with its descriptors.
pub(super) fn send_launch(
    mut socket: &UnixStream,
    launch: &Launch,
    descriptors: &[OwnedFd; DESCRIPTORS],
) -> io::Result<()> {
    let encoded = encode(launch)?;
    let descriptors: [BorrowedFd<'_>; DESCRIPTORS] = std::array::from_fn(|index| descriptors[index].as_fd());
    send_head(socket, &encoded, &descriptors)?;
    socket.write_all(&encoded[LENGTH_BYTES..])
}

/// Receives a launch with its descriptors.
pub(super) fn receive_launch(socket: &UnixStream) -> io::Result<(Launch, [OwnedFd; DESCRIPTORS])> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut head = [0; LENGTH_BYTES];
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(&mut head)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::with_capacity(DESCRIPTORS);
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    let mut reader = socket;
    reader.read_exact(&mut head[received.bytes..])?;
    let launch = read_body(socket, head)?;
    let descriptors = descriptors.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok((launch, descriptors))
}

/// Says something that goes without descriptors. A listener that is gone is no failure of the one who speaks.
pub(super) fn say(mut socket: &UnixStream, said: &Said) {
    if let Ok(encoded) = encode(said) {
        let _ = socket.write_all(&encoded);
    }
}

/// What the other side says next; none at its end.
pub(super) fn hear(mut socket: &UnixStream) -> Option<Said> {
    let mut head = [0; LENGTH_BYTES];
    socket.read_exact(&mut head).ok()?;
    read_body(socket, head).ok()
}

fn read_body<T: DeserializeOwned>(mut socket: &UnixStream, head: [u8; LENGTH_BYTES]) -> io::Result<T> {
    let mut body = vec![0; length(head)?];
    socket.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

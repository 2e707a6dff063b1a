//! A proxy before PostgreSQL that counts turns and cuts connections where a test wants it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the types of all events of tests begin with.
const EVENTS: &[u8] = b"acme.";
/// What is in each hint of a new head, and in nothing else.
const HINT: &[u8] = b"pg_notify(";

/// What the proxy does with what comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Passes everything on.
    #[default]
    Pass,
    /// Closes a connection when the server's next answer comes: the server has done what it was asked.
    CutAnswer,
    /// Closes a connection when the client's next request comes: the server never hears of it.
    CutRequest,
    /// Takes requests and passes none on, and takes no new connections either: a network that lost a route.
    BlackHole,
    /// Closes a connection when the answer to a batch with events of a test comes, and from then on is as
    /// [`Mode::Refuse`]: nobody can ask what became of the batch.
    CutCommitForGood,
    /// Closes a connection when a request brings events of a test: the server hears of everything but them.
    CutEvents,
    /// Takes new connections, and passes nothing on in any: a server that stands still.
    Silent,
    /// Takes no new connections; the others go on.
    Refuse,
    /// Passes everything on except notifications.
    Unheard,
}

#[derive(Debug, Default)]
struct State {
    mode: Mode,
    turns: usize,
    open: Vec<TcpStream>,
}

/// A proxy on a port of its own, which ends with the test.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Starts one before the server at `server` on 127.0.0.1.
    pub(crate) fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Self { port, state: Arc::default() };
        let accepting = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.accept(client, server);
            }
        });
        proxy
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.state.lock().unwrap().mode = mode;
    }

    /// How often a client waited for an answer since this was asked last, hints left out.
    pub(crate) fn turns(&self) -> usize {
        std::mem::take(&mut self.state.lock().unwrap().turns)
    }

    /// Closes all connections.
    pub(crate) fn cut_all(&self) {
        for open in self.state.lock().unwrap().open.drain(..) {
            let _ = open.shutdown(Shutdown::Both);
        }
    }

    fn accept(&self, client: TcpStream, server: u16) {
        let mode = self.state.lock().unwrap().mode;
        if matches!(mode, Mode::Refuse | Mode::BlackHole) {
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            self.state.lock().unwrap().open.push(stream.try_clone().unwrap());
        }
        let (requests, answers) = (self.clone(), self.clone());
        let commits = Arc::new(AtomicBool::new(false));
        let answered = Arc::clone(&commits);
        let (from_client, to_client) = (client.try_clone().unwrap(), client);
        let (to_server, from_server) = (server.try_clone().unwrap(), server);
        thread::spawn(move || requests.pass_requests(from_client, to_server, &commits));
        thread::spawn(move || answers.pass_answers(from_server, to_client, &answered));
    }

    /// `commits` tells the other direction whether what was asked last is that events are stored.
    fn pass_requests(&self, mut from: TcpStream, mut to: TcpStream, commits: &AtomicBool) {
        let mut messages = Messages::default();
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            let turns = messages.turns(&bytes[..read]);
            // Hints go their own way when they like: no commit waits for them.
            let is_hint = bytes[..read].windows(HINT.len()).any(|part| part == HINT);
            let turns = if is_hint { 0 } else { turns };
            commits.store(messages.events, Ordering::Release);
            let mut state = self.state.lock().unwrap();
            state.turns += turns;
            match state.mode {
                Mode::CutRequest => {
                    state.mode = Mode::Pass;
                    break;
                }
                Mode::CutEvents if messages.events => break,
                Mode::BlackHole | Mode::Silent => continue,
                _ => drop(state),
            }
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    fn pass_answers(&self, mut from: TcpStream, mut to: TcpStream, commits: &AtomicBool) {
        let mut answers = Answers::default();
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            let mut state = self.state.lock().unwrap();
            let unheard = state.mode == Mode::Unheard;
            match state.mode {
                Mode::CutAnswer => {
                    state.mode = Mode::Pass;
                    break;
                }
                Mode::CutCommitForGood if commits.load(Ordering::Acquire) => {
                    state.mode = Mode::Refuse;
                    break;
                }
                _ => drop(state),
            }
            if to.write_all(&answers.pass(&bytes[..read], unheard)).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

/// Cuts what a server answers into messages, so that notifications can be left out.
#[derive(Default)]
struct Answers {
    /// The beginning of a message whose length has not come yet.
    header: Vec<u8>,
    /// Bytes of a message that are still to come.
    left: usize,
    dropped: bool,
}

impl Answers {
    fn pass(&mut self, mut bytes: &[u8], unheard: bool) -> Vec<u8> {
        let mut passed = Vec::with_capacity(bytes.len());
        while !bytes.is_empty() {
            if self.left == 0 {
                let (first, rest) = bytes.split_at(bytes.len().min(5 - self.header.len()));
                self.header.extend_from_slice(first);
                bytes = rest;
                let [kind, length @ ..] = &self.header[..] else { continue };
                let Ok(length) = <[u8; 4]>::try_from(length) else { continue };
                self.left = u32::from_be_bytes(length) as usize - 4;
                self.dropped = unheard && *kind == b'A';
                let header = std::mem::take(&mut self.header);
                passed.extend(header.into_iter().filter(|_| !self.dropped));
            }
            let (body, rest) = bytes.split_at(bytes.len().min(self.left));
            passed.extend_from_slice(if self.dropped { &[] } else { body });
            (self.left, bytes) = (self.left - body.len(), rest);
        }
        passed
    }
}

/// Finds the messages after which a client waits, in what it sends.
#[derive(Default)]
struct Messages {
    pending: Vec<u8>,
    started: bool,
    /// What comes until the next Sync is a hint to other processes, for which no writer waits.
    hint: bool,
    /// The last parameters were those of events.
    events: bool,
}

impl Messages {
    fn turns(&mut self, bytes: &[u8]) -> usize {
        self.pending.extend_from_slice(bytes);
        let mut turns = 0;
        loop {
            // The first message has no type.
            let header = if self.started { 5 } else { 4 };
            let Some(length) = self.pending.get(header - 4..header) else { return turns };
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize + header - 4;
            if self.pending.len() < length {
                return turns;
            }
            let message: Vec<u8> = self.pending.drain(..length).collect();
            let kind = if self.started { message[0] } else { 0 };
            if kind == b'B' {
                self.events = message.windows(EVENTS.len()).any(|part| part == EVENTS);
            }
            // Parse, then Sync and Query.
            self.hint |= kind == b'P' && message.windows(9).any(|part| part == b"pg_notify");
            if matches!(kind, b'S' | b'Q') && !std::mem::take(&mut self.hint) {
                turns += 1;
            }
            self.started = true;
        }
    }
}

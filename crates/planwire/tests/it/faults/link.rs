//! A network between clients and a server: slow, or a hole into which everything falls while both ends stay open.
//!
//! Each end talks to a socket of ours. In a hole our own kernel drops what arrives there before TCP sees it, so that the
//! other end is never acknowledged anything and sends again, as it would over a network that lost its route. When the
//! hole is closed, connections that were not given up go on, and those that came meanwhile begin.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use socket2::{SockFilter, SockRef};

use super::chance::Chance;

/// Pieces of each direction that are on their way at a time.
const PIECES_MAX: usize = 16;
const PIECE_BYTES_MAX: usize = 4 * 1024;
/// Pieces of a second, at least, however little passes.
const PIECES_A_SECOND: u64 = 8;
/// `BPF_RET | BPF_K`: lets so many bytes of a packet through.
const RETURN: u16 = 6;

/// How long everything takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// The shortest and the longest delay of a piece, in milliseconds.
    pub(crate) delay_ms: (u64, u64),
    /// Bytes of a second in each direction; 0 is no limit.
    pub(crate) bytes_per_s: u64,
}

/// What falls into the hole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hole {
    /// What clients send, acknowledgements too.
    pub(crate) from_clients: bool,
    /// What the server sends, acknowledgements too.
    pub(crate) from_server: bool,
}

#[derive(Default)]
struct State {
    pace: Pace,
    hole: Hole,
    closed: bool,
    /// Our ends of all connections: to the client, and to the server.
    open: Vec<(TcpStream, TcpStream)>,
}

/// A network on a port of its own. Its connections end with it.
pub(crate) struct Link {
    pub(crate) url: String,
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panicked")
    }

    /// Waits until clients can be let in; false if there is no network any more.
    fn lets_in(&self) -> bool {
        let waits = |state: &mut State| state.hole.from_clients && !state.closed;
        let state = self.changed.wait_while(self.lock(), waits).expect("no thread panicked");
        !state.closed
    }
}

impl Link {
    /// Leads to the server at `url`, at this pace. Delays come from `chance`.
    pub(crate) fn to(url: &str, pace: Pace, mut chance: Chance) -> Self {
        let server = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        shared.lock().pace = pace;
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if !accepting.lets_in() {
                    return;
                }
                let Ok(server) = TcpStream::connect(&server) else { continue };
                connect(&accepting, client, server, &mut chance);
            }
        });
        Self { url: format!("http://{address}"), address, shared }
    }

    /// Everything takes so long from now on.
    pub(crate) fn set_pace(&self, pace: Pace) {
        self.shared.lock().pace = pace;
    }

    /// Opens or closes the hole, for connections that are there and those that come.
    pub(crate) fn set_hole(&self, hole: Hole) {
        let mut state = self.shared.lock();
        state.hole = hole;
        state.open.iter().for_each(|(client, server)| dig(hole, client, server));
        self.shared.changed.notify_all();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.set_hole(Hole::default());
        let mut state = self.shared.lock();
        state.closed = true;
        for (client, server) in state.open.drain(..) {
            let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the one who accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn dig(hole: Hole, client: &TcpStream, server: &TcpStream) {
    for (socket, lost) in [(client, hole.from_clients), (server, hole.from_server)] {
        let socket = SockRef::from(socket);
        if lost {
            socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)]).expect("a filter of a socket");
        } else {
            // There may be none.
            let _ = socket.detach_filter();
        }
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream, server: TcpStream, chance: &mut Chance) {
    let copy = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a socket");
    }
    {
        let mut state = shared.lock();
        dig(state.hole, &client, &server);
        state.open.push((copy(&client), copy(&server)));
    }
    for (from, to) in [(copy(&client), copy(&server)), (server, client)] {
        let (pieces, arriving) = sync_channel(PIECES_MAX);
        let (shared, chance) = (Arc::clone(shared), chance.fork());
        std::thread::spawn(move || send(from, &shared, chance, &pieces));
        std::thread::spawn(move || arrive(to, &arriving));
    }
}

/// Takes what one end sends, and says when the other end is to have it.
fn send(mut from: TcpStream, shared: &Shared, mut chance: Chance, pieces: &SyncSender<(Instant, Vec<u8>)>) {
    let mut free = Instant::now();
    let pace_of = || shared.lock().pace;
    loop {
        let Pace { bytes_per_s, .. } = pace_of();
        let piece = match bytes_per_s {
            0 => PIECE_BYTES_MAX,
            bytes => usize::try_from(bytes / PIECES_A_SECOND).map_or(PIECE_BYTES_MAX, |bytes| bytes.max(1)),
        };
        let mut bytes = vec![0; piece];
        let Ok(length @ 1..) = from.read(&mut bytes) else { return };
        bytes.truncate(length);
        // As it is now: it may have changed while nothing came.
        let Pace { delay_ms: (shortest, longest), bytes_per_s } = pace_of();
        let delay = Duration::from_millis(chance.between(shortest, longest));
        let takes = (length as u64 * 1_000_000)
            .checked_div(bytes_per_s)
            .map_or(Duration::ZERO, Duration::from_micros);
        free = free.max(Instant::now() + delay) + takes;
        if pieces.send((free, bytes)).is_err() {
            return;
        }
    }
}

fn arrive(mut to: TcpStream, pieces: &Receiver<(Instant, Vec<u8>)>) {
    for (due, bytes) in pieces {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

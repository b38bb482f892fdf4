//! A gate between a server and its Postgres that holds up the replication stream and nothing else.
//!
//! Enters: Postgres' port. Leaves: a port of its own that passes every connection on. Invariant: while the gate is
//! held nothing of the stream reaches the server but the rest of a transaction that had begun to (in the middle of one
//! no shape can be made), and all of it does afterwards, in order. Held midway it is the other way round: a transaction's
//! beginning has passed, its end does not, and keepalives overtake what waits. The walsender itself must
//! never be stopped: now and then it holds a lock, and the commits of the whole cluster then wait until Postgres
//! takes the lock for stuck and restarts.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// A listener that passes connections on until the test process ends.
pub struct Gate {
    pub port: u16,
    bar: Arc<Bar>,
}

#[derive(Default)]
struct Bar {
    held: Mutex<Held>,
    lifted: Condvar,
    /// Where the commit begins whose transaction is held midway; zero if none is.
    midway: AtomicU64,
    /// Keepalives that have overtaken it.
    overtaken: AtomicUsize,
    /// Streams that have begun.
    streams: AtomicUsize,
    /// The first so many of them are lost: neither end hears of the other again, nor of its end.
    lost: AtomicUsize,
}

/// What does not pass.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Held {
    #[default]
    Nothing,
    /// Whatever follows the end of a transaction.
    Between,
    /// Whatever follows the first row of a transaction, but for keepalives.
    Midway,
}

/// The gate is held until this is dropped: what is streamed meanwhile arrives later.
pub struct HeldStream(Arc<Bar>);

impl Gate {
    /// A gate before the Postgres that listens on a port of this machine.
    pub fn before(postgres: u16) -> Gate {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port for the gate");
        let port = listener.local_addr().expect("the gate's port").port();
        let bar = Arc::new(Bar::default());
        let shared = bar.clone();
        thread::spawn(move || {
            for server in listener.incoming().map_while(Result::ok) {
                if let Ok(postgres) = TcpStream::connect((Ipv4Addr::LOCALHOST, postgres)) {
                    let _ = pass(server, postgres, shared.clone());
                }
            }
        });
        Gate { port, bar }
    }

    /// Holds the stream up from now on.
    pub fn hold(&self) -> HeldStream {
        self.held(Held::Between)
    }

    /// Holds the next transaction up after its first row.
    pub fn hold_midway(&self) -> HeldStream {
        self.bar.midway.store(0, Ordering::SeqCst);
        self.bar.overtaken.store(0, Ordering::SeqCst);
        self.held(Held::Midway)
    }

    /// Loses the streams that there are, without a word to either end.
    pub fn lose_streams(&self) {
        self.bar.lost.store(self.bar.streams.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    fn held(&self, held: Held) -> HeldStream {
        *self.bar.held.lock().expect("the bar") = held;
        HeldStream(self.bar.clone())
    }
}

impl HeldStream {
    /// Where the commit begins that a transaction held midway ends with, and how many keepalives have overtaken it.
    pub fn midway(&self) -> Option<(u64, usize)> {
        let commit = self.0.midway.load(Ordering::SeqCst);
        (commit != 0).then(|| (commit, self.0.overtaken.load(Ordering::SeqCst)))
    }
}

impl Drop for HeldStream {
    fn drop(&mut self) {
        *self.0.held.lock().expect("the bar") = Held::Nothing;
        self.0.lifted.notify_all();
    }
}

impl Bar {
    /// Waits between two transactions.
    fn wait(&self) {
        let held = self.held.lock().expect("the bar");
        drop(self.lifted.wait_while(held, |held| *held == Held::Between).expect("the bar"));
    }

    fn is_midway(&self) -> bool {
        *self.held.lock().expect("the bar") == Held::Midway
    }
}

/// Two threads for a connection; either end's closing closes the other's.
fn pass(server: TcpStream, postgres: TcpStream, bar: Arc<Bar>) -> io::Result<()> {
    server.set_nodelay(true)?;
    postgres.set_nodelay(true)?;
    // Which of the streams this one is, from one on.
    let stream = Arc::new(AtomicUsize::new(0));
    let (from_server, to_postgres) = (server.try_clone()?, postgres.try_clone()?);
    let (asked, shared) = (stream.clone(), bar.clone());
    let is_lost =
        move || (1..=shared.lost.load(Ordering::SeqCst)).contains(&asked.load(Ordering::SeqCst));
    let lost = is_lost.clone();
    let (asked, shared) = (stream.clone(), bar.clone());
    thread::spawn(move || {
        // Only a replication connection names this parameter when it starts.
        let look = |bytes: &[u8]| {
            if bytes.windows(12).any(|window| window == b"replication\0") {
                asked.store(1 + shared.streams.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
            }
        };
        let through = |bytes: &mut Vec<u8>, to: &mut TcpStream| {
            look(bytes);
            let passed = to.write_all(bytes);
            bytes.clear();
            passed
        };
        pump(from_server, to_postgres, lost, through);
    });
    let mut passage = Passage::default();
    let message = move |message: &[u8], to: &mut TcpStream| {
        if stream.load(Ordering::SeqCst) > 0 {
            passage.message(message, to, &bar)
        } else {
            to.write_all(message)
        }
    };
    thread::spawn(move || pump(postgres, server, is_lost, messages(message)));
    Ok(())
}

/// What has passed of a stream, and what waits.
#[derive(Default)]
struct Passage {
    /// Where the commit of the open transaction begins.
    open: Option<u64>,
    /// Whether a row of it has passed.
    begun: bool,
    /// What is held midway.
    waiting: Vec<Vec<u8>>,
}

impl Passage {
    fn message(&mut self, message: &[u8], to: &mut TcpStream, bar: &Bar) -> io::Result<()> {
        if self.open.is_none() {
            bar.wait();
        }
        if let Some(commit) = self.open.filter(|_| self.begun && bar.is_midway()) {
            bar.midway.store(commit, Ordering::SeqCst);
            if wal(message).is_some() {
                self.waiting.push(message.to_vec());
                return Ok(());
            }
            bar.overtaken.fetch_add(1, Ordering::SeqCst);
            return to.write_all(message);
        }
        for waited in std::mem::take(&mut self.waiting) {
            self.pass(&waited, to)?;
        }
        self.pass(message, to)
    }

    fn pass(&mut self, message: &[u8], to: &mut TcpStream) -> io::Result<()> {
        match wal(message) {
            Some((b'B', [commit @ .., _, _, _, _, _, _, _, _, _, _, _, _])) => {
                self.open = commit.try_into().ok().map(u64::from_be_bytes);
                self.begun = false;
            }
            Some((b'C', _)) => self.open = None,
            Some((b'I' | b'U' | b'D', _)) => self.begun = true,
            _ => {}
        }
        to.write_all(message)
    }
}

/// What a message has of the WAL: its kind, 24 bytes into CopyData, and the rest.
fn wal(message: &[u8]) -> Option<(u8, &[u8])> {
    let [b'd', _, _, _, _, b'w', rest @ ..] = message else { return None };
    rest.get(24..)?.split_first().map(|(kind, rest)| (*kind, rest))
}

/// Passes on whole messages of Postgres, each its kind and its length first.
fn messages(
    mut message: impl FnMut(&[u8], &mut TcpStream) -> io::Result<()>,
) -> impl FnMut(&mut Vec<u8>, &mut TcpStream) -> io::Result<()> {
    let mut first = true;
    move |bytes, to| {
        // The answer to whether it speaks TLS.
        if std::mem::take(&mut first) && bytes == b"N" {
            first = true;
            to.write_all(bytes)?;
            bytes.clear();
        }
        while let Some(length) = bytes.get(1..5) {
            let length = 1 + u32::from_be_bytes(length.try_into().expect("four")) as usize;
            if bytes.len() < length {
                break;
            }
            message(&bytes[..length], to)?;
            bytes.drain(..length);
        }
        Ok(())
    }
}

/// Passes on what is read, unless that is lost; what is not used yet is there again with the next bytes.
fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    is_lost: impl Fn() -> bool,
    mut pass: impl FnMut(&mut Vec<u8>, &mut TcpStream) -> io::Result<()>,
) {
    let (mut buffer, mut bytes) = (vec![0; 64 << 10], Vec::new());
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if is_lost() {
            continue;
        }
        bytes.extend_from_slice(&buffer[..length]);
        if pass(&mut bytes, &mut to).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    if is_lost() {
        // Open as long as this process is: whoever waits on it hears nothing.
        std::mem::forget(to);
    } else {
        let _ = to.shutdown(Shutdown::Both);
    }
}

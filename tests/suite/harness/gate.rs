//! A gate between a server and its Postgres that holds up the replication stream and nothing else.
//!
//! Enters: Postgres' port. Leaves: a port of its own that passes every connection on. Invariant: while the gate is
//! held nothing of the stream reaches the server but the rest of a transaction that had begun to (in the middle of one
//! no shape can be made), and all of it does afterwards, in order. The walsender itself must
//! never be stopped: now and then it holds a lock, and the commits of the whole cluster then wait until Postgres
//! takes the lock for stuck and restarts.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// A listener that passes connections on until the test process ends.
pub struct Gate {
    pub port: u16,
    bar: Arc<Bar>,
}

#[derive(Default)]
struct Bar {
    held: Mutex<bool>,
    lifted: Condvar,
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
        *self.bar.held.lock().expect("the bar") = true;
        HeldStream(self.bar.clone())
    }
}

impl Drop for HeldStream {
    fn drop(&mut self) {
        *self.0.held.lock().expect("the bar") = false;
        self.0.lifted.notify_all();
    }
}

impl Bar {
    fn wait(&self) {
        let held = self.held.lock().expect("the bar");
        drop(self.lifted.wait_while(held, |held| *held).expect("the bar"));
    }
}

/// Two threads for a connection; either end's closing closes the other's.
fn pass(server: TcpStream, postgres: TcpStream, bar: Arc<Bar>) -> io::Result<()> {
    server.set_nodelay(true)?;
    postgres.set_nodelay(true)?;
    let streams = Arc::new(AtomicBool::new(false));
    let (from_server, to_postgres) = (server.try_clone()?, postgres.try_clone()?);
    let asked = streams.clone();
    thread::spawn(move || {
        // Only a replication connection names this parameter when it starts.
        let look = |bytes: &[u8]| {
            if bytes.windows(12).any(|window| window == b"replication\0") {
                asked.store(true, Ordering::SeqCst);
            }
        };
        pump(from_server, to_postgres, |bytes, to| {
            look(bytes);
            let passed = to.write_all(bytes);
            bytes.clear();
            passed
        });
    });
    let mut open = false;
    let message = move |message: &[u8], to: &mut TcpStream| {
        if streams.load(Ordering::SeqCst) && !open {
            bar.wait();
        }
        // Begin and Commit, 24 bytes into what CopyData has of the WAL.
        match message {
            [b'd', _, _, _, _, b'w', rest @ ..] if rest.len() > 24 => match rest[24] {
                b'B' => open = true,
                b'C' => open = false,
                _ => {}
            },
            _ => {}
        }
        to.write_all(message)
    };
    thread::spawn(move || pump(postgres, server, messages(message)));
    Ok(())
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

/// Passes on what is read; what is not used yet is there again with the next bytes.
fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    mut pass: impl FnMut(&mut Vec<u8>, &mut TcpStream) -> io::Result<()>,
) {
    let (mut buffer, mut bytes) = (vec![0; 64 << 10], Vec::new());
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..length]);
        if pass(&mut bytes, &mut to).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

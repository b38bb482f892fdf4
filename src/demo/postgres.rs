//! The demo's Postgres server: made, started, waited for, stopped.
//!
//! In: programs and a workspace. Out: a server on a free loopback port, for whoever has its password: every account
//! of the machine reaches the port, and a superuser of Postgres runs programs. Invariant: the process
//! ends no later than the [`Postgres`] value: [`Postgres::stop`] lets it end in order, a drop ends
//! it at once.

use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};
use tracing::{debug, warn};

use super::DemoError;
use super::binaries::Binaries;
use super::workspace::Workspace;

const USER: &str = "postgres";
const PATIENCE: Duration = Duration::from_secs(60);
/// Another program may take the free port before Postgres does.
const PORT_TRIES: u32 = 5;

/// A running server.
#[derive(Debug)]
pub(super) struct Postgres {
    child: Child,
    port: u16,
    password: String,
    /// `pg_ctl` for each way to stop: in order, then, where that does not help, at once.
    fast: Command,
    immediate: Command,
}

impl Postgres {
    /// Makes a cluster in the workspace, starts it, and waits until it answers.
    pub(super) async fn start(binaries: &Binaries, space: &Workspace) -> Result<Self, DemoError> {
        let password = fresh_password().map_err(DemoError::io("make a password"))?;
        init(binaries, space, &password).await?;
        let log = space.base().join("postgres.log");
        let mut tries = 1;
        loop {
            let mut server = Self::spawn(binaries, space, &log, &password)?;
            match server.ready().await {
                Ok(()) => return Ok(server),
                Err(reason) => {
                    let log = tail(&fs::read_to_string(&log).unwrap_or_default());
                    if tries == PORT_TRIES || !log.contains("Address already in use") {
                        return Err(DemoError::NotReady { reason, log });
                    }
                    debug!(port = server.port, "another program took the port");
                    tries += 1;
                }
            }
        }
    }

    fn spawn(
        binaries: &Binaries,
        space: &Workspace,
        log: &Path,
        password: &str,
    ) -> Result<Self, DemoError> {
        let port = free_port().map_err(DemoError::io("find a free port"))?;
        let log = File::create(log).map_err(DemoError::io("make Postgres's log"))?;
        let errors = log.try_clone().map_err(DemoError::io("make Postgres's log"))?;
        let data = space.data();
        // Without waiting (-W): as this process's child the server is waited for here.
        let stop = |mode| {
            let mut pg_ctl = space.command(&binaries.program("pg_ctl"));
            pg_ctl.args(["stop", "-W", "-m", mode, "-D"]).arg(&data);
            pg_ctl.stdout(Stdio::null()).stderr(Stdio::null());
            pg_ctl
        };
        let mut command = space.command(&binaries.program("postgres"));
        command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            // Nobody needs the socket, and its path would be too long below some temporary folders.
            "unix_socket_directories=",
            "wal_level=logical",
            // The data goes when the demo does, so none of it need survive a crash.
            "fsync=off",
            "full_page_writes=off",
        ] {
            command.args(["-c", setting]);
        }
        let child =
            command.stdout(log).stderr(errors).spawn().map_err(DemoError::io("start Postgres"))?;
        let (password, fast, immediate) = (password.to_owned(), stop("fast"), stop("immediate"));
        let server = Self { child, port, password, fast, immediate };
        space.record_postgres(server.child.id())?;
        Ok(server)
    }

    /// Waits until a connection is accepted; the error is what happened instead.
    async fn ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(10);
        loop {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return Err(format!("it ended: {status}"));
            }
            match self.connect("postgres").await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error.to_string()),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    /// The URL of one database.
    pub(super) fn url(&self, database: &str) -> String {
        let (host, port) = (Ipv4Addr::LOCALHOST, self.port);
        format!("postgres://{USER}:{}@{host}:{port}/{database}", self.password)
    }

    /// A connection to one database, which ends when the client is dropped.
    pub(super) async fn connect(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        connect(&self.url(database)).await
    }

    /// Ends the server in order, or at once if it does not within a few seconds. Blocks.
    pub(super) fn stop(mut self) {
        if !ended(&mut self.child, &mut self.fast) {
            warn!("Postgres still waits for a client: ending it at once");
        }
        // The drop does that.
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if !ended(&mut self.child, &mut self.immediate) {
            warn!("Postgres does not stop when asked: ending its process");
            if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
                warn!(%error, "could not end Postgres");
            }
        }
    }
}

/// Asks `child` to end by running `pg_ctl`, and tells whether it does so within a few seconds.
fn ended(child: &mut Child, pg_ctl: &mut Command) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut pause = Duration::from_millis(5);
    let mut asked = false;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            return false;
        }
        // A server that has only just been started cannot be asked yet.
        asked = asked || pg_ctl.status().is_ok_and(|status| status.success());
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    true
}

/// Connects, and drives the connection until the client is dropped.
pub(super) async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!(%error, "a connection of the demo's ended");
        }
    });
    Ok(client)
}

/// 32 hexadecimal digits nobody can guess.
fn fresh_password() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Makes a cluster, with the locale that sorts by code point if this system has it as UTF-8.
async fn init(binaries: &Binaries, space: &Workspace, password: &str) -> Result<(), DemoError> {
    // By a file: arguments are shown to everybody. What ends this early removes the whole folder.
    let secret = space.secret("password", password)?;
    let done = run_initdb(binaries, space, &secret).await;
    fs::remove_file(&secret).map_err(DemoError::io("remove the password's file"))?;
    done
}

async fn run_initdb(
    binaries: &Binaries,
    space: &Workspace,
    password: &Path,
) -> Result<(), DemoError> {
    let mut last = None;
    for locale in ["C.UTF-8", "C"] {
        let mut command = space.command(&binaries.program("initdb"));
        command
            .arg("-D")
            .arg(space.data())
            .args(["-U", USER, "-E", "UTF8", "--auth=scram-sha-256", "--no-sync", "--pwfile"])
            .arg(password)
            .arg(format!("--locale={locale}"));
        let done = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(DemoError::io("start initdb"))?;
        if done.status.success() {
            return Ok(());
        }
        // A failed initdb leaves the folder empty, ready for the next try.
        let output = tail(&String::from_utf8_lossy(&[done.stdout, done.stderr].concat()));
        last = Some((done.status, output));
    }
    let (status, output) = last.unwrap_or_default();
    Err(DemoError::Program { program: "initdb", status: status.to_string(), output })
}

/// A port nobody listens on now.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The last lines of a text, for an error message.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

//! The `brooklet` process under test.
//!
//! Enters: options as a user would give them. Leaves: an address, once the server says that it listens and its
//! health says that it is ready. The process is killed with its owner; what it logged is printed when a test fails.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::database::Database;
use super::http::Request;
use super::{postgres, run_dir};

const START_PATIENCE: Duration = Duration::from_secs(30);
const LISTENING: &str = "brooklet is listening on http://";

/// What a server is started with.
#[derive(Clone)]
pub struct Options {
    pub database_url: String,
    pub stream: String,
    pub storage: PathBuf,
    pub port: u16,
    pub secret: Option<String>,
    pub insecure: bool,
    pub long_poll: Duration,
    pub chunk_bytes: Option<u64>,
    pub may_delete: bool,
    /// More arguments.
    pub arguments: Vec<String>,
    /// More of the environment.
    pub environment: Vec<(String, String)>,
    /// The limits of open files that it is started with, soft and hard.
    pub open_files: Option<(usize, usize)>,
}

impl Options {
    /// The usual options for a database: no secret, a port and a directory of its own, short long polls.
    pub fn of(database: &Database) -> Options {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Options {
            database_url: database.url(),
            stream: database.stream.clone(),
            storage: run_dir::path().join(format!("storage-{number}")),
            port: postgres::free_port(),
            secret: None,
            insecure: true,
            long_poll: Duration::from_secs(4),
            chunk_bytes: None,
            may_delete: false,
            arguments: Vec::new(),
            environment: Vec::new(),
            open_files: None,
        }
    }

    /// The command line, with nothing of our own environment that could change it.
    pub fn command(&self) -> Command {
        let mut command = brooklet();
        command.arg("serve").args([
            "--database-url",
            &self.database_url,
            "--stream-id",
            &self.stream,
        ]);
        command.arg("--storage-dir").arg(&self.storage).args(["--port", &self.port.to_string()]);
        command.args(["--long-poll-timeout", &format!("{}ms", self.long_poll.as_millis())]);
        if let Some(secret) = &self.secret {
            command.args(["--secret", secret]);
        }
        if self.insecure {
            command.arg("--insecure");
        }
        if let Some(bytes) = self.chunk_bytes {
            command.args(["--shape-chunk-bytes-threshold", &bytes.to_string()]);
        }
        if self.may_delete {
            command.arg("--enable-integration-testing");
        }
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        match self.open_files {
            Some(limits) => with_open_files(&command, limits),
            None => command,
        }
    }
}

/// The program under test in a clean environment.
pub fn brooklet() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brooklet"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("BROOKLET_") || name.starts_with("ELECTRIC_") || name == "DATABASE_URL"
        {
            command.env_remove(name.as_ref());
        }
    }
    command.current_dir(run_dir::path()).stdin(Stdio::null());
    command
}

/// The same command with other limits of open files.
fn with_open_files(command: &Command, (soft, hard): (usize, usize)) -> Command {
    let mut limited = Command::new("sh");
    let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$@\"");
    limited.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.current_dir(run_dir::path()).stdin(Stdio::null());
    limited
}

/// A process whose output is kept.
pub struct Process {
    child: Child,
    output: Arc<Mutex<String>>,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Process {
    /// Starts a command under the watchdog.
    pub fn spawn(command: &mut Command) -> Process {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start brooklet");
        run_dir::register(child.id());
        let output = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = mpsc::unbounded_channel();
        keep(child.stdout.take().expect("stdout"), output.clone(), sender.clone());
        keep(child.stderr.take().expect("stderr"), output.clone(), sender);
        Process { child, output, lines }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it printed so far.
    pub fn output(&self) -> String {
        self.output.lock().expect("output").clone()
    }

    /// Waits for its end and for the last of its output.
    pub async fn exit(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("look at brooklet") {
                run_dir::forget(self.child.id());
                while self.lines.recv().await.is_some() {}
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("brooklet did not end within {within:?}:\n{}", self.output());
    }

    /// The rest of the first line that starts with a prefix; panics when the process ends or time runs out first.
    pub async fn line(&mut self, prefix: &str, within: Duration) -> String {
        let wait = async {
            while let Some(line) = self.lines.recv().await {
                if let Some(rest) = line.strip_prefix(prefix) {
                    return rest.to_owned();
                }
            }
            panic!(
                "brooklet ended before it said '{prefix}':\n{}",
                self.output.lock().expect("output")
            );
        };
        let found = tokio::time::timeout(within, wait).await;
        found.unwrap_or_else(|_| {
            panic!("brooklet did not say '{prefix}' within {within:?}:\n{}", self.output())
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        run_dir::forget(self.child.id());
    }
}

fn keep(
    pipe: impl Read + Send + 'static,
    output: Arc<Mutex<String>>,
    lines: mpsc::UnboundedSender<String>,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut output = output.lock().expect("output");
            output.push_str(&line);
            output.push('\n');
            drop(output);
            let _ = lines.send(line);
        }
    });
}

/// A running server.
pub struct Server {
    pub options: Options,
    pub address: SocketAddr,
    process: Process,
    /// What earlier processes of this server printed.
    earlier: String,
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub async fn start(options: Options) -> Server {
        let (process, address) = launch(&options).await;
        let server = Server { options, address, process, earlier: String::new() };
        server.ready().await;
        server
    }

    /// Starts the same server again: same port, same storage.
    pub async fn restart(&mut self) {
        self.earlier = self.logs();
        let (process, address) = launch(&self.options).await;
        self.process = process;
        assert_eq!(self.address, address, "the server listens on another port after a restart");
        self.ready().await;
    }

    /// The hardest stop: `kill -9`.
    pub async fn kill(&mut self) {
        run_dir::signal(self.process.id(), "KILL");
        self.process.exit(Duration::from_secs(10)).await;
    }

    /// The soft stop of a deployment; must end by itself with success.
    pub async fn stop(&mut self) {
        run_dir::signal(self.process.id(), "TERM");
        let status = self.process.exit(Duration::from_secs(20)).await;
        assert!(status.success(), "a graceful stop ended with {status}:\n{}", self.logs());
    }

    /// Kills and starts again.
    pub async fn crash(&mut self) {
        self.kill().await;
        self.restart().await;
    }

    /// Everything that it printed, its earlier processes included.
    pub fn logs(&self) -> String {
        format!("{}{}", self.earlier, self.process.output())
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Bytes of memory that it has.
    pub fn resident(&self) -> usize {
        self.status("VmRSS:")
    }

    /// The most that it had at any time since the last [`Server::forget_most_resident`].
    pub fn most_resident(&self) -> usize {
        self.status("VmHWM:")
    }

    /// What it has now is the most.
    pub fn forget_most_resident(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.id()), "5").expect("forget the most");
    }

    fn status(&self, field: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("the server's status");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
        kib.expect("a number of KiB") << 10
    }

    /// How many files and sockets it has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("its open files").count()
    }

    /// Its directory.
    pub fn storage(&self) -> &Path {
        &self.options.storage
    }

    /// Waits for health to say `active`.
    pub async fn ready(&self) {
        super::eventually("the server's health is active", async || {
            let health = Request::get("/v1/health").send(self.address).await.ok()?;
            (health.status == 200).then_some(())
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.logs();
            let skipped = logs.lines().count().saturating_sub(200);
            // What was usual may have been told a thousand times since what matters.
            let unusual = |(at, line): &(usize, &str)| *at >= skipped || !line.contains(" INFO ");
            let shown = logs.lines().enumerate().filter(unusual).map(|(_, line)| line);
            let shown: Vec<&str> = shown.collect();
            println!("--- the server's log ---\n{}\n---", shown.join("\n"));
        }
    }
}

async fn launch(options: &Options) -> (Process, SocketAddr) {
    let mut process = Process::spawn(&mut options.command());
    let address = process.line(LISTENING, START_PATIENCE).await;
    let address = address.trim().trim_end_matches('/').parse();
    (process, address.expect("the listening line ends in an address"))
}

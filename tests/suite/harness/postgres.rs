//! Throw-away Postgres clusters.
//!
//! Enters: a locale and settings. Leaves: a running server on a free port that trusts everybody on loopback.
//! One cluster per locale is shared by all tests of a run (each has a database of its own); a test that changes
//! settings, stops the server or lets it hang takes a cluster of its own, copied from an initialised template.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::run_dir;

const HOW: &str = "run ./tests/run, which installs what the tests need";

/// The locales that matter: bytes, and a C library's own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locale {
    /// Text is ordered by its bytes.
    CUtf8,
    /// Text is ordered by the C library, which nobody else can reproduce.
    EnUs,
}

impl Locale {
    fn name(self) -> &'static str {
        match self {
            Locale::CUtf8 => "C.UTF-8",
            Locale::EnUs => "en_US.UTF-8",
        }
    }
}

/// A running cluster; dropping it stops the server and removes its files.
pub struct Cluster {
    pub port: u16,
    dir: PathBuf,
    settings: Vec<String>,
    postmaster: Mutex<Option<Child>>,
}

impl Cluster {
    /// The run's shared cluster of a locale.
    pub fn shared(locale: Locale) -> Arc<Cluster> {
        static C_UTF8: OnceLock<Arc<Cluster>> = OnceLock::new();
        static EN_US: OnceLock<Arc<Cluster>> = OnceLock::new();
        let cell = match locale {
            Locale::CUtf8 => &C_UTF8,
            Locale::EnUs => &EN_US,
        };
        cell.get_or_init(|| Arc::new(Cluster::own(locale, &[]))).clone()
    }

    /// A cluster for one test alone, with settings such as `wal_level=replica` on top of the usual ones.
    pub fn own(locale: Locale, settings: &[&str]) -> Cluster {
        Cluster::prepared(locale, settings, |_| {})
    }

    /// A cluster of long service: its positions are above 2^53 and its transaction ids about to pass 2^32.
    pub fn worn() -> Cluster {
        Cluster::prepared(Locale::CUtf8, &["autovacuum=off"], |dir| {
            let freeze = "for db in postgres template1; do echo 'VACUUM FREEZE' | \"$0\" --single -D \"$1\" $db; done";
            run(as_postgres("sh").args(["-c", freeze]).arg(program("postgres")).arg(dir));
            let reset = ["-x", "4294966900", "-u", "4200000000", "-l", "000000010020000000000001"];
            run(as_postgres(program("pg_resetwal")).arg("-D").arg(dir).args(reset));
            let states = dir.join("pg_xact/0FFF");
            run(as_postgres("dd")
                .args(["if=/dev/zero", "bs=262144", "count=1"])
                .arg(format!("of={}", states.display())));
        })
    }

    fn prepared(locale: Locale, settings: &[&str], prepare: impl FnOnce(&Path)) -> Cluster {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = run_dir::path().join(format!("cluster-{number}"));
        run(as_postgres("cp").arg("-a").arg(template(locale)).arg(&dir));
        prepare(&dir);
        let cluster = Cluster {
            port: free_port(),
            dir,
            settings: settings.iter().map(|setting| setting.to_string()).collect(),
            postmaster: Mutex::new(None),
        };
        cluster.start();
        cluster
    }

    /// The address of one of its databases for a role.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgresql://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// Starts the server and waits until it takes connections.
    pub fn start(&self) {
        self.start_in(&[]);
    }

    /// Stops the server and starts it with these in its environment.
    pub fn restart_in(&self, environment: &[(&str, &str)]) {
        self.stop("INT");
        self.start_in(environment);
    }

    fn start_in(&self, environment: &[(&str, &str)]) {
        let log = File::create(self.log_path()).expect("create the cluster's log");
        let mut command = as_postgres(program("postgres"));
        command.envs(environment.iter().copied());
        command.arg("-D").arg(&self.dir).arg("-p").arg(self.port.to_string());
        for setting in
            USUAL_SETTINGS.iter().copied().chain(self.settings.iter().map(String::as_str))
        {
            command.arg("-c").arg(setting);
        }
        let errors = log.try_clone().expect("share the log");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("start postgres");
        run_dir::register(child.id());
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.is_ready() {
            let exited = child.try_wait().expect("look at postgres").is_some();
            assert!(
                !exited && Instant::now() < deadline,
                "postgres did not start:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        *self.postmaster.lock().expect("postmaster") = Some(child);
    }

    /// Stops the server: `INT` disconnects clients, `QUIT` does not even say goodbye.
    pub fn stop(&self, how: &str) {
        let Some(mut child) = self.postmaster.lock().expect("postmaster").take() else { return };
        run_dir::signal(child.id(), how);
        child.wait().expect("wait for postgres");
        run_dir::forget(child.id());
    }

    /// Stops the server and lets it go on in another timeline, as after a fail-over. Needs `restore_command=false`.
    pub fn new_timeline(&self) {
        self.stop("INT");
        let signal = self.dir.join("recovery.signal");
        File::create(&signal).expect("write recovery.signal");
        if let Some((user, group)) = postgres_ids() {
            std::os::unix::fs::chown(&signal, Some(user), Some(group)).expect("give it away");
        }
        self.start();
    }

    /// Keeps a copy of the data directory, of a server that was stopped.
    pub fn keep_copy(&self) {
        run(as_postgres("cp").arg("-a").arg(&self.dir).arg(self.copy()));
    }

    /// Puts the copy in the place of the data directory, of a server that was stopped.
    pub fn restore_copy(&self) {
        fs::remove_dir_all(&self.dir).expect("remove the data directory");
        fs::rename(self.copy(), &self.dir).expect("put the copy in its place");
    }

    fn copy(&self) -> PathBuf {
        self.dir.with_extension("copy")
    }

    /// What the server has logged since its last start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    fn is_ready(&self) -> bool {
        let pid_file = fs::read_to_string(self.dir.join("postmaster.pid")).unwrap_or_default();
        pid_file.lines().nth(7).is_some_and(|status| status.trim() == "ready")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop("QUIT");
        let _ = fs::remove_dir_all(&self.dir);
    }
}

const USUAL_SETTINGS: &[&str] = &[
    "wal_level=logical",
    "max_replication_slots=100",
    "max_wal_senders=100",
    "max_connections=300",
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=64MB",
    "max_wal_size=4GB",
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "timezone=America/New_York",
    "datestyle=German,DMY",
    "log_min_messages=warning",
];

/// What the clusters of this run say of backends that crashed, for the message of a test whose connection was lost:
/// Postgres then ends every connection of the cluster, and the log is gone with the run.
pub fn crashes() -> String {
    const SIGNS: [&str; 4] =
        ["was terminated by", "PANIC", "Failed process was running", "No space left"];
    let entries = fs::read_dir(run_dir::path()).into_iter().flatten().flatten();
    let logs = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "log"));
    let mut found = String::new();
    for log in logs.filter_map(|entry| fs::read(entry.path()).ok()) {
        let text = String::from_utf8_lossy(&log).into_owned();
        let lines = text.lines().filter(|line| SIGNS.iter().any(|sign| line.contains(sign)));
        lines.for_each(|line| {
            found.push('\n');
            found.extend(line.chars().take(1_000));
        });
    }
    found
}

/// An initialised data directory to copy from, one per locale and run.
fn template(locale: Locale) -> &'static Path {
    static C_UTF8: OnceLock<PathBuf> = OnceLock::new();
    static EN_US: OnceLock<PathBuf> = OnceLock::new();
    let cell = match locale {
        Locale::CUtf8 => &C_UTF8,
        Locale::EnUs => &EN_US,
    };
    cell.get_or_init(|| {
        let dir = run_dir::path().join(format!("template-{}", locale.name()));
        fs::create_dir(&dir).expect("create the template's directory");
        if let Some((user, group)) = postgres_ids() {
            std::os::unix::fs::chown(&dir, Some(user), Some(group))
                .expect("give the template away");
            std::os::unix::fs::chown(run_dir::path(), Some(user), Some(group))
                .expect("give the run away");
        }
        let mut initdb = as_postgres(program("initdb"));
        initdb.arg("-D").arg(&dir).args([
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--auth=trust",
            "--no-sync",
        ]);
        run(initdb.arg(format!("--locale={}", locale.name())));
        dir
    })
}

/// Runs a command to its end; its output is the message when it fails.
fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("start a command");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed ({HOW}):\n{text}");
}

/// A program of the newest Postgres here, or of the PATH.
pub fn program(name: &str) -> PathBuf {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort_by_key(|bin| {
        let version = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        version.and_then(|version| version.parse::<u32>().ok()).unwrap_or(0)
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join(name));
    let candidates = versions.iter().rev().map(|bin| bin.join(name)).chain(on_path);
    let found = candidates.into_iter().find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("Postgres' `{name}` was not found: {HOW}"))
}

/// A command run as a user that Postgres accepts: it refuses to run as root.
fn as_postgres(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = postgres_ids() {
        command.uid(user).gid(group);
    }
    command.current_dir("/").env_remove("LC_ALL").env_remove("LANG");
    command
}

/// The unprivileged user to become, `None` when we are no root ourselves.
fn postgres_ids() -> Option<(u32, u32)> {
    static IDS: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *IDS.get_or_init(|| {
        if id(&["-u"])? != 0 {
            return None;
        }
        let of = |user: &str| Some((id(&["-u", user])?, id(&["-g", user])?));
        of("postgres").or_else(|| of("nobody"))
    })
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// A port nobody listens on, below the range that outgoing connections take theirs from: a restarted server must
/// find its port free again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 90) as u16 * 100;
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

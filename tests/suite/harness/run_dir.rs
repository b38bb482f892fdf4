//! The one directory that everything of this run lives in, and the watchdog that removes it.
//!
//! Enters: nothing. Leaves: a directory for clusters and storage, and a register of the processes started.
//! Invariant: when the test process has ended, however it ended, its processes and files are gone soon after;
//! what an interrupted machine left behind is removed by the next run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

const PREFIX: &str = "brooklet-suite-";

/// `cat` ends when the last writer of its pipe has gone: the test process.
const WATCHDOG: &str = r#"
cat >/dev/null
for file in "$RUN_DIR"/pids/*; do kill -QUIT "${file##*/}" 2>/dev/null; done
tries=0
while [ "$tries" -lt 50 ]; do
  alive=0
  for file in "$RUN_DIR"/pids/*; do kill -0 "${file##*/}" 2>/dev/null && alive=1; done
  [ "$alive" = 0 ] && break
  tries=$((tries + 1)); sleep 0.1
done
for file in "$RUN_DIR"/pids/*; do kill -9 "${file##*/}" 2>/dev/null; done
rm -rf "$RUN_DIR"
"#;

struct RunDir {
    path: PathBuf,
    /// Its standard input is held open until this process ends; nothing is ever written to it.
    _watchdog: Child,
}

static RUN_DIR: OnceLock<RunDir> = OnceLock::new();

/// The run's directory, created with its watchdog at the first call.
pub fn path() -> &'static Path {
    &RUN_DIR.get_or_init(create).path
}

fn create() -> RunDir {
    remove_leftovers();
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock before 1970").as_nanos();
    let path = std::env::temp_dir().join(format!("{PREFIX}{}-{nanos}", std::process::id()));
    fs::create_dir_all(path.join("pids")).expect("create the run's directory");
    let watchdog = start_watchdog(&path);
    RunDir { path, _watchdog: watchdog }
}

fn start_watchdog(path: &Path) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", WATCHDOG]).env("RUN_DIR", path).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("start the watchdog")
}

/// Ends and removes what runs without a watchdog left: their process is gone, their directory is not.
fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let Some((owner, _)) = rest.split_once('-') else { continue };
        if owner.parse::<u32>().is_ok_and(|owner| !alive(owner)) {
            drop(start_watchdog(&entry.path()));
        }
    }
}

fn alive(process: u32) -> bool {
    Command::new("kill")
        .args(["-0", &process.to_string()])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Puts a process under the watchdog.
pub fn register(process: u32) {
    let _ = fs::write(path().join("pids").join(process.to_string()), "");
}

/// Takes a process that has been waited for off the watchdog's list.
pub fn forget(process: u32) {
    let _ = fs::remove_file(path().join("pids").join(process.to_string()));
}

/// Sends a signal by name, as in `signal(pid, "TERM")`; whether it could be sent.
pub fn signal(process: u32, name: &str) -> bool {
    let mut command = Command::new("kill");
    command.args([&format!("-{name}"), &process.to_string()]).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

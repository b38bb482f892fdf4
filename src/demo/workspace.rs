//! The one folder that holds all that the demo makes, and what removes it.
//!
//! In: the system's folder for temporary files. Out: a [`Workspace`] with `data/` (owned by the
//! account Postgres runs under), `storage/` and the logs. Invariant: the folder is removed by the
//! first of these that gets to: this value's drop; the janitor, a shell that waits for the demo to
//! be gone, however it ended; or the next demo, which sweeps up folders whose lock nobody holds.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown,
};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::{debug, warn};

use super::DemoError;
use super::account::{self, Account};

const PREFIX: &str = "brooklet-demo-";
const LOCK: &str = "lock";
const PID: &str = "postgres.pid";

/// Waits until standard input ends, which the system sees to when the demo is gone. Then stops
/// Postgres, if the process by that number is still the one that uses this folder, and removes the
/// folder until it stays gone for `$2` seconds: an npm that was cut loose makes it again.
const JANITOR: &str = r#"
read -r _
pid=$(cat "$1/postgres.pid" 2>/dev/null)
ours() {
    [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 1
    args=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null || ps -p "$pid" -o args= 2>/dev/null)
    case "$args" in *"$1"*) return 0 ;; *) return 1 ;; esac
}
if ours "$1"; then
    kill -QUIT "$pid"
    tries=0
    while ours "$1" && [ "$tries" -lt 100 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
fi
gone=0
tries=0
while
    rm -rf -- "$1"
    [ "$gone" -lt "$2" ] && [ "$tries" -lt 60 ]
do
    sleep 1
    tries=$((tries + 1))
    if [ -e "$1" ]; then gone=0; else gone=$((gone + 1)); fi
done
"#;

/// A demo's folder; see the module's documentation.
#[derive(Debug)]
pub(super) struct Workspace {
    base: PathBuf,
    account: Option<Account>,
    janitor: Child,
    /// Held while the demo lives; the system lets go of it however the demo ends.
    _lock: File,
}

impl Workspace {
    /// Makes a folder below `temp` (or /tmp if Postgres's account could not enter `temp`), after
    /// sweeping up those that dead demos left.
    pub(super) fn create(temp: &Path) -> Result<Self, DemoError> {
        let (parent, base) = make_base(temp)?;
        let (lock, uid) = lock_base(&base)?;
        sweep(&parent, uid);
        let janitor = spawn_janitor(&base, Stdio::piped(), "3")
            .inspect_err(|_| remove(&base))
            .map_err(DemoError::io("start a shell"))?;
        let mut space = Self { base, account: None, janitor, _lock: lock };
        if uid == 0 {
            space.account = Some(account::unprivileged().ok_or(DemoError::NoAccount)?);
        }
        space.make_folder("data", space.account)?;
        space.make_folder("storage", None)?;
        Ok(space)
    }

    fn make_folder(&self, name: &str, owner: Option<Account>) -> Result<(), DemoError> {
        let dir = self.base.join(name);
        let made = DirBuilder::new().mode(0o700).create(&dir).and_then(|()| match owner {
            Some(owner) => chown(&dir, Some(owner.uid), Some(owner.gid)),
            None => Ok(()),
        });
        made.map_err(DemoError::io(format!("make {}", dir.display())))
    }

    /// A new file that only Postgres' account, and this one, can read.
    pub(super) fn secret(&self, name: &str, text: &str) -> Result<PathBuf, DemoError> {
        let path = self.base.join(name);
        let made = File::options().write(true).create_new(true).mode(0o600).open(&path);
        let made = made.and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            self.account.map_or(Ok(()), |owner| fchown(&file, Some(owner.uid), Some(owner.gid)))
        });
        made.map_err(DemoError::io(format!("make {}", path.display())))?;
        Ok(path)
    }

    /// The folder itself; others may pass through it but not list it.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// Postgres's data folder, made and empty.
    pub(super) fn data(&self) -> PathBuf {
        self.base.join("data")
    }

    /// The server's storage folder, made and empty.
    pub(super) fn storage(&self) -> PathBuf {
        self.base.join("storage")
    }

    /// The account for Postgres's programs; none unless run as root.
    pub(super) fn account(&self) -> Option<Account> {
        self.account
    }

    /// Tells the janitor which process to stop.
    pub(super) fn record_postgres(&self, pid: u32) -> Result<(), DemoError> {
        fs::write(self.base.join(PID), pid.to_string())
            .map_err(DemoError::io("note the number of Postgres's process"))
    }

    /// Prepares one of Postgres's programs: under the right account, in a folder it may be in, in
    /// a process group of its own (a terminal's Ctrl-C is for the demo alone, which stops its
    /// children in order), with messages in English (they are looked at).
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.base).env("LC_ALL", "C").stdin(Stdio::null()).process_group(0);
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // Its work is done here; a janitor cut short leaves nothing that this does not remove.
        if let Err(error) = self.janitor.kill().and_then(|()| self.janitor.wait()) {
            debug!(%error, "could not dismiss the janitor");
        }
        remove(&self.base);
    }
}

/// Whether any account may pass through `dir` and all folders above it.
pub(super) fn open_to_all(dir: &Path) -> bool {
    dir.canonicalize().is_ok_and(|dir| {
        dir.ancestors()
            .all(|dir| fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0))
    })
}

fn make_base(temp: &Path) -> Result<(PathBuf, PathBuf), DemoError> {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let name = format!("{PREFIX}{}-{nanos:x}", std::process::id());
    let make = |parent: &Path| {
        let base = parent.join(&name);
        DirBuilder::new()
            .mode(0o711)
            .create(&base)
            // The umask may have taken away the passage that Postgres's account needs.
            .and_then(|()| fs::set_permissions(&base, Permissions::from_mode(0o711)))
            .map_err(DemoError::io(format!("make {}", base.display())))?;
        Ok((parent.to_owned(), base))
    };
    let fallback = Path::new("/tmp");
    let parent = temp.canonicalize().unwrap_or_else(|_| temp.to_owned());
    if !open_to_all(&parent) && fallback.is_dir() { make(fallback) } else { make(&parent) }
}

/// Takes the lock that keeps other demos' sweeps away, and tells whose folder it is: this
/// process's effective user, which the standard library does not tell otherwise.
fn lock_base(base: &Path) -> Result<(File, u32), DemoError> {
    let locked = File::create_new(base.join(LOCK)).and_then(|lock| {
        lock.try_lock()?;
        let uid = lock.metadata()?.uid();
        Ok((lock, uid))
    });
    locked.inspect_err(|_| remove(base)).map_err(DemoError::io(format!("lock {}", base.display())))
}

fn spawn_janitor(base: &Path, stdin: Stdio, stays_gone: &str) -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", JANITOR, "brooklet-demo-janitor"])
        .arg(base)
        .arg(stays_gone)
        .current_dir("/")
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Removes the folders of demos that ended without removing them. Only real folders of this user
/// count: anybody may put a folder of this name into /tmp.
fn sweep(parent: &Path, uid: u32) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let base = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && fs::symlink_metadata(&base).is_ok_and(|meta| meta.is_dir() && meta.uid() == uid);
        let Some(lock) = ours.then(|| File::open(base.join(LOCK)).ok()).flatten() else { continue };
        if lock.try_lock().is_ok() {
            warn!(folder = %base.display(), "removing what an earlier demo left");
            if let Err(error) =
                spawn_janitor(&base, Stdio::null(), "0").and_then(|mut janitor| janitor.wait())
            {
                warn!(%error, "could not remove it");
            }
        }
    }
}

/// Removes a folder in which a process that was just ended may still be making files.
fn remove(base: &Path) {
    let mut pause = Duration::from_millis(5);
    loop {
        match fs::remove_dir_all(base) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !base.exists() => return,
            Err(error) if pause > Duration::from_secs(1) => {
                warn!(folder = %base.display(), %error, "could not remove the demo's folder");
                return;
            }
            Err(_) => std::thread::sleep(pause),
        }
        pause *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_workspace_is_gone_and_a_live_one_is_not_swept() {
        let temp = std::env::temp_dir();
        let first = Workspace::create(&temp).expect("first");
        let second = Workspace::create(&temp).expect("second");
        assert!(first.storage().is_dir() && first.data().is_dir(), "swept a live folder");
        let base = second.base().to_owned();
        drop(second);
        assert!(!base.exists());
        assert!(first.base().exists());
    }

    #[test]
    fn sweeps_what_a_dead_demo_left_and_nothing_else() {
        let space = Workspace::create(&std::env::temp_dir()).expect("workspace");
        let uid = fs::metadata(space.base()).expect("metadata").uid();
        let parent = space.storage();
        let dead = parent.join(format!("{PREFIX}1-1"));
        let unlocked = parent.join(format!("{PREFIX}1-2"));
        let other = parent.join("other");
        for dir in [&dead, &unlocked, &other] {
            fs::create_dir_all(dir.join("data")).expect("folder");
        }
        File::create_new(dead.join(LOCK)).expect("lock");
        File::create_new(other.join(LOCK)).expect("lock");
        // A process number that is some other program's must not be signalled: this test's own.
        fs::write(dead.join(PID), std::process::id().to_string()).expect("pid");
        sweep(&parent, uid + 1);
        assert!(dead.exists(), "swept another user's folder");
        sweep(&parent, uid);
        assert!(!dead.exists());
        assert!(unlocked.exists() && other.exists());
    }

    #[test]
    fn the_janitor_removes_the_folder_when_its_input_ends() {
        let space = Workspace::create(&std::env::temp_dir()).expect("workspace");
        let base = space.storage().join("base");
        fs::create_dir_all(base.join("data")).expect("folder");
        let mut janitor = spawn_janitor(&base, Stdio::piped(), "0").expect("janitor");
        assert!(janitor.try_wait().expect("state").is_none(), "did not wait");
        drop(janitor.stdin.take());
        assert!(janitor.wait().expect("end").success());
        assert!(!base.exists());
    }
}

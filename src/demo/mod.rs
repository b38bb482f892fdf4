//! `brooklet demo`: a Postgres of its own, filled with a small project tracker and written to
//! while it runs, so that live shapes can be seen within the first minute.
//!
//! In: [`DemoArgs`]. Out: a [`Demo`], which has a database URL and a storage folder for the server
//! to use. Invariant: everything the demo makes lies in one folder (see `workspace`) or is a child
//! process; both are gone after [`Demo::stop`], after a drop (also half-way through [`start`]),
//! and, through the workspace's janitor, after a `kill -9`.

mod account;
mod binaries;
mod dataset;
mod embedded;
mod postgres;
mod workspace;
mod writer;

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use binaries::Binaries;
use postgres::Postgres;
use tracing::info;
use workspace::Workspace;
use writer::Writer;

/// The port served when it is free and no other was asked for.
const DEFAULT_PORT: u16 = 3000;

/// What `brooklet demo` can be told.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct DemoArgs {
    /// Port to serve on, loopback only [default: 3000, or a free one if that is taken]
    #[arg(long, env = "BROOKLET_PORT")]
    pub port: Option<u16>,

    /// Folder with Postgres's programs (initdb, postgres, pg_ctl), instead of looking for them
    #[arg(long, env = "BROOKLET_POSTGRES_BIN", value_name = "DIR")]
    pub postgres_bin: Option<PathBuf>,
}

impl DemoArgs {
    /// Listens on loopback: on the port asked for, or else on 3000, or else on any free port.
    pub async fn bind(&self) -> Result<tokio::net::TcpListener, DemoError> {
        let port = self.port.unwrap_or(DEFAULT_PORT);
        match tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Err(source) if source.kind() == io::ErrorKind::AddrInUse && self.port.is_none() => {
                tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
            }
            other => other,
        }
        .map_err(|source| DemoError::Port { port, source })
    }
}

/// Why the demo could not start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No Postgres on this machine, and none could be fetched.
    #[error("found no Postgres 14 or newer, and could not fetch one ({fetch}).\n{hint}")]
    NoPostgres {
        /// Why fetching one failed.
        fetch: String,
        /// The line that installs one here.
        hint: String,
    },
    /// The folder named by `--postgres-bin` does not do.
    #[error("--postgres-bin {dir}: {reason}")]
    BadPostgresBin {
        /// The folder as given.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Run as root, with no other account to run Postgres under.
    #[error(
        "Postgres refuses to run as root, and /etc/passwd has neither `postgres` nor `nobody`; \
         run `brooklet demo` as another user"
    )]
    NoAccount,
    /// A file operation failed.
    #[error("could not {what}: {source}")]
    Io {
        /// The operation, as the end of "could not …".
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// One of Postgres's programs failed.
    #[error("{program} failed ({status}):\n{output}")]
    Program {
        /// Its name.
        program: &'static str,
        /// Its exit status.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// Postgres stopped, or did not answer in time.
    #[error("Postgres did not become ready ({reason}); the end of its log:\n{log}")]
    NotReady {
        /// What happened instead.
        reason: String,
        /// The end of its log.
        log: String,
    },
    /// A statement failed while the data was being loaded.
    #[error("could not {what}: {source}")]
    Database {
        /// The step, as the end of "could not …".
        what: &'static str,
        /// Postgres's error.
        source: tokio_postgres::Error,
    },
    /// The port to serve on cannot be had.
    #[error("cannot listen on 127.0.0.1:{port}: {source}")]
    Port {
        /// The port tried.
        port: u16,
        /// The system's error.
        source: io::Error,
    },
}

impl DemoError {
    /// For `map_err` on file operations: `what` ends the sentence "could not …".
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }

    /// For `map_err` on statements: `what` ends the sentence "could not …".
    fn database(what: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| Self::Database { what, source }
    }
}

/// A running demo. Fields drop in this order: the writer, then Postgres, then their folder.
#[derive(Debug)]
pub struct Demo {
    writer: Option<Writer>,
    postgres: Postgres,
    workspace: Workspace,
}

/// Starts Postgres and loads the data. Dropping this future part-way removes what was made so far,
/// so a caller may race it against Ctrl-C.
pub async fn start(args: &DemoArgs) -> Result<Demo, DemoError> {
    let workspace = Workspace::create(&std::env::temp_dir())?;
    let binaries = choose_binaries(args, &workspace).await?;
    info!(version = %binaries.version, bin = %binaries.dir.display(), "starting Postgres");
    let postgres = Postgres::start(&binaries, &workspace).await?;
    dataset::load(&postgres).await?;
    Ok(Demo { writer: None, postgres, workspace })
}

/// The programs asked for, else those of this machine, else fetched ones.
async fn choose_binaries(args: &DemoArgs, space: &Workspace) -> Result<Binaries, DemoError> {
    if let Some(dir) = &args.postgres_bin {
        return binaries::inspect(dir)
            .await
            .map_err(|reason| DemoError::BadPostgresBin { dir: dir.clone(), reason });
    }
    let path = std::env::var_os("PATH");
    // Programs below a private folder cannot be run once root's rights are dropped.
    let usable = |dir: &Path| space.account().is_none() || workspace::open_to_all(dir);
    match binaries::find(path.as_deref(), &binaries::usual_places(), usable).await {
        Some(found) => Ok(found),
        None => embedded::fetch(space.base()).await.map_err(|fetch| DemoError::NoPostgres {
            fetch,
            hint: binaries::install_hint(space.account().is_some()),
        }),
    }
}

impl Demo {
    /// Where the tracker's database answers.
    pub fn database_url(&self) -> String {
        self.postgres.url(dataset::DATABASE)
    }

    /// An empty folder for the server's storage, removed with the demo.
    pub fn storage_dir(&self) -> PathBuf {
        self.workspace.storage()
    }

    /// Starts the gentle stream of writes; a second call changes nothing.
    pub fn begin_writes(&mut self) {
        if self.writer.is_none() {
            self.writer = Some(Writer::begin(self.database_url()));
        }
    }

    /// What to print once the server answers at `base_url`: the page, three lines to paste, and
    /// how to write something oneself.
    pub fn instructions(&self, base_url: &str) -> String {
        instructions(base_url.trim_end_matches('/'), &self.database_url())
    }

    /// Stops the writer and Postgres and removes everything the demo made. Stop the server first:
    /// Postgres waits for its replication connection to close.
    pub async fn stop(self) {
        let Self { writer, postgres, workspace } = self;
        if let Some(writer) = writer {
            writer.stop().await;
        }
        let removal = tokio::task::spawn_blocking(move || {
            postgres.stop();
            drop(workspace);
        });
        if let Err(error) = removal.await {
            tracing::warn!(%error, "the demo's folder may not have been removed");
        }
    }
}

fn instructions(base: &str, database_url: &str) -> String {
    let shape = format!("{base}/v1/shape");
    format!(
        r#"
  Watch the issues change:  {base}/

  Paste these into another terminal.

  A whole table:
    curl -i '{shape}?table=projects&offset=-1'

  Some rows, some columns:
    curl -sG '{shape}' -d table=issues -d offset=-1 -d columns=id,title,status,priority --data-urlencode "where=status = 'in_progress' AND priority = 1"

  What changes next (waits for it):
    curl -i "{shape}?table=issues&live=true$(curl -sD- -o /dev/null '{shape}?table=issues&offset=-1' | tr -d '\r' | awk -F': ' 'tolower($1) ~ /^electric-(handle|offset)$/ {{ printf "&%s=%s", substr(tolower($1), 10), $2 }}')"

  Change something yourself:
    psql {database_url} -c "UPDATE issues SET title = 'Hello' WHERE id = 1"

  Ctrl-C stops the demo and removes everything it made.
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_hold_the_page_and_three_requests() {
        let text = instructions("http://127.0.0.1:3000", "postgres://u@127.0.0.1:1/tracker");
        assert!(text.contains("  http://127.0.0.1:3000/\n"), "{text}");
        assert_eq!(text.matches("    curl ").count(), 3, "{text}");
        assert!(text.contains(r#"printf "&%s=%s""#), "{text}");
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_only_if_asked_for() {
        let taken = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind");
        let port = taken.local_addr().expect("address").port();
        let args = DemoArgs { port: Some(port), postgres_bin: None };
        assert!(matches!(args.bind().await, Err(DemoError::Port { .. })));
        // Whether or not 3000 is free here, the default finds some port.
        DemoArgs::default().bind().await.expect("any port");
    }

    /// The real thing, which as root also drops privileges: start, read, write, stop, no trace.
    #[tokio::test]
    async fn starts_writes_and_leaves_nothing() {
        let mut demo = start(&DemoArgs::default()).await.expect("start");
        let base = demo.workspace.base().to_owned();
        let (client, connection) =
            tokio_postgres::connect(&demo.database_url(), tokio_postgres::NoTls)
                .await
                .expect("connect");
        tokio::spawn(connection);
        let count = client.query_one("SELECT count(*) FROM issues", &[]).await.expect("count");
        assert_eq!(count.get::<_, i64>(0), 10_000);
        let level = client.query_one("SHOW wal_level", &[]).await.expect("wal_level");
        assert_eq!(level.get::<_, String>(0), "logical");

        let position = "SELECT pg_current_wal_insert_lsn()::text";
        let before: String = client.query_one(position, &[]).await.expect("lsn").get(0);
        demo.begin_writes();
        let started = std::time::Instant::now();
        loop {
            let now: String = client.query_one(position, &[]).await.expect("lsn").get(0);
            if now != before {
                break;
            }
            assert!(started.elapsed().as_secs() < 20, "nothing was written");
            tokio::task::yield_now().await;
        }

        let url = demo.database_url();
        // Any account of the machine reaches the port.
        let secret = url.split(['/', ':', '@']).nth(4).expect("a password");
        assert!(secret.len() == 32 && !base.join("password").exists());
        for wrong in [url.replace(&format!(":{secret}"), ""), url.replace(secret, "postgres")] {
            let refused = tokio_postgres::connect(&wrong, tokio_postgres::NoTls).await;
            assert!(refused.is_err(), "{wrong} lets everybody in");
        }
        demo.stop().await;
        assert!(!base.exists(), "{} is still there", base.display());
        assert!(tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_err());
    }
}

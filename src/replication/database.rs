//! Connections to Postgres.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Object, Pool, PoolError, QueueMode};
use pgwire_replication::{ReplicationConfig, SslMode as WireSslMode, TlsConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pool::Connections;
use super::tls::{TlsError, client_config};
use super::url;
use crate::limits::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES, UNACKNOWLEDGED_MAX};

/// Why a statement or a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL.
    #[error("the database URL cannot be used: {0}")]
    Url(String),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Postgres, or the way to it.
    #[error("{}", postgres_message(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The pool.
    #[error("no database connection was free within {0:?}; raise --db-pool-size")]
    PoolBusy(Duration),
}

/// The words of Postgres, or of the network.
fn postgres_message(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => db.message().to_owned(),
        None => {
            let source = std::error::Error::source(error);
            source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
        }
    }
}

impl DatabaseError {
    /// The SQLSTATE, if Postgres answered.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            DatabaseError::Postgres(error) => error.code().map(|code| code.code()),
            _ => None,
        }
    }
}

/// Without these the system sends what nobody acknowledges for a quarter of an hour before it gives up: so long would a
/// statement wait for a host that vanished, and with it shapes that are being made. What the URL says of all but the first wins.
fn notice_silence(config: &mut Config) {
    config.keepalives_idle(KEEPALIVE_IDLE);
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE_INTERVAL);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(KEEPALIVE_RETRIES);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED_MAX);
    }
}

/// A database, and how to reach it.
#[derive(Clone)]
pub struct Database {
    config: Config,
    tls: MakeRustlsConnect,
    ca: Option<PathBuf>,
    pool: Pool<Connections>,
    snapshots: Arc<Semaphore>,
    subsets: Arc<Semaphore>,
}

/// How long a statement waits for a free connection.
const POOL_WAIT: Duration = Duration::from_secs(30);

impl Database {
    /// Reads the URL; connects to nothing yet.
    pub fn new(url: &str, ca: Option<&Path>, pool_size: usize) -> Result<Database, DatabaseError> {
        let refuse = |reason: String| DatabaseError::Url(reason);
        let mut config = url::read(url).map_err(DatabaseError::Url)?;
        if config.get_user().is_none() {
            return Err(refuse(
                "it names no user (postgresql://USER:PASSWORD@HOST/DATABASE)".into(),
            ));
        }
        if config.get_dbname().is_none() {
            return Err(refuse("it names no database (postgresql://…/DATABASE)".into()));
        }
        if config.get_hosts().len() > 1 {
            return Err(refuse("it names several hosts: slot and snapshots must be on one".into()));
        }
        if config.get_hosts().is_empty() {
            return Err(refuse("it names no host".into()));
        }
        if ca.is_some() && config.get_ssl_mode() == SslMode::Disable {
            return Err(refuse(
                "sslmode=disable and a CA certificate contradict each other".into(),
            ));
        }
        if ca.is_some() {
            config.ssl_mode(SslMode::Require);
        }
        config.application_name("brooklet").connect_timeout(Duration::from_secs(10));
        notice_silence(&mut config);
        let tls = MakeRustlsConnect::new(client_config(ca)?);
        let connections = Connections { config: config.clone(), tls: tls.clone() };
        let pool = Pool::builder(connections)
            .max_size(pool_size)
            .wait_timeout(Some(POOL_WAIT))
            // Few connections that are busy answer sooner than many that take turns: what each of these knows, and the
            // processor's memory of it, is from a while ago.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|e| refuse(e.to_string()))?;
        // Snapshots run for as long as tables are large: a part of the pool is kept for the rest.
        // Each needs a second connection for a moment.
        let turns = (pool_size - pool_size.div_ceil(4)).max(1);
        let snapshots = Arc::new(Semaphore::new(turns));
        let subsets = Arc::new(Semaphore::new(turns.div_ceil(2)));
        Ok(Database { config, tls, ca: ca.map(Path::to_owned), pool, snapshots, subsets })
    }

    /// A connection of one's own, for work that may block others.
    pub async fn connect(&self) -> Result<Client, DatabaseError> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        // Ends with the client; its error is the client's, too.
        tokio::spawn(async move { _ = connection.await });
        Ok(client)
    }

    /// A connection of the pool.
    pub async fn pooled(&self) -> Result<Object<Connections>, DatabaseError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error.into(),
            _ => DatabaseError::PoolBusy(POOL_WAIT),
        })
    }

    /// Lets the pool's connections go that nobody uses at the moment.
    pub fn renew_idle(&self) {
        self.pool.retain(|_, _| false);
    }

    /// Cancels what runs on a connection; says nothing if there is nothing, or it cannot.
    pub fn cancel(&self, client: &Client) -> impl Future<Output = ()> + Send + use<> {
        let (token, tls) = (client.cancel_token(), self.tls.clone());
        async move {
            if let Err(error) = token.cancel_query(tls).await {
                tracing::debug!(%error, "a statement cannot be canceled");
            }
        }
    }

    /// Leave to take a snapshot; waits for its turn.
    pub async fn snapshot_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.snapshots).acquire_owned().await.ok()
    }

    /// Leave to take a snapshot for a client that reads its rows as they come, beside [`Database::snapshot_turn`]: slow
    /// ones leave turns to those that make shapes.
    pub async fn subset_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.subsets).acquire_owned().await.ok()
    }

    /// How the replication session connects.
    #[must_use]
    pub fn replication(&self, slot: &str, publication: &str) -> ReplicationConfig {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        };
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        let password = self.config.get_password().unwrap_or_default();
        let password = String::from_utf8_lossy(password).into_owned();
        let mode = match (self.config.get_ssl_mode(), &self.ca) {
            (_, Some(_)) => WireSslMode::VerifyFull,
            (SslMode::Disable, None) => WireSslMode::Disable,
            (SslMode::Prefer, None) => WireSslMode::Prefer,
            (_, None) => WireSslMode::Require,
        };
        let unix = matches!(self.config.get_hosts().first(), Some(Host::Unix(_)));
        let mode = if unix { WireSslMode::Disable } else { mode };
        let tls = TlsConfig { mode, ca_pem_path: self.ca.clone(), ..TlsConfig::default() };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let (user, dbname) = (text(self.config.get_user()), text(self.config.get_dbname()));
        ReplicationConfig::new(host, user, password, dbname, slot, publication)
            .with_port(port)
            .with_tls(tls)
            .with_application_name("brooklet")
            .with_options(brooklet_sql::statement::DISPLAY_OPTIONS)
            .with_buffer_size(crate::limits::WIRE_EVENTS_MAX)
            .with_status_interval(crate::limits::STATUS_INTERVAL)
    }

    /// Host and database for messages; never the password.
    #[must_use]
    pub fn describe(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "?".to_owned(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        format!("{host}:{port}/{}", self.config.get_dbname().unwrap_or("?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_vanished_is_noticed_in_a_minute() {
        const MINUTE: Duration = Duration::from_secs(60);
        let of = |url: &str| Database::new(url, None, 1).unwrap_or_else(|error| panic!("{error}"));
        let config = of("postgresql://u:p@h/d").config;
        // Of a connection that waits for an answer, and of one that has sent something.
        let interval = config.get_keepalives_interval().unwrap();
        let retries = config.get_keepalives_retries().unwrap();
        assert!(config.get_keepalives());
        assert!(config.get_keepalives_idle() + interval * retries <= MINUTE);
        assert!(config.get_tcp_user_timeout().is_some_and(|time| *time <= MINUTE));
        let config = of("postgresql://u:p@h/d?tcp_user_timeout=7&keepalives_retries=9").config;
        assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_secs(7)));
        assert_eq!(config.get_keepalives_retries(), Some(9));
    }
}

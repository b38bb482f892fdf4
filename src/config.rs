//! Flags and environment of `brooklet serve`.
//!
//! `BROOKLET_*` names are ours. Electric's names for the same settings are accepted, so that an
//! existing deployment changes only the image; ours win.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::limits::{
    CATCH_UP_WINDOW_DEFAULT, CHUNK_BYTES_DEFAULT, LONG_POLL_DEFAULT, REQUESTS_DEFAULT,
    RETENTION_INTERVAL_DEFAULT, SUBQUERY_BYTES_DEFAULT,
};
use crate::shapes::evict::ShapeLimits;

mod spelling;

pub(crate) use spelling::stream_id;
use spelling::{
    boolean, chunk_bytes, duration, electrics_duration, log_level, request_limits, size,
    storage_limit,
};

/// Electric's environment names, ours for the same setting, and its flag.
const ALIASES: &[(&str, &str, &str)] = &[
    ("ELECTRIC_SECRET", "BROOKLET_SECRET", "secret"),
    ("ELECTRIC_INSECURE", "BROOKLET_INSECURE", "insecure"),
    ("ELECTRIC_PORT", "BROOKLET_PORT", "port"),
    ("ELECTRIC_STORAGE_DIR", "BROOKLET_STORAGE_DIR", "storage_dir"),
    ("ELECTRIC_REPLICATION_STREAM_ID", "BROOKLET_REPLICATION_STREAM_ID", "stream_id"),
    ("ELECTRIC_DB_POOL_SIZE", "BROOKLET_DB_POOL_SIZE", "db_pool_size"),
    ("ELECTRIC_LONG_POLL_TIMEOUT", "BROOKLET_LONG_POLL_TIMEOUT", "long_poll_timeout"),
    (
        "ELECTRIC_SHAPE_CHUNK_BYTES_THRESHOLD",
        "BROOKLET_SHAPE_CHUNK_BYTES_THRESHOLD",
        "shape_chunk_bytes_threshold",
    ),
    (
        "ELECTRIC_ENABLE_INTEGRATION_TESTING",
        "BROOKLET_ENABLE_INTEGRATION_TESTING",
        "enable_integration_testing",
    ),
    (
        "ELECTRIC_DATABASE_CA_CERTIFICATE_FILE",
        "BROOKLET_DATABASE_CA_CERTIFICATE_FILE",
        "database_ca_certificate_file",
    ),
    ("ELECTRIC_LISTEN_ON_IPV6", "BROOKLET_LISTEN_ON_IPV6", "listen_on_ipv6"),
    ("ELECTRIC_CACHE_MAX_AGE", "BROOKLET_CACHE_MAX_AGE", "cache_max_age"),
    ("ELECTRIC_CACHE_STALE_AGE", "BROOKLET_CACHE_STALE_AGE", "cache_stale_age"),
    (
        "ELECTRIC_MAX_CONCURRENT_REQUESTS",
        "BROOKLET_MAX_CONCURRENT_REQUESTS",
        "max_concurrent_requests",
    ),
    ("ELECTRIC_MAX_SHAPES", "BROOKLET_MAX_SHAPES", "max_shapes"),
    ("ELECTRIC_PROMETHEUS_PORT", "BROOKLET_PROMETHEUS_PORT", "prometheus_port"),
    ("ELECTRIC_LOG_LEVEL", "BROOKLET_LOG_LEVEL", "log_level"),
];

/// Lets flags of a command be set by Electric's names, where those are set and ours are not.
#[must_use]
pub fn accept_aliases(command: clap::Command, is_set: impl Fn(&str) -> bool) -> clap::Command {
    let wanted = ALIASES.iter().filter(|(theirs, ours, _)| is_set(theirs) && !is_set(ours));
    wanted.fold(command, |command, (theirs, _, flag)| {
        let known = command.get_arguments().any(|argument| argument.get_id() == flag);
        if known { command.mut_arg(flag, |argument| argument.env(theirs)) } else { command }
    })
}

/// Settings of `brooklet serve`.
#[derive(clap::Args, Debug, Clone)]
pub struct ServeArgs {
    /// Postgres, as postgresql://USER:PASSWORD@HOST:PORT/DATABASE. Direct: replication does not go
    /// through a pooler.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,

    /// Clients must send it as `secret=…`. Without one, say --insecure.
    #[arg(long, env = "BROOKLET_SECRET", hide_env_values = true)]
    pub secret: Option<String>,

    /// Serve without a secret, on loopback only unless --listen says otherwise.
    #[arg(long, env = "BROOKLET_INSECURE", num_args = 0..=1, default_value_t = false, default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set)]
    pub insecure: bool,

    /// HTTP port; 0 takes any free one.
    #[arg(long, env = "BROOKLET_PORT", default_value_t = 3000)]
    pub port: u16,

    /// Address to listen on. Default: all with a secret, loopback without.
    #[arg(long, env = "BROOKLET_LISTEN")]
    pub listen: Option<IpAddr>,

    /// Listen on IPv6.
    #[arg(long, env = "BROOKLET_LISTEN_ON_IPV6", num_args = 0..=1, default_value_t = false, default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set)]
    pub listen_on_ipv6: bool,

    /// Where to keep what has to survive; Brooklet uses a sub-directory of it.
    #[arg(long, env = "BROOKLET_STORAGE_DIR", default_value = "./persistent")]
    pub storage_dir: PathBuf,

    /// Slot and publication are called brooklet_ID: one per server of a database.
    #[arg(long, env = "BROOKLET_REPLICATION_STREAM_ID", default_value = "default", value_parser = stream_id)]
    pub stream_id: String,

    /// Connections for snapshots and look-ups.
    #[arg(long, env = "BROOKLET_DB_POOL_SIZE", default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub db_pool_size: u16,

    /// Certificates to check the database server against.
    #[arg(long, env = "BROOKLET_DATABASE_CA_CERTIFICATE_FILE")]
    pub database_ca_certificate_file: Option<PathBuf>,

    /// How long a live request waits for news, for example 20s; a bare number is milliseconds.
    #[arg(long, env = "BROOKLET_LONG_POLL_TIMEOUT", default_value = "20s", value_parser = electrics_duration)]
    pub long_poll_timeout: Duration,

    /// Bytes of one chunk of a shape, for example 10MiB; less than 4GiB.
    #[arg(long, env = "BROOKLET_SHAPE_CHUNK_BYTES_THRESHOLD", default_value = "10MiB", value_parser = chunk_bytes)]
    pub shape_chunk_bytes_threshold: u64,

    /// Seconds that caches may keep catch-up answers.
    #[arg(long, env = "BROOKLET_CACHE_MAX_AGE", default_value_t = 60)]
    pub cache_max_age: u32,

    /// Seconds that caches may serve them stale while they ask again.
    #[arg(long, env = "BROOKLET_CACHE_STALE_AGE", default_value_t = 300)]
    pub cache_stale_age: u32,

    /// Allow DELETE /v1/shape.
    #[arg(long, env = "BROOKLET_ENABLE_INTEGRATION_TESTING", num_args = 0..=1, default_value_t = false, default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set)]
    pub enable_integration_testing: bool,

    /// Requests answered at once: those that may make a shape, and those of shapes that exist.
    #[arg(long, env = "BROOKLET_MAX_CONCURRENT_REQUESTS", default_value = r#"{"initial":300,"existing":10000}"#, value_parser = request_limits)]
    pub max_concurrent_requests: RequestLimits,

    /// Shapes to keep; beyond it the one that nobody has asked for the longest ends. Unlimited by
    /// default.
    #[arg(long, env = "BROOKLET_MAX_SHAPES", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_shapes: Option<u64>,

    /// End shapes that nobody has asked for this long, for example 1440m or 1d. Never by default.
    #[arg(long, env = "BROOKLET_SHAPE_IDLE_TIMEOUT", value_parser = duration)]
    pub shape_idle_timeout: Option<Duration>,

    /// Bytes that may be stored, for example 20GiB; beyond them the shapes that nobody has asked for the
    /// longest end. At least 128MiB, since the files being written are never deleted. Unlimited by
    /// default.
    #[arg(long, env = "BROOKLET_STORAGE_LIMIT", value_parser = storage_limit)]
    pub storage_limit: Option<u64>,

    /// Bytes of memory for the rows of tables that shapes with subqueries are about, for example 4GiB. A
    /// filter that needs more is refused.
    #[arg(long, env = "BROOKLET_SUBQUERY_MEMORY", value_parser = size, default_value_t = SUBQUERY_BYTES_DEFAULT)]
    pub subquery_memory: u64,

    /// How often is looked for what can be deleted from disk, for example 60s.
    #[arg(long, env = "BROOKLET_RETENTION_INTERVAL", default_value = "60s", value_parser = duration)]
    pub retention_interval: Duration,

    /// How long a client may be away and still go on where it was, once its shape's log has been folded
    /// into a new base, for example 24h. Longer keeps more on disk.
    #[arg(long, env = "BROOKLET_CATCH_UP_WINDOW", default_value = "24h", value_parser = duration)]
    pub catch_up_window: Duration,

    /// Serve Prometheus metrics at /metrics on this port, without a secret. Off by default.
    #[arg(long, env = "BROOKLET_PROMETHEUS_PORT")]
    pub prometheus_port: Option<u16>,

    /// error, warn, info, debug or trace; or directives as RUST_LOG has them, for example
    /// warn,brooklet::http=debug
    #[arg(long, env = "BROOKLET_LOG_LEVEL", default_value = "info", value_parser = log_level)]
    pub log_level: String,
}

/// Requests answered at once, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestLimits {
    /// Those that may make a shape.
    #[serde(default = "RequestLimits::initial")]
    pub initial: usize,
    /// Those of shapes that exist.
    #[serde(default = "RequestLimits::existing")]
    pub existing: usize,
}

impl RequestLimits {
    fn initial() -> usize {
        REQUESTS_DEFAULT.0
    }

    fn existing() -> usize {
        REQUESTS_DEFAULT.1
    }
}

impl Default for RequestLimits {
    fn default() -> RequestLimits {
        RequestLimits { initial: Self::initial(), existing: Self::existing() }
    }
}

/// Why the settings do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Safe by default.
    #[error(
        "no secret is set: anybody who reaches the port could read the database.\n  Set one: --secret … (or BROOKLET_SECRET, ELECTRIC_SECRET), or say --insecure to serve without."
    )]
    NoSecret,
    /// One of them is a mistake.
    #[error("--secret and --insecure contradict each other: remove one.")]
    Contradiction,
}

/// Settings that go together.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What clients must send; `None` lets everybody in.
    pub secret: Option<String>,
    /// Where to listen.
    pub address: IpAddr,
    /// HTTP port.
    pub port: u16,
    /// How long a live request waits.
    pub long_poll: Duration,
    /// Bytes of a chunk of new shapes.
    pub chunk_bytes: u64,
    /// Seconds.
    pub cache_max_age: u32,
    /// Seconds.
    pub cache_stale_age: u32,
    /// Whether DELETE is allowed.
    pub deletion: bool,
    /// Requests answered at once.
    pub requests: RequestLimits,
    /// Shapes to keep.
    pub shapes: ShapeLimits,
    /// See [`ServeArgs`].
    pub catch_up_window: Duration,
    /// See [`ServeArgs`].
    pub storage_limit: Option<u64>,
    /// See [`ServeArgs`].
    pub subquery_memory: u64,
    /// See [`ServeArgs`].
    pub retention_interval: Duration,
    /// Where to serve metrics.
    pub prometheus_port: Option<u16>,
    /// See [`ServeArgs`].
    pub database_url: String,
    /// See [`ServeArgs`].
    pub ca: Option<PathBuf>,
    /// Our own sub-directory.
    pub dir: PathBuf,
    /// See [`ServeArgs`].
    pub stream_id: String,
    /// Connections.
    pub pool_size: usize,
}

impl ServeArgs {
    /// Checks what clap cannot.
    pub fn settings(self) -> Result<Settings, ConfigError> {
        let secret = self.secret.filter(|secret| !secret.is_empty());
        match (&secret, self.insecure) {
            (None, false) => return Err(ConfigError::NoSecret),
            (Some(_), true) => return Err(ConfigError::Contradiction),
            _ => {}
        }
        let default = match (secret.is_some(), self.listen_on_ipv6) {
            (true, false) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            (true, true) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            (false, false) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            (false, true) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        Ok(Settings {
            secret,
            address: self.listen.unwrap_or(default),
            port: self.port,
            long_poll: self.long_poll_timeout,
            chunk_bytes: self.shape_chunk_bytes_threshold,
            cache_max_age: self.cache_max_age,
            cache_stale_age: self.cache_stale_age,
            deletion: self.enable_integration_testing,
            requests: self.max_concurrent_requests,
            shapes: ShapeLimits {
                max: self.max_shapes.map(|max| usize::try_from(max).unwrap_or(usize::MAX)),
                idle: self.shape_idle_timeout,
            },
            catch_up_window: self.catch_up_window,
            storage_limit: self.storage_limit,
            subquery_memory: self.subquery_memory,
            retention_interval: self.retention_interval,
            prometheus_port: self.prometheus_port,
            database_url: self.database_url,
            ca: self.database_ca_certificate_file,
            dir: self.storage_dir.join("brooklet"),
            stream_id: self.stream_id,
            pool_size: usize::from(self.db_pool_size),
        })
    }
}

impl Settings {
    /// Whether anything ends shapes that nobody asks for.
    #[must_use]
    pub fn ends_idle(&self) -> bool {
        self.shapes.are_some() || self.storage_limit.is_some()
    }

    /// Settings of a throw-away server on loopback.
    #[must_use]
    pub fn demo(database_url: String, storage_dir: PathBuf) -> Settings {
        Settings {
            secret: None,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            long_poll: LONG_POLL_DEFAULT,
            chunk_bytes: CHUNK_BYTES_DEFAULT,
            cache_max_age: 60,
            cache_stale_age: 300,
            deletion: false,
            requests: RequestLimits::default(),
            shapes: ShapeLimits::default(),
            catch_up_window: CATCH_UP_WINDOW_DEFAULT,
            storage_limit: None,
            subquery_memory: SUBQUERY_BYTES_DEFAULT,
            retention_interval: RETENTION_INTERVAL_DEFAULT,
            prometheus_port: None,
            database_url,
            ca: None,
            dir: storage_dir.join("brooklet"),
            stream_id: "demo".into(),
            pool_size: 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_names_win_over_electrics() {
        use clap::Args;
        let serve = || ServeArgs::augment_args(clap::Command::new("serve"));
        let names = |set: &'static [&'static str]| {
            let command = accept_aliases(serve(), |name| set.contains(&name));
            let port = command.get_arguments().find(|argument| argument.get_id() == "port");
            port.and_then(|port| port.get_env()).map(|name| name.to_string_lossy().into_owned())
        };
        assert_eq!(names(&["ELECTRIC_PORT"]).as_deref(), Some("ELECTRIC_PORT"));
        assert_eq!(names(&["ELECTRIC_PORT", "BROOKLET_PORT"]).as_deref(), Some("BROOKLET_PORT"));
        assert_eq!(names(&[]).as_deref(), Some("BROOKLET_PORT"));
    }
}

//! Flags and environment of `brooklet serve`.
//!
//! `BROOKLET_*` names are ours. Electric's names for the same settings are accepted, so that an
//! existing deployment changes only the image; ours win.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::limits::{
    CATCH_UP_WINDOW_DEFAULT, CHUNK_BYTES_DEFAULT, CHUNK_BYTES_MAX, LONG_POLL_DEFAULT,
    REQUESTS_DEFAULT, RETENTION_INTERVAL_DEFAULT, STORAGE_LIMIT_MIN, SUBQUERY_BYTES_DEFAULT,
};
use crate::shapes::evict::ShapeLimits;

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

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err("say true or false".into()),
    }
}

/// `{"initial":300,"existing":10000}`; what is left out keeps its default.
fn request_limits(text: &str) -> Result<RequestLimits, String> {
    let limits: RequestLimits = serde_json::from_str(text)
        .map_err(|_| "a JSON object with numbers `initial` and `existing`".to_owned())?;
    let usable = |limit: usize| (1..=tokio::sync::Semaphore::MAX_PERMITS).contains(&limit);
    let both = usable(limits.initial) && usable(limits.existing);
    both.then_some(limits).ok_or_else(|| "each must be at least 1".into())
}

/// A stream's id as slot and publication are called by it.
pub(crate) fn stream_id(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let id = text.to_ascii_lowercase();
    if id.is_empty() || !id.chars().all(plain) || id.len() > 50 {
        return Err("use up to 50 letters, digits and underscores".into());
    }
    Ok(id)
}

/// A level, or directives that name one. A word that is no level would be taken for the only part of the program that
/// is to say anything; empty is as good as not set.
fn log_level(text: &str) -> Result<String, String> {
    let text = text.trim();
    let word = text.to_ascii_lowercase();
    match word.as_str() {
        "" => return Ok("info".into()),
        "error" | "warn" | "info" | "debug" | "trace" => return Ok(word),
        "warning" => return Ok("warn".into()),
        _ => {}
    }
    let level = |part: &str| {
        let said = part.rsplit('=').next().unwrap_or_default().trim();
        !said.is_empty() && said.parse::<LevelFilter>().is_ok()
    };
    let usable = EnvFilter::try_new(text).is_ok() && text.split(',').any(level);
    usable.then(|| text.to_owned()).ok_or_else(|| {
        "say error, warn, info, debug or trace, or directives such as warn,brooklet::http=debug"
            .into()
    })
}

/// As Electric reads it: a bare number is milliseconds.
fn electrics_duration(text: &str) -> Result<Duration, String> {
    let is_bare = text.trim().parse::<f64>().is_ok();
    if is_bare { duration(&format!("{}ms", text.trim())) } else { duration(text) }
}

/// `20s`, `500ms`, `1d`. Never a bare number: other settings count in seconds, others in milliseconds.
fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: &str = "a number with its unit: ms, s, m, h or d";
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: f64 = number.parse().map_err(|_| UNITS.to_owned())?;
    let unit = match unit.trim() {
        "" => return Err(format!("say the unit: {text}ms, {text}s, {text}m, {text}h or {text}d")),
        "ms" | "msec" => 0.001,
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(UNITS.to_owned()),
    };
    let duration = Duration::try_from_secs_f64(number * unit);
    duration.ok().filter(|d| !d.is_zero()).ok_or_else(|| "it must be more than nothing".into())
}

/// A size that a log can keep.
fn chunk_bytes(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if bytes > CHUNK_BYTES_MAX { Err("less than 4GiB".to_owned()) } else { Ok(bytes) }
}

/// A size that leaves room for the files being written.
fn storage_limit(text: &str) -> Result<u64, String> {
    let limit = size(text)?;
    if limit < STORAGE_LIMIT_MIN { Err("at least 128MiB".to_owned()) } else { Ok(limit) }
}

/// `10MiB`, `64KB`; a bare number is bytes.
fn size(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: u64 =
        number.parse().map_err(|_| "a number of bytes, KiB, MiB or GiB".to_owned())?;
    let unit: u64 = match unit.trim() {
        "" | "B" => 1,
        "KB" => 1000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return Err("a number of bytes, KiB, MiB or GiB".into()),
    };
    number.checked_mul(unit).filter(|size| *size > 0).ok_or_else(|| "out of range".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        assert_eq!(duration("4s"), Ok(Duration::from_secs(4)));
        assert_eq!(duration("0.5m"), Ok(Duration::from_secs(30)));
        assert!(duration("0s").is_err() && duration("4w").is_err() && duration("-4s").is_err());
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
        let refused = duration("1440").unwrap_err();
        assert_eq!(refused, "say the unit: 1440ms, 1440s, 1440m, 1440h or 1440d");
        assert_eq!(electrics_duration("4000"), Ok(Duration::from_secs(4)));
        assert_eq!(electrics_duration("4s"), Ok(Duration::from_secs(4)));
        assert!(electrics_duration("0").is_err());
        assert_eq!(size("10MiB"), Ok(10 << 20));
        assert_eq!(size("2000"), Ok(2000));
        assert!(size("99999999999GiB").is_err());
        let limits = request_limits(r#"{"existing":7}"#).unwrap();
        assert_eq!((limits.initial, limits.existing), (REQUESTS_DEFAULT.0, 7));
        assert!(request_limits(r#"{"initial":0}"#).is_err() && request_limits("7").is_err());
        assert_eq!(stream_id("Prod_1"), Ok("prod_1".into()));
        assert!(stream_id("a-b").is_err());
    }

    #[test]
    fn what_is_no_level_is_refused() {
        for (text, level) in [
            ("info", "info"),
            ("WARNING", "warn"),
            (" Debug ", "debug"),
            ("trace", "trace"),
            ("", "info"),
            ("warn,brooklet::http=debug", "warn,brooklet::http=debug"),
            ("brooklet=ERROR", "brooklet=ERROR"),
            ("off", "off"),
        ] {
            assert_eq!(log_level(text), Ok(level.to_owned()), "{text}");
        }
        for text in
            ["inof", "brooklet", "brooklet,", "brooklet=inof", "a=b=info", "=,", "info warn"]
        {
            assert!(log_level(text).is_err(), "{text}");
        }
    }

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

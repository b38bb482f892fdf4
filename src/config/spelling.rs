//! How the values of settings are spelled: durations, sizes, levels, names.
//!
//! *Enters*: text of the command line or the environment. *Leaves*: values, or what to write instead.

use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::RequestLimits;
use crate::limits::{CHUNK_BYTES_MAX, STORAGE_LIMIT_MIN};

/// As environments say it; empty is as good as false.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err("say true or false".into()),
    }
}

/// `{"initial":300,"existing":10000}`; what is left out keeps its default.
pub(super) fn request_limits(text: &str) -> Result<RequestLimits, String> {
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
pub(super) fn log_level(text: &str) -> Result<String, String> {
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
pub(super) fn electrics_duration(text: &str) -> Result<Duration, String> {
    let is_bare = text.trim().parse::<f64>().is_ok();
    if is_bare { duration(&format!("{}ms", text.trim())) } else { duration(text) }
}

/// `20s`, `500ms`, `1d`. Never a bare number: other settings count in seconds, others in milliseconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
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
pub(super) fn chunk_bytes(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if bytes > CHUNK_BYTES_MAX { Err("less than 4GiB".to_owned()) } else { Ok(bytes) }
}

/// A size that leaves room for the files being written.
pub(super) fn storage_limit(text: &str) -> Result<u64, String> {
    let limit = size(text)?;
    if limit < STORAGE_LIMIT_MIN { Err("at least 128MiB".to_owned()) } else { Ok(limit) }
}

/// `10MiB`, `64KB`; a bare number is bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
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
    use crate::limits::REQUESTS_DEFAULT;

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
}

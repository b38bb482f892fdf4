//! The database's URL, and why it cannot be used.
//!
//! *Enters*: text that holds a password. *Leaves*: settings of a connection, or words that tell nothing of the text but
//! names of options. *Invariant*: no part of a password gets into the host or the database's name, which messages show.

use tokio_postgres::Config;
use tokio_postgres::config::Host;

const PREFIXES: [&str; 2] = ["postgresql://", "postgres://"];

/// Reads the URL, or `name=value` pairs as libpq's.
pub fn read(text: &str) -> Result<Config, String> {
    let is_url = PREFIXES.iter().any(|prefix| text.starts_with(prefix));
    // A value of a pair may hold anything.
    let scheme = text.split_once("://").map(|(before, _)| before);
    if !is_url && scheme.is_some_and(|scheme| !scheme.contains('=')) {
        return Err("it does not begin with postgresql:// or postgres://; if it stands in quotes, remove them: what reads \
             an environment file may keep them"
            .into());
    }
    if is_url && is_cut_short(text) {
        return Err("it has more than one @: write %40 for one that is part of the password, of the user's or of the \
             database's name"
            .into());
    }
    let config: Config = text.parse().map_err(|error| reason(&error, is_url))?;
    if !config.get_hosts().iter().all(is_host) {
        return Err("its host has characters that no host has: write those of a password as %40 for @, %2F for / and \
             so on"
            .into());
    }
    Ok(config)
}

/// Whether the password ends at an `@` that was not meant so: its rest would be taken for the host and the database's
/// name.
fn is_cut_short(url: &str) -> bool {
    let rest = url.split_once('@').and_then(|(_, rest)| rest.split('?').next());
    rest.is_some_and(|rest| rest.contains('@'))
}

/// Names, addresses, and zones of those; a path is looked up as it is.
fn is_host(host: &Host) -> bool {
    let usual = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    match host {
        Host::Tcp(name) => name.chars().all(usual),
        Host::Unix(_) => true,
    }
}

/// The parser's reason; of what it says of the text itself only what can be no password. In pairs an unknown name may
/// be one that has a space.
fn reason(error: &tokio_postgres::Error, is_url: bool) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let option = |start: &str| {
        let name = source.strip_prefix(start)?.strip_suffix('`')?;
        let plain = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        (plain && !name.is_empty()).then_some(name)
    };
    if let Some(name) = option("invalid value for option `") {
        return format!("the value of {name} cannot be used");
    }
    match option("unknown option `").filter(|_| is_url) {
        Some(name) => format!("it has an option that is not known here: {name}"),
        None if source.starts_with("unknown option") => {
            "it has an option that is not known here".into()
        }
        None => {
            "it cannot be read; it should look like postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for @ in a \
             password and so on"
                .into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read(text).map(|config| panic!("{text} is {:?}", config.get_hosts())).unwrap_err()
    }

    #[test]
    fn no_refusal_tells_the_password() {
        for text in [
            "\"postgresql://u:secret@h/db?sslmode=require\"",
            "'postgresql://u:secret@h/db?sslmode=require'",
            " postgresql://u:secret@h/db",
            "pgsql://u:secret@h/db?x=y",
            "jdbc:postgresql://u:secret@h/db?x=y",
            "POSTGRESQL://u:secret@h/db?x=y",
            "DATABASE_URL=postgresql://u:secret@h/db?x=y",
            "postgresql://u:p@secret@h/db",
            "postgresql://u:p@secret/x@h/db",
            "postgresql://u:p?x@secret/x@h/db",
            "postgresql://u:p@secret?x@h/db?sslmode=require",
            "postgresql://u:p@x:secret@h/db",
            "postgresql://u:p@secret,secret@h/db",
            "postgresql://u@h,secret;/db",
            "postgresql://u@h/db?host=secret%40h",
            "postgresql://u:p@h/db?Secret=1",
            "postgresql://u:p@h/db?secret",
            "postgresql://u:p@h/%ffsecret",
            "user=u dbname=d host=h password=a secret",
            "user=u dbname=d host=h password=a secret=1",
            "user=u dbname=d host=h password=a secret b",
            "user=u dbname=d password=p host=secret@h",
            "user=u password='secret",
            "u:secret@h/db",
        ] {
            let said = refused(text).to_lowercase();
            assert!(!said.contains("secret"), "{text}: {said}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_mend() {
        for (text, word) in [
            ("\"postgresql://u:p@h/db\"", "quotes"),
            ("mysql://u:p@h/db", "postgresql://"),
            ("postgresql://u:p@ss@h/db", "%40"),
            ("postgresql://u:p@h/db?sslrootcert=x", "sslrootcert"),
            ("postgresql://u:p@h/db?sslmode=verify-full", "sslmode"),
            ("postgresql://u:p@h:x/db", "port"),
            ("h/db", "postgresql://USER"),
        ] {
            assert!(refused(text).contains(word), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn whatever_names_a_host_is_read() {
        for text in [
            "postgresql://u:p%40ss@h-1.example_x.com:5433/db?application_name=a@b",
            "postgres://u:p@[fe80::1%25eth0]/db",
            "postgres://u@127.0.0.1/a%40b",
            "postgres://u@%2Fvar%2Frun/db",
            "postgres:///db?host=/var/run&user=u",
            "user=u dbname=d host=h password=a://b@c",
        ] {
            assert!(read(text).is_ok(), "{text}: {:?}", read(text).map(|_| ()));
        }
    }
}

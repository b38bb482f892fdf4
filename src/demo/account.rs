//! The account that Postgres runs under when the demo is run as root, as which it refuses to run.
//!
//! In: /etc/passwd. Out: a user and group id, never root's. The file is read here, rather than
//! through a crate, because two fixed names are all that is looked up: only accounts served by a
//! directory would be missed, and `postgres` and `nobody` are local ones.

use std::fs;

/// A user and its primary group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// `postgres` if there is one, else `nobody`.
pub(super) fn unprivileged() -> Option<Account> {
    choose(&fs::read_to_string("/etc/passwd").ok()?)
}

fn choose(passwd: &str) -> Option<Account> {
    ["postgres", "nobody"].iter().find_map(|name| lookup(passwd, name))
}

/// Finds `name` among lines of `name:password:uid:gid:…`.
fn lookup(passwd: &str, name: &str) -> Option<Account> {
    let entry = passwd.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut fields = entry.split(':').skip(1);
    let uid = parse_id(fields.next()?)?;
    let gid = parse_id(fields.next()?)?;
    (uid != 0).then_some(Account { uid, gid })
}

/// macOS writes `nobody` as -2, which the system holds as an unsigned number.
fn parse_id(text: &str) -> Option<u32> {
    text.parse::<u32>().ok().or_else(|| text.parse::<i32>().ok().map(i32::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefers_postgres_then_nobody() {
        let both = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n\
                    postgres:x:101:104:a,b:/var/lib/postgresql:/bin/sh\n";
        assert_eq!(choose(both), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(
            choose("postgresql:x:7:7::/:\nnobody:x:65534:65533::/:\n"),
            Some(Account { uid: 65534, gid: 65533 })
        );
    }

    #[test]
    fn reads_negative_ids() {
        assert_eq!(
            choose("nobody:*:-2:-2:Unprivileged User:/var/empty:/usr/bin/false\n"),
            Some(Account { uid: 4_294_967_294, gid: 4_294_967_294 })
        );
    }

    #[test]
    fn refuses_root_and_broken_lines() {
        assert_eq!(choose("postgres:x:0:0::/:\n"), None);
        assert_eq!(choose("postgres:x:\nnobody:x:one:2::\n"), None);
        assert_eq!(choose(""), None);
    }
}

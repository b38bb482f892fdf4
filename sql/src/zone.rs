//! Time zones as the connected server knows them.
//!
//! *Enters*: where the offset of a zone changes, asked of the server ([`crate::statement::ZONE`]), and the
//! names that a clause gives. *Leaves*: a [`Zone`], which turns instants into wall clocks and back.
//! *Invariant*: answers are those of the server that was asked. Tables of zones differ between servers and
//! versions, so none is built in.
//!
//! The server is asked about 1800 to 2500. Before, a zone has its first offset. Behind, its rules repeat
//! every 400 years, as the calendar does. Both are checked where the zone is asked for. Changes less than
//! 48 hours apart would be missed; Postgres itself presumes that there are none.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::ZONES_MAX;
use crate::syntax::{Node, Syntax};
use crate::{parse, token};

/// Zones by their names in lower case.
pub type Zones = HashMap<String, Arc<Zone>>;

const DAY: i64 = 86_400;
/// 400 years, in seconds.
const CYCLE: i64 = 146_097 * DAY;
/// 2499-01-01: from here on instants are taken back by 400 years, into what was asked for.
const LAST: i64 = 16_693_689_600;

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    name: String,
    /// The offset before the first change, in seconds east.
    first: i32,
    /// Seconds since 1970, sorted, and the offset from there on.
    changes: Vec<(i64, i32)>,
}

impl Zone {
    /// A zone of the offset before the first change, and each change with the offset before it, as the
    /// server tells them. `None` if these do not go together: then some change was missed.
    #[must_use]
    pub fn new(name: String, first: i32, changes: &[(i64, i32, i32)]) -> Option<Zone> {
        let mut offset = first;
        let mut last = i64::MIN;
        for (at, before, after) in changes {
            if *before != offset || *at <= last {
                return None;
            }
            (offset, last) = (*after, *at);
        }
        let changes = changes.iter().map(|(at, _, after)| (*at, *after)).collect();
        Some(Zone { name, first, changes })
    }

    /// The name that the server gives it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When its offset changes, in seconds since 1970.
    pub fn changes(&self) -> impl Iterator<Item = i64> {
        self.changes.iter().map(|(at, _)| *at)
    }

    /// Its place among [`Zones`].
    #[must_use]
    pub fn key(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// What its text in a predicate does not say: equal for equal zones, in every version of this program.
    pub(crate) fn identity(&self) -> String {
        // FNV-1a.
        let mut hash: u64 = 0xCBF2_9CE4_8422_2325;
        let mut add = |number: i64| {
            for byte in number.to_le_bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
            }
        };
        add(i64::from(self.first));
        self.changes.iter().for_each(|(at, offset)| {
            add(*at);
            add(i64::from(*offset));
        });
        format!(" #{}:{hash:016x}", self.name)
    }

    /// The offset at an instant, both in seconds.
    pub(crate) fn offset_at(&self, instant: i64) -> i32 {
        self.in_table(asked(instant))
    }

    fn in_table(&self, instant: i64) -> i32 {
        match self.changes.partition_point(|(at, _)| *at <= instant) {
            0 => self.first,
            after => self.changes[after - 1].1,
        }
    }

    /// The offset that a wall clock has. An hour that does not exist is read with the offset before the
    /// change, one that exists twice with that behind it.
    pub(crate) fn offset_of_wall(&self, wall: i64) -> i32 {
        // As Postgres does it: the first change after the day before decides.
        let start = asked(wall - DAY);
        let wall = start + DAY;
        let before = self.in_table(start);
        let next = self.changes.partition_point(|(at, _)| *at <= start);
        let Some((change, after)) = self.changes.get(next) else { return before };
        let (early, late) = (wall - i64::from(before), wall - i64::from(*after));
        if early < *change && late < *change {
            return before;
        }
        if early > *change && late >= *change {
            return *after;
        }
        if early > late { before } else { *after }
    }
}

/// An instant with the same offset, among those that the server was asked about.
fn asked(instant: i64) -> i64 {
    if instant < LAST { instant } else { instant - ((instant - LAST) / CYCLE + 1) * CYCLE }
}

/// The zones that a clause may name, in lower case: those to ask the server for. None if the clause cannot
/// be parsed, which compiling it says better; of many only the first [`ZONES_MAX`].
#[must_use]
pub fn named_zones(text: &str, params: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    // Nearly no clause has one, and nobody should parse it twice to learn that.
    let lower = text.to_ascii_lowercase();
    if !["zone", "date_trunc", "make_timestamptz"].iter().any(|word| lower.contains(word)) {
        return found;
    }
    let parsed = token::tokenize(text)
        .and_then(|lexemes| parse::parse(&lexemes, text.chars().count(), true));
    if let Ok(node) = parsed {
        walk(&node, params, &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(ZONES_MAX);
    found
}

/// Whether a name means UTC to every server.
pub(crate) fn is_utc(name: &str) -> bool {
    ["utc", "etc/utc", "gmt", "z"].iter().any(|utc| utc.eq_ignore_ascii_case(name))
}

fn walk(node: &Node, params: &[String], found: &mut Vec<String>) {
    if let Syntax::Call { name, arguments } = &node.syntax {
        let place = match name.last().map(String::as_str) {
            Some("timezone") => arguments.first(),
            Some("date_trunc") => arguments.get(2),
            // The only text among them, which may have a name before it.
            Some("make_timestamptz") => arguments.last(),
            _ => None,
        };
        place.into_iter().for_each(|zone| texts(zone, params, found));
    }
    node.syntax.children().into_iter().for_each(|child| walk(child, params, found));
}

fn texts(node: &Node, params: &[String], found: &mut Vec<String>) {
    let text = match &node.syntax {
        Syntax::Text(text) => Some(text),
        Syntax::Parameter(number) => number.checked_sub(1).and_then(|at| params.get(at)),
        _ => None,
    };
    found.extend(text.filter(|text| !is_utc(text)).map(|text| text.to_ascii_lowercase()));
    node.syntax.children().into_iter().for_each(|child| texts(child, params, found));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Berlin in 2024, by its rules from then on.
    fn berlin() -> Zone {
        let changes = [(1_711_846_800, 3600, 7200), (1_729_990_800, 7200, 3600)];
        Zone::new("Europe/Berlin".into(), 3600, &changes).unwrap()
    }

    #[test]
    fn walls_that_are_not_there_or_twice_are_read_as_postgres_reads_them() {
        let zone = berlin();
        let spring = 1_711_846_800 + 3600;
        assert_eq!(zone.offset_of_wall(spring - 1), 3600);
        // 02:00 to 03:00 does not exist.
        assert_eq!(zone.offset_of_wall(spring), 3600);
        assert_eq!(zone.offset_of_wall(spring + 3599), 3600);
        assert_eq!(zone.offset_of_wall(spring + 3600), 7200);
        let autumn = 1_729_990_800 + 3600;
        assert_eq!(zone.offset_of_wall(autumn - 1), 7200);
        // 02:00 to 03:00 exists twice.
        assert_eq!(zone.offset_of_wall(autumn), 3600);
        assert_eq!(zone.offset_at(1_729_990_799), 7200);
        assert_eq!(zone.offset_at(1_729_990_800), 3600);
        assert_eq!(zone.offset_at(i64::MIN / 2), 3600);
    }

    #[test]
    fn instants_far_away_are_taken_back_by_whole_cycles() {
        assert_eq!(asked(LAST - 1), LAST - 1);
        assert_eq!(asked(LAST), LAST - CYCLE);
        assert_eq!(asked(LAST + 5 * CYCLE + 7), LAST - CYCLE + 7);
    }

    #[test]
    fn changes_that_do_not_go_together_make_no_zone() {
        assert!(Zone::new("x".into(), 0, &[(5, 0, 1), (9, 2, 0)]).is_none());
        assert!(Zone::new("x".into(), 1, &[(5, 0, 1)]).is_none());
        assert!(Zone::new("x".into(), 0, &[(5, 0, 1), (5, 1, 0)]).is_none());
        assert!(Zone::new("x".into(), 0, &[]).is_some());
    }

    #[test]
    fn names_are_found_wherever_a_zone_may_stand() {
        let text = "a AT TIME ZONE 'Europe/Berlin' = b AND timezone($1, c) = \
                    date_trunc('day', d, text 'Asia/Tokyo') AND e AT TIME ZONE 'utc' = 'no/zone'";
        let found = named_zones(text, &["America/New_York".into()]);
        assert_eq!(found, ["america/new_york", "asia/tokyo", "europe/berlin"]);
    }
}

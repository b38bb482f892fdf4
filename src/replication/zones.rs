//! Time zones as the connected server knows them.
//!
//! *Enters*: names that filters give. *Leaves*: [`Zone`]s. *Invariant*: a zone, and which names are zones, is asked
//! of the server once an hour at most, by one request at a time; whoever asks for what is known waits for nobody.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use brooklet_sql::{Zone, Zones, statement};
use tokio_postgres::{Client, Row};

use super::database::{Database, DatabaseError};
use crate::limits::ZONE_AGE_MAX;

/// What is known of zones; shared by all requests.
#[derive(Default)]
pub struct KnownZones {
    /// By their names in lower case, and when they were asked for. Held for a look-up only.
    known: Mutex<HashMap<String, (Instant, Arc<Zone>)>>,
    /// All names in lower case, and when they were asked for. Async: held across statements.
    names: tokio::sync::Mutex<Option<(Instant, HashSet<String>)>>,
}

impl KnownZones {
    /// The zones of these names, but for names that are none.
    pub async fn named(
        &self,
        database: &Database,
        names: impl IntoIterator<Item = String>,
    ) -> Result<Zones, DatabaseError> {
        let mut zones = Zones::new();
        let mut unknown: Vec<String> = names.into_iter().collect();
        self.take_known(&mut unknown, &mut zones);
        if unknown.is_empty() {
            return Ok(zones);
        }
        let mut names = self.names.lock().await;
        self.take_known(&mut unknown, &mut zones);
        let known_names = names.as_ref().filter(|(asked, _)| asked.elapsed() < ZONE_AGE_MAX);
        if known_names.is_some_and(|(_, names)| unknown.iter().all(|name| !names.contains(name))) {
            return Ok(zones);
        }
        // A connection of one's own: a backend never reads the rules again that it has read once. The role may
        // have a time limit that is meant for other statements.
        let client = database.connect().await?;
        client.batch_execute("SET statement_timeout = 0").await?;
        if known_names.is_none() {
            let rows = client.query(statement::ZONE_NAMES, &[]).await?;
            *names = Some((Instant::now(), rows.iter().map(|row| row.get("name")).collect()));
        }
        if let Some((_, names)) = &*names {
            unknown.retain(|name| names.contains(name));
        }
        for name in unknown {
            if let Some(zone) = self.ask(database, &client, &name).await? {
                zones.insert(name, zone);
            }
        }
        Ok(zones)
    }

    /// Moves what is known, and not too old, from names to zones.
    fn take_known(&self, names: &mut Vec<String>, zones: &mut Zones) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|name| match known.get(name) {
            Some((asked, zone)) if asked.elapsed() < ZONE_AGE_MAX => {
                zones.insert(name.clone(), Arc::clone(zone));
                false
            }
            _ => true,
        });
    }

    async fn ask(
        &self,
        database: &Database,
        client: &Client,
        name: &str,
    ) -> Result<Option<Arc<Zone>>, DatabaseError> {
        let row = client.query_opt(statement::ZONE, &[&name]).await?;
        let found = row.as_ref().and_then(zone).map(Arc::new);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let old = known.remove(name).map(|(_, old)| old);
        // Shapes share what stays as it was.
        let same = old.as_ref().filter(|old| Some(*old) == found.as_ref()).cloned();
        if old.is_some() && same.is_none() {
            // Those that have used it would read rows by the old rules for as long as they live.
            database.renew_idle();
        }
        let found = same.or(found);
        if let Some(zone) = &found {
            known.insert(name.to_owned(), (Instant::now(), Arc::clone(zone)));
        }
        Ok(found)
    }
}

/// A zone as the server tells it; `None` where its rules do not go on as it says.
fn zone(row: &Row) -> Option<Zone> {
    let (at, before): (Vec<i64>, Vec<i32>) = (row.get("at"), row.get("before"));
    let after: Vec<i32> = row.get("after");
    let changes = at.into_iter().zip(before).zip(after);
    let changes: Vec<_> = changes.map(|((at, before), after)| (at, before, after)).collect();
    let goes_on: bool = row.get("goes_on");
    Zone::new(row.get("name"), row.get("first"), &changes).filter(|_| goes_on)
}

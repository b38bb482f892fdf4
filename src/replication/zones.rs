//! Time zones as the connected server knows them.
//!
//! *Enters*: names that filters give. *Leaves*: [`Zone`]s. *Invariant*: a zone is asked of the server once
//! an hour at most, by one request at a time; names that are none are not kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use brooklet_sql::{Zone, Zones, statement};
use tokio::sync::Mutex;
use tokio_postgres::Row;

use super::database::{Database, DatabaseError};
use crate::limits::ZONE_AGE_MAX;

/// What is known of zones; shared by all requests.
#[derive(Default)]
pub struct KnownZones {
    /// By their names in lower case, and when they were asked for. Async: held across statements.
    known: Mutex<HashMap<String, (Instant, Arc<Zone>)>>,
}

impl KnownZones {
    /// The zones of these names, but for names that are none.
    pub async fn named(
        &self,
        database: &Database,
        names: impl IntoIterator<Item = String>,
    ) -> Result<Zones, DatabaseError> {
        let mut zones = Zones::new();
        for name in names {
            if let Some(zone) = self.one(database, &name).await? {
                zones.insert(name, zone);
            }
        }
        Ok(zones)
    }

    async fn one(
        &self,
        database: &Database,
        name: &str,
    ) -> Result<Option<Arc<Zone>>, DatabaseError> {
        let mut known = self.known.lock().await;
        if let Some((asked, zone)) = known.get(name)
            && asked.elapsed() < ZONE_AGE_MAX
        {
            return Ok(Some(Arc::clone(zone)));
        }
        let client = database.pooled().await?;
        let row = client.query_opt(statement::ZONE, &[&name]).await?;
        let Some(mut zone) = row.as_ref().and_then(zone).map(Arc::new) else {
            known.remove(name);
            return Ok(None);
        };
        // Shapes share what stays as it was.
        if let Some((_, old)) = known.get(name).filter(|(_, old)| **old == *zone) {
            zone = Arc::clone(old);
        }
        known.insert(name.to_owned(), (Instant::now(), Arc::clone(&zone)));
        Ok(Some(zone))
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

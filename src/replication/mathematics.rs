//! What the connected server's C library computes as this process' does.
//!
//! *Enters*: nothing. *Leaves*: the functions that clauses may have. *Invariant*: the server is asked
//! once in five seconds at most, by one request at a time.

use std::time::Instant;

use brooklet_sql::mathematics::{self, Functions};
use tokio_postgres::types::ToSql;

use super::database::{Database, DatabaseError};
use crate::limits::MATHEMATICS_AGE_MAX;

/// What is known of it; shared by all requests.
#[derive(Default)]
pub struct KnownMathematics {
    /// When the server was asked, and on what it agrees. Async: held across statements.
    known: tokio::sync::Mutex<Option<(Instant, Functions)>>,
}

impl KnownMathematics {
    /// The functions of which the server's C library gives what ours gives.
    pub async fn alike(&self, database: &Database) -> Result<Functions, DatabaseError> {
        let mut known = self.known.lock().await;
        if let Some((asked, alike)) = *known
            && asked.elapsed() < MATHEMATICS_AGE_MAX
        {
            return Ok(alike);
        }
        let alike = ask(database).await?;
        *known = Some((Instant::now(), alike));
        Ok(alike)
    }
}

async fn ask(database: &Database) -> Result<Functions, DatabaseError> {
    let mut alike = Functions::none();
    let client = database.pooled().await?;
    for question in mathematics::questions() {
        let arguments: [&(dyn ToSql + Sync); 2] = [&question.first, &question.second];
        let row = client.query_one(&question.statement, &arguments).await?;
        if question.agrees(&row.get::<_, Vec<f64>>(0)) {
            alike.add(question.about);
        }
    }
    Ok(alike)
}

//! Keeps the demo's data moving: one small transaction every half second or so.
//!
//! In: the database's URL. Out: changes such as a team makes. Invariant: what is tried next is a
//! function of the seed and the number of the last issue alone ([`plan`]).

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Transaction};
use tracing::{debug, warn};

use super::dataset::{self, ISSUES, MEMBERS, PROJECTS, Rng};
use super::postgres;

/// The task that writes; it ends with this value.
#[derive(Debug)]
pub(super) struct Writer {
    task: JoinHandle<()>,
}

impl Writer {
    /// Starts writing to the database at `url`.
    pub(super) fn begin(url: String) -> Self {
        let task = tokio::spawn(async move {
            // Not tried again: without its Postgres there is no demo to write to.
            if let Err(error) = write(&url).await {
                warn!(%error, "the demo's writes have ended");
            }
        });
        Self { task }
    }

    /// Ends the task and its connection; an open transaction is rolled back.
    pub(super) async fn stop(mut self) {
        self.task.abort();
        if let Err(error) = (&mut self.task).await
            && !error.is_cancelled()
        {
            warn!(%error, "the demo's writes had failed");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    /// The issue goes to the status that follows its own.
    Advance { issue: i64 },
    /// Someone comments.
    Comment { issue: i64, author: i64, body: &'static str },
    /// Someone, or nobody, takes the issue.
    Assign { issue: i64, member: Option<i64> },
    /// A better title.
    Retitle { issue: i64, title: String },
    /// A new priority and estimate.
    Plan { issue: i64, priority: i32, estimate: Option<String> },
    /// A new issue.
    Open { project: i64, title: String },
    /// A few issues change hands at once.
    Triage { first: i64, member: i64 },
    /// The issue is gone, and its comments with it.
    Delete { issue: i64 },
}

/// The next change, given the number of the newest issue.
fn plan(rng: &mut Rng, newest: i64) -> Change {
    let issue = 1 + rng.below(newest.unsigned_abs()) as i64;
    let member = 1 + rng.below(MEMBERS) as i64;
    match rng.below(100) {
        0..40 => Change::Advance { issue },
        40..62 => Change::Comment { issue, author: member, body: dataset::body(rng) },
        62..74 => Change::Assign { issue, member: (rng.below(6) > 0).then_some(member) },
        74..82 => Change::Retitle { issue, title: dataset::title(rng) },
        82..89 => {
            let priority = 1 + rng.below(5) as i32;
            Change::Plan { issue, priority, estimate: dataset::estimate(rng) }
        }
        89..95 => {
            let project = 1 + rng.below(PROJECTS) as i64;
            Change::Open { project, title: dataset::title(rng) }
        }
        95..98 => Change::Triage { first: issue, member },
        _ => Change::Delete { issue },
    }
}

async fn write(url: &str) -> Result<(), tokio_postgres::Error> {
    let mut client = postgres::connect(url).await?;
    let mut rng = Rng::new(5, 0);
    let mut newest = ISSUES as i64;
    loop {
        // The pace is the point: quick enough to watch, slow enough to follow.
        tokio::time::sleep(Duration::from_millis(300 + rng.below(500))).await;
        let change = plan(&mut rng, newest);
        match transact(&mut client, &change).await {
            Ok(opened) => {
                debug!(?change, "wrote");
                newest = opened.unwrap_or(newest);
            }
            Err(error) if client.is_closed() => return Err(error),
            // Whoever plays with the data may have changed the tables.
            Err(error) => warn!(%error, ?change, "a write of the demo's failed"),
        }
    }
}

/// Carries out one change; the answer is a new issue's number. A change to an issue that was
/// deleted does nothing.
async fn transact(
    client: &mut Client,
    change: &Change,
) -> Result<Option<i64>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let opened = apply(&transaction, change).await?;
    transaction.commit().await?;
    Ok(opened)
}

async fn apply(
    transaction: &Transaction<'_>,
    change: &Change,
) -> Result<Option<i64>, tokio_postgres::Error> {
    match change {
        Change::Advance { issue } => {
            let next = "UPDATE issues SET updated_at = now(), status = CASE status \
                        WHEN 'backlog' THEN 'todo' WHEN 'todo' THEN 'in_progress' \
                        WHEN 'in_progress' THEN 'in_review' WHEN 'in_review' THEN 'done' \
                        WHEN 'done' THEN 'in_progress' ELSE 'backlog' END WHERE id = $1";
            transaction.execute(next, &[issue]).await?;
        }
        Change::Comment { issue, author, body } => {
            let touch = "UPDATE issues SET updated_at = now() WHERE id = $1";
            if transaction.execute(touch, &[issue]).await? == 1 {
                let insert = "INSERT INTO comments (issue_id, author_id, body) VALUES ($1, $2, $3)";
                transaction.execute(insert, &[issue, author, body]).await?;
            }
        }
        Change::Assign { issue, member } => {
            let assign = "UPDATE issues SET assignee_id = $2, updated_at = now() WHERE id = $1";
            transaction.execute(assign, &[issue, member]).await?;
        }
        Change::Retitle { issue, title } => {
            let retitle = "UPDATE issues SET title = $2, updated_at = now() WHERE id = $1";
            transaction.execute(retitle, &[issue, title]).await?;
        }
        Change::Plan { issue, priority, estimate } => {
            let plan = "UPDATE issues SET priority = $2, estimate = $3::text::numeric, \
                        updated_at = now() WHERE id = $1";
            transaction.execute(plan, &[issue, priority, estimate]).await?;
        }
        Change::Open { project, title } => {
            let insert = "INSERT INTO issues (project_id, title) VALUES ($1, $2) RETURNING id";
            return Ok(Some(transaction.query_one(insert, &[project, title]).await?.try_get(0)?));
        }
        Change::Triage { first, member } => {
            let triage = "UPDATE issues SET assignee_id = $2, status = 'todo', updated_at = now() \
                          WHERE id BETWEEN $1 AND $1 + 2";
            transaction.execute(triage, &[first, member]).await?;
        }
        Change::Delete { issue } => {
            transaction.execute("DELETE FROM issues WHERE id = $1", &[issue]).await?;
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_the_same_every_time_and_of_every_kind() {
        let plans = || {
            let mut rng = Rng::new(5, 0);
            (0..500).map(|_| plan(&mut rng, 10_000)).collect::<Vec<_>>()
        };
        let first = plans();
        assert_eq!(first, plans());
        let kinds: std::collections::HashSet<_> =
            first.iter().map(std::mem::discriminant).collect();
        assert_eq!(kinds.len(), 8);
    }
}

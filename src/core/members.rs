//! What shapes with subqueries need of a core: their stores and their thread.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use brooklet_dataflows::{ShapeId, ShapePlan};
use brooklet_sql::Lsn;
use tokio::sync::mpsc;

use super::threads::spawn_thread;
use super::{Ends, FoundLogs, open_postings};
use crate::change_log::{ChangeLog, Replayed};
use crate::ingest::Entry;
use crate::limits::MEMBERS_INPUTS_MAX;
use crate::members::checkpoint::{CaughtUp, Checkpoints, Unfit};
use crate::members::lane::Lane;
use crate::members::loading::Loading;
use crate::members::watch::Watch;
use crate::members::{Input, MembersHandle, tables};
use crate::shape_log::posting_files::PostingFiles;
use crate::shape_log::{Appender, AppenderHandle, ShapeLog, ShapeLogs};
use crate::shapes::catalog::{ShapeRecord, StoredForm};
use crate::storage::StorageHandle;

/// Their logs, beside those of the others.
pub(super) struct MemberStores {
    pub appender: AppenderHandle,
    pub logs: Arc<ShapeLogs>,
    pub postings: PostingFiles,
    pub checkpoints: Arc<Checkpoints>,
    /// Where their logs end: what comes after is done again.
    pub position: Lsn,
}

/// The records of shapes with subqueries, and the others.
pub(super) fn divide<'a>(
    records: &'a [ShapeRecord],
    forms: &BTreeMap<u32, StoredForm>,
) -> (Vec<&'a ShapeRecord>, Vec<&'a ShapeRecord>) {
    let concerns = |record: &&ShapeRecord| {
        let form = record.filter.as_ref().and_then(|filter| forms.get(&filter.form));
        form.is_some_and(|form| !form.tables.is_empty())
    };
    records.iter().partition(concerns)
}

/// Where the parts of a core say that a shape has ended, and that a log is large.
pub(super) type Told =
    (mpsc::UnboundedSender<crate::shape_log::Ended>, mpsc::UnboundedSender<ShapeId>);

/// Reads their logs back, into `found`. Also returns the highest number of a shape that they know.
pub(super) fn open(
    storage: &StorageHandle,
    dir: &Path,
    end: Lsn,
    records: &[&ShapeRecord],
    (ended, large): Told,
    found: &mut FoundLogs,
) -> anyhow::Result<(MemberStores, Appender, u64)> {
    let (writer, mut own, last_id) = open_postings(storage, &dir.join("members"), end, records)?;
    own.values().for_each(ShapeLog::begins_exactly);
    found.append(&mut own);
    let logs = Arc::new(ShapeLogs::default());
    let (position, postings) = (writer.position(), writer.files().clone());
    let (appender, handle) = Appender::new(writer, Arc::clone(&logs), ended, large);
    let checkpoints = Arc::new(Checkpoints::new(storage, &dir.join("members")));
    let stores = MemberStores { appender: handle, logs, postings, checkpoints, position };
    Ok((stores, appender, last_id))
}

/// Their thread at work.
pub(super) struct Started {
    stores: MemberStores,
    inputs: mpsc::Sender<Input>,
    bytes_max: usize,
    begun_after: Lsn,
}

impl Started {
    /// The way to it, and to the change log's thread.
    pub fn handle(self, slices: mpsc::Sender<Vec<Entry>>) -> MembersHandle {
        let Started { stores, inputs, bytes_max, begun_after } = self;
        let MemberStores { appender, logs, postings, checkpoints, .. } = stores;
        MembersHandle {
            inputs,
            logs,
            appender,
            postings,
            checkpoints,
            slices,
            bytes_max,
            loading: Loading::new(bytes_max),
            begun_after,
            forgotten: AtomicBool::new(false),
        }
    }
}

/// Starts their thread, and shows it again what is missing of their logs. Also returns what goes on with
/// the stream, and what the last checkpoint has.
pub(super) async fn start(
    stores: MemberStores,
    plans: Vec<Arc<ShapePlan>>,
    bytes_max: u64,
    log: &ChangeLog,
    (repaired, end): (Lsn, Lsn),
    ends: &Ends,
) -> anyhow::Result<(Started, Watch, Option<CaughtUp>)> {
    let (inputs, receiver) = mpsc::channel(MEMBERS_INPUTS_MAX);
    let after = stores.position.max(repaired);
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let mut watch = Watch::new(inputs.clone(), tables(&plans));
    let any = !plans.is_empty();
    let (appender, logs) = (stores.appender.clone(), Arc::clone(&stores.logs));
    let (found, checkpoints) = (plans.clone(), Arc::clone(&stores.checkpoints));
    let lane = Lane::new(receiver, appender, logs, plans, after, bytes_max);
    spawn_thread("members", ends.clone(), move || {
        lane.run();
        Ok(())
    })?;
    let log = log.clone();
    let shown = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let mut standing = None;
        if any {
            match checkpoints.catch_up(&log, &found, (repaired, after), bytes_max) {
                Ok(caught_up) => standing = Some(caught_up),
                Err(Unfit::Missing) => {}
                Err(reason) => {
                    tracing::warn!(%reason, "no checkpoint of what is kept for subqueries is used");
                }
            }
            let mut shown = 0;
            log.replay(after, |event| {
                match event {
                    Replayed::Change(change) => watch.change(&change),
                    Replayed::Relation(relation) => watch.relation(&relation),
                    Replayed::Truncate(tables) => watch.truncate(&tables),
                    Replayed::Commit(commit) => watch.commit(commit.lsn, commit.xid),
                }
                shown += 1;
                if shown % 1024 == 0 {
                    watch.flush();
                }
            })?;
        } else {
            checkpoints.remove()?;
        }
        watch.position(end);
        watch.flush();
        Ok((watch, standing))
    });
    let (watch, standing) = shown.await??;
    Ok((Started { stores, inputs, bytes_max, begun_after: after }, watch, standing))
}

//! The thread that keeps the state of shapes with subqueries.
//!
//! A plain thread: it computes, and blocks on its appender. *Invariant*: between two inputs the state is that
//! after the transaction at `position`, and the appender has been told of everything up to there.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use brooklet_dataflows::members::{Counts, KeptName, Members, Strayed, count, needs, outdated};
use brooklet_dataflows::{Change, Collated, EndReason, ShapeId, ShapePlan};
use brooklet_sql::{Lsn, Row};
use tokio::sync::mpsc;

use super::checkpoint::Standing;
use super::collected::{Load, bytes, collect};
use super::{BYTES, Beginning, Collect, Input, Loaded, Restored, Streamed, TooLarge, Unkept};
use crate::shape_log::{AppenderHandle, ShapeLogs};
use crate::shapes::visibility::{Seen, Visibility};

mod lost;
mod restoring;
#[cfg(test)]
mod tests;

use self::lost::Lost;
use self::restoring::Restoring;

/// The thread's state.
pub struct Lane {
    inputs: mpsc::Receiver<Input>,
    appender: AppenderHandle,
    logs: Arc<ShapeLogs>,
    bytes_max: usize,
    members: Members,
    /// Every transaction up to here is in the state.
    position: Lsn,
    open: Vec<Change>,
    open_bytes: usize,
    /// Bytes that were kept when that was last counted.
    kept: usize,
    /// The tables of the open transaction, once it is larger than what may be kept.
    too_large: BTreeSet<u32>,
    loads: HashMap<ShapeId, Load>,
    restoring: Option<Restoring>,
    /// The slot was lost, see [`lost`].
    lost: Option<Lost>,
}

impl Lane {
    /// A thread for the shapes `plans`, whose logs end at `position`.
    #[must_use]
    pub fn new(
        inputs: mpsc::Receiver<Input>,
        appender: AppenderHandle,
        logs: Arc<ShapeLogs>,
        plans: Vec<Arc<ShapePlan>>,
        position: Lsn,
        bytes_max: usize,
    ) -> Lane {
        let (deferred, restored) = (VecDeque::new(), None);
        let (reached, bytes, missed) = (position, 0, false);
        let restoring = Restoring { plans, reached, deferred, bytes, missed, restored };
        let restoring = Some(restoring).filter(|restoring| !restoring.plans.is_empty());
        Lane {
            inputs,
            appender,
            logs,
            bytes_max,
            members: Members::default(),
            position,
            open: Vec::new(),
            open_bytes: 0,
            kept: 0,
            too_large: BTreeSet::new(),
            loads: HashMap::new(),
            restoring,
            lost: None,
        }
    }

    /// Runs until everybody has hung up.
    pub fn run(mut self) {
        while let Some(input) = self.inputs.blocking_recv() {
            match (input, self.restoring.take()) {
                (Input::View(answer), restoring) => {
                    self.restoring = restoring;
                    // Whoever asked may be gone.
                    _ = answer.send(self.members.view());
                }
                (Input::Forget(done), _) => self.forget(done),
                (input, None) if self.lost.is_some() => self.while_lost(input),
                (input, Some(restoring)) => self.restore(restoring, input),
                (input, None) => self.take(input),
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Stream(stream, _share) => {
                stream.into_iter().for_each(|streamed| self.streamed(streamed));
                // It is one too many for the appender, since commits begin before positions.
                self.appender.collated(Collated::Position(Lsn(self.position.0.saturating_add(1))));
                self.begin_loaded();
            }
            Input::Missed(reached) => self.missed(reached),
            Input::Collect(Collect { shape, needs, answer }) => {
                let missing = needs.iter().filter(|name| !self.members.keeps(name)).cloned();
                // Whoever asked may have given up.
                if answer.send((self.position, missing.collect())).is_ok() {
                    self.loads.insert(shape, Load::new(needs));
                }
            }
            Input::Loaded(loaded) => {
                if let Some(load) = self.loads.get_mut(&loaded.plan.id) {
                    load.loaded = Some(loaded);
                }
                // One that was given up does not wait for the stream.
                self.begin_loaded();
            }
            Input::Checkpoint(answer) => {
                let (shapes, rows) = (self.members.all(), self.members.freeze());
                // Whoever asked may have given up.
                _ = answer.send(Standing { position: self.position, shapes, rows });
            }
            // There is nothing left that waits for it, and the others were answered.
            Input::Restored(_) | Input::Repaired(_) | Input::Forget(_) | Input::View(_) => {}
            Input::Remove(shapes) => self.remove(&shapes),
        }
    }

    fn streamed(&mut self, streamed: Streamed) {
        match streamed {
            Streamed::Change(change) => self.change(change),
            Streamed::Abort => {
                self.take_open();
                self.too_large.clear();
            }
            Streamed::Relation(relation) => {
                for load in self.loads.values_mut() {
                    if load.needs.iter().any(|name| name.table == relation.oid) {
                        load.relations.push(Arc::clone(&relation));
                    }
                }
                let ended = self.members.outdated(&relation);
                self.end(&ended, EndReason::TableChanged);
            }
            Streamed::Truncate(tables) => {
                for table in tables {
                    self.loads.retain(|_, load| load.needs.iter().all(|name| name.table != table));
                    let ended = self.members.of_table(table);
                    self.end(&ended, EndReason::Truncated);
                }
            }
            Streamed::Commit { lsn, xid, last_op } => {
                let changes = self.take_open();
                self.end_too_large();
                self.transaction(lsn, xid, last_op, &changes);
                self.collect(xid, &changes);
                self.position = self.position.max(lsn);
            }
            Streamed::Passed(lsn) => self.position = self.position.max(lsn),
        }
    }

    /// For the shapes in creation: what is kept for all shapes and what these hold have one limit.
    fn collect(&mut self, xid: u32, changes: &[Change]) {
        if !self.loads.is_empty() {
            let left = self.bytes_max.saturating_sub(self.members.bytes());
            collect(&mut self.loads, (xid, changes), left, self.bytes_max);
        }
    }

    fn change(&mut self, change: Change) {
        self.open_bytes += bytes(&change);
        // Some of it always: where nearly all is taken the youngest shape is to end, not those of a row's table.
        let left = self.bytes_max.saturating_sub(self.kept).max(self.bytes_max / 16);
        if self.open_bytes <= left {
            return self.open.push(change);
        }
        let open = std::mem::take(&mut self.open);
        self.too_large.extend(open.iter().map(|change| change.table));
        self.too_large.insert(change.table);
    }

    fn take_open(&mut self) -> Vec<Change> {
        self.open_bytes = 0;
        std::mem::take(&mut self.open)
    }

    /// Ends the shapes of tables that a transaction has changed more than fits.
    fn end_too_large(&mut self) {
        for table in std::mem::take(&mut self.too_large) {
            let ended = self.members.of_table(table);
            tracing::warn!(
                table,
                shapes = ended.len(),
                "a transaction is larger than what may be kept for subqueries: shapes end"
            );
            self.loads.retain(|_, load| load.needs.iter().all(|name| name.table != table));
            self.end(&ended, EndReason::Removed);
        }
    }

    fn transaction(&mut self, lsn: Lsn, xid: u32, last_op: u64, changes: &[Change]) {
        let mut taken = self.members.transaction(changes, last_op);
        if let Err(Strayed(names)) = &taken {
            self.end_strayed(names, lsn);
            taken = self.members.transaction(changes, last_op);
        }
        let news = taken.unwrap_or_else(|_| {
            let all = self.members.all();
            self.end(&all, EndReason::TableChanged);
            Vec::new()
        });
        if !news.is_empty() {
            self.appender.members(lsn, xid, news);
        }
        self.keep_within_budget();
    }

    /// Ends the shapes of rows that are not what Postgres has, which are then kept no more.
    fn end_strayed(&mut self, names: &[KeptName], lsn: Lsn) {
        let ended = self.members.of_rows(names);
        let tables: BTreeSet<u32> = names.iter().map(|name| name.table).collect();
        let shapes = ended.len();
        tracing::error!(%lsn, ?tables, shapes, "what is kept for subqueries is not what Postgres has: shapes end");
        self.loads.retain(|_, load| load.needs.iter().all(|name| !names.contains(name)));
        self.end(&ended, EndReason::TableChanged);
        // Also what no shape has come to need.
        self.members.tidy();
    }

    /// Ends the youngest shapes while there is too much.
    fn keep_within_budget(&mut self) {
        let mut bytes = self.members.bytes();
        while bytes > self.bytes_max
            && let Some(last) = self.members.last()
        {
            tracing::warn!(
                bytes,
                shape = last.0,
                "more is kept for subqueries than is allowed: a shape ends"
            );
            self.end(&[last], EndReason::Removed);
            bytes = self.members.bytes();
        }
        self.keeps(bytes);
    }

    /// Notes how much is kept.
    fn keeps(&mut self, bytes: usize) {
        self.kept = bytes;
        BYTES.store(bytes as u64, Ordering::Relaxed);
    }

    fn end(&mut self, shapes: &[ShapeId], why: EndReason) {
        shapes.iter().for_each(|shape| _ = self.members.remove(*shape));
        self.appender.ended(shapes, why);
    }

    fn remove(&mut self, shapes: &[ShapeId]) {
        for shape in shapes {
            self.loads.remove(shape);
            if self.members.has(*shape) {
                self.members.remove(*shape);
            }
        }
        self.keeps(self.members.bytes());
    }

    /// Begins the shapes whose snapshots the stream has passed.
    fn begin_loaded(&mut self) {
        let reached = |load: &Load| {
            load.loaded.as_ref().is_some_and(|loaded| {
                load.collected.is_err() || passes(self.position, loaded.seen.until)
            })
        };
        let ready = self.loads.iter().filter(|(_, load)| reached(load));
        let ready: BTreeSet<ShapeId> = ready.map(|(shape, _)| *shape).collect();
        for shape in ready {
            let Some(load) = self.loads.remove(&shape) else { continue };
            let Load { needs, collected, relations, loaded: Some(loaded), .. } = load else {
                continue;
            };
            let Loaded { plan, log, rows, seen, answer, .. } = *loaded;
            let collected = match collected {
                Ok(collected) => collected,
                Err(why) => {
                    _ = answer.send(Err(why));
                    continue;
                }
            };
            let visibility = &seen.visibility;
            if relations.iter().any(|relation| outdated(&plan, relation)) {
                // Said by dropping the answer: it has to be asked for anew.
                continue;
            }
            match self.begin(&plan, &needs, rows, &collected, visibility) {
                Ok(rows) => {
                    // Before the next transaction can bring it anything.
                    let visibility = visibility.clone();
                    let seen = Seen::new(visibility, self.position);
                    log.begins_after(Arc::clone(&seen));
                    self.logs.insert(&log);
                    let since = collected.iter().map(|(xid, _)| *xid).collect();
                    let beginning = Beginning { seen, since, rows };
                    if answer.send(Ok(beginning)).is_err() {
                        self.members.remove(shape);
                    }
                }
                Err(Some(error)) => _ = answer.send(Err(error)),
                Err(None) => {}
            }
        }
    }

    fn begin(
        &mut self,
        plan: &Arc<ShapePlan>,
        needs: &[KeptName],
        rows: Vec<(KeptName, Counts)>,
        collected: &[(u32, Vec<Change>)],
        visibility: &Visibility,
    ) -> Result<Vec<Row>, Option<Unkept>> {
        for (name, mut counts) in rows {
            if self.members.keeps(&name) {
                continue;
            }
            let unseen = collected.iter().filter(|(xid, _)| !visibility.contains(*xid));
            unseen.for_each(|(_, changes)| count(&name, changes, 1, &mut counts));
            if self.members.keep(name, counts).is_err() {
                tracing::error!(shape = plan.id.0, "a snapshot and the stream do not agree");
                self.members.tidy();
                return Err(None);
            }
        }
        if !needs.iter().all(|name| self.members.keeps(name)) {
            // Another shape had it, and has ended meanwhile.
            self.members.tidy();
            return Err(None);
        }
        self.members.add(Arc::clone(plan));
        let bytes = self.members.bytes();
        if bytes > self.bytes_max {
            self.members.remove(plan.id);
            return Err(Some(TooLarge(self.bytes_max).into()));
        }
        self.keeps(bytes);
        Ok(self.members.rows(plan.id).collect())
    }

    /// Takes an input while rows are awaited: the stream is put off, but says how far it is.
    fn restore(&mut self, mut restoring: Restoring, input: Input) {
        match input {
            Input::Restored(restored) => restoring.restored = Some(restored),
            // Said by dropping the answer.
            Input::Checkpoint(_) => {}
            Input::Remove(shapes) => {
                let gone: HashSet<&ShapeId> = shapes.iter().collect();
                restoring.plans.retain(|plan| !gone.contains(&plan.id));
                restoring.deferred.push_back(Input::Remove(shapes));
            }
            input => restoring.put_off(input),
        }
        if restoring.bytes > self.bytes_max && !restoring.plans.is_empty() {
            tracing::warn!(
                bytes = restoring.bytes,
                shapes = restoring.plans.len(),
                "the stream brings more than may be kept while rows for subqueries are read: shapes end"
            );
            self.appender.ended(&restoring.take_all(), EndReason::Removed);
        }
        if restoring.missed {
            self.appender.ended(&restoring.take_all(), EndReason::Removed);
        }
        let none = restoring.plans.is_empty();
        match restoring.restored.take() {
            Some(restored) if passes(restoring.reached, restored.until) || none => {
                self.restored(&mut restoring, *restored);
            }
            None if none => {}
            restored => {
                restoring.restored = restored;
                self.restoring = Some(restoring);
                return;
            }
        }
        restoring.deferred.into_iter().for_each(|input| self.take(input));
    }

    /// Goes back from the snapshot to where the logs end.
    fn restored(&mut self, restoring: &mut Restoring, restored: Restored) {
        let Restored { mut rows, standing, visibility, until } = restored;
        self.appender.ended(&restoring.take_unfit(until), EndReason::TableChanged);
        restoring.each_transaction(|xid, changes| {
            if visibility.contains(xid) {
                rows.iter_mut().for_each(|(name, counts)| count(name, changes, -1, counts));
            }
        });
        rows.extend(standing);
        let wanted = |name: &KeptName| {
            restoring.plans.iter().any(|plan| needs(plan).iter().any(|(need, _)| need == name))
        };
        rows.retain(|(name, _)| wanted(name));
        for (name, counts) in rows {
            if self.members.keep(name, counts).is_err() {
                tracing::error!(
                    "a snapshot and the stream do not agree: shapes with subqueries end"
                );
                self.members.tidy();
                return self.appender.ended(&restoring.take_all(), EndReason::TableChanged);
            }
        }
        restoring.plans.drain(..).for_each(|plan| self.members.add(plan));
        self.keep_within_budget();
    }
}

/// Whether everything is there that a snapshot may show: what became visible before `until` was read has a
/// commit record that begins before it.
fn passes(position: Lsn, until: Lsn) -> bool {
    position.0.saturating_add(1) >= until.0
}

//! From wire events to what is handed on next; pure but for the clock.

use std::sync::Arc;
use std::time::Instant;

use brooklet_sql::{Lsn, Relation};
use pgwire_replication::ReplicationEvent;

use super::assemble::Assembler;
use super::layouts::Layouts;
use super::ways::Target;
use crate::decode::{DecodeError, Message, pgoutput};
use crate::ingest::Entry;
use crate::limits::IDLE_POSITION_INTERVAL;

/// A table that was announced by a transaction that the catalogue did not know yet.
pub(super) struct Unsettled {
    pub(super) announced: Relation,
    pub(super) xid: u32,
    pub(super) targets: Vec<Target>,
}

/// What has arrived and is not handed on.
pub(super) struct Gather {
    pub(super) assembler: Assembler,
    pub(super) unsettled: Vec<Unsettled>,
    /// A position before which there is nothing else to hand on.
    idle: Option<Lsn>,
    idle_noted: Option<Instant>,
}

impl Gather {
    /// Nothing yet.
    pub(super) fn new(layouts: Arc<Layouts>) -> Gather {
        let (assembler, unsettled) = (Assembler::new(layouts), Vec::new());
        Gather { assembler, unsettled, idle: None, idle_noted: None }
    }

    /// Takes an event; gives back a definition, of which more has to be known.
    pub(super) fn event(
        &mut self,
        event: ReplicationEvent,
    ) -> Result<Option<Relation>, DecodeError> {
        match event {
            ReplicationEvent::Begin { final_lsn, xid, commit_time_micros: time } => {
                self.idle = None;
                let final_lsn = Lsn(final_lsn.0);
                self.assembler.message(Message::Begin { final_lsn, xid, time })?;
            }
            ReplicationEvent::Commit { lsn, end_lsn, commit_time_micros: time } => {
                let (lsn, end_lsn) = (Lsn(lsn.0), Lsn(end_lsn.0));
                // Before Postgres 15 there is one for each that concerns other tables only.
                self.idle = self.assembler.has_only_begun().then_some(end_lsn);
                self.assembler.message(Message::Commit { lsn, end_lsn, time })?;
            }
            ReplicationEvent::XLogData { data, .. } => match pgoutput::decode(data)? {
                Message::Relation(relation) => return Ok(Some(relation)),
                message => self.assembler.message(message)?,
            },
            ReplicationEvent::KeepAlive { wal_end, .. } if !self.assembler.in_transaction() => {
                self.idle = Some(Lsn(wal_end.0));
            }
            _ => {}
        }
        Ok(None)
    }

    /// Whether there is something to hand on. Idle positions cost an fsync, so they are noted at
    /// intervals; the next keepalive comes when we confirm this one.
    pub(super) fn ready(&self) -> bool {
        !self.assembler.is_empty() || self.has_due_position()
    }

    /// Whether an idle position has waited for long enough.
    pub(super) fn has_due_position(&self) -> bool {
        let due = |noted: Instant| noted.elapsed() >= IDLE_POSITION_INTERVAL;
        self.idle.is_some() && self.idle_noted.is_none_or(due)
    }

    /// Whether an idle position waits, due or not.
    pub(super) fn has_position(&self) -> bool {
        self.idle.is_some()
    }

    /// Takes what is to be handed on.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        if let Some(lsn) = self.idle.take() {
            self.idle_noted = Some(Instant::now());
            self.assembler.push(Entry::Idle(lsn));
        }
        self.assembler.take()
    }
}

#[cfg(test)]
mod tests {
    use pgwire_replication::Lsn as WireLsn;

    use super::*;

    fn transaction(lsn: u64) -> [ReplicationEvent; 2] {
        let (commit, end_lsn) = (WireLsn(lsn), WireLsn(lsn + 8));
        let begin = ReplicationEvent::Begin { final_lsn: commit, xid: 1, commit_time_micros: 0 };
        [begin, ReplicationEvent::Commit { lsn: commit, end_lsn, commit_time_micros: 0 }]
    }

    #[test]
    fn a_transaction_that_brings_nothing_is_a_position() {
        let mut gather = Gather::new(Arc::default());
        for event in transaction(100).into_iter().chain(transaction(200)) {
            assert!(gather.event(event).unwrap().is_none());
        }
        let taken = gather.take();
        assert!(matches!(taken[..], [Entry::Idle(Lsn(208))]), "{taken:?}");
        // The next one waits, and is not lost: there may be a thousand in a second.
        transaction(300).into_iter().for_each(|event| _ = gather.event(event).unwrap());
        assert!(gather.has_position() && !gather.ready());
    }

    #[test]
    fn an_emptied_table_is_something() {
        let mut gather = Gather::new(Arc::default());
        let [begin, commit] = transaction(100);
        gather.event(begin).unwrap();
        gather.assembler.message(Message::Truncate { tables: vec![1] }).unwrap();
        gather.event(commit).unwrap();
        let taken = gather.take();
        let whole =
            [Entry::Begin { lsn: Lsn(100), xid: 1 }, Entry::Commit { end_lsn: Lsn(108), time: 0 }];
        assert_eq!(
            format!("{:?}{:?}", taken[0], taken[2]),
            format!("{:?}{:?}", whole[0], whole[1])
        );
        assert!(taken.len() == 3 && !gather.has_position());
    }
}

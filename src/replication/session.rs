//! The replication session: tail the slot, hand slices on, confirm what is durable.
//!
//! The wire (authentication, TLS, keepalive answers while we are held up, status updates apart from
//! the start position) is the crate `pgwire-replication`'s: it leaves pgoutput's bodies to us, where
//! the other candidate, `pg_walstream`, decodes them into its own values in files of thousands of
//! lines, and a session of our own over `postgres-protocol` would be the same work again.
//!
//! *Enters*: wire events. *Leaves*: slices for the change log. *Invariant*: the position confirmed is
//! never ahead of the durable one. Keepalive positions count as progress: the walsender sends what it
//! has read in order, so everything that committed before has been sent before.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use brooklet_sql::{Lsn, Relation, statement};
use pgwire_replication::{Lsn as WireLsn, PgWireError, ReplicationClient, ReplicationConfig};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::database::{Database, DatabaseError};
use super::gather::{Gather, Unsettled};
use super::layouts::Layouts;
use super::preflight::{self, PreflightError};
use super::slot::{self, Names, SlotState};
use super::ways::{self, Target, Targets};
use crate::decode::DecodeError;
use crate::frame::FrameError;
use crate::ingest::Entry;
use crate::limits::{
    CATALOGUE_MAX, HANDSHAKE_MAX, IDLE_POSITION_INTERVAL, RECONNECT_PAUSE, SILENCE_MAX, STOP_MAX,
    UNSETTLED_INTERVAL, UNSETTLED_PAUSE, UNSETTLED_TRIES,
};
use crate::shapes::partitions::Partitions;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection or the server.
    #[error(transparent)]
    Wire(#[from] PgWireError),
    /// Asking about the slot.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// Asking where a table's changes go.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The same, for too long.
    #[error("Postgres does not say where a table's changes go")]
    Silent,
    /// Postgres says nothing at all.
    #[error("Postgres does not answer")]
    Unanswered,
    /// The other end of the connection is gone.
    #[error("the slot is not in use: Postgres has ended the stream, and we have not heard of it")]
    LetGo,
    /// The partitions of a table cannot be remembered.
    #[error(transparent)]
    Remember(#[from] FrameError),
    /// A message we cannot read: a bug, or a server we do not know.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The slot is gone, or its WAL is: what we hold cannot be continued.
    #[error("the replication slot cannot be continued: {0}")]
    SlotLost(String),
    /// The same cluster went on on another timeline: a standby was promoted.
    #[error("the database is on timeline {0} now")]
    OtherTimeline(u32),
    /// The publication is not the one we know: what was written meanwhile cannot be decoded for it.
    #[error("publication {0} is gone, or another one")]
    PublicationLost(String),
    /// Another cluster answered.
    #[error("the database is another one now: {0}")]
    OtherDatabase(String),
    /// The server or its change log has stopped; the process is ending.
    #[error("the change log has stopped")]
    Stopped,
}

impl From<tokio_postgres::Error> for SessionError {
    fn from(error: tokio_postgres::Error) -> SessionError {
        SessionError::Preflight(error.into())
    }
}

impl SessionError {
    /// Whether connecting again is of no use.
    fn is_final(&self) -> bool {
        self.loses_the_slot()
            || matches!(
                self,
                SessionError::OtherDatabase(_)
                    | SessionError::PublicationLost(_)
                    | SessionError::Stopped
            )
    }

    /// Whether the stream goes on from a new slot, once what was missed is known.
    #[must_use]
    pub fn loses_the_slot(&self) -> bool {
        matches!(self, SessionError::SlotLost(_) | SessionError::OtherTimeline(_))
    }
}

/// Which cluster a storage directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cluster {
    /// `system_identifier`.
    pub system_id: String,
    /// The timeline; another one after a fail-over.
    pub timeline: u32,
}

/// What a session needs.
pub struct Session {
    /// How to connect.
    pub database: Database,
    /// Slot and publication.
    pub names: Names,
    /// The publication's oid, as it is expected.
    pub publication: u32,
    /// The cluster that is expected.
    pub cluster: Cluster,
    /// Where columns stand.
    pub layouts: Arc<Layouts>,
    /// Told of partitions before their rows.
    pub partitions: Arc<Partitions>,
    /// Told when a table is announced again: something about it has changed.
    pub changed: Arc<Notify>,
    /// Where slices go; waits while the log is behind.
    pub slices: mpsc::Sender<Vec<Entry>>,
    /// The durable end of the log.
    pub durable: watch::Receiver<Lsn>,
    /// Told whether the stream is connected.
    pub connected: watch::Sender<bool>,
    /// Changes when the server stops.
    pub stop: watch::Receiver<bool>,
}

/// Asks the server which cluster it is.
pub async fn identify(wire: ReplicationConfig) -> Result<Cluster, SessionError> {
    let asked = async {
        let mut client = ReplicationClient::connect_gated(wire).await?;
        let found = client.identify_system().await?;
        Ok(Cluster { system_id: found.system_id, timeline: found.timeline })
    };
    tokio::time::timeout(HANDSHAKE_MAX, asked).await.map_err(|_| SessionError::Unanswered)?
}

impl Session {
    /// Streams until that cannot be retried; gives itself back, and why. An error if there is no thread for it.
    ///
    /// It has a thread of its own, on which the reader of the wire and who takes from it take turns: of two threads
    /// each message may have to wake the other one, which costs several times what a small transaction does.
    pub async fn run(mut self) -> std::io::Result<(Session, SessionError)> {
        let (mut done, ended) = oneshot::channel();
        std::thread::Builder::new().name("replication".into()).spawn(move || {
            let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match built {
                Ok(runtime) => runtime,
                Err(error) => {
                    _ = done.send(Err(error));
                    return;
                }
            };
            runtime.block_on(async {
                tokio::select! {
                    error = self.stream_on() => { _ = done.send(Ok((self, error))); }
                    // Nobody wants it any more.
                    () = done.closed() => {}
                }
            });
        })?;
        ended.await.unwrap_or_else(|_| Err(std::io::Error::other("thread replication panicked")))
    }

    /// Streams, and connects again after every loss; returns only what cannot be retried.
    async fn stream_on(&mut self) -> SessionError {
        let mut pause = RECONNECT_PAUSE.0;
        loop {
            let begun = Instant::now();
            let error = match self.stream().await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            self.connected.send_replace(false);
            // Where the stream is lost another server may have the name now: what is idle leads to the old one.
            self.database.renew_idle();
            if error.is_final() {
                return error;
            }
            tracing::warn!(%error, "replication stopped; connecting again");
            if self.slices.send(vec![Entry::Cut]).await.is_err() {
                return SessionError::Stopped;
            }
            if begun.elapsed() > RECONNECT_PAUSE.1 {
                pause = RECONNECT_PAUSE.0;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_PAUSE.1);
        }
    }

    async fn stream(&mut self) -> Result<std::convert::Infallible, SessionError> {
        let start = *self.durable.borrow_and_update();
        let begun = tokio::time::timeout(HANDSHAKE_MAX, self.begin(start)).await;
        let (mut client, catalogue) = begun.map_err(|_| SessionError::Unanswered)??;
        tracing::info!(%start, "replication is running");
        self.connected.send_replace(true);
        let mut gather = Gather::new(Arc::clone(&self.layouts));
        let mut stop = self.stop.clone();
        let mut again = tokio::time::interval(UNSETTLED_INTERVAL);
        let mut silence = pin!(tokio::time::sleep(SILENCE_MAX));
        let mut heard = false;
        loop {
            tokio::select! {
                biased;
                changed = self.durable.changed() => {
                    changed.map_err(|_| SessionError::Stopped)?;
                    client.update_applied_lsn(WireLsn(self.durable.borrow_and_update().0));
                }
                _ = stop.changed() => {
                    // A clean end frees the slot at once, for whoever starts next.
                    _ = tokio::time::timeout(STOP_MAX, self.release(client)).await;
                    return Err(SessionError::Stopped);
                }
                event = client.recv() => match event? {
                    Some(event) => {
                        heard = true;
                        if let Some(announced) = gather.event(event)? {
                            self.announce(announced, &catalogue, &mut gather).await?;
                        }
                    }
                    None => return Err(PgWireError::Protocol("the server ended the stream".into()).into()),
                },
                _ = again.tick(), if !gather.unsettled.is_empty() => {
                    self.settle(&catalogue, &mut gather).await?;
                }
                () = &mut silence => {
                    if !std::mem::take(&mut heard) {
                        self.look(&catalogue).await?;
                    }
                    silence.as_mut().reset(tokio::time::Instant::now() + SILENCE_MAX);
                }
                // An idle position that is not due yet must not wait for the next event.
                () = tokio::time::sleep(IDLE_POSITION_INTERVAL), if gather.has_position() => {
                    self.hand_on(&mut gather).await?;
                }
                // Nothing more has arrived: hand on what there is.
                () = std::future::ready(()), if gather.ready() => self.hand_on(&mut gather).await?,
            }
            if gather.assembler.is_full() || gather.has_due_position() {
                self.hand_on(&mut gather).await?;
            }
        }
    }

    /// Begins to stream from a position on, if that is the continuation of what we hold. With a connection to ask on.
    async fn begin(&self, start: Lsn) -> Result<(ReplicationClient, Client), SessionError> {
        self.check_slot(start).await?;
        let wire = self.database.replication(&self.names.slot, &self.names.publication);
        let wire = wire.with_start_lsn(WireLsn(start.0));
        let mut client = ReplicationClient::connect_gated(wire).await?;
        let found = client.identify_system().await?;
        if found.system_id != self.cluster.system_id {
            return Err(SessionError::OtherDatabase(format!("system {}", found.system_id)));
        }
        if found.timeline != self.cluster.timeline {
            return Err(SessionError::OtherTimeline(found.timeline));
        }
        // What has been sent was on its disk. Postgres would wait in silence until it has written as much again.
        let flushed = Lsn(found.xlogpos.0).end_of_record();
        if flushed < start.end_of_record() {
            let reason = format!("an older copy that ends at {flushed}, we hold up to {start}");
            return Err(SessionError::OtherDatabase(reason));
        }
        let catalogue = self.database.connect().await?;
        // Between two announcements there may be days.
        catalogue.batch_execute("SET idle_session_timeout = 0").await?;
        client.simple_query(statement::LASTING).await?;
        client.start().await?;
        client.wait_started().await?;
        Ok((client, catalogue))
    }

    /// Nothing has come for a while: that says nothing of whether anything can. Asked on another connection, since
    /// nothing on this one has to be answered; Postgres lets go of a slot whose client it has not heard of for
    /// `wal_sender_timeout`.
    async fn look(&self, catalogue: &Client) -> Result<(), SessionError> {
        let slot: [&(dyn ToSql + Sync); 1] = [&self.names.slot];
        let asked = catalogue.query_opt(statement::SLOT_ACTIVE, &slot);
        let found = tokio::time::timeout(CATALOGUE_MAX, asked).await;
        let found = found.map_err(|_| SessionError::Unanswered)??;
        match found.map(|row| row.get(0)) {
            Some(true) => Ok(()),
            _ => Err(SessionError::LetGo),
        }
    }

    /// Ends the session and waits until the server has let go of the slot.
    async fn release(&self, mut client: ReplicationClient) -> Result<(), SessionError> {
        client.shutdown().await?;
        let (client, _) = preflight::server(&self.database).await?;
        Ok(preflight::slot_is_free(&client, &self.names.slot).await?)
    }

    /// A slot that is gone, invalidated, or ahead of what we hold cannot be continued. Asked by SQL:
    /// the walsender's own refusal comes in the server's language.
    async fn check_slot(&self, start: Lsn) -> Result<(), SessionError> {
        let lost = |reason: String| Err(SessionError::SlotLost(reason));
        let (client, server) = preflight::server(&self.database).await?;
        let publication = &self.names.publication;
        let found = client.query_opt(statement::PUBLICATION, &[publication]).await?;
        if found.map(|row| row.get("oid")) != Some(self.publication) {
            return Err(SessionError::PublicationLost(publication.clone()));
        }
        match slot::state(&client, &server, &self.names.slot).await? {
            SlotState::Missing => lost(format!("slot {} is gone", self.names.slot)),
            SlotState::Lost => {
                lost(format!("slot {} was invalidated: its WAL is gone", self.names.slot))
            }
            SlotState::At(confirmed) if confirmed > start => {
                lost(format!("slot {} is at {confirmed}, we hold up to {start}", self.names.slot))
            }
            SlotState::At(_) => Ok(()),
        }
    }

    /// A table's definition: asks where its changes go. The stream is held up for a moment only;
    /// what the catalogue does not know by then is asked again later.
    async fn announce(
        &self,
        announced: Relation,
        catalogue: &Client,
        gather: &mut Gather,
    ) -> Result<(), SessionError> {
        let xid = gather.assembler.xid();
        let mut found = self.targets(catalogue, &announced, xid).await?;
        for _ in 0..UNSETTLED_TRIES {
            if found.settled {
                break;
            }
            tokio::time::sleep(UNSETTLED_PAUSE).await;
            found = self.targets(catalogue, &announced, xid).await?;
        }
        self.remember(&announced, &found.targets).await?;
        if gather.assembler.relation(&announced, found.targets.clone()) {
            self.changed.notify_one();
        }
        gather.unsettled.retain(|unsettled| unsettled.announced.oid != announced.oid);
        if !found.settled {
            gather.unsettled.push(Unsettled { announced, xid, targets: found.targets });
        }
        Ok(())
    }

    async fn targets(
        &self,
        catalogue: &Client,
        announced: &Relation,
        xid: u32,
    ) -> Result<Targets, SessionError> {
        let asked = ways::targets(catalogue, &self.names.publication, announced, xid);
        let found = tokio::time::timeout(CATALOGUE_MAX, asked).await;
        found.map_err(|_| SessionError::Silent)?.map_err(SessionError::from)
    }

    /// A new partition is remembered before any row of it is handed on, so that no crash forgets
    /// whose rows a shape holds.
    async fn remember(&self, leaf: &Relation, targets: &[Target]) -> Result<(), SessionError> {
        for target in targets.iter().filter(|target| target.relation.oid != leaf.oid) {
            self.partitions.joined(leaf.oid, target).await?;
        }
        Ok(())
    }

    /// Asks again where changes go that the catalogue did not know of when they were announced.
    /// Tables that turn out to have missed some lose their shapes.
    async fn settle(&self, catalogue: &Client, gather: &mut Gather) -> Result<(), SessionError> {
        for unsettled in std::mem::take(&mut gather.unsettled) {
            let Unsettled { announced, xid, targets: before } = &unsettled;
            let found = self.targets(catalogue, announced, *xid).await?;
            if found.targets != *before {
                self.remember(announced, &found.targets).await?;
                let other = |target: &&Target| {
                    target.relation.oid != announced.oid && !before.contains(target)
                };
                for target in found.targets.iter().filter(other) {
                    self.partitions.missed(target.relation.oid).await?;
                }
                gather.assembler.relation(announced, found.targets.clone());
            }
            if !found.settled {
                let targets = found.targets;
                gather.unsettled.push(Unsettled { targets, ..unsettled });
            }
        }
        Ok(())
    }

    async fn hand_on(&self, gather: &mut Gather) -> Result<(), SessionError> {
        let slice = gather.take();
        self.slices.send(slice).await.map_err(|_| SessionError::Stopped)
    }
}

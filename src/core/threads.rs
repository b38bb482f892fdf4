//! The plain threads of a core: what blocks on files, and the dataflow.

use std::sync::{Arc, Mutex};

use brooklet_sql::Lsn;
use tokio::sync::{mpsc, watch};

use super::{CoreEnd, Ends};
use crate::change_log::{Rolled, Writer};
use crate::engine::Engine;
use crate::ingest::{Entry, Ingest, IngestError, Inlet, confirm, unsynced};
use crate::limits::SLICES_IN_FLIGHT_MAX;
use crate::members::watch::Watch;
use crate::shape_log::{Appender, Results, SharedAppender};
use crate::shapes::recent::RecentCommits;

/// Starts an appender; others may append while its thread has nothing to do.
pub(super) fn start_appender(
    name: &'static str,
    appender: Appender,
    ends: &Ends,
) -> std::io::Result<SharedAppender> {
    let appender = Arc::new(Mutex::new(appender));
    let run = Arc::clone(&appender);
    spawn_thread(name, ends.clone(), move || Ok(Appender::run(&run)?))?;
    Ok(appender)
}

/// Starts the dataflow.
pub(super) fn start_dataflow(results: Results, ends: &Ends) -> std::io::Result<Engine> {
    let (engine, run) = Engine::new(results);
    spawn_thread("dataflow", ends.clone(), move || {
        run();
        Ok(())
    })?;
    Ok(engine)
}

/// Lets the stream into the dataflow; returns the durable position and where slices go.
pub(super) async fn start_ingest(
    writer: Writer,
    engine: &Engine,
    recent: Arc<RecentCommits>,
    rolled: mpsc::UnboundedSender<Rolled>,
    watch: Watch,
    ends: &Ends,
) -> anyhow::Result<(watch::Receiver<Lsn>, mpsc::Sender<Vec<Entry>>)> {
    let (durable, position) = watch::channel(writer.end());
    let (slices, receiver) = mpsc::channel::<Vec<Entry>>(SLICES_IN_FLIGHT_MAX);
    let (flushed, to_sync) = unsynced();
    let ingest = Ingest { writer, recent, rolled, watch, skipping: false };
    let told = ends.clone();
    let failed = move |error: IngestError| _ = told.send(CoreEnd::Failed(error.into()));
    spawn_thread("fsync", ends.clone(), move || Ok(confirm(&to_sync, &durable)?))?;
    engine.open(Inlet::new(ingest, receiver, flushed, failed)).await?;
    Ok((position, slices))
}

/// A thread whose failure ends the process.
pub(super) fn spawn_thread(
    name: &'static str,
    ends: Ends,
    run: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> std::io::Result<()> {
    let body = move || {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let error = match ended {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => anyhow::anyhow!("thread {name} panicked"),
        };
        _ = ends.send(CoreEnd::Failed(error));
    };
    std::thread::Builder::new().name(name.into()).spawn(body).map(|_| ())
}

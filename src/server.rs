//! `brooklet serve`: one core behind one HTTP listener, until told to stop.

use std::fs::{File, TryLockError};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Settings;
use crate::core::{self, Core, CoreEnd};
use crate::descriptors;
use crate::http;
use crate::limits::RECONNECT_PAUSE;
use crate::replication::Database;

/// Why a server cannot have its directory.
#[derive(Debug, thiserror::Error)]
enum DirectoryError {
    /// Another process has it.
    #[error(
        "{0} is in use by another Brooklet. Stop that one, or give this one its own --storage-dir (and --stream-id)."
    )]
    InUse(String),
    /// It cannot be written.
    #[error("{0} cannot be used: {1}")]
    Unusable(String, std::io::Error),
}

/// Runs until `stop` completes or the server fails. `ready` is called with the address once there is something
/// to answer requests with; until then they are told to come again.
pub async fn run(
    settings: Settings,
    listener: TcpListener,
    ready: impl FnOnce(std::net::SocketAddr),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let _lock = lock(&settings.dir)?;
    let database =
        Database::new(&settings.database_url, settings.ca.as_deref(), settings.pool_size)?;
    let settings = Arc::new(settings);
    let mut stop = std::pin::pin!(stop);
    let (current, receiver) = watch::channel(None);
    let (stopping, stopped) = watch::channel(false);
    let address = listener.local_addr()?;
    let descriptors = descriptors::raise();
    let connections = descriptors::connections(descriptors, settings.pool_size);
    tracing::info!(descriptors, connections, "files and clients that may be open at once");
    // Before there is a core: its slot may have to wait for other people's transactions, and whoever asks
    // meanwhile is told to come again.
    let serve = http::serve(listener, connections, Arc::clone(&settings), receiver, stopped);
    let mut serve = tokio::spawn(serve);
    let (core, mut ended) = tokio::select! {
        core = core::start(&settings, &database, false) => core?,
        served = &mut serve => return served?,
        () = &mut stop => return Ok(()),
    };
    current.send_replace(Some(core));
    ready(address);
    let outcome = loop {
        tokio::select! {
            () = &mut stop => break Ok(()),
            served = &mut serve => return served?,
            end = ended.recv() => match end {
                Some(CoreEnd::StartOver(reason)) => {
                    tracing::error!(%reason, "starting over: all shapes end, clients fetch anew");
                    ended = tokio::select! {
                        ended = start_over(&settings, &database, &current) => ended,
                        () = &mut stop => break Ok(()),
                    };
                }
                Some(CoreEnd::Failed(error)) => break Err(error),
                None => break Err(anyhow::anyhow!("the server's tasks have ended")),
            },
        }
    };
    stopping.send_replace(true);
    let core = current.borrow().clone();
    if let (Ok(()), Some(core)) = (&outcome, core) {
        core.stop().await;
    }
    // Parked requests are cut; what is being sent may end.
    _ = tokio::time::timeout(Duration::from_secs(5), serve).await;
    outcome
}

/// Ends all shapes and starts a new core; goes on trying.
async fn start_over(
    settings: &Settings,
    database: &Database,
    current: &watch::Sender<Option<Arc<Core>>>,
) -> tokio::sync::mpsc::UnboundedReceiver<CoreEnd> {
    if let Some(core) = current.send_replace(None) {
        core.registry.remove_all();
    }
    let mut pause = RECONNECT_PAUSE.0;
    loop {
        match core::start(settings, database, true).await {
            Ok((core, ended)) => {
                current.send_replace(Some(core));
                return ended;
            }
            Err(error) => tracing::error!(%error, "cannot start over yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_PAUSE.1);
    }
}

/// One process per directory; the lock goes with the process, however it ends.
fn lock(dir: &Path) -> Result<File, DirectoryError> {
    let unusable = |error| DirectoryError::Unusable(dir.display().to_string(), error);
    std::fs::create_dir_all(dir).map_err(unusable)?;
    let file = File::options().create(true).truncate(false).write(true).open(dir.join("lock"));
    let file = file.map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DirectoryError::InUse(dir.display().to_string())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

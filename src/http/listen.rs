//! Connections: accepted, bounded, ended.
//!
//! `axum::serve` has no limits of its own, so the loop is here, over the same `hyper-util`: heads of
//! a bounded size and age, writes that may not stall, and no more connections than there are descriptors for: others wait
//! in the kernel until one ends. HTTP/1.1 only: browsers speak HTTP/2 over TLS alone,
//! which ends at a proxy, and its streams can stall where no socket does.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use futures_util::FutureExt;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_io_timeout::TimeoutWriter;
use tower::ServiceBuilder;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use super::admission::Admission;
use super::{Http, dispatch, scrape};
use crate::config::Settings;
use crate::core::Core;
use crate::limits::{
    CONNECTIONS_FULL_TOLD, HEAD_BYTES_MAX, HEAD_READ_MAX, HEADERS_MAX, STOP_MAX, WRITE_STALL_MAX,
};

/// Answers requests until `stopped` turns true; those that are being answered then may end. No more than `connections` are
/// open at once.
pub async fn serve(
    listener: TcpListener,
    connections: usize,
    settings: Arc<Settings>,
    core: watch::Receiver<Option<Arc<Core>>>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut stop = stopped.clone();
    let admission = Admission::new(settings.requests);
    let _scraped = scrape::serve(&settings, &admission, core.clone()).await?;
    let http = Arc::new(Http { settings, admission, core, stopped });
    let (builder, graceful) = (builder(), GracefulShutdown::new());
    let mut places = Places::new(connections);
    loop {
        // The place first: what was accepted has taken a descriptor already.
        let accepted = async { (places.take().await, listener.accept().await) };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((socket, _)) => connection(socket, place, &http, &builder, &graceful),
            Err(error) => {
                // Mostly too many open files: others may close meanwhile.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    // Whoever still reads may finish, within reason.
    _ = tokio::time::timeout(STOP_MAX, graceful.shutdown()).await;
    Ok(())
}

/// Room for connections.
struct Places {
    free: Arc<Semaphore>,
    all: usize,
    /// When the log has said last that there is none.
    told: Option<Instant>,
}

impl Places {
    fn new(all: usize) -> Places {
        Places { free: Arc::new(Semaphore::new(all)), all, told: None }
    }

    /// The next place; it is given back when what is returned is dropped.
    async fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        if self.told.is_none_or(|told| told.elapsed() >= CONNECTIONS_FULL_TOLD) {
            self.told = Some(Instant::now());
            tracing::warn!(
                "{} connections are open, for which `ulimit -n` has room: others wait until one ends",
                self.all
            );
        }
        // It is never closed.
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_READ_MAX);
    builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    builder
}

fn connection(
    socket: TcpStream,
    place: Option<OwnedSemaphorePermit>,
    http: &Arc<Http>,
    builder: &Builder,
    graceful: &GracefulShutdown,
) {
    // Answers are small and waited for. A socket that refuses is about to fail anyway.
    _ = socket.set_nodelay(true);
    let mut socket = TimeoutWriter::new(socket);
    socket.set_timeout(Some(WRITE_STALL_MAX));
    let http = Arc::clone(http);
    // Boxed: a future has room for every argument at each of its levels, and thousands wait in it.
    let answer = move |request: axum::extract::Request| {
        dispatch(Arc::clone(&http), Box::new(request)).map(Ok::<Response<Body>, Infallible>)
    };
    // Chosen by the client; never for events, which must not be held back.
    let compression = CompressionLayer::new().quality(CompressionLevel::Fastest);
    let service = ServiceBuilder::new()
        .layer(compression)
        .map_request(|request: hyper::Request<hyper::body::Incoming>| request.map(Body::new))
        .service_fn(answer);
    let socket = TokioIo::new(Box::pin(socket));
    let serving = builder.serve_connection(socket, TowerToHyperService::new(service));
    // Not awaited in a block, which would have room for it twice: thousands wait in it.
    tokio::spawn(graceful.watch(serving).map(move |ended| {
        // The socket is closed by now.
        drop(place);
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }));
}

//! Connections: accepted, bounded, ended.
//!
//! `axum::serve` has no limits of its own, so the loop is here, over the same `hyper-util`: heads of
//! a bounded size and age, writes that may not stall. HTTP/1.1 only: browsers speak HTTP/2 over TLS alone,
//! which ends at a proxy, and its streams can stall where no socket does.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use futures_util::FutureExt;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_io_timeout::TimeoutWriter;
use tower::ServiceBuilder;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use super::admission::Admission;
use super::{Http, dispatch, scrape};
use crate::config::Settings;
use crate::core::Core;
use crate::limits::{HEAD_BYTES_MAX, HEAD_READ_MAX, HEADERS_MAX, STOP_MAX, WRITE_STALL_MAX};

/// Answers requests until `stopped` turns true; those that are being answered then may end.
pub async fn serve(
    listener: TcpListener,
    settings: Arc<Settings>,
    core: watch::Receiver<Option<Arc<Core>>>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut stop = stopped.clone();
    let admission = Admission::new(settings.requests);
    let _scraped = scrape::serve(&settings, &admission, core.clone()).await?;
    let http = Arc::new(Http { settings, admission, core, stopped });
    let (builder, graceful) = (builder(), GracefulShutdown::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((socket, _)) => connection(socket, &http, &builder, &graceful),
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

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_READ_MAX);
    builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    builder
}

fn connection(socket: TcpStream, http: &Arc<Http>, builder: &Builder, graceful: &GracefulShutdown) {
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
    tokio::spawn(graceful.watch(serving).map(|ended| {
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }));
}

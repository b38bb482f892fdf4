//! Connections: accepted, bounded, ended.
//!
//! `axum::serve` has no limits of its own, so the loop is here, over the same `hyper-util`: heads of
//! a bounded size and age, HTTP/1.1 or HTTP/2 as the client begins, writes that may not stall.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
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
    let http = Http { settings, admission, core, stopped };
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

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let mut http1 = builder.http1();
    http1.timer(TokioTimer::new()).header_read_timeout(HEAD_READ_MAX);
    http1.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(HEAD_BYTES_MAX as u32);
    builder
}

fn connection(
    socket: TcpStream,
    http: &Http,
    builder: &Builder<TokioExecutor>,
    graceful: &GracefulShutdown,
) {
    // Answers are small and waited for. A socket that refuses is about to fail anyway.
    _ = socket.set_nodelay(true);
    let mut socket = TimeoutWriter::new(socket);
    socket.set_timeout(Some(WRITE_STALL_MAX));
    let http = http.clone();
    let answer = move |request: axum::extract::Request| {
        let http = http.clone();
        async move { Ok::<Response<Body>, Infallible>(dispatch(http, request).await) }
    };
    // Chosen by the client; never for events, which must not be held back.
    let compression = CompressionLayer::new().quality(CompressionLevel::Fastest);
    let service = ServiceBuilder::new()
        .layer(compression)
        .map_request(|request: hyper::Request<hyper::body::Incoming>| request.map(Body::new))
        .service_fn(answer);
    let socket = TokioIo::new(Box::pin(socket));
    let serving = builder.serve_connection(socket, TowerToHyperService::new(service));
    let serving = graceful.watch(serving.into_owned());
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
}

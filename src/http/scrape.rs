//! `/metrics` for Prometheus, on a port of its own.
//!
//! Names are Electric's where they mean the same, so that dashboards go on working; ours begin with
//! `brooklet_`. Without the port nothing is counted.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use metrics::{counter, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::admission::Admission;
use super::listen::builder;
use crate::config::Settings;
use crate::core::Core;
use crate::limits::{METRICS_UPKEEP_INTERVAL, SCRAPE_MAX, SCRAPES_MAX};

/// Upper bounds of durations, seconds: from a cached chunk to a long poll.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 20.0, 60.0];

/// Begins to serve metrics if a port is set; ends when what it returns is dropped.
pub async fn serve(
    settings: &Settings,
    admission: &Admission,
    core: watch::Receiver<Option<Arc<Core>>>,
) -> anyhow::Result<JoinSet<()>> {
    let mut tasks = JoinSet::new();
    let Some(port) = settings.prometheus_port else { return Ok(tasks) };
    let refused =
        || format!("cannot serve metrics on port {port}; choose another with --prometheus-port");
    let listener = TcpListener::bind((settings.address, port)).await.with_context(refused)?;
    let handle = PrometheusBuilder::new().set_buckets(&SECONDS)?.install_recorder()?;
    let (scraped, admission) = (handle.clone(), admission.clone());
    let answer = move || {
        let (handle, admission, core) = (scraped.clone(), admission.clone(), core.clone());
        async move {
            sample(&admission, core.borrow().as_deref());
            ([(CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response()
        }
    };
    let unknown = || async { (StatusCode::NOT_FOUND, "Not found") };
    let router = Router::new().route("/metrics", get(answer)).fallback(unknown);
    let listener = Arc::new(listener);
    for _ in 0..SCRAPES_MAX {
        tasks.spawn(answer_one_by_one(Arc::clone(&listener), router.clone()));
    }
    tasks.spawn(keep_small(handle));
    Ok(tasks)
}

/// One connection behind the other: as many as do this are open at once.
async fn answer_one_by_one(listener: Arc<TcpListener>, router: Router) {
    let mut builder = builder();
    builder.keep_alive(false);
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let service = TowerToHyperService::new(router.clone());
                let served = builder.serve_connection(TokioIo::new(socket), service);
                // Who goes away, or takes too long, asks again.
                _ = tokio::time::timeout(SCRAPE_MAX, served).await;
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics cannot be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// What is measured when it is asked for.
fn sample(admission: &Admission, core: Option<&Core>) {
    for (kind, current, limit) in admission.current() {
        gauge!("electric_admission_control_acquire_current", "kind" => kind).set(current as f64);
        gauge!("electric_admission_control_acquire_limit", "kind" => kind).set(limit as f64);
    }
    let connected = core.is_some_and(|core| *core.connected.borrow());
    gauge!("brooklet_replication_connected").set(f64::from(u8::from(connected)));
    let Some(core) = core else { return };
    let workshop = core.registry.workshop();
    gauge!("electric_shapes_total_shapes_count").set(core.registry.count() as f64);
    gauge!("brooklet_stream_durable_offset").set(workshop.durable.borrow().0 as f64);
    counter!("brooklet_filter_errors_count").absolute(workshop.engine.evaluation_errors());
    let (candidates, matches) = workshop.engine.asked();
    counter!("brooklet_filter_candidates_count").absolute(candidates);
    counter!("brooklet_filter_matches_count").absolute(matches);
    gauge!("brooklet_subquery_bytes").set(crate::members::bytes() as f64);
    gauge!("brooklet_logs_processed_offset").set(workshop.logs.processed().0 as f64);
    // Logs of shapes with subqueries are written by others, which may be behind by themselves.
    let of_subqueries = workshop.members.logs.processed();
    gauge!("brooklet_subquery_logs_processed_offset").set(of_subqueries.0 as f64);
}

/// Folds what was recorded into its histograms, so that metrics nobody scrapes do not grow.
async fn keep_small(handle: PrometheusHandle) {
    let mut interval = tokio::time::interval(METRICS_UPKEEP_INTERVAL);
    loop {
        interval.tick().await;
        handle.run_upkeep();
    }
}

//! What the tests stand on: Postgres clusters, the server process, and clients.
//!
//! Nothing here knows the product's code: everything goes through its command line, its HTTP and its Postgres.

pub mod arrow;
pub mod connection;
pub mod database;
pub mod follower;
pub mod following;
pub mod gate;
pub mod http;
pub mod log;
pub mod on_demand;
pub mod pattern;
pub mod postgres;
pub mod rng;
pub mod run_dir;
pub mod server;
pub mod shape;
pub mod world;

use std::time::{Duration, Instant};

pub use connection::{Connection, Event, Events};
pub use database::{Database, Row, Session};
pub use follower::{Follower, Step};
pub use following::Following;
pub use http::{Request, Response, encode};
pub use pattern::{Bindings, check, fill, matches, matches_text};
pub use postgres::{Cluster, Locale};
pub use rng::Rng;
pub use server::{Options, Process};
pub use shape::Shape;
pub use world::World;

/// Asks again and again until there is an answer; fails after half a minute.
pub async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(Duration::from_secs(30), what, ask).await
}

/// The same with another patience.
pub async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A number from the environment: how large a test is.
pub fn size(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|size| size.parse().ok()).unwrap_or(usual)
}

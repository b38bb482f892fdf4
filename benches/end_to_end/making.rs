//! Making and removing many shapes over HTTP.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::PATIENCE;
use super::harness::{Connection, Response, Shape, World, size};

/// Requests at a time while shapes are made and checked.
pub const CLIENTS: usize = 16;

/// Runs a request for each of 1…n, some at a time.
pub async fn each<T, F>(
    count: usize,
    ask: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Vec<(usize, T)>
where
    T: Send + 'static,
    F: Future<Output = T> + Send,
{
    let mut workers = JoinSet::new();
    for worker in 0..CLIENTS {
        let ask = ask.clone();
        workers.spawn(async move {
            let mut answers = Vec::new();
            for n in (1..=count).filter(|n| n % CLIENTS == worker) {
                answers.push((n, ask(n).await));
            }
            answers
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}

/// Makes the shapes of a range, over connections that stay open; `BENCH_MAKERS` at a time.
pub async fn make(
    world: &World,
    shapes: Range<usize>,
    shape: impl Fn(usize) -> Shape + Clone + Send + 'static,
) -> Made {
    make_with(world, size("BENCH_MAKERS", CLIENTS), shapes, shape).await
}

/// The same, so many at a time.
pub async fn make_with(
    world: &World,
    makers: usize,
    shapes: Range<usize>,
    shape: impl Fn(usize) -> Shape + Clone + Send + 'static,
) -> Made {
    let address = world.server.address;
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for maker in 0..makers {
        let (shapes, shape) = (shapes.clone(), shape.clone());
        workers.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            let mut handles = Vec::new();
            for n in shapes.skip(maker).step_by(makers) {
                let target = format!("{}&offset=-1", shape(n).target());
                handles.push((n, made(&mut connection, address, &target).await));
            }
            handles
        });
    }
    let handles = workers.join_all().await.into_iter().flatten().collect();
    Made { took: begun.elapsed(), handles }
}

/// Removes the shapes of a range, as many at a time as are made; returns how long that took.
pub async fn remove(
    world: &World,
    shapes: Range<usize>,
    shape: impl Fn(usize) -> Shape + Clone + Send + 'static,
) -> Duration {
    let (makers, address) = (size("BENCH_MAKERS", CLIENTS), world.server.address);
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for maker in 0..makers {
        let (shapes, shape) = (shapes.clone(), shape.clone());
        workers.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            for n in shapes.skip(maker).step_by(makers) {
                let target = shape(n).target();
                let answer = match delete(&mut connection, &target).await {
                    Ok(answer) => answer,
                    // It has come to its end: again, unless that was too late.
                    Err(_) => {
                        connection = Connection::open(address).await.unwrap();
                        delete(&mut connection, &target).await.unwrap()
                    }
                };
                assert!(matches!(answer.status, 202 | 404), "{}", answer.shown());
            }
        });
    }
    workers.join_all().await;
    begun.elapsed()
}

async fn delete(connection: &mut Connection, target: &str) -> std::io::Result<Response> {
    connection.ask("DELETE", target, "").await?;
    connection.answer("DELETE").await
}

/// Shapes that were made.
pub struct Made {
    pub took: Duration,
    /// The number of each, and its handle.
    pub handles: Vec<(usize, String)>,
}

/// Returns the handle.
async fn made(connection: &mut Connection, address: SocketAddr, target: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask(connection, target).await {
            Ok(answer) if answer.status != 503 => {
                assert_eq!(answer.status, 200, "{}", answer.shown());
                return answer.header("electric-handle").unwrap().to_owned();
            }
            Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            // It has come to its end.
            Err(_) => *connection = Connection::open(address).await.unwrap(),
        }
        assert!(Instant::now() < deadline, "never made: {target}");
    }
}

async fn ask(connection: &mut Connection, target: &str) -> std::io::Result<Response> {
    connection.ask("GET", target, "").await?;
    connection.answer("GET").await
}

//! How soon all of many waiting clients have one write, beside a bare server that sends the same
//! bytes to as many.
//!
//! The floor is this program again, as a server on its own, of `hyper` and nothing else: it answers all who wait as soon as it is
//! told to. Both are asked by the same clients, in turns, so that what the clients cost is in both.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;

use super::harness::postgres::free_port;
use super::harness::{Request, Shape, eventually};
use super::latency::waiting_clients;
use super::spread::Spread;
use super::{cpu_seconds, figures, resident_kib, world_with};

/// How this program is told to be the floor's server.
pub const FLOOR: &str = "--floor-of-fan-out";

const ROUNDS: usize = 5;
/// Connections that are made at a time: more than a listener's backlog holds are refused.
const CONNECTING: usize = 100;

pub async fn fan_out(clients: usize) {
    let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let limits = format!("{{\"existing\":{}}}", clients + 100);
    let world = world_with(|options| {
        let arguments = [
            "--max-concurrent-requests",
            &limits,
            "--prometheus-port",
            &metrics.port().to_string(),
        ];
        options.arguments = arguments.map(str::to_owned).to_vec();
        options.long_poll = Duration::from_secs(60);
    })
    .await;
    world.sql("CREATE TABLE items (id serial PRIMARY KEY, body text NOT NULL)").await;
    let mut follower = world.follow(Shape::of("items")).await;
    let floor = Floor::start().await;
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    let (mut memory, mut floor_memory, mut cpu) = (0.0f64, 0.0f64, Vec::new());
    for _ in 0..ROUNDS {
        let idle = resident_kib(world.server.id());
        let target = follower.target(true);
        let held = async || waiting_clients(metrics).await;
        let targets = vec![target; clients].into();
        let waiting = Waiting::begin(world.server.address, targets, held).await;
        let parked = resident_kib(world.server.id());
        memory = memory.max((parked.saturating_sub(idle)) as f64 / clients as f64);
        let used = cpu_seconds(world.server.id());
        let begun = Instant::now();
        world.sql("INSERT INTO items (body) VALUES ('news')").await;
        ours.push(waiting.end(begun).await.0);
        cpu.push((cpu_seconds(world.server.id()) - used) * 1e6 / clients as f64);
        follower.catch_up().await;

        let idle = resident_kib(floor.process.id());
        let targets = vec!["/wait".to_owned(); clients].into();
        let waiting = Waiting::begin(floor.address, targets, async || {
            let count = Request::get("/count").send(floor.address).await.unwrap();
            count.text().parse().unwrap()
        });
        let waiting = waiting.await;
        let parked = resident_kib(floor.process.id());
        floor_memory = floor_memory.max((parked.saturating_sub(idle)) as f64 / clients as f64);
        let begun = Instant::now();
        Request::new("POST", "/go").send(floor.address).await.unwrap();
        floors.push(waiting.end(begun).await.0);
    }
    report(clients, ours, floors, (memory, floor_memory), cpu);
}

fn report(
    clients: usize,
    ours: Vec<Vec<Duration>>,
    floors: Vec<Vec<Duration>>,
    (memory, floor_memory): (f64, f64),
    mut cpu: Vec<f64>,
) {
    let at = |rounds: &[Vec<Duration>], percent: usize| {
        let mut times: Vec<f64> = rounds
            .iter()
            .map(|times| {
                times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        (times[times.len() / 2], times[0], times[times.len() - 1])
    };
    cpu.sort_by(f64::total_cmp);
    let mut found = json!({"clients": clients, "rounds": ROUNDS});
    println!(
        "fan-out: {clients} clients wait live on one shape for one write, {ROUNDS} rounds in turns"
    );
    for percent in [50, 99] {
        let (o, f) = (at(&ours, percent), at(&floors, percent));
        println!(
            "  {percent} % have it after  {:>7.1} ms ({:.1} to {:.1}); bare server {:>7.1} ms ({:.1} to {:.1}); ratio {:.2}",
            o.0,
            o.1,
            o.2,
            f.0,
            f.1,
            f.2,
            o.0 / f.0
        );
        let spread = |(median, lowest, highest)| Spread { median, lowest, highest }.json();
        found[format!("p{percent}_ms")] = json!({"ours": spread(o), "bare": spread(f)});
    }
    println!("  CPU a delivery        {:>7.1} µs", cpu[cpu.len() / 2]);
    println!(
        "  memory a waiting client {memory:>5.1} KiB at most, first round included; bare server {floor_memory:.1} KiB"
    );
    found["cpu_us_a_delivery"] = json!(cpu[cpu.len() / 2]);
    found["memory_kib_a_client"] = json!({"ours": memory, "bare": floor_memory});
    figures::write("fan_out", &found);
}

/// Clients that have asked and wait.
pub struct Waiting {
    clients: JoinSet<(Instant, String)>,
}

impl Waiting {
    /// Begins, each with its target; `waiting` says how many the server holds.
    pub async fn begin(
        address: SocketAddr,
        targets: Arc<[String]>,
        mut waiting: impl AsyncFnMut() -> usize,
    ) -> Waiting {
        let count = targets.len();
        let asked = Arc::new(Barrier::new(count + 1));
        let turns = Arc::new(tokio::sync::Semaphore::new(CONNECTING));
        let mut clients = JoinSet::new();
        for at in 0..count {
            let (targets, asked, turns) = (targets.clone(), asked.clone(), turns.clone());
            clients.spawn(async move {
                let request = format!("GET {} HTTP/1.1\r\nhost: {address}\r\n\r\n", targets[at]);
                let turn = turns.acquire().await.unwrap();
                let mut socket = TcpStream::connect(address).await.unwrap();
                socket.set_nodelay(true).unwrap();
                socket.write_all(request.as_bytes()).await.unwrap();
                drop(turn);
                asked.wait().await;
                let mut answer = vec![0; 4096];
                let read = socket.read(&mut answer).await.unwrap();
                let now = Instant::now();
                let answer = String::from_utf8_lossy(&answer[..read]);
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                let place = answer.lines().find_map(|line| line.strip_prefix("electric-offset: "));
                (now, place.unwrap_or_default().to_owned())
            });
        }
        asked.wait().await;
        eventually("all of them wait", async || (waiting().await >= count).then_some(())).await;
        Waiting { clients }
    }

    /// When each had its answer, sorted, and where the log stands then.
    pub async fn end(self, begun: Instant) -> (Vec<Duration>, String) {
        let ends = self.clients.join_all().await;
        let place = ends.first().map(|(_, place)| place.clone()).unwrap_or_default();
        let mut times: Vec<Duration> = ends.into_iter().map(|(end, _)| end - begun).collect();
        times.sort();
        (times, place)
    }
}

/// The bare server, a process of its own.
struct Floor {
    address: SocketAddr,
    process: Child,
}

impl Floor {
    async fn start() -> Floor {
        let program = std::env::current_exe().unwrap();
        let mut process = Command::new(program).arg(FLOOR).stdout(Stdio::piped()).spawn().unwrap();
        let output = tokio::process::ChildStdout::from_std(process.stdout.take().unwrap()).unwrap();
        let line = BufReader::new(output).lines().next_line().await.unwrap().unwrap();
        Floor { address: line.parse().unwrap(), process }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// What a write looks like to a client: as many bytes as ours, head and body.
const BODY: &str = "[{\"key\":\"\\\"public\\\".\\\"items\\\"/\\\"1\\\"\",\"value\":{\"id\":\"1\",\"body\":\"news\"},\"headers\":{\"last\":true,\"operation\":\"insert\",\"relation\":[\"public\",\"items\"],\"txids\":[745],\"lsn\":\"23072200\",\"op_position\":0}},{\"headers\":{\"control\":\"up-to-date\",\"global_last_seen_lsn\":\"23072200\"}}]";
const HEAD: [(&str, &str); 11] = [
    ("content-type", "application/json; charset=utf-8"),
    ("cache-control", "public, max-age=5, stale-while-revalidate=5"),
    ("etag", "\"96718680-1795618628263157:0_inf:23119608_0\""),
    ("electric-handle", "96718680-1795618628263157"),
    ("electric-offset", "23119608_0"),
    ("electric-has-data", "true"),
    ("electric-cursor", "67186700"),
    ("x-request-id", "20b242e09bad872721d60bb301f60005"),
    ("access-control-allow-origin", "*"),
    (
        "access-control-expose-headers",
        "electric-cursor,electric-handle,electric-has-data,electric-offset,electric-schema,electric-up-to-date,electric-internal-known-error,retry-after",
    ),
    ("access-control-allow-methods", "GET, POST, HEAD, DELETE, OPTIONS"),
];

/// Serves the floor until killed.
pub async fn serve_floor() {
    let go = Arc::new(watch::channel(0u64).0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let go = Arc::clone(&go);
        let service = service_fn(move |request| floor_answer(Arc::clone(&go), request));
        // Who hangs up is an error, and no matter.
        let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        tokio::spawn(async move { _ = served.await });
    }
}

/// `/wait` is answered once somebody posts `/go`; `/count` says how many wait.
async fn floor_answer(
    go: Arc<watch::Sender<u64>>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let mut response = hyper::Response::builder();
    let body = match request.uri().path() {
        "/wait" => {
            let mut gone = go.subscribe();
            drop(go);
            gone.changed().await.unwrap();
            for (name, value) in HEAD {
                response = response.header(name, value);
            }
            Bytes::from_static(BODY.as_bytes())
        }
        "/count" => go.receiver_count().to_string().into(),
        _ => {
            go.send_modify(|count| *count += 1);
            Bytes::new()
        }
    };
    Ok(response.body(Full::new(body)).unwrap())
}

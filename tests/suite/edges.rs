//! Where our own batches end, and what is held up: transactions of every size, readers that do not read,
//! a stream that waits longer than Postgres is patient.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{
    Cluster, Connection, Database, Follower, Locale, Shape, World, eventually, eventually_within,
};

const PATIENCE: Duration = Duration::from_secs(180);

const TABLE: &str = "CREATE TABLE items (id int PRIMARY KEY, n int, body text)";

/// Numbers just below, at and just above these, and twice as many.
fn around(edges: &[usize]) -> impl Iterator<Item = usize> {
    edges.iter().flat_map(|edge| [edge - 1, *edge, edge + 1, 2 * edge])
}

#[tokio::test]
async fn transactions_just_below_at_and_above_every_inner_batch_arrive_whole() {
    let mut world = World::gated(Database::shared().await).await;
    world.sql(TABLE).await;
    let mut followers = vec![
        world.follow(Shape::of("items")).await,
        world.follow(Shape::of("items").filter("n % 2 = 0")).await,
    ];
    let mut first = 0;
    // Changes of an index entry, messages of the wire that wait, changes of a block of postings or of a sealed file.
    for count in around(&[64, 256, 4096]) {
        let last = first + count;
        world
            .sql(&format!(
                "INSERT INTO items SELECT g, g, 'x' FROM generate_series({first} + 1, {last}) g"
            ))
            .await;
        world.sql(&format!("UPDATE items SET n = n + 1 WHERE id > {first}")).await;
        if count % 2 == 0 {
            world.sql(&format!("DELETE FROM items WHERE id > {first} AND id % 3 = 0")).await;
        }
        first = last;
    }
    compare(&mut world, &mut followers).await;
    // Bytes of a piece of a body, of a row-wise index entry, of a slice of the stream.
    for bytes in around(&[8 << 10, 64 << 10, 1 << 20]) {
        first += 1;
        world.sql(&format!("INSERT INTO items VALUES ({first}, 2, repeat('y', {bytes}))")).await;
        world.sql(&format!("BEGIN; UPDATE items SET n = 3 WHERE id = {first}; INSERT INTO items SELECT {first} + g, g, repeat('z', {bytes} / 100) FROM generate_series(1, 100) g; COMMIT")).await;
        first += 100;
    }
    compare(&mut world, &mut followers).await;
    // Transactions that wait together.
    for count in around(&[1024]) {
        let held = world.hold_stream();
        world.sql(&format!("DO $$ BEGIN FOR i IN 1..{count} LOOP UPDATE items SET n = i WHERE id = 1 + i % 50; COMMIT; END LOOP; END $$")).await;
        drop(held);
    }
    compare(&mut world, &mut followers).await;
    world.verify_all(2).await;
}

#[tokio::test]
async fn transactions_around_as_many_slices_as_may_be_under_way_arrive_whole() {
    let mut world = World::new().await;
    world.sql(TABLE).await;
    let mut followers = vec![
        world.follow(Shape::of("items")).await,
        world.follow(Shape::of("items").filter("n % 2 = 0")).await,
    ];
    // A slice is a row of more than its bytes.
    for count in around(&[16]) {
        let row = "repeat(md5(g::text), 33000)";
        let rows =
            format!("INSERT INTO items SELECT g, g, {row} FROM generate_series(1, {count}) g");
        world.sql(&format!("BEGIN; DELETE FROM items; {rows}; COMMIT")).await;
    }
    compare(&mut world, &mut followers).await;
    world.verify_all(2).await;
}

#[tokio::test]
async fn first_rows_just_below_at_and_above_a_batch_of_them_are_all_there() {
    let mut world = World::new().await;
    world.sql(TABLE).await;
    let kilobyte = "repeat('x', 1024 - 4 - 4 - 3 - 4 - 1)";
    world
        .sql(&format!(
            "INSERT INTO items SELECT g, 1, {kilobyte} || '' FROM generate_series(100, 999) g"
        ))
        .await;
    // Rows of a kilobyte with what their ends take, batches of 256: also what is shared with others in a rush.
    let mut followers = Vec::new();
    for round in 0..3 {
        let filters =
            around(&[256]).map(|rows| format!("id < {} AND n < {}", 100 + rows, 2 + round));
        let shapes: Vec<Shape> = filters.map(|filter| Shape::of("items").filter(&filter)).collect();
        let begun = shapes.into_iter().map(|shape| world.follow(shape));
        followers.extend(join_all(begun).await);
    }
    world.sql("UPDATE items SET n = 2 WHERE id % 100 < 60").await;
    compare(&mut world, &mut followers).await;
    world.verify_all(followers.len()).await;
}

#[tokio::test]
async fn shapes_begin_right_after_as_many_commits_as_are_remembered() {
    let world = World::new().await;
    world.sql(TABLE).await;
    world.sql("INSERT INTO items SELECT g, 0, '' FROM generate_series(0, 49) g").await;
    let mut followers = vec![world.follow(Shape::of("items")).await];
    for (round, count) in around(&[16_384]).enumerate() {
        let commits = format!(
            "DO $$ BEGIN FOR i IN 1..{count} LOOP UPDATE items SET n = n + i WHERE id = i % 50; COMMIT; END LOOP; END $$"
        );
        let shape = Shape::of("items").filter(&format!("id >= {round}"));
        // The second begins among the last of them, or after.
        let ((), begun) = tokio::join!(world.sql(&commits), world.follow(shape.clone()));
        followers.push(begun);
        followers.push(world.follow(shape.columns("id,n")).await);
        let position = world.mark().await;
        for follower in &mut followers {
            reached(follower, position).await;
            world.compare(follower, position).await;
        }
    }
    world.verify_all(followers.len()).await;
}

#[tokio::test]
async fn as_many_shapes_as_end_or_come_back_at_one_time_do_so() {
    let mut world = World::new().await;
    world.sql(TABLE).await;
    world.sql("INSERT INTO items SELECT g, g, '' FROM generate_series(1, 5) g").await;
    for count in around(&[1024]) {
        let numbers: Vec<usize> = (0..count).collect();
        for some in numbers.chunks(32) {
            let ask = some.iter().map(|n| Shape::of("items").filter(&format!("n = {n}")).target());
            let targets: Vec<String> = ask.map(|target| target + "&offset=-1").collect();
            let made = join_all(targets.iter().map(|target| world.get(target))).await;
            made.into_iter().for_each(|answer| _ = answer.expect(200));
        }
        world.server.crash().await;
        assert_eq!(listed(&world).await, count, "came back");
        world.sql("TRUNCATE items").await;
        eventually_within(PATIENCE, "all of them to end", async || {
            (listed(&world).await == 0).then_some(())
        })
        .await;
    }
}

/// How many shapes there are.
async fn listed(world: &World) -> usize {
    let (mut count, mut after) = (0, 0);
    loop {
        let page = world.get(&format!("/v1/admin/shapes?after={after}")).await.expect(200).json();
        let Some(last) = page.as_array().unwrap().last() else { return count };
        (count, after) = (count + page.as_array().unwrap().len(), last["id"].as_u64().unwrap());
    }
}

/// Those who came along and new ones, before and after a kill.
async fn compare(world: &mut World, followers: &mut [Follower]) {
    for killed in [false, true] {
        if killed {
            world.server.crash().await;
        }
        let position = world.mark().await;
        for follower in followers.iter_mut() {
            world.compare(follower, position).await;
            let mut new = world.follow(follower.shape.clone()).await;
            world.compare(&mut new, position).await;
        }
    }
}

/// Waits for more than the usual while.
async fn reached(follower: &mut Follower, position: u64) {
    eventually_within(PATIENCE, "the stream to come as far", async || {
        follower.catch_up().await;
        (follower.log.seen >= position).then_some(())
    })
    .await;
}

/// A client that takes the beginning of an answer and then nothing.
async fn stalled(world: &World, target: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(world.server.address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn a_thousand_clients_that_stop_reading_or_read_a_byte_a_second_cost_little_memory_and_are_cut_off()
 {
    const CLIENTS: usize = 1000;
    let world = World::new().await;
    world.sql(TABLE).await;
    world
        .sql("INSERT INTO items SELECT g, g, repeat('x', 2000) FROM generate_series(1, 5000) g")
        .await;
    let shape = Shape::of("items");
    let mut live = world.follow(shape.clone()).await;
    // Half of them read rows of the snapshot, half of them the log.
    world.sql("UPDATE items SET body = repeat('y', 2000)").await;
    live.reach(world.mark().await).await;
    let rows = format!("{}&offset=-1", shape.target());
    let log = format!("{}&offset=0_inf&handle={}", shape.target(), live.handle);
    let server = &world.server;
    let (before, open) = (server.resident(), server.open_files());
    let target = |number: usize| if number.is_multiple_of(2) { &rows } else { &log };
    let (mut most, begun) = (0, Instant::now());
    let mut clients = join_all((0..CLIENTS).map(|number| stalled(&world, target(number)))).await;
    // A third of them is not quite still.
    let trickling: Vec<_> = clients.split_off(CLIENTS * 2 / 3).into_iter().map(trickle).collect();
    assert!(server.open_files() > open + CLIENTS / 4, "they are not connected at the same time");
    eventually_within(PATIENCE, "all of them to be cut off", async || {
        most = most.max(server.resident());
        (server.open_files() < open + 10).then_some(())
    })
    .await;
    println!("{} MiB before, {} MiB at most, {:?}", before >> 20, most >> 20, begun.elapsed());
    // Twenty MB each, were they read into memory.
    assert!(most < before + (400 << 20), "{} MiB", most >> 20);
    // Nobody else has noticed.
    world.sql("UPDATE items SET n = 0 WHERE id < 10").await;
    let position = world.mark().await;
    world.compare(&mut live, position).await;
    drop(clients);
    // They would go on with what their own kernel has.
    trickling.into_iter().for_each(|client| client.abort());
    world.verify_all(1).await;
}

/// Reads a byte a second.
fn trickle(mut client: TcpStream) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        while client.read_u8().await.is_ok() {
            interval.tick().await;
        }
    })
}

#[tokio::test]
async fn held_up_for_longer_than_the_sender_is_patient_the_stream_stays_connected() {
    const SENDER: Duration = Duration::from_secs(3);
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &["wal_sender_timeout=3s"]));
    let world = World::with(Database::create(cluster).await, |_| {}).await;
    world.sql(TABLE).await;
    let mut followers = Vec::new();
    // Something that takes its time for every row: no look-up finds it.
    for number in 0..20 {
        let filter =
            format!("(body LIKE '%a%b%c{number}%') <> (body LIKE '%z%y%x%') OR n % 500 = {number}");
        followers.push(world.follow(Shape::of("items").filter(&filter)).await);
    }
    let sender = "SELECT pid::text FROM pg_stat_replication WHERE application_name <> 'none'";
    let connection = world.db.value(sender).await;
    let mut rows = 6_000;
    loop {
        let begun = Instant::now();
        world.sql(&format!("INSERT INTO items SELECT g, g, repeat('ab', 4000) FROM generate_series(1, {rows}) g")).await;
        let written = Instant::now();
        let position = world.mark().await;
        for follower in &mut followers {
            reached(follower, position).await;
        }
        println!(
            "{rows} rows: written in {:?}, there after {:?}",
            written - begun,
            written.elapsed()
        );
        if written.elapsed() > 3 * SENDER {
            break;
        }
        // Not slow enough to show anything.
        world.sql("TRUNCATE items").await;
        eventually("the shapes to end with their rows", async || {
            let listed = world.get("/v1/admin/shapes").await.expect(200).json();
            listed.as_array().unwrap().is_empty().then_some(())
        })
        .await;
        for follower in &mut followers {
            *follower = world.follow(follower.shape.clone()).await;
        }
        rows *= 2;
    }
    world.compare_all(&mut followers).await;
    assert_eq!(world.db.value(sender).await, connection, "another connection");
    assert!(!world.server.logs().contains("replication stopped"), "it was interrupted");
    world.verify_all(20).await;
}

/// Writes what fills the page of WAL that is being written, to its last byte. Others write, too, now and then.
async fn fill_the_page(db: &Database) {
    let next = async || -> u64 {
        let said = db.value("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::text").await;
        said.parse().unwrap()
    };
    let emit = async |bytes: u64| {
        let message = format!("pg_logical_emit_message(false, 'fill', repeat('x', {bytes}))");
        db.value(&format!("SELECT {message}")).await;
    };
    // What a record takes besides its text, which has a longer head from 256 bytes on.
    let before = next().await;
    emit(512).await;
    let head = next().await - before - 512;
    eventually("a record to end with its page", async || {
        let left = 8192 - next().await % 8192;
        match left.checked_sub(head) {
            Some(text) if text > 300 => emit(text).await,
            _ => emit(1024).await,
        }
        matches!(next().await % 8192, 24 | 40).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_waits_for_a_position_does_not_wait_for_the_head_of_an_empty_page() {
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &[]));
    let world = World::with(Database::create(cluster).await, |_| {}).await;
    world.sql(TABLE).await;
    world.follow(Shape::of("items")).await;
    for _ in 0..3 {
        fill_the_page(&world.db).await;
        let mut verified = world.verify(&["--all", "--patience", "5"]);
        let status = verified.exit(PATIENCE).await;
        assert!(status.success(), "{}", verified.output());
    }
}

#[tokio::test]
async fn slow_readers_of_subsets_leave_snapshots_to_new_shapes() {
    let world = World::with(Database::shared().await, |options| {
        // Three snapshots at a time.
        options.arguments.extend(["--db-pool-size", "4"].map(str::to_owned));
    })
    .await;
    world.sql("CREATE TABLE wide (id int PRIMARY KEY, body text)").await;
    world
        .sql("INSERT INTO wide SELECT g, repeat('x', 1000) FROM generate_series(1, 50000) g")
        .await;
    world.sql(TABLE).await;
    world.sql("INSERT INTO items VALUES (1, 1, 'x')").await;
    let base = format!("{}&offset=now", Shape::of("wide").target());
    world.get(&base).await.expect(200);
    let subset = format!("{base}&subset__order_by=id&subset__limit=50000");
    let mut slow = Vec::new();
    for turn in 0..3 {
        let mut connection = Connection::open(world.server.address).await.unwrap();
        connection.ask("GET", &subset, "").await.unwrap();
        if turn < 2 {
            connection.head().await.unwrap().expect(200);
        }
        slow.push(connection);
    }
    let mut items = world.follow(Shape::of("items")).await;
    items.until("the row", |rows| rows.len() == 1).await;
    // The one that waited has its turn.
    slow.drain(..2);
    slow[0].head().await.unwrap().expect(200);
}

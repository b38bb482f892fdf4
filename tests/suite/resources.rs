//! What the server takes of its machine: for one commit of very many rows, and after very many shapes have come and
//! gone. `BROOKLET_TEST_HUGE_ROWS`, `BROOKLET_TEST_HUGE_MIB` and `BROOKLET_TEST_PASSING_SHAPES` make it more.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::harness::{
    Connection, Database, Follower, Following, Request, Shape, World, eventually,
    eventually_within, size,
};

/// By builds without optimisation, and of ten million rows.
const PATIENCE: Duration = Duration::from_secs(1800);

#[tokio::test]
async fn a_commit_of_very_many_rows_goes_through_in_little_memory() {
    let rows = size("BROOKLET_TEST_HUGE_ROWS", 600_000);
    // Text of 600 bytes each: the rows alone are 360 MB.
    let most = size("BROOKLET_TEST_HUGE_MIB", 256);
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int, body text)").await;
    // One has them all, one finds few, one finds none.
    let shapes = ["true", "n = 7 AND id % 10000 = 0", "body = 'y'"];
    let mut followers = Vec::new();
    for filter in shapes {
        followers.push(world.follow(Shape::of("items").filter(filter)).await);
    }
    // The first one's log is read in the next test, of fewer rows: the test's own memory is no subject.
    followers.remove(0);
    let idle = world.server.resident();
    let begun = Instant::now();
    for write in [
        format!(
            "INSERT INTO items SELECT g, g % 3 + 5, repeat('x', 600) FROM generate_series(1, {rows}) g"
        ),
        "DELETE FROM items".to_owned(),
    ] {
        world.server.forget_most_resident();
        world.sql(&write).await;
        let position = world.mark().await;
        for follower in &mut followers {
            eventually_within(PATIENCE, "the commit to arrive", async || {
                follower.catch_up().await;
                (follower.log.seen >= position).then_some(())
            })
            .await;
            world.compare(follower, position).await;
        }
        let (now, peak) = (world.server.resident(), world.server.most_resident());
        println!(
            "{rows} rows, {:?}: {} MiB idle, {} at most, {} then",
            begun.elapsed(),
            idle >> 20,
            peak >> 20,
            now >> 20
        );
        assert!(peak < idle + (most << 20), "{} MiB over {} idle", (peak - idle) >> 20, idle >> 20);
    }
    world.verify_all_within(PATIENCE, 3).await;
}

#[tokio::test]
async fn a_large_commit_is_whole_and_in_order_in_the_log_that_has_all_of_it() {
    let rows = size("BROOKLET_TEST_LARGE_ROWS", 60_000);
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int, body text)").await;
    let mut all = world.follow(Shape::of("items")).await;
    for write in [
        format!(
            "INSERT INTO items SELECT g, g % 3 + 5, repeat('x', 600) FROM generate_series(1, {rows}) g"
        ),
        // From the beginning of the table, whoever else reads it.
        "SET synchronize_seqscans = off; DELETE FROM items".to_owned(),
    ] {
        world.sql(&write).await;
        let mut read = 0;
        eventually_within(PATIENCE, "the commit to arrive", async || {
            read += read_through(&world, &mut all).await;
            (read > 0).then_some(())
        })
        .await;
        assert_eq!(read, rows, "rows in the log of the shape that has them all: {write}");
    }
    world.verify_all_within(PATIENCE, 1).await;
}

/// As much of a message as tells whether it is the one that is due.
#[derive(serde::Deserialize)]
struct Message {
    headers: Headers,
    value: Option<HashMap<String, String>>,
}

#[derive(serde::Deserialize)]
struct Headers {
    operation: Option<String>,
    op_position: Option<u64>,
    #[serde(default)]
    last: bool,
}

/// Reads the one transaction that a client lacks, which inserts or deletes rows 1, 2, 3 … to its end; gives back how
/// many they are.
async fn read_through(world: &World, client: &mut Follower) -> usize {
    let (mut rows, mut position, mut ended) = (0, None, false);
    loop {
        let answer = world.get(&client.target(false)).await.expect(200);
        client.offset = answer.header("electric-offset").unwrap().to_owned();
        for Message { headers, value } in
            serde_json::from_slice::<Vec<Message>>(&answer.body).unwrap()
        {
            let (Some(operation), Some(value)) = (headers.operation, value) else { continue };
            rows += 1;
            assert!(!ended && headers.op_position > position, "row {rows} is out of order");
            (position, ended) = (headers.op_position, headers.last);
            assert_eq!(value["id"], rows.to_string(), "the next row of the table is another one");
            let body = value.get("body").map_or(0, |body| body.len());
            assert_eq!(body, if operation == "insert" { 600 } else { 0 }, "{operation} {rows}");
        }
        if answer.header("electric-up-to-date").is_some() {
            assert!(ended || rows == 0, "up to date inside of a transaction");
            return rows;
        }
    }
}

#[tokio::test]
async fn a_change_of_many_shapes_is_stored_once_and_costs_each_of_them_few_bytes() {
    const ROWS: u64 = 20;
    const ROW_BYTES: u64 = 2_048;
    /// Of a row beside its text: frames, positions and its other columns.
    const HEAD_BYTES: u64 = 300;
    /// A message each from a stream that is idle, and what the mark costs.
    const SLACK: u64 = 16 << 10;
    let shapes = size("BROOKLET_TEST_MATCHING_SHAPES", 500);
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, body text)").await;
    let numbers: Vec<usize> = (0..shapes).collect();
    let mut followers = Vec::new();
    for some in numbers.chunks(50) {
        let shape = |number: &usize| Shape::of("items").filter(&format!("id >= -{number}"));
        followers.extend(join_all(some.iter().map(|number| world.follow(shape(number)))).await);
    }
    // Definitions are written with the first change.
    world.sql("INSERT INTO items VALUES (0, '')").await;
    followers[shapes - 1].reach(world.mark().await).await;
    let storage = world.server.storage().join("brooklet");
    let kinds = ["changes", "postings", ""];
    let bytes = || kinds.map(|kind| bytes_under(&storage, kind));
    let before = bytes();
    // Not compressible; one by one, and in one transaction.
    let text = "(SELECT string_agg(md5((g * 64 + i)::text), '') FROM generate_series(1, 64) i)";
    for id in 1..=ROWS / 2 {
        world
            .sql(&format!("INSERT INTO items SELECT g, {text} FROM generate_series({id}, {id}) g"))
            .await;
    }
    let rest = format!("generate_series({} + 1, {ROWS})", ROWS / 2);
    world.sql(&format!("INSERT INTO items SELECT g, {text} FROM {rest} g")).await;
    followers[shapes - 1].reach(world.mark().await).await;
    let after = bytes();
    let grown: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    let (changes, entries) = (ROWS * (ROW_BYTES + HEAD_BYTES), 16 * shapes as u64 * ROWS);
    println!(
        "{ROWS} rows, {shapes} shapes: {} bytes of changes, {} of postings: {:.1} a shape and row, {} in all",
        grown[0],
        grown[1],
        grown[1] as f64 / (shapes as u64 * ROWS) as f64,
        grown[2]
    );
    assert!(grown[0] >= ROWS * ROW_BYTES, "the changes are elsewhere: {grown:?}");
    for (kind, most) in [changes, entries, changes + entries].into_iter().enumerate() {
        let most = most + SLACK;
        assert!(grown[kind] <= most, "{} bytes of {:?}, not {most}", grown[kind], kinds[kind]);
    }
    // They all have them, by what is stored.
    let position = world.mark().await;
    for follower in followers.iter_mut().step_by(shapes / 10) {
        world.compare(follower, position).await;
        assert_eq!(follower.rows().len() as u64, ROWS + 1);
    }
    world.verify_all(shapes).await;
}

/// Bytes of the files in the directories of this name, or in all.
fn bytes_under(dir: &Path, name: &str) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| entry.path()).map(|path| match path.metadata() {
        Ok(found) if found.is_dir() && path.ends_with(name) => bytes_under(&path, ""),
        Ok(found) if found.is_dir() => bytes_under(&path, name),
        Ok(found) if name.is_empty() => found.len(),
        _ => 0,
    });
    bytes.sum()
}

/// Bytes of files with this ending, and how many they are.
fn stored(dir: &Path, ending: &str) -> (u64, usize) {
    let mut found = (0, 0);
    for path in std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            let (bytes, files) = stored(&path, ending);
            found = (found.0 + bytes, found.1 + files);
        } else if path.to_string_lossy().ends_with(ending) {
            found = (found.0 + path.metadata().map_or(0, |file| file.len()), found.1 + 1);
        }
    }
    found
}

#[tokio::test]
async fn shapes_that_come_and_go_leave_no_files_open_no_memory_and_no_records() {
    const AT_ONCE: usize = 50;
    let shapes = size("BROOKLET_TEST_PASSING_SHAPES", 2_000);
    let mut world = World::with(Database::shared().await, |options| {
        options.may_delete = true;
        options.arguments = vec!["--retention-interval".into(), "1s".into()];
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int)").await;
    world.sql("INSERT INTO items SELECT g, g FROM generate_series(1, 100) g").await;
    let stays = world.follow(Shape::of("items").filter("n > 0")).await.through_outages();
    let stays = Following::start(stays);
    let shape = |number: usize| Shape::of("items").filter(&format!("n = {number}"));
    let come_and_go = async |numbers: std::ops::Range<usize>| {
        let numbers: Vec<usize> = numbers.collect();
        for some in numbers.chunks(AT_ONCE) {
            join_all(some.iter().map(|number| world.follow(shape(*number)))).await;
            // An entry of each, so that there are postings.
            world.sql(&format!("UPDATE items SET n = n WHERE id = {}", some[0] % 100 + 1)).await;
            let gone = some
                .iter()
                .map(|number| world.send(Request::new("DELETE", shape(*number).target())));
            join_all(gone).await.into_iter().for_each(|answer| _ = answer.expect(202));
        }
    };
    // The pools of connections and of memory are what they will be.
    come_and_go(0..shapes / 5).await;
    let storage = world.server.storage().to_owned();
    let (open, resident) = (world.server.open_files(), world.server.resident());
    come_and_go(0..shapes).await;
    let listed = world.get("/v1/admin/shapes").await.expect(200).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    eventually("files and memory to be given back", async || {
        let (files, memory) = (world.server.open_files(), world.server.resident());
        // Connections to Postgres come and go by themselves, up to twenty.
        (files < open + 40 && memory < resident + (16 << 20)).then_some(())
    })
    .await;
    println!(
        "{open} files open, then {}; {} MiB, then {}",
        world.server.open_files(),
        resident >> 20,
        world.server.resident() >> 20
    );
    // While it runs the catalogue may be dead up to 4 MiB.
    let (catalogue, _) = stored(&storage, "catalog.log");
    assert!(catalogue < 5 << 20, "{catalogue} bytes of catalogue");
    world.server.stop().await;
    world.server.restart().await;
    let (catalogue, _) = stored(&storage, "catalog.log");
    // And the zeros that are written ahead.
    assert!(catalogue < 4_000 + (256 << 10), "{catalogue} bytes of catalogue for one shape");
    let (postings, files) = stored(&storage.join("brooklet"), ".log");
    println!("{catalogue} bytes of catalogue, {postings} of all logs in {files} files");
    assert!(files <= 6 && postings < 20 << 20, "{postings} bytes in {files} files");
    world.compare_all(&mut [stays.stop().await]).await;
    world.verify_all(1).await;
}

/// What the server has done of this since it started, by the system's account of it.
fn done(world: &World, what: &str) -> usize {
    let account = std::fs::read_to_string(format!("/proc/{}/io", world.server.id())).unwrap();
    let line = account.lines().find_map(|line| line.strip_prefix(what));
    line.unwrap_or_else(|| panic!("no {what} in {account}")).trim().parse().unwrap()
}

#[tokio::test]
async fn what_a_restart_does_for_a_shape_is_little_and_does_not_grow() {
    const KINDS: [&str; 5] = ["rchar:", "wchar:", "syscr:", "syscw:", "write_bytes:"];
    let mut world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int)").await;
    let shape = |number: usize| Shape::of("items").filter(&format!("n = {number}"));
    let first = world.follow(shape(0)).await.through_outages();
    let (mut made, mut works, mut handles) = (1, Vec::new(), HashMap::new());
    for shapes in [500, 1_500, 3_500] {
        for from in (made..shapes).step_by(50) {
            let numbers = from..shapes.min(from + 50);
            let new = join_all(numbers.clone().map(|number| world.follow(shape(number)))).await;
            handles.extend(numbers.zip(new.into_iter().map(|follower| follower.handle)));
        }
        made = shapes;
        world.server.stop().await;
        world.server.restart().await;
        first.clone().catch_up().await;
        works.push(KINDS.map(|kind| done(&world, kind)));
    }
    for (at, kind) in KINDS.iter().enumerate() {
        let grown = |from: usize| works[from + 1][at].saturating_sub(works[from][at]);
        // The second step brings twice as many as the first; what does not depend on shapes varies.
        let (each, least) =
            (grown(1) as f64 / 2_000.0, [64 << 10, 64 << 10, 400, 400, 64 << 10][at]);
        println!("{kind} {each:.2} a shape");
        assert!(grown(1) <= 3 * grown(0) + least, "{kind} grows faster than shapes: {works:?}");
        // The catalogue is read and written again, in few and large pieces.
        let most = [600.0, 600.0, 0.1, 0.1, 600.0][at];
        assert!(each <= most, "{kind} {each} a shape: {works:?}");
    }
    // They are all the same shapes still: nothing is fetched anew.
    for number in [1, 499, 1_499, made - 1] {
        let answer = world.get(&format!("{}&offset=-1", shape(number).target())).await.expect(200);
        let handle = answer.header("electric-handle").unwrap();
        assert_eq!(handles.get(&number).map(String::as_str), Some(handle), "{number}");
    }
    world.verify_all_within(PATIENCE, made).await;
}

/// What waits for its turn in the dataflow would hold what the stream brings, and nothing bounds how many wait.
#[tokio::test]
async fn a_shape_is_in_the_dataflow_only_once_it_may_take_its_snapshot() {
    let world = World::with(Database::shared().await, |options| {
        // One turn.
        options.arguments.extend(["--db-pool-size", "2"].map(str::to_owned));
    })
    .await;
    world
        .sql("CREATE TABLE items (id int PRIMARY KEY); CREATE TABLE held (id int PRIMARY KEY)")
        .await;
    let mut followers = vec![world.follow(Shape::of("items")).await];
    followers.push(world.follow(Shape::of("held")).await);
    let owner = world.db.session().await;
    owner.sql("BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE").await;
    let later = |table: &str| world.client(Shape::of(table).filter("id > 0"));
    let first = Following::start(later("held").through_outages());
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    eventually("it has the turn", async || (world.db.value(waits).await == "1").then_some(()))
        .await;
    let second = Following::start(later("items").through_outages());
    let shapes = async || {
        let engine = world.get("/v1/admin/engine").await.expect(200).json();
        let tables = engine["tables"].as_array().unwrap().clone();
        let items =
            tables.into_iter().find(|table| table["table"].as_str().unwrap().contains("items"));
        items.unwrap()["shapes"].as_u64()
    };
    for id in 1..5 {
        world.sql(&format!("INSERT INTO items VALUES ({id})")).await;
        world.db.confirms(world.db.position().await).await;
        assert_eq!(shapes().await, Some(1), "it waits for its turn");
    }
    owner.sql("COMMIT").await;
    eventually("it has its turn", async || (shapes().await == Some(2)).then_some(())).await;
    followers.extend([first.stop().await, second.stop().await]);
    world.compare_all(&mut followers).await;
    world.verify_all(4).await;
}

#[tokio::test]
async fn more_clients_than_files_may_be_open_wait_and_take_no_file_from_the_logs() {
    const SOFT: usize = 128;
    const HARD: usize = 256;
    // More would not fit into what kernels hold.
    const CLIENTS: [usize; 2] = [280, 120];
    let port = crate::harness::postgres::free_port();
    let world = World::with(Database::shared().await, |options| {
        options.open_files = Some((SOFT, HARD));
        options.arguments = vec!["--prometheus-port".into(), port.to_string()];
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, body text)").await;
    let few = Shape::of("items").filter("id < 0");
    let mut follower = world.follow(few.clone()).await;
    // They say nothing, at either door, before anybody asks them for a secret.
    let (address, metrics) = (world.server.address, ([127, 0, 0, 1], port).into());
    let mut silent = Vec::new();
    for (door, clients) in [address, metrics].into_iter().zip(CLIENTS) {
        let connect = || tokio::net::TcpStream::connect(door);
        silent.extend(join_all((0..clients).map(|_| connect())).await);
    }
    assert!(silent.iter().all(Result::is_ok), "the kernel refuses");
    // All that may be open are, which is more than the soft limit.
    eventually("connections are accepted", async || {
        (world.server.open_files() > SOFT + 50).then_some(())
    })
    .await;
    let mut late = Connection::open(address).await.unwrap();
    late.ask("GET", &format!("{}&offset=-1", few.target()), "").await.unwrap();
    let before = names_under(world.server.storage(), "changes");
    for round in 0..3 {
        // More than what a file of the log takes.
        let rows = "SELECT 10 * $ + g, repeat('x', 25000000) FROM generate_series(1, 3) g";
        world.sql(&format!("INSERT INTO items {}", rows.replace('$', &round.to_string()))).await;
    }
    world.sql("INSERT INTO items VALUES (-1, 'y')").await;
    world.db.confirms(world.db.position().await).await;
    let after = names_under(world.server.storage(), "changes");
    assert_ne!(before, after, "no further file of the log was begun");
    assert!(world.server.logs().contains("others wait"), "nobody is told");
    drop(silent);
    let answer = late.answer("GET").await.unwrap().expect(200);
    assert!(answer.header("electric-handle").is_some(), "{}", answer.shown());
    follower.until("the row", |rows| rows.len() == 1).await;
    Request::get("/metrics").send(metrics).await.unwrap().expect(200);
    world.verify_all(1).await;
}

/// Names of the files in directories of this name.
fn names_under(dir: &Path, name: &str) -> BTreeSet<OsString> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            names.extend(names_under(&entry.path(), name));
        } else if dir.ends_with(name) {
            names.insert(entry.file_name());
        }
    }
    names
}

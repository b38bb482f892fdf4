//! Many new shapes of one table at once: they share snapshots, and nobody pays for another's rows or errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;

use crate::harness::{Cluster, Database, Follower, Locale, Rng, Session, Shape, World, eventually};

/// Shapes of one rush.
const SHAPES: i64 = 40;

/// A Postgres that writes down what it is asked, and a table of 1,000 rows of each of four kinds.
async fn world() -> (Arc<Cluster>, World) {
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &["log_statement=all"]));
    let world = World::with(Database::create(Arc::clone(&cluster)).await, |_| {}).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, kind int, n int)").await;
    world.sql("INSERT INTO items SELECT g, g % 4, g FROM generate_series(0, 3999) g").await;
    (cluster, world)
}

/// Makes all at once, in rounds with other constants until some have shared a snapshot: the first ones take theirs
/// alone.
async fn rush(
    cluster: &Cluster,
    world: &World,
    shapes: impl Fn(i64) -> Vec<Shape>,
) -> Vec<Follower> {
    rush_until(cluster, world, shapes, "LATERAL (SELECT").await
}

/// The same, until Postgres was asked in one of the ways for several.
async fn rush_until(
    cluster: &Cluster,
    world: &World,
    shapes: impl Fn(i64) -> Vec<Shape>,
    shared: &str,
) -> Vec<Follower> {
    let (mut followers, before) = (Vec::new(), cluster.log().matches(shared).count());
    for round in 0..50 {
        let mut new: Vec<_> =
            shapes(round * SHAPES).into_iter().map(|shape| world.client(shape)).collect();
        join_all(new.iter_mut().map(|follower| follower.catch_up())).await;
        followers.append(&mut new);
        if cluster.log().matches(shared).count() > before {
            return followers;
        }
    }
    panic!("no snapshot was shared: the test tests nothing");
}

#[tokio::test]
async fn shapes_that_share_a_snapshot_are_each_right_while_others_write() {
    let (cluster, world) = world().await;
    let done = Arc::new(AtomicBool::new(false));
    let mut writing = Vec::new();
    for number in 0..3 {
        let (session, done) = (world.db.session().await, Arc::clone(&done));
        let rng = Rng::for_test("shapes_that_share_a_snapshot").fork();
        writing.push(tokio::spawn(write(session, number, rng, done)));
    }
    let shapes = |first| {
        (first..first + SHAPES).map(|n| Shape::of("items").filter(&format!("n = {n}"))).collect()
    };
    let mut followers = rush(&cluster, &world, shapes).await;
    done.store(true, Ordering::Relaxed);
    for writer in writing {
        writer.await.unwrap();
    }
    world.compare_all(&mut followers).await;
}

/// Writes rows of its own until it is told that this is enough.
async fn write(session: Session, number: i64, mut rng: Rng, done: Arc<AtomicBool>) {
    while !done.load(Ordering::Relaxed) {
        let (id, n) = (rng.between(0, 1300) * 3 + number, rng.between(0, 200));
        let open = "BEGIN; INSERT INTO items VALUES";
        let sql = match rng.below(3) {
            0 => format!("DELETE FROM items WHERE id = {id}"),
            1 => format!("UPDATE items SET n = {n} WHERE id = {id}"),
            _ => format!("{open} ({id}, 0, {n}) ON CONFLICT (id) DO UPDATE SET n = {n}; COMMIT"),
        };
        session.sql(&sql).await;
    }
}

#[tokio::test]
async fn a_shape_of_many_rows_among_them_has_all_of_its_rows() {
    let (cluster, world) = world().await;
    let shapes = |first: i64| {
        let few = (first..first + SHAPES).map(|n| Shape::of("items").filter(&format!("n = {n}")));
        let many = Shape::of("items").filter(&format!("kind = 1 AND n > {first}"));
        few.chain([many]).collect()
    };
    let mut followers = rush(&cluster, &world, shapes).await;
    world.compare_all(&mut followers).await;
}

#[tokio::test]
async fn shapes_that_differ_in_more_than_constants_share_a_snapshot_too() {
    let (cluster, world) = world().await;
    let shapes = |first: i64| {
        let one = |n: i64| match n % 3 {
            0 => format!("n = {n}"),
            1 => format!("n BETWEEN {n} AND {}", n + 5),
            _ => format!("n = {n} AND kind < {}", n % 5),
        };
        (first..first + SHAPES).map(|n| Shape::of("items").filter(&one(n))).collect()
    };
    let mut followers = rush_until(&cluster, &world, shapes, ") UNION ALL (").await;
    world.compare_all(&mut followers).await;
}

#[tokio::test]
async fn constants_of_any_type_are_compared_as_in_a_filter_alone() {
    let (cluster, world) = world().await;
    world
        .sql(
            "CREATE TYPE mood AS ENUM ('good', 'bad');
             CREATE TABLE typed (
               id int PRIMARY KEY, c int, c0 text COLLATE \"C\", \"c_\" char(8), at timestamptz, u uuid, f float8, m numeric, mood mood);
             INSERT INTO typed SELECT g, g % 7, 'it''s ' || g, 'x' || g, timestamptz '2024-01-01' + g * interval '1 day',
               md5(g::text)::uuid, g / 3.0, g / 4.0, (ARRAY['good', 'bad']::mood[])[1 + g % 2] FROM generate_series(0, 3999) g",
        )
        .await;
    let filters: [fn(i64) -> String; 8] = [
        |n| format!("c0 = 'it''s {n}'"),
        |n| format!("\"c_\" = 'x{n}' AND c = {}", n % 7),
        |n| format!("at = timestamptz '2024-01-01T00:00:00Z' + interval '{n} days'"),
        |n| format!("u = '{n:08x}-0000-0000-0000-000000000000'"),
        |n| format!("f = {n}"),
        |n| format!("m = {n}.25"),
        |n| format!("c = {n} OR id = {n}"),
        |n| format!("mood = 'bad' AND id = {n}"),
    ];
    let mut followers = Vec::new();
    for filter in filters {
        let shapes = |first: i64| {
            (first..first + SHAPES).map(|n| Shape::of("typed").filter(&filter(n))).collect()
        };
        followers
            .append(&mut rush_until(&cluster, &world, shapes, "statement_timeout = 250").await);
    }
    world.compare_all(&mut followers).await;
}

#[tokio::test]
async fn an_error_of_one_is_not_an_error_of_the_others() {
    let (cluster, world) = world().await;
    let shapes = |first: i64| {
        (first..first + SHAPES).map(|n| Shape::of("items").filter(&format!("n = {n}"))).collect()
    };
    let mut followers = rush(&cluster, &world, shapes).await;
    let mut new: Vec<_> = (0..SHAPES)
        .map(|n| world.client(Shape::of("items").filter(&format!("n = {n} AND kind < 4"))))
        .collect();
    let failing = (0..4).map(|zero| {
        let shape = Shape::of("items").filter(&format!("1 / (kind - {zero}) = 5"));
        let target = format!("{}&offset=-1", shape.target());
        let world = &world;
        async move {
            let answer = world.get(&target).await.expect(400);
            assert!(answer.text().contains("division by zero"), "{}", answer.text());
        }
    });
    let others = join_all(new.iter_mut().map(|follower| follower.catch_up()));
    tokio::join!(others, join_all(failing));
    followers.append(&mut new);
    world.compare_all(&mut followers).await;
}

#[tokio::test]
async fn indexes_of_postgres_serve_new_shapes_and_subsets() {
    let (cluster, world) = world().await;
    world.sql("CREATE TABLE large (id int PRIMARY KEY, n int, note text)").await;
    world.sql("INSERT INTO large SELECT i, i / 5, 'x' FROM generate_series(1, 20000) i").await;
    world.sql("CREATE INDEX ON large (n)").await;
    world.sql("ANALYZE large").await;
    let scans = "SELECT concat(seq_scan, ' ', coalesce(idx_scan, 0)) FROM pg_stat_user_tables WHERE relname = 'large'";
    let found = async || -> (i64, i64) {
        let text = world.db.value(scans).await;
        let (all, by_index) = text.split_once(' ').unwrap();
        (all.parse().unwrap(), by_index.parse().unwrap())
    };
    // To make the index reads the table whole, and its counts arrive late.
    let (before, _) = eventually("what was counted to arrive", async || {
        Some(found().await).filter(|(all, _)| *all > 0)
    })
    .await;
    let shapes = |first: i64| {
        (first..first + SHAPES).map(|n| Shape::of("large").filter(&format!("n = {n}"))).collect()
    };
    let mut followers = rush(&cluster, &world, shapes).await;
    let one = Shape::of("large").filter("n IS NOT NULL");
    let subset = format!("{}&offset=now&log=changes_only&subset__where=n%20%3D%2077", one.target());
    assert_eq!(world.get(&subset).await.expect(200).json()["data"].as_array().unwrap().len(), 5);
    eventually("indexes to be used", async || {
        Some(found().await).filter(|(_, by_index)| *by_index >= SHAPES)
    })
    .await;
    assert_eq!(found().await.0, before, "nothing has read the whole table");
    world.compare_all(&mut followers).await;
}

/// How often all that matters of a table was asked of the catalogue for a new shape.
fn looks(cluster: &Cluster) -> usize {
    cluster.log().matches("marked.mark").count()
}

#[tokio::test]
async fn a_table_is_looked_at_in_whole_once_and_snapshots_are_fewer_than_shapes() {
    let (cluster, world) = world().await;
    let shapes = |first: i64| -> Vec<Shape> {
        (first..first + SHAPES).map(|n| Shape::of("items").filter(&format!("n = {n}"))).collect()
    };
    let mut followers = rush(&cluster, &world, shapes).await;
    let snapshots = || cluster.log().matches("BEGIN ISOLATION LEVEL REPEATABLE READ").count();
    let before = looks(&cluster);
    assert!(before > 0, "the test counts nothing");
    // Where Postgres has other things to do and is slow, each takes its own.
    for round in 1..50 {
        let taken = snapshots();
        let new = shapes(-SHAPES * round).into_iter().map(|shape| world.client(shape));
        let mut new: Vec<_> = new.collect();
        join_all(new.iter_mut().map(|follower| follower.catch_up())).await;
        assert_eq!(looks(&cluster), before, "nothing was altered");
        followers.append(&mut new);
        if snapshots() - taken < SHAPES as usize / 2 {
            world.compare_all(&mut followers).await;
            return;
        }
    }
    panic!("snapshots are not shared");
}

#[tokio::test]
async fn what_is_altered_between_two_looks_is_noticed_by_the_second() {
    let (cluster, world) = world().await;
    let shapes = |first: i64| {
        (first..first + SHAPES).map(|n| Shape::of("items").filter(&format!("n = {n}"))).collect()
    };
    rush(&cluster, &world, shapes).await;
    let mut next = -1;
    let mut ask = async |status: u16| {
        let first = next - 5;
        let targets = (first..next).map(|n| {
            format!("{}&offset=-1", Shape::of("items").filter(&format!("n = {n}")).target())
        });
        next = first;
        let targets: Vec<String> = targets.collect();
        let answers = join_all(targets.iter().map(|target| world.get(target))).await;
        answers.into_iter().map(|answer| answer.expect(status)).collect::<Vec<_>>()
    };
    let altered = [
        ("ALTER TABLE items ALTER n TYPE bigint, ALTER n SET NOT NULL", "n", "type", "\"int8\""),
        ("ALTER TABLE items ALTER n DROP NOT NULL", "n", "not_null", "null"),
        ("ALTER TABLE items ALTER n TYPE int USING n + 1", "n", "type", "\"int4\""),
        ("ALTER TABLE items RENAME kind TO sort", "sort", "type", "\"int4\""),
        ("ALTER TABLE items DROP CONSTRAINT items_pkey, ADD PRIMARY KEY (n)", "n", "pk_index", "0"),
    ];
    for (alter, column, key, expected) in altered {
        world.sql(alter).await;
        for answer in ask(200).await {
            let schema = answer.header("electric-schema").unwrap();
            let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
            assert_eq!(schema[column][key].to_string(), expected, "{alter}: {schema}");
        }
    }
    let publication = world.db.value("SELECT pubname FROM pg_publication").await;
    world.sql(&format!("ALTER PUBLICATION \"{publication}\" DROP TABLE items")).await;
    ask(200).await;
    assert_eq!(world.db.value("SELECT count(*) FROM pg_publication_rel").await, "1");
    world.sql("ALTER TABLE items REPLICA IDENTITY DEFAULT").await;
    ask(200).await;
    let identity = "SELECT relreplident FROM pg_class WHERE relname = 'items'";
    assert_eq!(world.db.value(identity).await, "f");
    world.sql("CREATE TABLE more_items () INHERITS (items)").await;
    for answer in ask(400).await {
        assert!(answer.text().contains("inherit"), "{}", answer.text());
    }
}

//! Tables whose rows get other values of a column by an ALTER TABLE, of which the stream says nothing: the shapes that
//! show or search it begin anew, the others go on.

use std::time::Duration;

use crate::harness::server::brooklet;
use crate::harness::{Database, Follower, Process, Shape, World, eventually};

/// Prices by item, and a table to ask about them.
async fn items() -> World {
    let world = World::with(Database::shared().await, |_| {}).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, price numeric, kept text NOT NULL)").await;
    world.sql("INSERT INTO items SELECT n, n, 'k' FROM generate_series(1, 20) n").await;
    world.sql("CREATE TABLE orders (id int PRIMARY KEY, item int)").await;
    world.sql("INSERT INTO orders SELECT n, n FROM generate_series(1, 20) n").await;
    // Looks at the catalogue are known by what becomes of the first, and hastened by the second.
    world.sql("CREATE TABLE looked (id int PRIMARY KEY, at0 int)").await;
    world.sql("CREATE TABLE hastens (id bigserial PRIMARY KEY)").await;
    world.follow(Shape::of("hastens")).await;
    world
}

/// Those that a price concerns, those that it does not.
async fn followers(world: &World) -> (Vec<Follower>, Vec<Follower>) {
    let priced = [
        Shape::of("items"),
        Shape::of("items").columns("id, price"),
        Shape::of("items").columns("id, kept").filter("price > 10"),
        Shape::of("items").filter("id IN (SELECT item FROM orders WHERE id < 9)"),
        Shape::of("orders").filter("item IN (SELECT id FROM items WHERE price > 10)"),
        Shape::of("orders").filter("item IN (SELECT id FROM items WHERE price < 900)"),
    ];
    let others = [
        Shape::of("items").columns("id, kept"),
        Shape::of("items").columns("id, kept").filter("id IN (SELECT item FROM orders)"),
        Shape::of("orders"),
        Shape::of("orders").filter("item IN (SELECT id FROM items WHERE kept = 'k')"),
    ];
    (follow(world, &priced).await, follow(world, &others).await)
}

async fn follow(world: &World, shapes: &[Shape]) -> Vec<Follower> {
    let mut followers = Vec::new();
    for shape in shapes {
        let follower = world.follow(shape.clone()).await;
        followers.push(follower.through_refetches().through_outages());
    }
    followers
}

fn refetches(followers: &[Follower]) -> Vec<usize> {
    followers.iter().map(|follower| follower.refetches).collect()
}

/// Has the server look at the catalogue soon: a table is announced again.
const HASTEN: &str =
    "ALTER TABLE hastens SET (fillfactor = 90); INSERT INTO hastens DEFAULT VALUES";

/// Waits until the server has looked at the catalogue after now.
async fn looked(world: &World, round: usize) {
    let mut followers = follow(world, &[Shape::of("looked")]).await;
    let rename = format!("ALTER TABLE looked RENAME COLUMN at{round} TO at{}", round + 1);
    world.sql(&rename).await;
    begun_anew(world, &mut followers).await;
}

/// Waits, without a write to the table, until all begin anew.
async fn begun_anew(world: &World, followers: &mut [Follower]) {
    world.sql(HASTEN).await;
    for follower in followers {
        eventually("the shape to begin anew", async || {
            follower.catch_up().await;
            (follower.refetches > 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_rewritten_column_ends_the_shapes_that_use_it_and_no_others() {
    for change in [
        "ALTER TABLE items ALTER COLUMN price TYPE numeric USING price * 100",
        "ALTER TABLE items ALTER COLUMN price TYPE text USING (price + 7)::text;
         ALTER TABLE items ALTER COLUMN price TYPE numeric USING price::numeric",
    ] {
        let mut world = items().await;
        let (mut priced, mut others) = followers(&world).await;
        world.sql(change).await;
        begun_anew(&world, &mut priced).await;
        world.compare_all(&mut priced).await;
        world.compare_all(&mut others).await;
        assert_eq!(refetches(&priced), [1; 6], "{change}");
        assert_eq!(refetches(&others), [0; 4], "{change}");
        // What they begin with stands for the new values, also to another process.
        world.server.kill().await;
        world.server.restart().await;
        world.sql("UPDATE items SET price = price + 1 WHERE id % 3 = 0").await;
        looked(&world, 0).await;
        world.compare_all(&mut priced).await;
        world.compare_all(&mut others).await;
        assert_eq!(refetches(&priced), [1; 6], "{change}, after a restart");
    }
}

/// Before anybody has looked at the catalogue, a row goes that nobody knows.
#[tokio::test]
async fn a_write_right_after_a_rewrite_ends_the_subqueries_that_use_the_column_and_no_others() {
    let world = items().await;
    let priced = [
        Shape::of("items").filter("id IN (SELECT item FROM orders WHERE id < 9)"),
        Shape::of("orders").filter("item IN (SELECT id FROM items WHERE price > 10)"),
    ];
    let others = [
        Shape::of("items").columns("id, kept").filter("id IN (SELECT item FROM orders)"),
        Shape::of("orders").filter("item IN (SELECT id FROM items WHERE kept = 'k')"),
        Shape::of("looked").filter("id IN (SELECT item FROM orders)"),
    ];
    let (mut priced, mut others) = (follow(&world, &priced).await, follow(&world, &others).await);
    world
        .sql(
            "ALTER TABLE items ALTER COLUMN price TYPE numeric USING price * 100;
             UPDATE items SET price = price + 1, kept = 'other' WHERE id < 5;
             DELETE FROM orders WHERE id = 7; INSERT INTO looked VALUES (8, 8)",
        )
        .await;
    world.compare_all(&mut others).await;
    begun_anew(&world, &mut priced).await;
    world.compare_all(&mut priced).await;
    world.compare_all(&mut others).await;
    assert_eq!((refetches(&priced), refetches(&others)), (vec![1; 2], vec![0; 3]));
}

#[tokio::test]
async fn a_table_that_is_rewritten_while_nobody_looks_is_noticed_at_the_next_start() {
    let mut world = items().await;
    let (mut priced, mut others) = followers(&world).await;
    world.server.kill().await;
    world.sql("ALTER TABLE items ALTER COLUMN price TYPE numeric USING price * 100").await;
    world.sql("UPDATE items SET kept = 'new' WHERE id = 3").await;
    world.server.restart().await;
    world.compare_all(&mut priced).await;
    world.compare_all(&mut others).await;
    assert_eq!(refetches(&priced), [1; 6]);
    // Rows for subqueries are read again, and cannot be brought back to where their logs end.
    assert_eq!(refetches(&others[..1]), [0]);
}

#[tokio::test]
async fn new_files_or_another_row_of_the_column_alone_end_nothing() {
    let world = items().await;
    let (mut priced, mut others) = followers(&world).await;
    for (round, change) in [
        "VACUUM FULL items",
        "ALTER TABLE items ALTER COLUMN price SET NOT NULL",
        "CLUSTER items USING items_pkey",
        "ANALYZE items",
        "ALTER TABLE items ALTER COLUMN price SET STATISTICS 50, ALTER COLUMN price SET DEFAULT 7",
        "ALTER TABLE items SET (fillfactor = 50)",
        "VACUUM FULL items",
        "ALTER TABLE items ALTER COLUMN price TYPE numeric",
        "VACUUM FREEZE pg_attribute",
    ]
    .into_iter()
    .enumerate()
    {
        world.sql(change).await;
        looked(&world, round).await;
    }
    world.sql("UPDATE items SET price = price * 2 WHERE id % 3 = 0").await;
    world.compare_all(&mut priced).await;
    world.compare_all(&mut others).await;
    assert_eq!(refetches(&priced), [0; 6]);
    // New files, but the new column is not one that these use.
    world.sql("ALTER TABLE items ADD COLUMN more uuid DEFAULT gen_random_uuid()").await;
    looked(&world, 9).await;
    world.compare_all(&mut priced).await;
    world.compare_all(&mut others).await;
    assert_eq!(refetches(&priced)[1..3], [0; 2], "those of listed columns");
    assert_eq!(refetches(&others), [0; 4]);
}

#[tokio::test]
async fn a_shape_that_waits_for_a_rewrite_begins_with_its_values() {
    let world = items().await;
    // Known, so that there is something to compare with.
    let mut older = follow(&world, &[Shape::of("items")]).await;
    let session = world.db.session().await;
    session.sql("BEGIN").await;
    session.sql("ALTER TABLE items ALTER COLUMN price TYPE numeric USING price * 100").await;
    let shapes = [
        Shape::of("items").filter("price > 500"),
        Shape::of("orders").filter("item IN (SELECT id FROM items WHERE price > 500)"),
    ];
    let late = shapes.map(|shape| {
        let mut follower = world.client(shape).through_outages().through_refetches();
        tokio::spawn(async move {
            follower.catch_up().await;
            follower
        })
    });
    let waiting =
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'items'::regclass";
    eventually("both to wait for the lock", async || {
        (session.value(waiting).await == "2").then_some(())
    })
    .await;
    session.sql("COMMIT").await;
    let mut followers = Vec::new();
    for follower in late {
        followers.push(follower.await.unwrap());
    }
    looked(&world, 0).await;
    world.compare_all(&mut followers).await;
    begun_anew(&world, &mut older).await;
    world.compare_all(&mut older).await;
}

#[tokio::test]
async fn a_partitioned_table_is_rewritten_through_its_root() {
    let world = items().await;
    world
        .sql(
            "CREATE TABLE readings (id int, value int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
             CREATE TABLE low PARTITION OF readings FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
             CREATE TABLE lowest PARTITION OF low FOR VALUES FROM (0) TO (10);
             INSERT INTO readings SELECT n, n FROM generate_series(0, 9) n",
        )
        .await;
    let shapes = ["readings", "low", "lowest"].map(Shape::of);
    let mut all = follow(&world, &shapes).await;
    world.sql("CREATE TABLE high PARTITION OF readings FOR VALUES FROM (10) TO (20)").await;
    world.sql("INSERT INTO readings VALUES (11, 1)").await;
    world.compare_all(&mut all).await;
    looked(&world, 0).await;
    world.sql("VACUUM FULL readings").await;
    looked(&world, 1).await;
    world.compare_all(&mut all).await;
    assert_eq!(refetches(&all), [0; 3]);
    world.sql("ALTER TABLE readings ALTER COLUMN value TYPE int USING value * 2").await;
    begun_anew(&world, &mut all).await;
    world.compare_all(&mut all).await;
    assert_eq!(refetches(&all), [1; 3]);
}

#[tokio::test]
async fn a_difference_that_nobody_has_noticed_yet_is_told_by_verify() {
    let world = items().await;
    let mut followers = follow(&world, &[Shape::of("items")]).await;
    let url = format!("http://{}", world.server.address);
    // A look at the catalogue may come first, but hardly each time.
    for _ in 0..10 {
        world.sql("ALTER TABLE items ALTER COLUMN price TYPE numeric USING price + 1").await;
        let mut command = brooklet();
        command.args(["verify", "--url", &url, "--database-url", &world.db.url()]);
        let mut verified = Process::spawn(command.args(["--table", "items"]));
        if !verified.exit(Duration::from_secs(60)).await.success() {
            assert!(verified.output().contains("price"), "{}", verified.output());
            begun_anew(&world, &mut followers).await;
            return;
        }
    }
    panic!("verify never saw a difference");
}

#[tokio::test]
async fn a_type_that_prints_or_is_called_otherwise_starts_its_shapes_again() {
    let world = items().await;
    world
        .sql(
            "CREATE TYPE mood AS ENUM (E'so\\nso', 'ok');
             CREATE TYPE pair AS (mood mood, n int);
             CREATE DOMAIN moods AS mood[];
             CREATE TABLE people (id int PRIMARY KEY, mood mood, pair pair, many moods, plain text);
             INSERT INTO people VALUES (1, 'ok', '(ok,1)', '{ok}', 'p')",
        )
        .await;
    let listed = |columns: &str| Shape::of("people").columns(columns);
    let shapes = [
        listed("id, mood"),
        listed("id, pair"),
        listed("id, many"),
        listed("id, plain").filter("mood = 'ok'"),
    ];
    let mut untouched = follow(&world, &[listed("id, plain")]).await;
    let mut followers = follow(&world, &shapes).await;
    world.sql("ALTER TYPE mood ADD VALUE 'good'").await;
    looked(&world, 0).await;
    world.compare_all(&mut followers).await;
    assert_eq!(refetches(&followers), [0, 0, 0, 1], "only the filter does not know it");

    let mut followers = follow(&world, &shapes[..3]).await;
    world.sql("ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'").await;
    begun_anew(&world, &mut followers).await;
    world.compare_all(&mut followers).await;

    let mut followers = follow(&world, &[listed("id, pair")]).await;
    world.sql("ALTER TYPE pair ADD ATTRIBUTE more text").await;
    begun_anew(&world, &mut followers).await;
    world.compare_all(&mut followers).await;

    let shapes = [listed("id, mood"), listed("id, plain").filter("mood = 'fine'")];
    let mut followers = follow(&world, &shapes).await;
    world.sql("CREATE SCHEMA elsewhere; ALTER TYPE mood RENAME TO humour; ALTER TYPE humour SET SCHEMA elsewhere").await;
    begun_anew(&world, &mut followers).await;
    let response = world.get(&format!("{}&offset=-1", shapes[0].target())).await;
    let schema = response.header("electric-schema").unwrap().to_owned();
    assert!(schema.contains("humour"), "{schema}");
    world.compare_all(&mut followers).await;
    world.compare_all(&mut untouched).await;
    assert_eq!(refetches(&untouched), [0]);
}

//! What else happens in the life of such a shape: its log is folded, its slot is lost, somebody verifies it.

use crate::harness::server::brooklet;
use crate::harness::{Database, Follower, Shape, World, eventually};

const TABLES: &str = "CREATE TABLE parent (id int PRIMARY KEY, active bool NOT NULL);
     CREATE TABLE child (id int PRIMARY KEY, parent_id int, n int NOT NULL DEFAULT 0)";

const FILTER: &str = "parent_id IN (SELECT id FROM parent WHERE active) OR n > 6000";

async fn world() -> World {
    let world = World::with(Database::shared().await, |options| {
        options.chunk_bytes = Some(20_000);
        options.arguments = vec!["--catch-up-window".into(), "1h".into()];
    })
    .await;
    world.sql(TABLES).await;
    world.sql("INSERT INTO parent SELECT g, g % 2 = 0 FROM generate_series(1, 10) g; INSERT INTO child SELECT g, g % 12 FROM generate_series(1, 60) g").await;
    world
}

async fn verify(world: &World) {
    let mut command = brooklet();
    let url = format!("http://{}", world.server.address);
    command.args(["verify", "--url", &url, "--database-url", &world.db.url()]);
    command.args(["--table", "child", "--where", FILTER]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_large_log_is_folded_and_verified() {
    let mut world = world().await;
    let shape = Shape::of("child").filter(FILTER);
    let mut old = world.client(shape.clone()).through_outages();
    old.catch_up().await;
    let first = old.handle.clone();
    let churn = "DO $$ BEGIN FOR i IN 1..3000 LOOP
           UPDATE child SET n = i WHERE id = i % 20;
           UPDATE parent SET active = NOT active WHERE id = i % 10;
         END LOOP; END $$";
    world.sql(churn).await;
    for _ in 0..300 {
        world.sql("UPDATE parent SET active = NOT active; UPDATE child SET n = n + 1 WHERE id % 3 = 0").await;
    }
    let handle = eventually("the log to be folded", async || {
        let mut new = world.client(shape.clone());
        new.catch_up().await;
        (new.handle != first).then_some(new.handle)
    })
    .await;
    verify(&world).await;
    world.server.kill().await;
    world.sql("UPDATE parent SET active = NOT active WHERE id < 4").await;
    world.server.restart().await;
    let mut new = world.client(shape).through_outages();
    new.catch_up().await;
    assert_eq!(new.handle, handle);
    world.sql("UPDATE parent SET active = NOT active WHERE id > 4").await;
    world.compare_all(&mut [old, new]).await;
    verify(&world).await;
}

/// Those who came along and a new client, with Postgres' answer.
async fn compare(world: &World, followers: &mut [Follower]) {
    let position = world.mark().await;
    for follower in followers {
        follower.reach(position).await;
        world.compare(follower, position).await;
        let mut new = world.follow(follower.shape.clone()).await;
        world.compare(&mut new, position).await;
        assert_eq!(new.handle, follower.handle);
    }
}

#[tokio::test]
async fn a_lost_slot_costs_them_no_handle() {
    let mut world = world().await;
    let nested = "parent_id NOT IN (SELECT id FROM parent WHERE id NOT IN (SELECT parent_id FROM child WHERE n < 5))";
    let mut followers = Vec::new();
    for filter in [FILTER, nested] {
        let shape = Shape::of("child").filter(filter);
        let mut follower = world.client(shape).through_outages();
        follower.catch_up().await;
        followers.push(follower);
    }
    let handles: Vec<String> = followers.iter().map(|follower| follower.handle.clone()).collect();
    // While it runs, while it is down, killed right after the repair, and with what is kept on disk from before.
    for (running, killed) in [(true, false), (false, false), (true, true), (false, true)] {
        if !running && killed {
            world.server.stop().await;
        } else if !running {
            world.server.kill().await;
        }
        world.drop_slot().await;
        // Both sides, while nobody sees it.
        world
            .sql("UPDATE parent SET active = NOT active; DELETE FROM parent WHERE id % 7 = 3")
            .await;
        world.sql("UPDATE child SET parent_id = parent_id + 1 WHERE id % 3 = 0; DELETE FROM child WHERE id % 11 = 5").await;
        world.sql("INSERT INTO child SELECT max(id) + 1, 1, 3 FROM child").await;
        if !running {
            world.server.restart().await;
        }
        compare(&world, &mut followers).await;
        if killed {
            world.server.crash().await;
        }
        // What is kept goes on.
        world.sql("UPDATE parent SET active = NOT active WHERE id % 2 = 0").await;
        world.sql("UPDATE child SET parent_id = 2 WHERE id % 5 = 0; INSERT INTO parent SELECT max(id) + 1, true FROM parent").await;
        compare(&world, &mut followers).await;
    }
    let now: Vec<String> = followers.iter().map(|follower| follower.handle.clone()).collect();
    assert_eq!(handles, now);
    world.verify_all(2).await;
}

/// Of tables that change, or may no longer be read, while the slot is gone.
#[tokio::test]
async fn a_lost_slot_ends_those_whose_inner_tables_are_others_and_nobody_else() {
    let db = Database::shared().await;
    let role = format!("reader_{}", db.name);
    db.sql(&format!("CREATE ROLE {role} LOGIN REPLICATION; GRANT ALL ON DATABASE {} TO {role}; GRANT CREATE ON SCHEMA public TO {role}", db.name)).await;
    let url = db.url_as(&role);
    let mut world = World::with(db, |options| options.database_url = url).await;
    world.sql(TABLES).await;
    world.sql("INSERT INTO child SELECT g, g % 5, g FROM generate_series(1, 40) g").await;
    world.sql(&format!("CREATE TABLE suite_mark (at bigserial PRIMARY KEY); ALTER TABLE suite_mark OWNER TO {role}")).await;
    let inner = ["kept", "emptied", "rewritten", "dropped", "hidden"];
    for table in inner {
        world.sql(&format!("CREATE TABLE {table} (id int PRIMARY KEY, n int); INSERT INTO {table} VALUES (1, 1), (2, 2); ALTER TABLE {table} OWNER TO {role}")).await;
    }
    world
        .sql(&format!("ALTER TABLE child OWNER TO {role}; ALTER TABLE parent OWNER TO {role}"))
        .await;
    let mut followers = vec![world.follow(Shape::of("child")).await.through_outages()];
    for table in inner {
        let filter = format!("parent_id IN (SELECT n FROM {table})");
        let shape = Shape::of("child").filter(&filter);
        followers.push(world.follow(shape).await.through_outages());
    }
    world.server.kill().await;
    world.drop_slot().await;
    world.sql("TRUNCATE emptied; INSERT INTO emptied VALUES (3, 3)").await;
    world.sql("ALTER TABLE rewritten ALTER COLUMN n TYPE int USING n + 1").await;
    world.sql("DROP TABLE dropped").await;
    world
        .sql(&format!("ALTER TABLE hidden OWNER TO postgres; REVOKE ALL ON hidden FROM {role}"))
        .await;
    world.sql("UPDATE kept SET n = 4 WHERE id = 1; UPDATE child SET n = 0 WHERE id < 9").await;
    world.server.restart().await;
    // Nobody holds the others up.
    world.server.ready().await;
    let mut stayed = followers.drain(..2).collect::<Vec<_>>();
    world.compare_all(&mut stayed).await;
    assert_eq!(stayed.iter().map(|client| client.refetches).sum::<usize>(), 0);
    let mut emptied = followers.remove(0).through_refetches();
    world.compare_all(std::slice::from_mut(&mut emptied)).await;
    let mut rewritten = followers.remove(0).through_refetches();
    world.compare_all(std::slice::from_mut(&mut rewritten)).await;
    assert_eq!(rewritten.refetches, 1, "{:?}", rewritten.rows());
    for gone in &followers {
        let answer = world.get(&gone.target(false)).await;
        assert!([400, 409, 503].contains(&answer.status), "{}", answer.shown());
    }
    world.sql("UPDATE kept SET n = 2 WHERE id = 1; INSERT INTO emptied VALUES (4, 1)").await;
    stayed.push(emptied);
    stayed.push(rewritten);
    world.compare_all(&mut stayed).await;
}

/// What is of one row for certain, and no longer.
#[tokio::test]
async fn a_value_is_refused_once_there_may_be_several_rows() {
    let world = World::new().await;
    world
        .sql(
            "CREATE TABLE parent (id int, n int, CONSTRAINT parent_key PRIMARY KEY (id));
             CREATE TABLE child (id int PRIMARY KEY, n int);
             INSERT INTO parent VALUES (1, 5); INSERT INTO child VALUES (10, 5), (11, 6)",
        )
        .await;
    let shape = Shape::of("child").filter("n = (SELECT n FROM parent WHERE id = 1)");
    let mut follower = world.follow(shape.clone()).await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    assert!(follower.rows()[0]["id"].as_deref() == Some("10"));
    let target = format!("{}&offset=-1", shape.target());
    world
        .sql("ALTER TABLE parent DROP CONSTRAINT parent_key; INSERT INTO parent VALUES (1, 6)")
        .await;
    let answer = eventually("the filter to be refused", async || {
        let answer = world.get(&target).await;
        (answer.status == 400).then_some(answer)
    })
    .await;
    assert!(answer.json().to_string().contains("one row at most"), "{}", answer.json());
    let other = Shape::of("child").filter("n IN (SELECT n FROM parent WHERE id = 1)");
    let mut other = world.follow(other).await;
    world.compare_all(std::slice::from_mut(&mut other)).await;
    assert_eq!(other.rows().len(), 2);
    // Not of these: two rows may have one of them each.
    for index in ["(id) WHERE n > 5", "(id, n)", "((id + n))", "(n) INCLUDE (id)"] {
        world
            .sql(&format!("DROP INDEX IF EXISTS i; CREATE UNIQUE INDEX i ON parent {index}"))
            .await;
        world.get(&target).await.expect(400);
    }
    world
        .sql("DELETE FROM parent WHERE n = 6; CREATE UNIQUE INDEX j ON parent (id) INCLUDE (n)")
        .await;
    let mut follower = world.follow(shape).await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    assert_eq!(follower.rows().len(), 1);
}

/// No file of the change log goes while rows are awaited, so nobody waits for ever.
#[tokio::test]
async fn a_table_that_may_no_longer_be_read_after_a_start_ends_its_shapes_and_no_others() {
    let db = Database::shared().await;
    let role = format!("restorer_{}", db.name);
    db.sql(&format!("CREATE ROLE {role} LOGIN REPLICATION; GRANT ALL ON DATABASE {} TO {role}; GRANT CREATE ON SCHEMA public TO {role}", db.name)).await;
    let url = db.url_as(&role);
    let mut world = World::with(db, |options| options.database_url = url).await;
    world.sql(TABLES).await;
    world.sql("INSERT INTO child SELECT g, g % 5, g FROM generate_series(1, 40) g").await;
    world.sql(&format!("CREATE TABLE suite_mark (at bigserial PRIMARY KEY); ALTER TABLE suite_mark OWNER TO {role}")).await;
    for table in ["hidden", "plain"] {
        world.sql(&format!("CREATE TABLE {table} (id int PRIMARY KEY, n int); INSERT INTO {table} VALUES (1, 1), (2, 2); ALTER TABLE {table} OWNER TO {role}")).await;
    }
    world
        .sql(&format!("ALTER TABLE child OWNER TO {role}; ALTER TABLE parent OWNER TO {role}"))
        .await;
    let mut others = vec![world.follow(Shape::of("child")).await.through_outages()];
    let asks =
        |table: &str| Shape::of("child").filter(&format!("parent_id IN (SELECT n FROM {table})"));
    others.push(world.follow(asks("plain")).await.through_outages());
    let gone = world.follow(asks("hidden")).await;
    // Nothing of what is kept is written down.
    world.server.kill().await;
    world
        .sql(&format!("ALTER TABLE hidden OWNER TO postgres; REVOKE ALL ON hidden FROM {role}"))
        .await;
    world.server.restart().await;
    world.sql("UPDATE plain SET n = 4 WHERE id = 1; UPDATE child SET n = 0 WHERE id < 9").await;
    // The other one's rows are read once nobody waits for these.
    world.compare_all(&mut others).await;
    assert_eq!(others.iter().map(|client| client.refetches).sum::<usize>(), 0);
    let answer = world.get(&gone.target(false)).await;
    assert!([409, 503].contains(&answer.status), "{}", answer.shown());
}

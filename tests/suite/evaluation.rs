//! Filters that fail for some row, and filters whose meaning the server alone knows.

use crate::harness::{Database, Follower, Request, Response, Row, Shape, World, eventually};

async fn world_with_metrics() -> (World, u16) {
    let port = crate::harness::postgres::free_port();
    let world = World::with(Database::shared().await, |options| {
        options.arguments = ["--prometheus-port".to_owned(), port.to_string()].to_vec();
    })
    .await;
    (world, port)
}

/// How often a filter failed so far.
async fn errors(port: u16) -> u64 {
    let metrics =
        Request::get("/metrics").send(([127, 0, 0, 1], port).into()).await.unwrap().expect(200);
    let text = metrics.text();
    let found = text.lines().find_map(|line| line.strip_prefix("brooklet_filter_errors_count "));
    found.unwrap_or_else(|| panic!("no counter in:\n{text}")).parse().unwrap()
}

fn ids(rows: &[Row]) -> Vec<String> {
    let mut ids: Vec<String> = rows.iter().map(|row| row["id"].clone().unwrap()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_row_for_which_the_filter_fails_does_not_match_and_is_counted() {
    let (world, port) = world_with_metrics().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int)").await;
    world.sql("INSERT INTO items VALUES (1, 2), (2, 90)").await;
    let mut items = world.follow(Shape::of("items").filter("100 / n > 20")).await;
    assert_eq!(ids(&items.rows()), ["1"]);
    assert_eq!(errors(port).await, 0);
    // The row that fails takes nothing along: the others of its transaction arrive.
    let reached = async |items: &mut Follower, sql: &str, expected: &[&str], failed: u64| {
        world.sql(sql).await;
        items.reach(world.mark().await).await;
        assert_eq!(ids(&items.rows()), expected, "{sql}");
        assert_eq!(errors(port).await, failed, "{sql}");
    };
    reached(&mut items, "INSERT INTO items VALUES (3, 0), (4, 4)", &["1", "4"], 1).await;
    reached(&mut items, "UPDATE items SET n = 0 WHERE id = 1", &["4"], 2).await;
    reached(&mut items, "UPDATE items SET n = 1 WHERE id = 1", &["1", "4"], 3).await;
    // Neither the old nor the new row can be tested.
    reached(&mut items, "UPDATE items SET n = 0 WHERE id = 3", &["1", "4"], 5).await;
    reached(&mut items, "DELETE FROM items WHERE id = 3", &["1", "4"], 6).await;
}

/// It has the database's default collation, which the next process knows, too.
#[tokio::test]
async fn text_that_is_no_columns_is_folded_as_the_database_folds_it() {
    let mut world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, title text, meta jsonb)").await;
    let filter = "upper(title::text) LIKE upper('%é%') OR lower(meta ->> 'a') = lower('Ä') OR id::text ILIKE '1%'";
    let items = world.follow(Shape::of("items").filter(filter)).await;
    let mut items = items.through_outages();
    // Without a word that says so, but for an option.
    let counted = Shape::of("items").filter("regexp_count(title, 'X', 1, 'i') > 0");
    let mut counted = world.follow(counted).await.through_outages();
    for begin in [0, 20] {
        let sql = "INSERT INTO items VALUES (n + 1, 'x', NULL), (n + 2, 'xÉ', NULL), (n + 3, NULL, '{\"a\": \"ä\"}'),
                   (n + 4, NULL, '{\"a\": \"a\"}'), (n + 5, 'E', '{}'); UPDATE items SET title = 'é' WHERE id = n + 5";
        world.sql(&sql.replace("n +", &format!("{begin} +"))).await;
        let position = world.mark().await;
        world.compare(&mut items, position).await;
        world.compare(&mut counted, position).await;
        world.server.kill().await;
        world.server.restart().await;
    }
    let found = ids(&items.rows());
    assert_eq!(
        (found, items.refetches),
        (["1", "2", "22", "23", "25", "3", "5"].map(str::to_owned).to_vec(), 0)
    );
}

/// What a client is told of a filter that Postgres cannot compute for some row.
async fn refusal(world: &World, filter: &str) -> Response {
    // The first answer may have gone out before Postgres came to the row.
    let target = Shape::of("items").filter(filter).target();
    let begun = world.get(&format!("{target}&offset=-1")).await;
    let Some(handle) = begun.header("electric-handle") else { return begun.expect(400) };
    let next = format!("{target}&offset=0_0&handle={handle}");
    let refused = eventually("the refusal", async || {
        let answer = world.get(&next).await;
        (answer.status != 200).then_some(answer)
    });
    refused.await.expect(400)
}

#[tokio::test]
async fn a_filter_that_fails_in_the_snapshot_is_the_clients_error() {
    let (world, port) = world_with_metrics().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int, t text)").await;
    world.sql("INSERT INTO items VALUES (1, 2, '7'), (2, 0, 'seven')").await;
    for (filter, words) in [
        ("100 / n > 20", "division by zero"),
        ("t::int4 = 7", "invalid input syntax for type integer"),
        ("n + 2147483647 > 0", "integer out of range"),
    ] {
        let refused = refusal(&world, filter).await;
        assert!(refused.text().contains(words), "{filter}: {}", refused.shown());
    }
    assert_eq!(errors(port).await, 0, "Postgres failed, not we");
    // Once no row fails the same shape can be had.
    world.sql("UPDATE items SET n = 5, t = '8' WHERE id = 2").await;
    let items = world.follow(Shape::of("items").filter("100 / n > 19")).await;
    assert_eq!(ids(&items.rows()), ["1", "2"]);
    // A side that decides keeps Postgres from the other, and us too.
    world.sql("INSERT INTO items VALUES (3, 0, 'x')").await;
    let mut items = world.follow(Shape::of("items").filter("n <> 0 AND 100 / n > 19")).await;
    world.sql("UPDATE items SET n = 1 WHERE id = 3").await;
    items.reach(world.mark().await).await;
    assert_eq!(ids(&items.rows()), ["1", "2", "3"]);
}

/// Postgres reads more forms of dates than we do, but not where it is asked for a shape's rows.
#[tokio::test]
async fn text_is_a_date_in_the_snapshot_where_it_is_one_live() {
    let (mut world, port) = world_with_metrics().await;
    world
        .sql(
            r#"CREATE TABLE items (id int PRIMARY KEY, meta jsonb);
               INSERT INTO items VALUES (1, '{"due": "2024-02-01"}'), (2, '{"due": "2023-12-31T23:00:00.5Z"}'), (3, '{}')"#,
        )
        .await;
    let shape = Shape::of("items").filter("(meta ->> 'due')::date > '2024-01-01'");
    let mut items = world.follow(shape).await.through_outages();
    assert_eq!(ids(&items.rows()), ["1"]);
    // The filter is read again as it was printed.
    world.server.stop().await;
    world.server.restart().await;
    world
        .sql(
            r#"INSERT INTO items VALUES (4, '{"due": "20240301T101500Z"}'), (5, '{"due": "tomorrow"}'),
               (6, '{"due": "3/1/2024"}'), (7, '{"due": "2024-02-30"}')"#,
        )
        .await;
    items.reach(world.mark().await).await;
    assert_eq!((ids(&items.rows()), items.refetches), (vec!["1".to_owned(), "4".to_owned()], 0));
    assert_eq!(errors(port).await, 3);
    for (id, words) in
        [(7, "2024-02-30"), (6, "unknown form: 3/1/2024"), (5, "unknown form: tomorrow")]
    {
        world.sql(&format!("DELETE FROM items WHERE id > {id}")).await;
        let filter = format!("id >= {id} AND (meta ->> 'due')::date > '2024-01-01'");
        let refused = refusal(&world, &filter).await;
        assert!(refused.text().contains(words), "{filter}: {}", refused.shown());
    }
}

/// The extension need not be in a schema of the table's, only in one that is searched.
#[tokio::test]
async fn citext_is_filtered_alike_in_the_snapshot_and_live() {
    let db = Database::shared().await;
    let name = &db.name;
    db.sql(&format!(
        "CREATE SCHEMA extensions; CREATE EXTENSION citext SCHEMA extensions;
         ALTER DATABASE {name} SET search_path = public, extensions"
    ))
    .await;
    let mut world = World::with(db, |_| {}).await;
    world
        .sql(
            "CREATE TABLE people (id int PRIMARY KEY, email extensions.citext, name text);
             INSERT INTO people VALUES (1, 'Ann@X.org', 'ann@x.org'), (2, 'É@x.org', 'É@x.org'), (3, NULL, 'c')",
        )
        .await;
    let cases = [
        ("email = 'ANN@x.ORG'", vec!["1"], vec!["1", "4"]),
        ("email IN ('é@X.org', 'none')", vec!["2"], vec!["2", "5"]),
        ("email LIKE 'ANN%'", vec!["1"], vec!["1", "4"]),
        ("email > 'b'", vec!["2"], vec!["2", "5"]),
        ("email = name", vec!["2"], vec!["2", "4"]),
        ("email IS NULL", vec!["3"], vec!["3"]),
    ];
    let mut followers = Vec::new();
    for (filter, before, _) in &cases {
        let follower = world.follow(Shape::of("people").filter(filter)).await;
        assert_eq!(ids(&follower.rows()), *before, "{filter}");
        followers.push(follower.through_outages());
    }
    world
        .sql("INSERT INTO people VALUES (4, 'aNN@x.org', 'aNN@x.org'), (5, 'é@X.ORG', 'É@x.org')")
        .await;
    for killed in [false, true] {
        if killed {
            world.server.crash().await;
            world
                .sql("UPDATE people SET email = upper(email::text)::extensions.citext WHERE id = 1")
                .await;
        }
        let position = world.mark().await;
        for (follower, (filter, _, after)) in followers.iter_mut().zip(&cases) {
            follower.reach(position).await;
            assert_eq!(ids(&follower.rows()), *after, "{filter}");
            let new = world.follow(Shape::of("people").filter(filter)).await;
            assert_eq!(new.rows(), follower.rows(), "{filter}");
        }
    }
    let target = Shape::of("people").filter("email = 'ANN@x.ORG'").target();
    let answer = world.get(&format!("{target}&offset=-1")).await.expect(200);
    let schema = answer.header("electric-schema").unwrap();
    assert!(schema.contains("\"email\":{\"type\":\"citext\""), "{schema}");
}

/// To Postgres they are of types of their own. Types beside them that print nothing of what they are made of do not
/// end shapes when the table is looked at again.
#[tokio::test]
async fn arrays_of_domains_and_of_citext_are_filtered_alike_in_the_snapshot_and_live() {
    let mut world = World::with(Database::shared().await, |_| {}).await;
    world
        .sql(
            "CREATE EXTENSION citext;
             CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN own_mood AS mood;
             CREATE DOMAIN number AS int4 CHECK (VALUE > 0); CREATE DOMAIN own_number AS number;
             CREATE DOMAIN price AS numeric(6,2); CREATE TYPE nothing AS ();
             CREATE TABLE items (id int PRIMARY KEY, n own_number[], p price[], m own_mood[], tags citext[],
                                 z nothing, a pg_catalog.pg_am);
             INSERT INTO items VALUES (1, '{1,2}', '{1.5}', '{sad}', '{Red,BLUE}', '()', NULL),
               (2, '[0:1]={2,NULL}', '{2}', '{ok,happy}', '{green}', NULL, '(1,a,-,t)'),
               (3, NULL, NULL, NULL, NULL, NULL, NULL)",
        )
        .await;
    let cases = [
        ("1 = ANY(n)", vec!["1"], vec!["1", "4"]),
        ("n @> '{2}'", vec!["1", "2"], vec!["1", "2", "4"]),
        ("n = '{1,2}'", vec!["1"], vec!["1"]),
        ("n[1] = 1", vec!["1"], vec!["1", "4"]),
        ("n::int4[] @> ARRAY[2, 1]", vec!["1"], vec!["1", "4"]),
        // As the domain has it, 1.501 is 1.50.
        ("p @> '{1.501}'", vec!["1"], vec!["1", "4"]),
        ("m @> '{happy}' OR m = '{sad}'", vec!["1", "2"], vec!["1", "2", "5"]),
        ("tags @> '{blue,RED}'", vec!["1"], vec!["1", "5"]),
        ("'GREEN' = ANY(tags)", vec!["2"], vec!["2", "4"]),
        ("tags = '{Green}'", vec!["2"], vec!["2", "4"]),
    ];
    let mut followers = Vec::new();
    for (filter, before, _) in &cases {
        let follower = world.follow(Shape::of("items").filter(filter)).await;
        assert_eq!(ids(&follower.rows()), *before, "{filter}");
        followers.push(follower.through_outages());
    }
    world
        .sql(
            "INSERT INTO items VALUES (4, '{1,2,3}', '{1.499}', '{ok}', '{GREEN}'),
               (5, '{}', '{}', '{happy}', '{blue,red,x}')",
        )
        .await;
    for killed in [false, true] {
        if killed {
            world.server.crash().await;
            world.sql("UPDATE items SET tags = lower(tags::text)::citext[] WHERE id = 1").await;
        }
        let position = world.mark().await;
        for (follower, (filter, _, after)) in followers.iter_mut().zip(&cases) {
            follower.reach(position).await;
            assert_eq!(ids(&follower.rows()), *after, "{filter}");
        }
    }
    world.verify_all(cases.len()).await;
    let refused = Shape::of("items").filter("n @> ARRAY[2]").target();
    world.get(&format!("{refused}&offset=-1")).await.expect(400);
}

/// The zone's rules are the server's, and a restart has them before it has the server.
#[tokio::test]
async fn zones_are_the_server_s_in_the_snapshot_and_live() {
    let mut world = World::new().await;
    world
        .sql(
            "CREATE TABLE events (id int PRIMARY KEY, at timestamptz, wall timestamp);
             INSERT INTO events VALUES (1, '2024-03-31 00:59:59+00', '2024-03-31 02:30'),
               (2, '2024-03-30 23:00:00+00', '2024-10-27 02:30'), (3, NULL, NULL)",
        )
        .await;
    let cases = [
        ("(at AT TIME ZONE 'Europe/Berlin')::date = '2024-03-31'", vec!["1", "2"], vec!["1", "4"]),
        (
            "date_trunc('day', at, 'europe/berlin') = '2024-03-30 23:00+00'",
            vec!["1", "2"],
            vec!["1", "4"],
        ),
        ("wall AT TIME ZONE 'Europe/Berlin' = '2024-03-31 01:30+00'", vec!["1"], vec!["1", "4"]),
        ("timezone('America/New_York', at) < '2024-03-30 19:00:01'", vec!["2"], vec!["2", "5"]),
    ];
    let mut followers = Vec::new();
    for (filter, before, _) in &cases {
        let follower = world.follow(Shape::of("events").filter(filter)).await;
        assert_eq!(ids(&follower.rows()), *before, "{filter}");
        followers.push(follower.through_outages());
    }
    world
        .sql(
            "INSERT INTO events VALUES (4, '2024-03-31 01:00+00', '2024-03-31 03:30'),
               (5, '1883-11-18 12:00+00', '1893-04-01 00:03')",
        )
        .await;
    for killed in [false, true] {
        if killed {
            world.server.crash().await;
            world.sql("UPDATE events SET at = '2024-03-30 22:59:59+00' WHERE id = 2").await;
        }
        let position = world.mark().await;
        for (follower, (filter, _, after)) in followers.iter_mut().zip(&cases) {
            follower.reach(position).await;
            if killed {
                assert_eq!(ids(&follower.rows()), *after, "{filter}");
            }
            let new = world.follow(Shape::of("events").filter(filter)).await;
            assert_eq!(new.rows(), follower.rows(), "{filter}");
        }
    }
    for (filter, words) in [
        ("wall AT TIME ZONE 'CEST' > '2024-01-01'", "no abbreviations"),
        ("wall AT TIME ZONE 'Nowhere/Land' > '2024-01-01'", "Nowhere/Land"),
    ] {
        let target = Shape::of("events").filter(filter).target();
        let refused = world.get(&format!("{target}&offset=-1")).await.expect(400);
        assert!(refused.text().contains(words), "{filter}: {}", refused.shown());
    }
}

#[tokio::test]
async fn case_is_folded_as_each_column_s_collation_does() {
    let world = World::new().await;
    world
        .sql("CREATE TABLE names (id int PRIMARY KEY, plain text COLLATE \"C\", wide text COLLATE \"C.utf8\")")
        .await;
    world.sql("INSERT INTO names VALUES (1, 'É', 'É'), (2, 'é', 'é'), (3, 'ab', 'AB')").await;
    for (filter, before, after) in [
        ("plain ILIKE 'é'", vec!["2"], vec!["2", "5"]),
        ("wide ILIKE 'é'", vec!["1", "2"], vec!["1", "2", "4", "5"]),
        ("upper(wide) = 'AB'", vec!["3"], vec!["3"]),
        ("initcap(plain) = 'Ab'", vec!["3"], vec!["3"]),
    ] {
        world.sql("DELETE FROM names WHERE id > 3").await;
        let mut names = world.follow(Shape::of("names").filter(filter)).await;
        assert_eq!(ids(&names.rows()), before, "{filter}");
        world.sql("INSERT INTO names VALUES (4, 'É', 'É'), (5, 'é', 'é')").await;
        names.reach(world.mark().await).await;
        assert_eq!(ids(&names.rows()), after, "{filter}");
    }
}

/// Lets the server's answers about zones change: to whoever asks, every change of an offset comes an hour sooner.
const SOONER: &str = "
    CREATE SCHEMA answers;
    CREATE FUNCTION answers.to_timestamp(bigint) RETURNS timestamptz LANGUAGE sql
      RETURN pg_catalog.to_timestamp(($1 + 3600)::float8);
    DO $$ BEGIN
      EXECUTE format('ALTER DATABASE %I SET search_path = answers, pg_catalog, public', current_database());
    END $$";

#[tokio::test]
async fn shapes_end_whose_zones_the_server_has_changed() {
    let mut world = World::new().await;
    world
        .sql(
            "CREATE TABLE events (id int PRIMARY KEY, at timestamptz);
             INSERT INTO events VALUES (1, '2024-03-31 00:59:59+00'), (2, '2024-07-01 00:00+00')",
        )
        .await;
    let zoned = Shape::of("events").filter("at AT TIME ZONE 'Europe/Berlin' < '2024-04-01'");
    let plain = Shape::of("events").filter("at < '2024-04-01'");
    let mut followers = Vec::new();
    for shape in [zoned, plain] {
        followers.push(world.follow(shape).await.through_outages().through_refetches());
    }
    for (change, expected) in [("SELECT 1", [0, 0]), (SOONER, [1, 0])] {
        world.server.stop().await;
        world.sql(change).await;
        world.server.restart().await;
        world.sql("UPDATE events SET at = at - interval '1 second' WHERE id = 1").await;
        let position = world.mark().await;
        for follower in &mut followers {
            follower.reach(position).await;
        }
        let refetches: Vec<usize> = followers.iter().map(|follower| follower.refetches).collect();
        assert_eq!(refetches, expected, "{change}");
        // Who asks again gets another shape in any case; the old one has to end without being asked for.
        eventually("no shape with the zones of before to be left", async || {
            let listed = world.get("/v1/admin/shapes").await.expect(200).json();
            let listed = listed.as_array().unwrap().iter();
            let events = listed.filter(|one| one["table"].as_str().unwrap().contains("events"));
            (events.count() == followers.len()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn powers_have_the_digits_of_the_server_or_are_refused() {
    let mut world = World::new().await;
    world.sql("CREATE TABLE prices (id int PRIMARY KEY, price numeric)").await;
    world.sql("INSERT INTO prices VALUES (1, 12.5), (2, 3), (3, NULL)").await;
    let filter = "price ^ 2.5 = 552.42717280199025 AND ln(price) = 2.5257286443082554";
    let shape = Shape::of("prices").filter(filter);
    let version: u32 =
        world.db.value("SELECT current_setting('server_version_num')").await.parse().unwrap();
    if !(150_000..160_000).contains(&version) {
        let refused = world.get(&format!("{}&offset=-1", shape.target())).await.expect(400);
        assert!(refused.text().contains("only supported of Postgres 15"), "{}", refused.shown());
        return;
    }
    let mut follower = world.follow(shape.clone()).await.through_outages();
    assert_eq!(ids(&follower.rows()), ["1"]);
    world.server.crash().await;
    world.sql("INSERT INTO prices VALUES (4, 12.5), (5, 12.6)").await;
    follower.reach(world.mark().await).await;
    assert_eq!(ids(&follower.rows()), ["1", "4"]);
    assert_eq!(world.follow(shape).await.rows(), follower.rows());
}

//! What the C library computes: answered where the server's rounds as ours, refused where it does not.

use std::sync::Arc;

use crate::harness::postgres::{Cluster, Locale};
use crate::harness::{Database, Row, Shape, World, eventually};

/// Processors without fused multiplication, to the server's C library: it rounds otherwise then.
const OTHER_LIBRARY: [(&str, &str); 1] =
    [("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2_Usable,-FMA_Usable,-AVX2,-FMA,-FMA4")];

/// The places within a kilometre of one in Berlin, by the law of haversines.
const NEAR: &str = "12742 * asin(sqrt(sin(radians(lat - 52.52) / 2) ^ 2 \
     + cos(radians(52.52)) * cos(radians(lat)) * sin(radians(lon - 13.405) / 2) ^ 2)) < 1";

const PLACES: &str = "CREATE TABLE places (id int PRIMARY KEY, lat float8, lon float8);
     INSERT INTO places VALUES (1, 52.52, 13.405), (2, 52.5205, 13.41), (3, 52.6, 13.405), (4, NULL, 1);
     CREATE TABLE growth (id int PRIMARY KEY, rate float8, years int)";

fn ids(rows: &[Row]) -> Vec<String> {
    let mut ids: Vec<String> = rows.iter().map(|row| row["id"].clone().unwrap()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn distances_and_growth_are_computed_as_the_server_computes_them() {
    let world = World::new().await;
    world.sql(PLACES).await;
    let (near, grown) = (
        Shape::of("places").filter(NEAR),
        Shape::of("growth").filter("100 * exp(ln(rate) * years) < 100 * rate ^ years"),
    );
    let (mut places, mut growth) = (world.follow(near).await, world.follow(grown.clone()).await);
    assert_eq!(ids(&places.rows()), ["1", "2"]);
    world
        .sql(
            "INSERT INTO places VALUES (5, 52.5289, 13.405), (6, 52.5290, 13.405);
             UPDATE places SET lat = 48 WHERE id = 2;
             INSERT INTO growth SELECT n, 1 + n / 1000.0, n % 90 FROM generate_series(1, 2000) n",
        )
        .await;
    let position = world.mark().await;
    world.compare(&mut places, position).await;
    world.compare(&mut growth, position).await;
    assert_eq!(ids(&places.rows()), ["1", "5"]);
    // They are one number but for its last bits, so that any other library would let in other rows.
    let rows = growth.rows().len();
    assert!((200..1_800).contains(&rows), "{rows} of 2000");
    assert_eq!(world.follow(grown).await.rows(), growth.rows());
}

/// The cube of a root is as often above as below its number: only the last bit says which.
#[tokio::test]
async fn cube_roots_are_those_of_the_c_library_that_the_server_has_too() {
    let world = World::new().await;
    world.sql("CREATE TABLE cubes (id int PRIMARY KEY, volume float8)").await;
    let filter = "cbrt(volume) > 2 AND (||/ volume) * cbrt(volume) * cbrt(volume) < volume";
    let shape = Shape::of("cubes").filter(filter);
    let mut cubes = world.follow(shape.clone()).await;
    world.sql("INSERT INTO cubes SELECT n, n * n / 777.0 FROM generate_series(1, 2000) n").await;
    let position = world.mark().await;
    world.compare(&mut cubes, position).await;
    let rows = cubes.rows().len();
    assert!((200..1_800).contains(&rows), "{rows} of 2000");
    assert_eq!(world.follow(shape).await.rows(), cubes.rows());
}

#[tokio::test]
async fn a_server_that_rounds_otherwise_is_not_guessed_at() {
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &[]));
    let mut world = World::with(Database::create(Arc::clone(&cluster)).await, |_| {}).await;
    world.sql(PLACES).await;
    // Results that lie in the very middle of two floats.
    let digits = "SELECT concat(sin(0.4730130445844012), ' ', cos(2.777352564081344), ' ',
                         69.51385033331557 ^ 27.96128336739268::float8)";
    let (near, all) = (Shape::of("places").filter(NEAR), Shape::of("places").filter("lat > 50"));
    let near_follower = world.follow(near.clone()).await;
    let mut near_follower = near_follower.through_outages().through_refetches();
    let mut all_follower = world.follow(all.clone()).await.through_outages();
    let before = world.db.value(digits).await;
    cluster.restart_in(&OTHER_LIBRARY);
    world.db.reconnect().await;
    if world.db.value(digits).await == before {
        println!("this C library has one way to compute only: nothing to compare");
        return;
    }
    eventually("the shape that is computed to end", async || {
        let listed = world.get("/v1/admin/shapes").await.expect(200).json();
        let places = listed.as_array().unwrap().iter();
        let places = places.filter(|one| one["table"].as_str().unwrap().contains("places"));
        (places.count() == 1).then_some(())
    })
    .await;
    world.sql("INSERT INTO places VALUES (7, 52.52, 13.405)").await;
    all_follower.reach(world.mark().await).await;
    assert_eq!((ids(&all_follower.rows()).len(), all_follower.refetches), (4, 0));
    let refused = world.get(&format!("{}&offset=-1", near.target())).await.expect(400);
    assert!(refused.text().contains("whose C library rounds"), "{}", refused.shown());
    // With the library of before it is answered again, in a shape of its own.
    world.server.stop().await;
    cluster.restart_in(&[]);
    world.db.reconnect().await;
    world.server.restart().await;
    near_follower.reach(world.mark().await).await;
    assert_eq!(
        (ids(&near_follower.rows()), near_follower.refetches),
        (vec!["1".into(), "2".into(), "7".into()], 1)
    );
}

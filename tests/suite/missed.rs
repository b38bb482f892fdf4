//! What was missed while the slot was lost, as clients are told of it.

use serde_json::{Value, json};

use crate::harness::{Follower, Response, Shape, World};

#[tokio::test]
async fn what_was_missed_says_what_changed_as_every_entry_does() {
    let mut world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int, name text)").await;
    world.sql("INSERT INTO items VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')").await;
    let shape = Shape::of("items");
    let (default, full) = (shape.clone(), shape.more("&replica=full"));
    let (default, full) = (world.follow(default).await, world.follow(full).await);
    world.server.kill().await;
    world.drop_slot().await;
    world.sql("UPDATE items SET n = 10 WHERE id = 1; DELETE FROM items WHERE id = 2; INSERT INTO items VALUES (4, 4, NULL)").await;
    let before = world.db.position().await;
    world.server.restart().await;
    let entries = async |client: &Follower| {
        let answer = world.get(&client.target(false)).await.expect(200);
        let mut messages = answer.json().as_array().unwrap().clone();
        assert_eq!(messages.pop().unwrap()["headers"]["control"], "up-to-date");
        assert_eq!(messages.pop().unwrap()["headers"]["control"], "snapshot-end");
        let last: Vec<_> = messages.iter().map(|m| m["headers"]["last"] == true).collect();
        assert_eq!(last, [false, false, true]);
        for message in &messages {
            let lsn: u64 = message["headers"]["lsn"].as_str().unwrap().parse().unwrap();
            assert!(lsn >= before && message["headers"]["txids"][0].as_u64().unwrap() > 0);
        }
        messages.sort_by_key(|message| message["value"]["id"].to_string());
        messages
            .iter_mut()
            .map(|m| (m["headers"]["operation"].take(), m["value"].take(), m["old_value"].take()))
            .collect::<Vec<_>>()
    };
    let (none, new) = (Value::Null, json!({"id": "4", "n": "4", "name": null}));
    assert_eq!(
        entries(&default).await,
        [
            (json!("update"), json!({"id": "1", "n": "10"}), none.clone()),
            (json!("delete"), json!({"id": "2"}), none.clone()),
            (json!("insert"), new.clone(), none.clone()),
        ]
    );
    assert_eq!(
        entries(&full).await,
        [
            (json!("update"), json!({"id": "1", "n": "10", "name": "a"}), json!({"n": "1"})),
            (json!("delete"), json!({"id": "2", "n": "2", "name": "b"}), none.clone()),
            (json!("insert"), new, none),
        ]
    );
}

#[tokio::test]
async fn whoever_waits_for_a_transaction_that_was_missed_is_told_that_it_is_contained() {
    let mut world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int)").await;
    world.sql("INSERT INTO items VALUES (1, 1), (2, 2)").await;
    let mut waiting = world.follow(Shape::of("items")).await;
    let arrow = waiting.target(false);
    world.server.kill().await;
    world.drop_slot().await;
    let write = async |sql: &str| -> u64 {
        let sql = format!(
            "WITH done AS ({sql} RETURNING id) SELECT pg_current_xact_id()::text FROM done"
        );
        world.db.value(&sql).await.parse().unwrap()
    };
    let missed = [
        write("INSERT INTO items VALUES (3, 3)").await,
        write("UPDATE items SET n = 10 WHERE id = 1").await,
        write("UPDATE items SET n = 11 WHERE id = 1").await,
    ];
    world.server.restart().await;
    let later = {
        let sql = "WITH done AS (DELETE FROM items WHERE id = 2 RETURNING id) SELECT pg_current_xact_id()::text FROM done";
        world.db.value(sql).await.parse::<u64>().unwrap()
    };
    world.mark().await;
    let first = world.get(&arrow).await.expect(200);
    let messages = first.json().as_array().unwrap().clone();
    let ends: Vec<usize> = (0..messages.len())
        .filter(|at| messages[*at]["headers"]["control"] == "snapshot-end")
        .collect();
    let [end] = ends[..] else { panic!("{}", first.shown()) };
    assert_eq!(messages[end - 1]["headers"]["last"], true, "{}", first.shown());
    let seen = &messages[end]["headers"];
    assert!(missed.iter().all(|xid| contains(seen, *xid)), "{missed:?} {seen}");
    assert!(!contains(seen, later), "{later} {seen}");
    assert!(messages[..end].iter().all(|message| message["headers"]["txids"][0] != later));
    // The same for ever, also behind a restart and another loss.
    let upto = |answer: &Response| {
        let messages = answer.json().as_array().unwrap().clone();
        messages[..=end].to_vec()
    };
    world.server.crash().await;
    assert_eq!(upto(&world.get(&arrow).await.expect(200)), messages[..=end]);
    world.server.kill().await;
    world.drop_slot().await;
    world.sql("INSERT INTO items VALUES (4, 4)").await;
    world.server.restart().await;
    let position = world.mark().await;
    let again = world.get(&arrow).await.expect(200);
    assert_eq!(upto(&again), messages[..=end]);
    assert_eq!(again.text().matches("snapshot-end").count(), 2, "{}", again.shown());
    world.compare(&mut waiting, position).await;
    assert_eq!(waiting.refetches, 0);
}

fn contains(end: &Value, xid: u64) -> bool {
    let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
    let listed = end["xip_list"].as_array().unwrap().iter().any(|id| number(id) == xid);
    xid < number(&end["xmin"]) || (xid < number(&end["xmax"]) && !listed)
}

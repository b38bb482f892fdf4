//! Random transactions: several statements, sub-transactions, key changes, no-ops, roll-backs.
//!
//! Which rows a statement hits follows from the rows' text and a salt, not from their place on disk, so that a seed
//! repeats it. A statement that Postgres refuses (a key that is taken) rolls back to its savepoint.

use super::tables::Table;
use crate::harness::{Rng, Session};

/// First rows, before anybody follows.
pub async fn fill(session: &Session, table: &Table, rng: &mut Rng) {
    for _ in 0..15 {
        session.sql(&insert(table, rng)).await;
    }
}

/// One transaction, committed or not.
pub async fn transaction(session: &Session, table: &Table, rng: &mut Rng) {
    session.sql("BEGIN").await;
    for _ in 0..rng.between(1, 6) {
        session.sql("SAVEPOINT s").await;
        let refused = session.try_sql(&statement(table, rng)).await.is_err();
        let undone = rng.percent(15);
        session.sql(if refused || undone { "ROLLBACK TO s" } else { "RELEASE s" }).await;
    }
    session.sql(if rng.percent(88) { "COMMIT" } else { "ROLLBACK" }).await;
}

fn statement(table: &Table, rng: &mut Rng) -> String {
    match rng.below(10) {
        0..=2 => insert(table, rng),
        3..=5 => update(table, rng.between(1, 3) as usize, rng),
        6 => {
            let column = rng.pick(&table.columns).name.clone();
            format!(
                "UPDATE {} SET {column} = {column} WHERE {}",
                table.name,
                some_rows(table, 3, rng)
            )
        }
        7 if table.key > 0 => {
            let key = table.columns[rng.below(table.key)].clone();
            let value = key.literal(rng);
            format!(
                "UPDATE {} SET {} = {value} WHERE {}",
                table.name,
                key.name,
                some_rows(table, 1, rng)
            )
        }
        8 => format!("DELETE FROM {} WHERE {}", table.name, some_rows(table, 2, rng)),
        _ => toggle(table, rng),
    }
}

fn insert(table: &Table, rng: &mut Rng) -> String {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let values: Vec<String> = table.columns.iter().map(|column| column.literal(rng)).collect();
    let conflict = if table.key > 0 && rng.percent(70) { " ON CONFLICT DO NOTHING" } else { "" };
    let (names, values) = (names.join(", "), values.join(", "));
    if table.key > 0 && conflict.is_empty() {
        let keys = table.key_names().join(", ");
        let column = &table.columns[table.columns.len() - 1].name;
        return format!(
            "INSERT INTO {} ({names}) VALUES ({values}) ON CONFLICT ({keys}) DO UPDATE SET {column} = excluded.{column}",
            table.name
        );
    }
    format!("INSERT INTO {} ({names}) VALUES ({values}){conflict}", table.name)
}

fn update(table: &Table, columns: usize, rng: &mut Rng) -> String {
    let mut assignments: Vec<String> = Vec::new();
    for _ in 0..columns {
        let column = rng.pick(&table.columns[table.key..]).clone();
        if assignments
            .iter()
            .all(|assignment| !assignment.starts_with(&format!("{} ", column.name)))
        {
            assignments.push(format!("{} = {}", column.name, column.literal(rng)));
        }
    }
    let rows = rng.between(1, 5) as usize;
    format!(
        "UPDATE {} SET {} WHERE {}",
        table.name,
        assignments.join(", "),
        some_rows(table, rows, rng)
    )
}

/// The same rows changed several times within the transaction.
fn toggle(table: &Table, rng: &mut Rng) -> String {
    let column = rng.pick(&table.columns[table.key..]).clone();
    let changes = (0..rng.between(2, 4)).map(|_| {
        let value = column.literal(rng);
        format!(
            "UPDATE {} SET {} = {value} WHERE {}",
            table.name,
            column.name,
            some_rows(table, 2, rng)
        )
    });
    changes.collect::<Vec<_>>().join("; ")
}

fn some_rows(table: &Table, rows: usize, rng: &mut Rng) -> String {
    let (name, salt) = (&table.name, rng.below(1_000));
    format!(
        "ctid IN (SELECT ctid FROM {name} ORDER BY md5({name}::text || '{salt}'), ctid LIMIT {rows})"
    )
}

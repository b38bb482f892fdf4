//! What clients would see, compared with the model.

use brooklet_dataflows::Verdict;
use brooklet_sql::Row;

use super::life::{Ended, Life};
use super::postgres::{Seen, row};
use crate::shape_log::Offset;
use crate::shape_log::block::last_op;
use crate::shapes::Shape;

type Values = Vec<Option<String>>;

fn values(row: &Row) -> Values {
    row.iter().take(3).map(|value| value.map(str::to_owned)).collect()
}

/// All entries of a shape's log, chunk by chunk as a client reads them; nothing if it has ended.
pub(super) fn entries(life: &Life, shape: &Shape) -> Result<Option<Vec<Seen>>, Ended> {
    let mut found: Vec<Seen> = Vec::new();
    let mut after = Offset::SNAPSHOT_END;
    loop {
        let Ok(slice) = shape.log.slice(after) else { return Ok(None) };
        for block in &slice.blocks {
            for posting in block.read()? {
                let offset = Offset { tx: block.lsn.0, op: last_op(&posting) };
                if offset <= slice.after || offset > slice.end {
                    continue;
                }
                let change = life.log.read(posting.seq, shape.table().oid)?;
                let shown = change.new.as_ref().filter(|_| posting.verdict != Verdict::Delete);
                let keyed = change.old.as_ref().filter(|_| posting.verdict != Verdict::Insert);
                found.push(Seen {
                    offset,
                    verdict: posting.verdict,
                    old_key: keyed.and_then(|old| old.text(0).map(str::to_owned)),
                    new: shown.map(values),
                });
            }
        }
        if slice.up_to_date {
            return Ok(Some(found));
        }
        assert!(slice.end > after, "a chunk without an end");
        after = slice.end;
    }
}

/// Everything has arrived everywhere: each shape holds exactly what it should.
pub(super) fn everything(life: &Life) -> Result<(), Ended> {
    let mut records = life.records().lock().unwrap();
    let postgres = life.postgres().lock().unwrap();
    for id in records.must_live(&postgres) {
        let alive = life.shapes.get(&id).is_some_and(|shape| shape.is_alive());
        assert!(alive, "{} is gone", records.get_mut(id).unwrap().handle);
    }
    let (mut shapes, mut compared) = (0, 0);
    let mut found: Vec<_> = life.shapes.iter().collect();
    found.sort_by_key(|(id, _)| **id);
    for (id, shape) in found {
        let Some(known) = records.get_mut(*id) else { continue };
        let Some(contains) = known.contains.clone() else { continue };
        let (_, must_end) = postgres.ends(known.question, known.added, &contains);
        let Some(found) = entries(life, shape)? else { continue };
        assert!(!must_end, "{} lives although its table was emptied or changed", known.handle);
        if !known.finished {
            continue;
        }
        known.read(&found, &postgres, true);
        // The rows of the snapshot, and after all entries.
        let mut rows: Vec<Values> = life.rows(shape)?.iter().map(values).collect();
        let first = postgres.rows(known.question, &contains);
        let expected: Vec<Values> = first.values().map(|v| values(&row(v))).collect();
        assert_eq!(rows, expected, "{}: rows of the snapshot", known.handle);
        found.iter().for_each(|entry| fold(&mut rows, entry));
        rows.sort();
        let last = postgres.rows(known.question, &vec![true; postgres.commits.len()]);
        let mut expected: Vec<Values> = last.values().map(|v| values(&row(v))).collect();
        expected.sort();
        assert_eq!(rows, expected, "{}: rows in the end", known.handle);
        (shapes, compared) = (shapes + 1, compared + found.len());
    }
    records.compared.0 += shapes;
    records.compared.1 += compared;
    Ok(())
}

/// Whatever can be read is right; says how much cannot.
pub(super) fn damaged(life: &Life) -> usize {
    let mut records = life.records().lock().unwrap();
    let postgres = life.postgres().lock().unwrap();
    let mut refused = 0;
    for (id, shape) in &life.shapes {
        let Some(known) = records.get_mut(*id).filter(|known| known.finished) else { continue };
        match entries(life, shape) {
            Ok(Some(found)) => known.read(&found, &postgres, false),
            Ok(None) => {}
            Err(_) => refused += 1,
        }
        let contains = known.contains.clone().unwrap_or_default();
        match life.rows(shape) {
            Ok(rows) => {
                let rows: Vec<Values> = rows.iter().map(values).collect();
                let expected = postgres.rows(known.question, &contains);
                let expected: Vec<Values> = expected.values().map(|v| values(&row(v))).collect();
                assert_eq!(rows, expected, "{}: rows of the snapshot", known.handle);
            }
            Err(_) => refused += 1,
        }
    }
    refused
}

/// As a client applies an entry; one that does not fit is an error.
fn fold(rows: &mut Vec<Values>, entry: &Seen) {
    let place =
        |rows: &Vec<Values>, key: &Option<String>| rows.iter().position(|row| row[0] == *key);
    if entry.verdict != Verdict::Insert {
        let at = place(rows, &entry.old_key).unwrap_or_else(|| panic!("{entry:?}: no such row"));
        rows.swap_remove(at);
    }
    if let Some(new) = &entry.new {
        assert!(place(rows, &new[0]).is_none(), "{entry:?}: the row is there");
        rows.push(new.clone());
    }
}

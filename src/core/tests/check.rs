//! What clients would see, compared with the model.

use brooklet_dataflows::{ShapeId, Verdict};
use brooklet_sql::{Lsn, Row};

use super::life::{Ended, Life};
use super::members;
use super::postgres::{Postgres, Question, Seen, row};
use crate::shape_log::Offset;
use crate::shape_log::block::last_op;
use crate::shapes::Shape;
use crate::shapes::base::Base;

type Values = Vec<Option<String>>;

fn values(row: &Row) -> Values {
    row.iter().take(3).map(|value| value.map(str::to_owned)).collect()
}

/// All entries of a shape's log, chunk by chunk as a client reads them, and the place they come after;
/// nothing if it has ended.
pub(super) fn entries(life: &Life, shape: &Shape) -> Result<Option<(Offset, Vec<Seen>)>, Ended> {
    let mut found: Vec<Seen> = Vec::new();
    let begin = shape.log.begin_offset();
    let mut after = begin;
    loop {
        let Ok(slice) = shape.log.slice(after) else { return Ok(None) };
        for block in &slice.blocks {
            for posting in block.read()? {
                let offset = Offset { tx: block.lsn.0, op: last_op(&posting) };
                if offset <= slice.after || offset > slice.end {
                    continue;
                }
                let change = block.change(&posting, &life.log, shape.table().oid)?;
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
            return Ok(Some((begin, found)));
        }
        assert!(slice.end > after, "a chunk without an end");
        after = slice.end;
    }
}

/// Everything has arrived everywhere: each shape holds exactly what it should, and the slot need keep nothing.
pub(super) fn everything(life: &Life) -> Result<(), Ended> {
    life.hear();
    let mut records = life.records().lock().unwrap();
    let postgres = life.postgres().lock().unwrap();
    let end = postgres.commits.last().map_or(Lsn::ZERO, |commit| commit.end_lsn);
    let confirmed = postgres.confirmed;
    assert!(confirmed >= end, "confirmed up to {confirmed}, the last commit ends at {end}");
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
        let Some((begin, found)) = entries(life, shape)? else { continue };
        assert!(!must_end, "{} lives although its table was emptied or changed", known.handle);
        if !known.finished {
            continue;
        }
        known.read(begin, &found, &postgres, true);
        if known.question.subquery.is_some() {
            let bases: Vec<_> = shape.bases().to_vec();
            let bases = bases.iter().map(|base| {
                let rows = base_rows(life, base, known.question, &contains, &postgres)?;
                let after = Lsn(base.after().offset.tx);
                Ok((postgres.contained(&contains, after), rows))
            });
            let mut moved = 0;
            for (contained, rows) in bases.collect::<Result<Vec<_>, Ended>>()? {
                moved += members::each_transaction(
                    &postgres,
                    known.question,
                    contained,
                    rows,
                    &found,
                    fold,
                );
            }
            records.with_subqueries += 1;
            records.moved += moved;
            continue;
        }
        for base in shape.bases() {
            let mut rows = base_rows(life, &base, known.question, &contains, &postgres)?;
            // After all entries.
            let later = found.iter().filter(|entry| entry.offset > base.after().offset);
            later.for_each(|entry| fold(&mut rows, entry));
            rows.sort();
            let last = postgres.rows(known.question, &vec![true; postgres.commits.len()]);
            let mut expected: Vec<Values> = last.values().map(|v| values(&row(v))).collect();
            expected.sort();
            assert_eq!(rows, expected, "{}: rows in the end", base.handle);
        }
        (shapes, compared) = (shapes + 1, compared + found.len());
    }
    records.compared.0 += shapes;
    records.compared.1 += compared;
    Ok(())
}

/// Who reads right after a start, before anything else arrives, finds what it should as far as it goes.
pub(super) fn at_once(life: &Life) {
    let mut records = life.records().lock().unwrap();
    let postgres = life.postgres().lock().unwrap();
    for (id, shape) in &life.shapes {
        // A read may fail: then nothing is answered.
        let Ok(Some((begin, found))) = entries(life, shape) else { continue };
        if let Some(known) = records.get_mut(*id) {
            known.read(begin, &found, &postgres, false);
        }
    }
}

/// After a repair: what clients knew is there, offsets rise, and rows are the database's. Says how many
/// logs were compared.
pub(super) fn repaired(life: &Life, known: &[(ShapeId, Vec<Seen>)]) -> Result<usize, Ended> {
    let mut compared = 0;
    let mut records = life.records().lock().unwrap();
    let postgres = life.postgres().lock().unwrap();
    for (id, shape) in &life.shapes {
        let Some((_, found)) = entries(life, shape)? else { continue };
        let record = records.get_mut(*id).unwrap();
        if record.added < postgres.tables[record.question.table].added && !record.question.listed {
            // It would have ended.
            continue;
        }
        let before = known.iter().find(|(known, _)| known == id);
        for (at, entry) in before.iter().flat_map(|(_, seen)| seen).enumerate() {
            assert_eq!(found.get(at), Some(entry), "{}: entry {at} is another", record.handle);
        }
        assert!(found.is_sorted_by(|a, b| a.offset < b.offset), "{}", record.handle);
        let base = shape.newest();
        let mut rows: Vec<Values> = life.rows(&base)?.iter().map(values).collect();
        let later = found.iter().filter(|entry| entry.offset > base.after().offset);
        later.for_each(|entry| fold(&mut rows, entry));
        rows.sort();
        let last = postgres.rows(record.question, &vec![true; postgres.commits.len()]);
        let mut expected: Vec<Values> = last.values().map(|v| values(&row(v))).collect();
        expected.sort();
        assert_eq!(rows, expected, "{}: rows in the end", record.handle);
        compared += 1;
    }
    Ok(compared)
}

/// Whatever can be read is right; says how much cannot.
pub(super) fn damaged(life: &Life) -> usize {
    let mut records = life.records().lock().unwrap();
    let postgres = life.postgres().lock().unwrap();
    let mut refused = 0;
    for (id, shape) in &life.shapes {
        let Some(known) = records.get_mut(*id).filter(|known| known.finished) else { continue };
        match entries(life, shape) {
            Ok(Some((begin, found))) => known.read(begin, &found, &postgres, false),
            Ok(None) => {}
            Err(_) => refused += 1,
        }
        let contains = known.contains.clone().unwrap_or_default();
        for base in shape.bases() {
            let rows = base_rows(life, &base, known.question, &contains, &postgres);
            refused += usize::from(rows.is_err());
        }
    }
    refused
}

/// The rows of a base, which are what they should be.
fn base_rows(
    life: &Life,
    base: &Base,
    question: Question,
    contains: &[bool],
    postgres: &Postgres,
) -> Result<Vec<Values>, Ended> {
    let mut rows: Vec<Values> = life.rows(base)?.iter().map(values).collect();
    let contained = postgres.contained(contains, Lsn(base.after().offset.tx));
    let first = postgres.rows(question, &contained);
    let mut expected: Vec<Values> = first.values().map(|v| values(&row(v))).collect();
    rows.sort();
    expected.sort();
    assert_eq!(rows, expected, "{}: rows of a base", base.handle);
    Ok(rows)
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

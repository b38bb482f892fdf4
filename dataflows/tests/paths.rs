//! The index against brute force: random shapes of every template come and go, and no row may miss one
//! whose filter it satisfies.

#![allow(clippy::unwrap_used)]

mod schema;

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_dataflows::index::ShapeIndex;
use brooklet_dataflows::{Selection, ShapeId, ShapePlan};
use brooklet_sql::{CaseMap, Collation, Row, TableSchema, TextOrder, Truth, compile};

const COLUMNS: [(&str, u32); 12] = [
    ("id", 23),
    ("n", 23),
    ("p", 1700),
    ("f", 701),
    ("t", 25),
    ("b", 16),
    ("u", 2950),
    ("d", 1114),
    ("tags", 1009),
    ("nums", 1007),
    ("j", 3802),
    ("c", 1042),
];

/// Folds Kelvin's sign to k and the dotted capital I to i, as C libraries do.
fn collation() -> Collation {
    let ascii = ('A'..='Z').map(|c| (c, c.to_ascii_lowercase()));
    let others = [('\u{212A}', 'k'), ('İ', 'i'), ('É', 'é'), ('ß', 'ß')];
    Collation {
        name: "x".into(),
        order: TextOrder::Bytes,
        deterministic: true,
        case_map: Some(Arc::new(
            CaseMap::new(ascii.chain(others))
                .with_upper(('a'..='z').map(|c| (c, c.to_ascii_uppercase()))),
        )),
        is_default: false,
    }
}

fn table(oid: u32) -> Arc<TableSchema> {
    schema::table(oid, &format!("t{oid}"), &COLUMNS, collation)
}

/// Splitmix: small, good enough, the same everywhere.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// `#n`, `#p`, … stand for constants of the column's type.
const TEMPLATES: &[&str] = &[
    "n = #n",
    "n = #n AND t = #t",
    "n IN (#n, #n, #n)",
    "n = ANY('{1,2,NULL}')",
    "b",
    "NOT b",
    "n < #n",
    "n <= #n",
    "n > #n",
    "n >= #n",
    "n > #n AND n < #n",
    "n BETWEEN #n AND #n",
    "n BETWEEN SYMMETRIC #n AND #n",
    "n > 1.5 AND n <= 3.5",
    "n < 1e19::float8 AND n > -1e10",
    "p > #p",
    "p BETWEEN #p AND #p",
    "p = #p",
    "p <> #p",
    "f < #f",
    "f >= #f",
    "f = #f",
    "t < #t",
    "t >= #t AND t < #t",
    "u > #u",
    "u BETWEEN #u AND #u",
    "d >= #d",
    "d >= #d AND d < #d",
    "d > date '2024-01-31'",
    "date_trunc('month', d) = '2024-01-01'",
    "c > #t",
    "c = #t",
    "c LIKE 'a %'",
    "n IS NULL",
    "n IS NOT NULL",
    "n IS DISTINCT FROM #n",
    "n IS NOT DISTINCT FROM #n",
    "(n IS DISTINCT FROM #n) OR n <> #n",
    "n <> #n",
    "n <> #n AND n <> #n",
    "n <> #n OR n <> #n",
    "n NOT IN (#n, #n)",
    "n NOT IN (#n, NULL)",
    "NOT (n = #n)",
    "NOT (n = #n AND t = #t)",
    "(n = #n) IS NOT TRUE",
    "(n = #n) IS FALSE",
    "n <> ALL('{1,2}')",
    "t LIKE #t || '%'",
    "t LIKE '%' || #t || '%'",
    "t LIKE #t || '_' || #t || '%'",
    "t LIKE 'a\\%%'",
    "t LIKE '%'",
    "t NOT LIKE 'a%'",
    "t ILIKE '%' || #t || '%'",
    "t ILIKE #t || '%'",
    "t ILIKE #t",
    "t LIKE ANY('{a%,%b,%c%}')",
    "starts_with(t, #t)",
    "t ^@ #t",
    "t ~ 'ab+c'",
    "t ~ '^(a|k)b'",
    "t ~* 'KIS'",
    "t ~* '^a.*[bk]x'",
    "t SIMILAR TO '%(ab|k)%'",
    "lower(t) = #t",
    "lower(t) LIKE '%k%'",
    "upper(t) = 'AB'",
    "length(t) > #n",
    "tags @> ARRAY[#t]",
    "tags @> ARRAY[#t, #t]",
    "tags @> '{}'",
    "tags && ARRAY[#t, #t]",
    "tags <@ ARRAY[#t, #t, 'a']",
    "tags <@ '{}'",
    "#t = ANY(tags)",
    "#n = ANY(nums)",
    "nums @> '{1}' AND n > #n",
    "nums = '{1,2}'",
    "nums[1] = #n",
    "cardinality(nums) = 0",
    "j @> '{\"a\": 1}'",
    "j @> '{\"a\": {\"b\": \"x\"}}'",
    "j @> '{\"tags\": [\"x\"]}'",
    "j @> '[\"x\"]'",
    "j @> '\"x\"'",
    "j @> '{}'",
    "j ? 'a'",
    "j ?| ARRAY['a', 'x']",
    "j ->> 'a' = #t",
    "j -> 'a' = '1'",
    "j #>> '{a,b}' = 'x'",
    "(j ->> 'a')::int4 = #n",
    "(j ->> 'a')::int4 > #n",
    "j -> 'a' IS NULL",
    "j ->> #t = #t",
    "(j ->> #t) COLLATE \"C\" > #t",
    "j ->> #t <> #t",
    "(j ->> #t) COLLATE \"C\" LIKE 'k%'",
    "j -> #t = '\"x\"'",
    "j -> #t ->> #t = 'x'",
    "(j ->> #t)::int4 BETWEEN 1 AND #n",
    "(j ->> #t)::int4 + 10 / n = 11",
    "(j ->> #t || t) = 'ab'",
    "j ->> #t IS NULL",
    "j ->> #t IS DISTINCT FROM #t",
    "coalesce(j ->> #t, 'x') = #t",
    "j ->> #t = #t OR j ->> #t IS NULL",
    "j @> '{\"k\": \"x\"}'",
    "j @> '{\"b\": {\"k\": [1]}}'",
    "10 / n = #n",
    "10 / n > #n OR t = #t",
    "n * 1000000000 > #n",
    "n = #n OR t LIKE #t || '%'",
    "n = #n OR p > #p",
    "n > #n OR n IS NULL",
    "(n = #n OR t = #t) AND b",
    "n = #n AND (t = #t OR p > #p)",
    "b AND n BETWEEN #n AND #n",
    "t = 'a' AND p > #p",
    "(n, t) > (#n, #t)",
    "(n, t) <= (#n, #t)",
    "n = id",
    "n > id AND t <> #t",
    "CASE WHEN b THEN n = #n ELSE t = #t END",
    "coalesce(n, 0) = #n",
    "false",
    "true",
];

const NUMBERS: [&str; 8] = ["0", "1", "2", "3", "4", "-1", "2147483647", "-2147483648"];
const DECIMALS: [&str; 9] =
    ["0", "1", "1.0", "1.50", "-2.5", "NaN", "Infinity", "1000000000000000000000", "0.001"];
const FLOATS: [&str; 8] = ["0", "-0", "1.5", "-1e300", "NaN", "Infinity", "-Infinity", "5e-324"];
const TEXTS: [&str; 16] = [
    "",
    "a",
    "ab",
    "abc",
    "a b",
    "a  ",
    "b",
    "k",
    "K",
    "\u{212A}is",
    "kiss",
    "İx",
    "É",
    "ß",
    "abbcabbcabbcabbcabbcabbcabbc",
    "x%_y",
];
const UUIDS: [&str; 3] = [
    "00000000-0000-0000-0000-000000000000",
    "7fffffff-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
];
const DAYS: [&str; 6] = [
    "2024-01-01 00:00:00",
    "2024-01-31 12:30:00.5",
    "2024-02-01 00:00:00",
    "infinity",
    "-infinity",
    "0044-03-15 00:00:00 BC",
];

fn filter(rng: &mut Rng) -> String {
    let template = rng.pick(TEMPLATES);
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('#') {
        // `#>` and `#>>` are operators.
        let (before, mark) = rest.split_at(at);
        text += before;
        let list: &[&str] = match &mark[1..2] {
            "n" => &NUMBERS,
            "p" => &DECIMALS,
            "f" => &FLOATS,
            "t" => &TEXTS,
            "u" => &UUIDS,
            "d" => &DAYS,
            _ => {
                text += "#";
                rest = &mark[1..];
                continue;
            }
        };
        let constant = rng.pick(list);
        text += &match &mark[1..2] {
            "n" => format!("({constant})"),
            _ => format!("'{constant}'"),
        };
        rest = &mark[2..];
    }
    text + rest
}

fn row(rng: &mut Rng) -> Row {
    let mut values: Vec<Option<&str>> = vec![
        Some(rng.pick(&NUMBERS[..4])),
        Some(rng.pick(&NUMBERS)),
        Some(rng.pick(&DECIMALS)),
        Some(rng.pick(&FLOATS)),
        Some(rng.pick(&TEXTS)),
        Some(rng.pick(&["t", "f"])),
        Some(rng.pick(&UUIDS)),
        Some(rng.pick(&DAYS)),
        Some(rng.pick(&["{}", "{a}", "{ab,a}", "{NULL,a}", "{\"a b\",k}", "{{a},{b}}", "{b}"])),
        Some(rng.pick(&["{}", "{1}", "{1,2}", "{2,NULL}", "[0:1]={1,2}"])),
        Some(rng.pick(&[
            "{}",
            "{\"a\": 1}",
            "{\"a\": 1.0}",
            "{\"a\": \"x\"}",
            "{\"a\": {\"b\": \"x\"}}",
            "{\"a\": null}",
            "{\"tags\": [1, \"x\"]}",
            "{\"tags\": \"x\"}",
            "[\"x\", [\"x\"]]",
            "\"x\"",
            "{\"a\": 99999999999}",
            "{\"k\": \"x\", \"b\": {\"k\": [1]}}",
            "{\"ab\": \"a\", \"K\": \"K\", \"x%_y\": \"\"}",
            "{\"\": \"\", \"ß\": null, \"a b\": 1, \"b\": [\"k\"]}",
            "{\"\": 1, \"a\": 2, \"ab\": 3, \"abc\": 4, \"b\": \"b\", \"k\": \"k\", \"K\": null, \"É\": {\"a\": \"x\"}}",
            "[\"a\", \"k\"]",
            "\"k\"",
        ])),
        Some(rng.pick(&["a    ", "ab   ", "     ", "k    "])),
    ];
    for value in &mut values {
        match rng.below(24) {
            0 | 1 => *value = None,
            // Text that is no value of most types.
            2 => *value = Some(rng.pick(&["?", "{", "", "99999999999999999999"])),
            _ => {}
        }
    }
    Row::new(values).unwrap()
}

/// The index, and the shapes that are in it.
#[derive(Default)]
struct World {
    index: ShapeIndex,
    live: BTreeMap<ShapeId, Arc<ShapePlan>>,
    next: u64,
    found: Vec<Arc<ShapePlan>>,
}

#[derive(Default)]
struct Tally {
    asked: usize,
    named: usize,
    held: usize,
    failed: usize,
    /// Per kind of access: shapes.
    seen: BTreeMap<String, usize>,
}

impl World {
    fn add(&mut self, rng: &mut Rng, table: &Arc<TableSchema>, tally: &mut Tally) {
        self.next += 1;
        let text = filter(rng);
        let predicate = compile(&text, &[], table).unwrap_or_else(|e| panic!("{text}: {e}"));
        let access = format!("{:?}", predicate.access());
        *tally.seen.entry(access.chars().take(3).collect()).or_default() += 1;
        let selection = Arc::new(Selection {
            table: Arc::clone(table),
            columns: [0].into(),
            key: [0].into(),
            listed: false,
        });
        let plan = ShapePlan { id: ShapeId(self.next), selection, predicate: Some(predicate) };
        let plan = Arc::new(plan);
        self.live.insert(plan.id, Arc::clone(&plan));
        self.index.add(plan);
    }

    fn remove(&mut self, rng: &mut Rng) {
        let shape = ShapeId(1 + rng.below(self.next.max(1) as usize) as u64);
        assert_eq!(self.index.remove(shape), self.live.remove(&shape).is_some());
    }

    fn ask(&mut self, table: u32, rows: [Option<&Row>; 2], tally: &mut Tally) {
        self.index.candidates(table, rows, &mut self.found);
        let found = &self.found;
        assert!(found.is_sorted_by(|one, other| one.id < other.id), "sorted, each once");
        for plan in found {
            assert!(self.live.contains_key(&plan.id) && plan.table().oid == table);
        }
        for plan in self.live.values().filter(|plan| plan.table().oid == table) {
            let predicate = plan.predicate.as_ref().unwrap();
            let truths = rows.into_iter().flatten().map(|row| predicate.matches(row));
            let truths: Vec<Truth> = truths.collect();
            let is_named = found.binary_search_by_key(&plan.id, |plan| plan.id).is_ok();
            let holds = truths.contains(&Truth::True);
            assert!(is_named || !holds, "{} misses {rows:?}", predicate.sql());
            tally.asked += 1;
            tally.named += usize::from(is_named);
            tally.held += usize::from(holds);
            tally.failed += usize::from(truths.contains(&Truth::Error));
        }
    }

    /// Nothing is left of shapes that are gone.
    fn end(mut self, rng: &mut Rng) {
        for shape in self.live.keys() {
            assert!(self.index.remove(*shape));
        }
        for table in [1, 2] {
            self.index.candidates(table, [Some(&row(rng)), None], &mut self.found);
            assert!(self.found.is_empty(), "what is gone is found");
        }
        assert!(self.index.view().tables.is_empty(), "something is left over");
    }
}

#[test]
fn no_row_misses_a_shape_whose_filter_it_satisfies() {
    let mut tally = Tally::default();
    for seed in 0..60 {
        println!("seed {seed}");
        let mut rng = Rng(seed);
        let tables = [table(1), table(2)];
        let mut world = World::default();
        for _ in 0..60 {
            for _ in 0..rng.below(12) {
                let table = &tables[rng.below(2)];
                world.add(&mut rng, table, &mut tally);
            }
            for _ in 0..rng.below(8) {
                world.remove(&mut rng);
            }
            let (old, new) = (row(&mut rng), row(&mut rng));
            let rows = match rng.below(4) {
                0 => [None, Some(&new)],
                1 => [Some(&old), None],
                2 => [Some(&old), Some(&old)],
                _ => [Some(&old), Some(&new)],
            };
            world.ask(1 + rng.below(2) as u32, rows, &mut tally);
        }
        world.end(&mut rng);
    }
    let Tally { asked, named, held, failed, seen } = tally;
    assert!(held > 10_000 && failed > 1_000, "{held} {failed}");
    // It is an index only if it leaves most of those out that do not match.
    assert!(named * 10 < asked * 6, "{named} of {asked} named, {held} of which match");
    assert!(seen.values().all(|count| *count > 50), "{seen:?}");
}

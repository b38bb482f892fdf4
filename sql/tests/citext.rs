//! `citext` with Postgres as the oracle, in databases of several locales.
//!
//! Random clauses over columns of `citext`, of text and of a domain must have Postgres' outcome for
//! every row, by the text the user wrote and by the text we print, which Postgres reads where the
//! extension is out of reach. `BROOKLET_TEST_SEED` replays a run; `BROOKLET_TEST_PAIRS` sets how many
//! (clause, row) pairs are compared.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use brooklet_sql::name::literal;
use brooklet_sql::statement::{CITEXT, CITEXT_ARRAY};
use brooklet_sql::{Row, TableSchema, Truth, compile};
use tokio_postgres::{Client, SimpleQueryMessage};

#[path = "citext/arrays.rs"]
mod arrays;
#[path = "generate/citext.rs"]
mod extension;
mod generate;

use generate::Random;
use generate::database::{self, Locale};

const ROWS: usize = 80;
const CLAUSES_PER_ROWS: usize = 200;

/// Name, type, whether clauses name it: the others may only be tested for NULL.
const COLUMNS: [(&str, &str, bool); 12] = [
    ("ci", "citext", true),
    ("cj", "citext", true),
    ("dc", "folded", true),
    ("t", "text", true),
    ("v", "varchar", true),
    ("bp", "char(4)", true),
    ("c", "text COLLATE \"C\"", true),
    ("ta", "text[]", true),
    ("other", "citext COLLATE \"POSIX\"", false),
    ("list", "citext[]", true),
    ("held", "folded[]", true),
    ("far", "citext[] COLLATE \"POSIX\"", false),
];

/// `A` is an array of `citext`, `C` an expression of it, `T` one of text, `L` a literal without a type, `P` a pattern.
const CLAUSES: &[&str] = &[
    "C = L",
    "L = C",
    "C <> L",
    "C = C",
    "C <> C",
    "C < L",
    "C <= C",
    "C > L",
    "C >= C",
    "C = T",
    "T = C",
    "C <> T",
    "C < T",
    "bp = C",
    "c = C",
    "C = c",
    "c::citext = C",
    "C IN (L, L)",
    "C IN (L)",
    "C NOT IN (L, L, NULL)",
    "C IN (L, C, T)",
    "T IN (C, L)",
    "C IN (L::citext, L)",
    "C IN (L::text, L)",
    "C = ANY('{a,B,É,NULL}')",
    "C <> ALL('{x,Ab}')",
    "C < ANY('{b,C}')",
    "C = ANY(ARRAY[L, L])",
    "C = ANY(ta)",
    "C ~~ ANY('{a%,%B}')",
    "C LIKE ALL(ta)",
    "C ILIKE ANY(ta)",
    "L = ANY(ta)",
    "C IS DISTINCT FROM L",
    "C IS NOT DISTINCT FROM C",
    "C IS DISTINCT FROM T",
    "C IS NULL",
    "C IS NOT NULL",
    "C BETWEEN L AND L",
    "C NOT BETWEEN SYMMETRIC L AND C",
    "C LIKE P",
    "C NOT LIKE P",
    "C ILIKE P",
    "C NOT ILIKE P",
    "C LIKE P ESCAPE '!'",
    "T LIKE C",
    "C LIKE C",
    "C LIKE T",
    "T ILIKE C",
    "C ~ 'b|É'",
    "C ~* '^a'",
    "C !~ 'B$'",
    "C !~* '[a-c]'",
    "C ~ '^A'::text",
    "C SIMILAR TO '(a|É)%'",
    "C SIMILAR TO '(a|B)%'",
    "T ~ 'a'",
    "lower(C) = L",
    "upper(C) = L",
    "length(C) = 1",
    "C || L = 'ab'",
    "C || C = T",
    "(C || L)::citext = L",
    "C::text = L",
    "C::text LIKE P",
    "C::varchar = L",
    "C::varchar(1) = L",
    "C::char(4) = bp",
    "C::citext = L",
    "T::citext = L",
    "CAST(T AS citext) = C",
    "citext(T) = C",
    "L::citext = L::citext",
    "L::citext = C",
    "1::citext = C",
    "bp::citext = C",
    "true::citext = C",
    "coalesce(C, L) = L",
    "coalesce(C, C) = L",
    "coalesce(C, T) = L",
    "coalesce(T, C) = L",
    "nullif(C, L) = L",
    "greatest(C, L) = L",
    "least(C, C) = L",
    "CASE C WHEN L THEN true WHEN C THEN false END",
    "CASE WHEN C = L THEN C ELSE L END = L",
    "CASE WHEN C = L THEN C ELSE T END = L",
    "(C, 1) = (L, 1)",
    "(C, T) <> (L, L)",
    "(C, T) < (L, L)",
    "(C, 2) >= (C, 1)",
    "(C, 1) IN ((L, 1), (C, 2))",
    "(C, T) IS DISTINCT FROM (L, T)",
    "strpos(C, L) = 1",
    "strpos(C, T) = 1",
    "position(L IN C) = 1",
    "replace(C, L, L) = L",
    "split_part(C, L, 1) = L",
    "translate(C, L, L) = L",
    "regexp_replace(C, 'a', 'b') = L",
    "regexp_match(C, 'a') IS NULL",
    "regexp_like(C, 'a')",
    "replace(T, C, L) = L",
    "starts_with(C, 'A')",
    "C ^@ 'A'",
    "left(C, 1) = L",
    "left(C, 1)::citext = L",
    "concat(C, L) = L",
    "substr(C, 1, 1) = C",
    "md5(C) = md5(T)",
    "C COLLATE \"C\" = L",
    "C COLLATE \"C\" LIKE P",
    "C COLLATE \"C\" ~ 'b|É'",
    "C::text COLLATE \"C\" < L",
    "(C COLLATE \"C\")::text = L",
    "ARRAY[C, L] = ARRAY[L, C]",
    "ARRAY[C] @> ARRAY[L::citext]",
    "array_append(ta, C) = ta",
    "array_position(ta, C) = 1",
    "ta = ARRAY[C::text]",
    "C ~<~ L",
    "C = NULL",
    "C LIKE NULL",
    "C IN (NULL, L)",
    "C = ANY('{a,B}'::citext[])",
    "C = ANY(ARRAY[C, C])",
    "C = ANY(NULL)",
    "NULL::citext = C",
    "citext_eq(C, L)",
    "texticlike(C, P)",
    "C = L::varchar",
    "C = L::name",
    "C > L::citext",
    "other IS NULL",
    "list IS NOT NULL",
    "other = L",
    "far = '{a}'",
    "C = other::text",
    "(C = L) = (C = L)",
    "NOT C = L",
    "C = L AND T = L",
    "C = L OR C LIKE P",
];

const WORDS: [&str; 34] = [
    "", "a", "A", "b", "B", "ab", "AB", "Ab", "aB", "a ", " a", "é", "É", "ÉA", "éa", "ß", "ẞ",
    "SS", "İ", "i", "I", "ı", "ſ", "s", "K", "K", "k", "Σς", "σς", "ǅ", "ǆ", "Ⱥ", "{a}", "a%_\\B",
];
const PATTERNS: [&str; 12] =
    ["a%", "A%", "%B", "_", "É_", "%é%", "i", "İ", "%K%", "", "a\\%%", "!%_%"];

struct Oracle {
    client: Client,
    table: TableSchema,
    rows: Vec<Row>,
    compared: usize,
    outcomes: [usize; 4],
    /// By template: taken, refused.
    counts: BTreeMap<&'static str, [usize; 2]>,
}

/// The extension is installed into a schema of its own, once in a database.
async fn connect(locale: Locale, schema: &str) -> Option<Client> {
    let client = database::connect(locale).await?;
    let columns = COLUMNS.map(|(name, sql_type, _)| format!("{name} {sql_type}")).join(", ");
    extension::install(&client).await;
    let setup = format!(
        "CREATE SCHEMA {schema}; SET search_path = {schema}, {};
         CREATE DOMAIN folded AS citext CHECK (VALUE IS DISTINCT FROM 'never');
         CREATE TABLE items ({columns}, number int4);",
        extension::SCHEMA
    );
    client.batch_execute(&setup).await.unwrap();
    Some(client)
}

fn word(random: &mut Random) -> String {
    literal(random.pick(&WORDS))
}

/// An expression of `citext`.
fn folded(random: &mut Random) -> String {
    match random.below(12) {
        0 => format!("{}::citext", random.pick(&["t", "v", "ci", "left(t, 2)"])),
        1 => format!("coalesce(ci, {})", word(random)),
        2 => "CASE WHEN t = 'a' THEN cj ELSE ci END".to_owned(),
        3 => "dc".to_owned(),
        4..=6 => "cj".to_owned(),
        _ => "ci".to_owned(),
    }
}

/// An array of it.
fn folded_array(random: &mut Random) -> &'static str {
    random.pick(&["list", "list", "held", "ta::citext[]", "coalesce(list, '{A}')"])
}

fn clause(random: &mut Random, template: &str) -> String {
    let mut text = String::new();
    let mut quoted = false;
    let letters: Vec<char> = template.chars().collect();
    let alone = |at: usize| {
        let part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '"');
        !(at > 0 && part(&letters[at - 1]) || letters.get(at + 1).is_some_and(part))
    };
    for (at, letter) in letters.iter().enumerate() {
        quoted ^= *letter == '\'';
        match letter {
            'A' if !quoted && alone(at) => text += folded_array(random),
            'C' if !quoted && alone(at) => text += &folded(random),
            'T' if !quoted && alone(at) => text += random.pick(&["t", "v", "t", "lower(t)"]),
            'L' if !quoted && alone(at) => text += &word(random),
            'P' if !quoted && alone(at) => text += &literal(random.pick(&PATTERNS)),
            other => text.push(*other),
        }
    }
    text
}

impl Oracle {
    async fn replace_rows(&mut self, random: &mut Random) {
        let mut sql = "TRUNCATE items;".to_owned();
        for number in 0..ROWS {
            let values = COLUMNS.map(|(_, sql_type, _)| match random.below(12) {
                0 => "NULL".to_owned(),
                1..6 if sql_type.contains("[]") => {
                    literal(random.pick(&["{}", "{a,B}", "{NULL,É}", "[0:1]={A,b}"]))
                }
                _ if sql_type.contains("[]") => {
                    let words: Vec<String> = (0..random.below(4)).map(|_| word(random)).collect();
                    format!("ARRAY[{}]::text[]", words.join(", "))
                }
                _ if sql_type.starts_with("char") => format!("left({}, 4)", word(random)),
                _ => word(random),
            });
            sql += &format!("INSERT INTO items VALUES ({}, {number});", values.join(", "));
        }
        self.client.batch_execute(&sql).await.unwrap();
        let printed = self.client.simple_query("SELECT * FROM items ORDER BY number").await;
        let rows = printed.unwrap().into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let values: Vec<_> = (0..=COLUMNS.len()).map(|at| row.get(at)).collect();
                Some(Row::new(values).unwrap())
            }
            _ => None,
        });
        self.rows = rows.collect();
    }

    async fn ask(&self, clause: &str) -> Result<Vec<Truth>, String> {
        let sql = format!("SELECT ({clause})::bool FROM items ORDER BY number");
        let messages = self.client.simple_query(&sql).await;
        let messages = messages.map_err(|e| e.as_db_error().unwrap().message().to_owned())?;
        let truths = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(match row.get(0) {
                None => Truth::Null,
                Some("t") => Truth::True,
                _ => Truth::False,
            }),
            _ => None,
        });
        Ok(truths.collect())
    }

    async fn check(&mut self, template: &'static str, clause: &str, path: [&str; 2]) {
        let theirs = self.ask(clause).await;
        let predicate = match compile(clause, &[], &self.table) {
            Ok(predicate) => predicate,
            Err(refusal) => {
                let known = theirs.is_err() || refusal.reason.contains("supported");
                assert!(known, "Postgres takes {clause}, we say: {refusal}");
                self.counts.entry(template).or_default()[1] += 1;
                return;
            }
        };
        let printed = predicate.sql();
        let theirs =
            theirs.unwrap_or_else(|error| panic!("{clause}\nas {printed}\nPostgres: {error}"));
        let ours: Vec<Truth> = self.rows.iter().map(|row| predicate.matches(row)).collect();
        let access = predicate.access();
        for ((row, ours), theirs) in self.rows.iter().zip(&ours).zip(&theirs) {
            assert_eq!(ours, theirs, "{clause}\nas {printed}\n{row:?}");
            assert!(
                *ours != Truth::True || access.admits(row),
                "no probe of {clause} finds {row:?}"
            );
            self.outcomes[*ours as usize] += 1;
        }
        assert_eq!(compile(&printed, &[], &self.table).unwrap().sql(), printed, "{clause}");
        // Without the extension's operators the printed text means the same.
        assert!(!printed.contains("citext"), "{printed}");
        self.client.batch_execute(&format!("SET search_path = {}", path[0])).await.unwrap();
        let again = self.ask(&printed).await;
        self.client.batch_execute(&format!("SET search_path = {}", path[1])).await.unwrap();
        assert_eq!(again.as_ref(), Ok(&theirs), "{clause}\nas {printed}");
        self.counts.entry(template).or_default()[0] += 1;
        self.compared += ours.len();
    }
}

async fn run(locale: Locale) -> Option<Oracle> {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
    };
    let clock = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let seed = number("BROOKLET_TEST_SEED", clock);
    let pairs = number("BROOKLET_TEST_PAIRS", 60_000) as usize;
    println!("{locale:?}: BROOKLET_TEST_SEED={seed}");
    let schema = format!("citext_{seed}_{}", std::process::id());
    let both = format!("{schema}, brooklet_citext");
    let client = connect(locale, &schema).await?;
    let table = database::described(&client, &schema, "items").await;
    for (column, (name, _, named)) in table.columns.iter().zip(COLUMNS) {
        let found = [CITEXT, CITEXT_ARRAY].contains(&column.base_type_oid);
        assert_eq!(found, named && ["ci", "cj", "dc", "list", "held"].contains(&name), "{name}");
        assert!(!name.starts_with("ci") || column.type_name == "citext");
    }
    let (rows, counts) = (Vec::new(), BTreeMap::new());
    let mut oracle = Oracle { client, table, rows, compared: 0, outcomes: [0; 4], counts };
    let clauses = [CLAUSES, arrays::ARRAY_CLAUSES].concat();
    let mut random = Random::new(seed);
    for round in 0.. {
        // Where all is refused nothing is ever compared.
        if oracle.compared >= pairs || round >= pairs / 4 && round >= clauses.len() * 5 {
            break;
        }
        if round % CLAUSES_PER_ROWS == 0 {
            oracle.replace_rows(&mut random).await;
        }
        let template =
            clauses[if round < clauses.len() { round } else { random.below(clauses.len()) }];
        let text = clause(&mut random, template);
        oracle.check(template, &text, [&schema, &both]).await;
    }
    println!("{} pairs, true/false/NULL/error {:?}", oracle.compared, oracle.outcomes);
    for (template, [taken, refused]) in &oracle.counts {
        println!("{taken:>5} taken {refused:>5} refused {template}");
    }
    // Found no longer, the type is one that nothing is known of.
    oracle.client.batch_execute(&format!("SET search_path = {schema}")).await.unwrap();
    let hidden = database::described(&oracle.client, &schema, "items").await;
    let found = |one: u32| [CITEXT, CITEXT_ARRAY].contains(&one);
    assert!(!hidden.columns.iter().any(|column| found(column.base_type_oid)));
    assert!(compile("ci = 'a'", &[], &hidden).is_err());
    oracle.client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
    Some(oracle)
}

/// Templates that must have been compared, and those that must not.
fn expect(oracle: &Oracle, taken: &[&str], refused: &[&str]) {
    for template in taken {
        assert!(oracle.counts[template][0] > 0, "{template} is never taken");
    }
    for template in refused {
        assert_eq!(oracle.counts[template][0], 0, "{template} is taken");
    }
}

const ALWAYS_REFUSED: [&str; 14] = [
    "other = L",
    "far = '{a}'",
    "A = ta",
    "A @> ta",
    "array_remove(A, L) = '{}'",
    "greatest(A, '{a}') = '{a}'",
    "C ~<~ L",
    "nullif(C, L) = L",
    "greatest(C, L) = L",
    "least(C, C) = L",
    "strpos(C, L) = 1",
    "replace(C, L, L) = L",
    "c::citext = C",
    "C COLLATE \"C\" = L",
];
const EQUALITY: [&str; 26] = [
    "A = '{a,B}'",
    "A @> '{A}'",
    "A && '{A,é}'",
    "L = ANY(A)",
    "C <> ALL(A)",
    "C LIKE ANY(A)",
    "(A)[1] = L",
    "array_position(A, L) = 1",
    "C = ANY('{a,B}'::citext[])",
    "ARRAY[C, L] = ARRAY[L, C]",
    "C = L",
    "C <> C",
    "C IN (L, L)",
    "C NOT IN (L, L, NULL)",
    "C = ANY('{a,B,É,NULL}')",
    "C IS DISTINCT FROM L",
    "C LIKE P",
    "C NOT ILIKE P",
    "C ~* '^a'",
    "C !~ 'B$'",
    "T::citext = L",
    "C::text = L",
    "C = T",
    "(C, 1) = (L, 1)",
    "coalesce(C, L) = L",
    "CASE C WHEN L THEN true WHEN C THEN false END",
];
const ORDER: [&str; 5] =
    ["A < '{b}'", "C < L", "C BETWEEN L AND L", "C < ANY('{b,C}')", "(C, T) < (L, L)"];

#[tokio::test]
async fn postgres_agrees_where_bytes_decide() {
    let Some(oracle) = run(Locale::Given).await else { return };
    expect(&oracle, &EQUALITY, &ALWAYS_REFUSED);
    expect(&oracle, &ORDER, &[]);
}

#[tokio::test]
async fn postgres_agrees_under_a_locale() {
    let Some(oracle) = run(Locale::Libc).await else { return };
    expect(&oracle, &EQUALITY, &ALWAYS_REFUSED);
    expect(&oracle, &[], &ORDER);
}

#[tokio::test]
async fn postgres_agrees_where_bytes_decide_but_not_what_a_letter_is() {
    let Some(oracle) = run(Locale::Mixed).await else { return };
    expect(&oracle, &EQUALITY, &ALWAYS_REFUSED);
    expect(&oracle, &ORDER, &[]);
}

#[tokio::test]
async fn under_icu_only_text_is_compared() {
    let Some(oracle) = run(Locale::Icu).await else { return };
    expect(&oracle, &["C::text = L", "C = T", "C IS NULL"], &["C = L", "C <> C", "C LIKE P"]);
    expect(&oracle, &[], &ALWAYS_REFUSED);
}

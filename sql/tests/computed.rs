//! Postgres as the oracle of values: random expressions of every type, over rows of nasty values,
//! must have the same value there and here; printing must not change them.
//!
//! Each expression is compared as text, which shows what equality would hide: its value in Postgres
//! is put into the row as one more column. Where Postgres raises an error for a row, we must too.
//! `BROOKLET_TEST_SEED` replays a run; `BROOKLET_TEST_PAIRS` sets how many (expression, row) pairs
//! are compared; `BROOKLET_TEST_CONSTRUCT` is a part of the text of the constructs to compare, others
//! being their operands only.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

#[path = "computed/excuses.rs"]
mod excuses;
mod generate;
#[path = "computed/oracle.rs"]
mod oracle;

use generate::Random;
use generate::database::Locale;
use generate::expression::{self, Expression, construct, random_type, templates};
use oracle::{Oracle, Value, connect};

/// Expressions before the rows are replaced.
const EXPRESSIONS_PER_ROWS: usize = 150;
/// How often a construct that was never compared is tried.
const TRIES: usize = 200;
/// For a hundred expressions that are compared, those that we may refuse though Postgres has values, other than for
/// a locale's order and case.
const REFUSED_MAX: usize = 2;
/// What Postgres refuses, too.
const REFUSED_BY_BOTH: [&str; 1] = ["({} = {}) of json, json: bool"];
/// What is documented as refused where text is ordered, and characters are classed, by a locale.
const REFUSED_BY_LOCALE: [&str; 2] =
    ["least({}, {}) of text, text: text", "({} !~ 'a.b|\\d{2}') of text: bool"];
/// And where letters are folded by ICU.
const REFUSED_UNDER_ICU: [&str; 8] = [
    "lower({}) of text: text",
    "upper({}) of text: text",
    "({} NOT ILIKE {}) of text, text: bool",
    "({} ~* 'A') of text: bool",
    "({} !~* 'B|c{2}') of text: bool",
    "regexp_like({}, '^[a-c]|Bc$', 'i') of text: bool",
    "({} NOT ILIKE ALL('{a%,\"%B\"}')) of text: bool",
    "/* one /* two */ */ lower({}) of text: text",
];

fn may_be_refused(construct: &str, locale: Locale) -> bool {
    REFUSED_BY_BOTH.contains(&construct)
        || locale != Locale::Given && REFUSED_BY_LOCALE.contains(&construct)
        || locale == Locale::Icu && REFUSED_UNDER_ICU.contains(&construct)
}

#[derive(Default)]
struct Tally {
    pairs: usize,
    expressions: usize,
    errors: usize,
    /// By reason.
    refused: BTreeMap<String, usize>,
    failing_constants: usize,
    refused_by_both: usize,
    /// How often each was compared.
    constructs: BTreeMap<String, usize>,
}

impl Tally {
    fn compared(&mut self, one: &Expression, theirs: &[Value]) {
        self.expressions += 1;
        self.pairs += theirs.len();
        self.errors += theirs.iter().filter(|one| one.is_error()).count();
        for construct in one.parts().into_iter().filter_map(|part| part.construct) {
            *self.constructs.entry(expression::name(construct)).or_default() += 1;
        }
    }

    fn refused_by_us_alone(&self) -> usize {
        self.refused.values().sum()
    }

    fn print(&self) {
        for (construct, count) in &self.constructs {
            println!("{count:>6} {construct}");
        }
        for (refusal, count) in &self.refused {
            println!("{count:>6} refused: {refusal}");
        }
        println!(
            "{} pairs of {} expressions, {} of them errors in Postgres; expressions refused by both {}, \
             by us alone {}, for constants that fail {}",
            self.pairs,
            self.expressions,
            self.errors,
            self.refused_by_both,
            self.refused_by_us_alone(),
            self.failing_constants
        );
    }
}

#[tokio::test]
async fn postgres_agrees_on_random_values() {
    run(Locale::Given).await;
}

#[tokio::test]
async fn postgres_agrees_under_a_locale() {
    run(Locale::Libc).await;
}

#[tokio::test]
async fn postgres_agrees_under_icu() {
    run(Locale::Icu).await;
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

async fn run(locale: Locale) {
    let clock = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let seed = number("BROOKLET_TEST_SEED", clock);
    let default = if locale == Locale::Given { 200_000 } else { 40_000 };
    let pairs = number("BROOKLET_TEST_PAIRS", default) as usize;
    println!("{locale:?}: BROOKLET_TEST_SEED={seed}");
    let only = std::env::var("BROOKLET_TEST_CONSTRUCT").ok();
    let Some(mut oracle) = connect(locale, seed).await else { return };
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let mut failures = Failures::default();
    for round in 0.. {
        if tally.pairs >= pairs || failures.enough() {
            break;
        }
        if round % EXPRESSIONS_PER_ROWS == 0 {
            oracle.replace_rows(&mut random).await;
        }
        let wanted = if random.chance(30) { "bool" } else { random_type(&mut random) };
        let depth = 1 + random.below(4);
        let one = match &only {
            Some(part) => construct(&mut random, part, depth.min(2)),
            None => expression::expression(&mut random, wanted, depth),
        };
        failures.check(&oracle, &one, &mut tally).await;
    }
    let mut missed = Vec::new();
    if only.is_none() {
        missed =
            compare_the_rest(&mut oracle, &mut random, &mut tally, &mut failures, locale).await;
    }
    oracle.drop_table().await;
    tally.print();
    failures.show();
    assert!(missed.is_empty(), "never compared:\n{}", missed.join("\n"));
    let others = tally.refused.iter().filter(|(refusal, _)| {
        let words = ["under the collation", "depends on the locale"];
        locale == Locale::Given || !words.iter().any(|words| refusal.contains(words))
    });
    let (others, compared) = (others.map(|(_, count)| count).sum::<usize>(), tally.expressions);
    assert!(others * 100 <= compared * REFUSED_MAX, "we alone refuse {others}, beside {compared}");
}

/// Takes each construct that chance has left out until it is compared; what never is.
async fn compare_the_rest(
    oracle: &mut Oracle,
    random: &mut Random,
    tally: &mut Tally,
    failures: &mut Failures,
    locale: Locale,
) -> Vec<String> {
    let mut missed = Vec::new();
    for template in templates() {
        let name = expression::name(template);
        if may_be_refused(&name, locale) {
            continue;
        }
        for attempt in 0..TRIES {
            if tally.constructs.contains_key(&name) || failures.enough() {
                break;
            }
            if attempt % 20 == 19 {
                oracle.replace_rows(random).await;
            }
            let one = expression::of(random, template, 1);
            failures.check(oracle, &one, tally).await;
        }
        if !tally.constructs.contains_key(&name) {
            missed.push(name);
        }
    }
    missed
}

/// What differs, in its smallest part, by how that begins.
#[derive(Default)]
struct Failures(BTreeMap<String, String>);

impl Failures {
    fn enough(&self) -> bool {
        self.0.len() >= number("BROOKLET_TEST_FAILURES", 1) as usize
    }

    async fn check(&mut self, oracle: &Oracle, one: &Expression, tally: &mut Tally) {
        if oracle.differs(one, tally).await.is_some() {
            let smallest = oracle.shrink(one).await;
            self.0.insert(smallest.chars().take(25).collect(), smallest);
        }
    }

    fn show(self) {
        let shown: Vec<String> = self.0.into_values().collect();
        assert!(shown.is_empty(), "{}", shown.join("\n\n"));
    }
}

fn leaf(text: &str) -> Expression {
    Expression::leaf(text.to_owned())
}

fn made(template: &str, operands: Vec<Expression>) -> Expression {
    Expression { operands, ..leaf(template) }
}

/// An error that only one of us raises is excused where it is an operand's of what need not look at it, and
/// nowhere else.
#[tokio::test]
async fn errors_are_hidden_only_where_operands_are_left_out() {
    let mut oracle = connect(Locale::Given, 8).await.unwrap();
    oracle.replace_rows(&mut Random::new(8)).await;
    let fails = || made("(1 / {} = 1)", vec![leaf("(i4 - i4)")]);
    let at = generate::typed::COLUMNS.iter().position(|(name, ..)| *name == "i4").unwrap();
    let row = oracle.rows.iter().position(|row| row[at].is_some()).unwrap();
    let null = oracle.rows.iter().position(|row| row[at].is_none()).unwrap();
    let of = |one: &str, operands: Vec<Expression>| made(one, operands);
    for (one, rows, hidden) in [
        (of("({} AND {})", vec![leaf("b"), fails()]), vec![row], true),
        (of("({} AND {})", vec![leaf("b"), fails()]), vec![row, null], false),
        (of("concat({}, {})", vec![leaf("b"), fails()]), vec![row], false),
        (
            of("concat({}, {})", vec![of("({} OR {})", vec![leaf("b"), leaf("b2")]), fails()]),
            vec![row],
            false,
        ),
        (of("nullif({}, {})", vec![leaf("b"), fails()]), vec![row], false),
        (of("(({}, {}) = (true, true))", vec![leaf("b"), fails()]), vec![row], true),
        (of("CASE WHEN {} THEN {} END", vec![leaf("b"), fails()]), vec![row], true),
    ] {
        assert_eq!(oracle.may_hide(&one, &rows).await, hidden, "{} {rows:?}", one.text());
    }
    oracle.drop_table().await;
}

/// The shrinker finds the part that is wrong, and shows only what it reads.
#[tokio::test]
async fn what_fails_is_shown_in_its_smallest_part() {
    let mut oracle = connect(Locale::Given, 7).await.unwrap();
    oracle.replace_rows(&mut Random::new(7)).await;
    // A row that Postgres does not have: ours differs wherever that is seen.
    let at = generate::typed::COLUMNS.iter().position(|(name, ..)| *name == "i4").unwrap();
    let odd =
        if oracle.rows[0][at].as_deref() == Some("41") { None } else { Some("41".to_owned()) };
    oracle.rows[0][at] = odd;
    let wrong = made("(- {})", vec![leaf("i4")]);
    let fine = made("({} || {})", vec![leaf("t"), leaf("'x'")]);
    let all = made("concat({}, {})", vec![fine.clone(), made("abs({})", vec![wrong])]);
    let shown = oracle.shrink(&all).await;
    let unchanged = oracle.differs(&fine, &mut Tally::default()).await;
    oracle.drop_table().await;
    assert!(shown.starts_with("i4\n") && shown.contains("row: i4=Some(\"41\")"), "{shown}");
    assert!(unchanged.is_none(), "{unchanged:?}");
}

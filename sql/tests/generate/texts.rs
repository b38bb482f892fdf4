//! Text of many scripts, columns of many collations, and every construct on them.

use super::Random;

/// Name and type in SQL.
pub const COLUMNS: [(&str, &str); 22] = [
    ("d_t", "text"),
    ("d_t2", "text"),
    ("d_v", "varchar(7)"),
    ("d_b", "char(4)"),
    ("d_a", "text[]"),
    ("d_n", "name"),
    ("c_t", "text COLLATE \"C\""),
    ("c_b", "char(4) COLLATE \"C\""),
    ("p_t", "text COLLATE \"POSIX\""),
    ("u_t", "text COLLATE \"C.utf8\""),
    ("u_v", "varchar COLLATE \"C.utf8\""),
    ("l_t", "text COLLATE \"en_US.utf8\""),
    // The same locale by another name: Postgres refuses to choose between them.
    ("l_t2", "text COLLATE \"en_US\""),
    ("l_b", "char(4) COLLATE \"en_US\""),
    ("l_a", "text[] COLLATE \"en_US\""),
    ("i_t", "text COLLATE \"en-x-icu\""),
    ("i_v", "varchar(6) COLLATE \"de-x-icu\""),
    ("i_a", "text[] COLLATE \"und-x-icu\""),
    ("n_t", "text COLLATE loose"),
    ("n_b", "char(4) COLLATE loose"),
    ("n_a", "text[] COLLATE loose"),
    ("m_t", "folded"),
];

pub const SETUP: &str = "
    SET client_min_messages = error; CREATE SCHEMA {schema}; SET search_path = {schema};
    CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE DOMAIN folded AS varchar COLLATE \"en-x-icu\";
";

/// What a construct asks of the collation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Equality,
    Order,
    /// Upper and lower case.
    Case,
    /// What a digit is.
    Digits,
    /// What a letter or a blank is.
    Classes,
    /// Upper and lower case of text without a collation of its own, whatever the column's.
    DefaultCase,
    /// The order of such text.
    DefaultOrder,
}

impl Needs {
    /// Whether it is the database's default collation that decides.
    pub fn of_default(self) -> bool {
        matches!(self, Needs::DefaultCase | Needs::DefaultOrder)
    }
}

/// What a construct is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Text,
    Array,
}

/// `{}` stands for the column.
#[derive(Debug, Clone, Copy)]
pub struct Construct {
    pub template: &'static str,
    pub needs: Needs,
    pub of: Of,
}

/// What a column of this type is.
pub fn kind(sql_type: &str) -> Of {
    if sql_type.contains("[]") { Of::Array } else { Of::Text }
}

use Needs::{Case, Classes, DefaultCase, DefaultOrder, Digits, Equality, Nothing, Order};

const ON_TEXT: [(Needs, &str); 70] = [
    (Nothing, "({} IS NULL)"),
    (Nothing, "length({})"),
    (Nothing, "octet_length({})"),
    (Nothing, "({} || 'ß')"),
    (Nothing, "reverse({})"),
    (Nothing, "left({}, 2)"),
    (Nothing, "substr({}, 2, 2)"),
    (Nothing, "trim({})"),
    (Nothing, "ltrim({}, 'aÉ ')"),
    (Nothing, "lpad({}, 5, 'é')"),
    (Nothing, "translate({}, 'aÀ', 'bé')"),
    (Nothing, "md5({})"),
    (Nothing, "concat({}, 'a', 1)"),
    (Nothing, "coalesce({}, 'x')"),
    (Nothing, "({})::varchar(2)"),
    (Nothing, "({})::char(3)"),
    (Nothing, "ascii({})"),
    (Equality, "({} = 'a')"),
    (Equality, "({} = 'É')"),
    (Equality, "({} <> 'É'::text)"),
    (Equality, "({} = {})"),
    (Equality, "({} IS DISTINCT FROM 'Straße')"),
    (Equality, "({} IN ('a', 'É', 'É', 'ǆ'))"),
    (Equality, "({} NOT IN ('a', NULL, 'Σ'))"),
    (Equality, "({} = ANY ('{a,A,é,Ǆ}'))"),
    (Equality, "(CASE {} WHEN 'a' THEN 1 WHEN 'É' THEN 2 ELSE 3 END)"),
    (Equality, "nullif({}, 'a')"),
    (Equality, "(({}, 1) = ('é', 1))"),
    (Equality, "({} LIKE 'a%')"),
    (Equality, "({} NOT LIKE '%É_')"),
    (Equality, "({} LIKE '_!_%' ESCAPE '!')"),
    (Equality, "({} LIKE ANY ('{%a,É%}'))"),
    (Equality, "starts_with({}, 'É')"),
    (Equality, "position('é' in {})"),
    (Equality, "replace({}, 'a', 'ß')"),
    (Equality, "split_part({}, 'a', 2)"),
    (Equality, "string_to_array({}, 'é')"),
    (Equality, "({} ~ '^(a|É)+[b-z]?')"),
    (Equality, "({} !~ '[à-ý]$')"),
    (Equality, "({} SIMILAR TO '(a|É)%')"),
    (Digits, "({} ~ '\\d')"),
    (Digits, "({} ~ '[[:digit:]]x?$')"),
    (Classes, "({} ~ '[[:alpha:]]')"),
    (Classes, "({} ~ '^\\w+$')"),
    (Classes, "({} ~ '[[:upper:]]')"),
    (Classes, "({} ~ '\\s')"),
    (Classes, "({} !~ '[^[:alnum:]]')"),
    (Order, "({} < 'b')"),
    (Order, "({} >= 'É')"),
    (Order, "({} > {})"),
    (Order, "({} BETWEEN 'A' AND 'z')"),
    (Order, "({} NOT BETWEEN SYMMETRIC 'é' AND 'B')"),
    (Order, "greatest({}, 'b')"),
    (Order, "least({}, 'É', 'a')"),
    (Order, "(({}, 2) < ('a', 1))"),
    (Order, "({} <= ALL ('{b,É}'))"),
    (Case, "({} ILIKE 'É%')"),
    (Case, "({} NOT ILIKE '%ſ_')"),
    (Case, "({} ~* '^[a-k]|Ks|i')"),
    (Case, "regexp_like({}, '^[a-k]|Ks|i', 'i')"),
    (Case, "regexp_replace({}, 'a', 'ß', 'gi')"),
    (Case, "lower({})"),
    (Case, "upper({})"),
    (Classes, "initcap({})"),
    (DefaultCase, "(length({})::text ILIKE '1%')"),
    (DefaultCase, "lower('ÄÉſI' || length({}))"),
    (DefaultCase, "upper(concat(length({}), 'ßäi'))"),
    (DefaultCase, "(concat('K', octet_length({})) ~* '^k[12]$')"),
    (DefaultOrder, "(length({})::text < '2')"),
    (DefaultOrder, "greatest(concat('é', length({})), 'Z')"),
];

const ON_ARRAYS: [(Needs, &str); 14] = [
    (Nothing, "cardinality({})"),
    (Nothing, "({})[1]"),
    (Nothing, "({} || 'é'::text)"),
    (Nothing, "array_to_string({}, ',')"),
    (Equality, "({} = '{a,É}')"),
    (Equality, "({} <> {})"),
    (Equality, "({} @> '{a}')"),
    (Equality, "({} && ARRAY['É','a'])"),
    (Equality, "('a' = ANY ({}))"),
    (Equality, "('É' <> ALL ({}))"),
    (Equality, "array_position({}, 'a')"),
    (Equality, "array_remove({}, 'A')"),
    (Order, "({} < '{a}')"),
    (Order, "('É' > ANY ({}))"),
];

/// Every construct.
pub fn constructs() -> impl Iterator<Item = Construct> {
    let on_text = ON_TEXT.iter().map(|(needs, template)| (*needs, *template, Of::Text));
    let on_arrays = ON_ARRAYS.iter().map(|(needs, template)| (*needs, *template, Of::Array));
    on_text.chain(on_arrays).map(|(needs, template, of)| Construct { template, needs, of })
}

/// Functions of text to text, to nest.
const INNER: [&str; 14] = [
    "({} || {})",
    "lower({})",
    "upper({})",
    "coalesce({}, {})",
    "(CASE WHEN {} = {} THEN {} ELSE {} END)",
    "nullif({}, {})",
    "greatest({}, {})",
    "substr({}, 2)",
    "replace({}, {}, 'x')",
    "({} COLLATE \"C\")",
    "{}::varchar",
    "{}::text",
    "(ARRAY[{}, {}])[2]",
    "concat({}, {})",
];

/// A construct over random operands; beside it, others to compare with.
pub fn nested(random: &mut Random, one: &Construct, depth: usize) -> String {
    let mut text = String::new();
    let mut rest = one.template;
    while let Some((before, after)) = rest.split_once("{}") {
        text += before;
        text += &match one.of {
            Of::Text => operand(random, depth),
            Of::Array => column(random, Of::Array),
        };
        rest = after;
    }
    text += rest;
    match random.below(6) {
        0 => {
            let (left, right) = (operand(random, depth), operand(random, 0));
            format!(
                "({left} {} {right})",
                random.pick(&["=", "<>", "<", "LIKE", "ILIKE", "IS DISTINCT FROM"])
            )
        }
        1 => format!(
            "({} IN ({}, {}, 'a'))",
            operand(random, depth),
            operand(random, 0),
            constant(random)
        ),
        _ => text,
    }
}

fn operand(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.chance(20) {
        return if random.chance(75) { column(random, Of::Text) } else { constant(random) };
    }
    let mut text = String::new();
    let mut rest = random.pick(&INNER);
    while let Some((before, after)) = rest.split_once("{}") {
        text += before;
        text += &operand(random, depth - 1);
        rest = after;
    }
    text + rest
}

fn constant(random: &mut Random) -> String {
    let quoted = brooklet_sql::name::literal(&word(random));
    if random.chance(30) { format!("{quoted}::text") } else { quoted }
}

fn column(random: &mut Random, of: Of) -> String {
    // Mostly of one collation, so that they may meet.
    loop {
        let (name, sql_type) = COLUMNS[random.below(COLUMNS.len())];
        if kind(sql_type) == of {
            return name.to_owned();
        }
    }
}

/// Letters whose cases are many, equal, longer or missing; accents apart and joined; what is no letter.
const CHARACTERS: &str = "aaAAbBzZkKsSiIéÉeE\u{301}àÀýßẞİıſK\u{212B}åÅΣσςǅǆǄŉΐﬀՀհևжЖꭰᎠᲐა𐐀𐐨日本ﾊは👩\u{200D}🦀①٣7 019 \t_%-.,'\u{A0}";

fn word(random: &mut Random) -> String {
    let characters: Vec<char> = CHARACTERS.chars().collect();
    let known =
        ["a", "A", "É", "é", "e\u{301}", "Straße", "STRASSE", "ǆ", "Σ", "a b", "", "K", "aé", "7"];
    if random.chance(35) {
        return random.pick(&known).to_owned();
    }
    let length = random.below(5);
    (0..length).map(|_| characters[random.below(characters.len())]).collect()
}

/// A random value of a column, as Postgres reads it.
pub fn value(random: &mut Random, sql_type: &str) -> Option<String> {
    if random.chance(8) {
        return None;
    }
    if kind(sql_type) == Of::Array {
        let elements: Vec<String> = (0..random.below(4))
            .map(|_| match random.below(8) {
                0 => "NULL".to_owned(),
                _ => format!("\"{}\"", word(random)),
            })
            .collect();
        return Some(format!("{{{}}}", elements.join(",")));
    }
    let word = word(random);
    let room = if sql_type.contains('(') { 4 } else { usize::MAX };
    Some(word.chars().take(room).collect())
}

//! Random expressions of every type, as trees, so that a failing one can be taken apart.

use super::Random;
use super::binary::BINARY_TEMPLATES;
use super::domains::DOMAIN_TEMPLATES;
use super::formats::{FORMAT_TEMPLATES, SPAN_TEMPLATES, ZONE_TEMPLATES, format};
use super::making::MAKING_TEMPLATES;
use super::named::NAMED_TEMPLATES;
use super::ranges::{self, RANGE_LITERALS, RANGE_TEMPLATES, RANGE_TYPES};
use super::readable::READABLE_TEMPLATES;
use super::spellings::SPELLED_TEMPLATES;
use super::templates::TEMPLATES;
use super::typed::{COLUMNS, LITERALS};

/// An expression: a template with its operands.
#[derive(Clone)]
pub struct Expression {
    /// `{}` stands for an operand.
    pub template: String,
    pub operands: Vec<Expression>,
    /// Which construct it is; columns and literals are none.
    pub construct: Option<&'static Template>,
}

impl Expression {
    pub fn leaf(text: String) -> Expression {
        Expression { template: text, operands: Vec::new(), construct: None }
    }

    pub fn text(&self) -> String {
        if self.operands.is_empty() {
            return self.template.clone();
        }
        let mut text = String::new();
        let mut operands = self.operands.iter();
        let mut rest = self.template.as_str();
        while let Some((before, after)) = rest.split_once("{}") {
            text += before;
            text += &operands.next().unwrap().text();
            rest = after;
        }
        text + rest
    }

    /// Itself and everything below it, the smallest first.
    pub fn parts(&self) -> Vec<&Expression> {
        let mut parts = vec![self];
        let mut next = 0;
        while next < parts.len() {
            let one = parts[next];
            parts.extend(&one.operands);
            next += 1;
        }
        parts.sort_by_key(|part| part.text().len());
        parts
    }
}

/// Every construct: result, text, operands.
pub fn templates() -> impl Iterator<Item = &'static Template> {
    let all = [
        TEMPLATES,
        RANGE_TEMPLATES,
        ranges::JSON_TEMPLATES,
        NAMED_TEMPLATES,
        FORMAT_TEMPLATES,
        ZONE_TEMPLATES,
        SPAN_TEMPLATES,
        READABLE_TEMPLATES,
        BINARY_TEMPLATES,
        SPELLED_TEMPLATES,
        DOMAIN_TEMPLATES,
        MAKING_TEMPLATES,
    ];
    all.into_iter().flatten()
}

/// A random expression of a type.
pub fn expression(random: &mut Random, wanted: &str, depth: usize) -> Expression {
    // A format that is no constant is refused.
    if depth == 0 || wanted.ends_with(" format") || random.chance(15) {
        return leaf(random, wanted);
    }
    let fitting: Vec<&Template> = templates().filter(|(result, ..)| fits(result, wanted)).collect();
    if fitting.is_empty() {
        return leaf(random, wanted);
    }
    let template = fitting[random.below(fitting.len())];
    filled(random, template, wanted, depth)
}

/// A random expression that is this construct outermost.
pub fn of(random: &mut Random, template: &'static Template, depth: usize) -> Expression {
    let wanted = random_type(random);
    filled(random, template, wanted, depth)
}

/// What tells a construct from all others.
pub fn name((result, template, operands): &Template) -> String {
    format!("{template} of {}: {result}", operands.join(", "))
}

/// A random expression whose outermost construct has this in its text.
pub fn construct(random: &mut Random, part: &str, depth: usize) -> Expression {
    let fitting: Vec<&Template> =
        templates().filter(|(_, template, _)| template.contains(part)).collect();
    let template = fitting[random.below(fitting.len())];
    of(random, template, depth)
}

/// Type, text, types of the operands.
pub type Template = (&'static str, &'static str, &'static [&'static str]);

fn filled(
    random: &mut Random,
    construct: &'static Template,
    wanted: &str,
    depth: usize,
) -> Expression {
    let (result, template, operands) = *construct;
    // `any` is one type for the whole template.
    let any = if result == "any" { wanted } else { any_type(random) };
    let operands = operands
        .iter()
        .map(|one| {
            let one = match *one {
                "any" => any,
                "any[]" if any == "int4" => "int4[]",
                "any[]" => "text[]",
                other => other,
            };
            expression(random, one, depth - 1)
        })
        .collect();
    Expression { template: template.to_owned(), operands, construct: Some(construct) }
}

fn fits(result: &str, wanted: &str) -> bool {
    result == wanted || result == "any"
}

/// Types that compare with `=` and `<`.
pub const TYPES: [&str; 30] = [
    "int2",
    "int4",
    "int8",
    "numeric",
    "float4",
    "float8",
    "text",
    "varchar",
    "bpchar",
    "mood",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "interval",
    "uuid",
    "bytea",
    "bool",
    "macaddr",
    "inet",
    "cidr",
    "xid8",
    "pg_lsn",
    "bit",
    "varbit",
    "int4[]",
    "text[]",
    "own_int[]",
    "own_digits[]",
    "jsonb",
];

/// A type to make an expression of.
pub fn random_type(random: &mut Random) -> &'static str {
    if random.chance(30) { any_type(random) } else { TYPES[random.below(TYPES.len())] }
}

fn any_type(random: &mut Random) -> &'static str {
    if random.chance(30) {
        return RANGE_TYPES[random.below(RANGE_TYPES.len())];
    }
    TYPES[random.below(TYPES.len() - 1)]
}

fn leaf(random: &mut Random, wanted: &str) -> Expression {
    let columns: Vec<&str> = (COLUMNS.iter())
        .filter(|(_, _, kind, _)| *kind == wanted)
        .map(|(name, ..)| *name)
        .collect();
    let template = if !columns.is_empty() && random.chance(65) {
        columns[random.below(columns.len())].to_owned()
    } else {
        literal(random, wanted)
    };
    Expression::leaf(template)
}

fn literal(random: &mut Random, wanted: &str) -> String {
    if wanted == "path" {
        let (_, paths) = RANGE_LITERALS.iter().find(|(kind, _)| *kind == wanted).unwrap();
        return brooklet_sql::name::literal(random.pick(paths));
    }
    if let Some(format) = format(random, wanted) {
        return format;
    }
    if random.chance(4) {
        return format!("NULL::{wanted}");
    }
    if wanted == "small" {
        return small(random);
    }
    if wanted == "k" {
        return random.pick(&["0", "1", "2", "-1", "3", "5"]).to_owned();
    }
    let (_, values) =
        LITERALS.iter().chain(RANGE_LITERALS).find(|(kind, _)| *kind == wanted).unwrap();
    let quoted = brooklet_sql::name::literal(random.pick(values));
    match wanted {
        "int4" if random.chance(70) => random
            .pick(&["0", "1", "2", "-1", "7", "2147483647", "(-2147483648)", "100"])
            .to_owned(),
        "numeric" if random.chance(60) => random
            .pick(&["0.0", "1.5", "-2.25", "1e3", "0.001", "12345678901234567890.12"])
            .to_owned(),
        // Untyped: the context decides.
        _ if random.chance(20) => quoted,
        _ => format!("{quoted}::{wanted}"),
    }
}

/// A number whose powers and logarithms are of a size that can be looked at.
fn small(random: &mut Random) -> String {
    let whole = match random.below(6) {
        0 => 0,
        1 | 2 => random.below(10),
        3 | 4 => random.below(300),
        _ => random.below(2_000),
    };
    let sign = if random.chance(30) { "-" } else { "" };
    let most = if random.chance(10) { 40 } else { 9 };
    let places = random.below(most);
    let mut fraction = String::new();
    for _ in 0..places {
        let digit = if random.chance(40) { 0 } else { random.below(10) as u8 };
        fraction.push(char::from(b'0' + digit));
    }
    let near = random.pick(&["0.999999", "1.00000001", "1.1", "0.9", "1.0", "10", "0.1"]);
    match random.below(8) {
        0 => format!("'{sign}{near}'::numeric"),
        _ => format!("'{sign}{whole}.{fraction}'::numeric"),
    }
}

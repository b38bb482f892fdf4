//! Whether the server's C library computes powers, logarithms and trigonometry as this process' does.
//!
//! *Enters*: what the server gives for lists of arguments. *Leaves*: the functions of which these are our results.
//! *Invariant*: every argument's result lies so close to the middle of two floats that an implementation that is not
//! correct to the last bit rounds it by chance. Two that agree on all of them, bit by bit, are one implementation,
//! compiled alike: the same library with and without fused multiplication already differs in one of ten. IEEE 754
//! says how a sum or a square root is rounded, so that these need no such question, and nobody how a sine is.

use crate::routine::{Code, by_code};

/// Each function's name, Postgres' name of its code, and the bits of arguments, in hexadecimal; `hard_cases.py` beside
/// it has found them.
const CASES: &str = include_str!("../catalog/mathematics.tsv");

/// Names in SQL and of the code in Postgres.
const FUNCTIONS: [(&str, &str); 12] = [
    ("exp", "dexp"),
    ("ln", "dlog1"),
    ("log", "dlog10"),
    ("cbrt", "dcbrt"),
    ("sin", "dsin"),
    ("cos", "dcos"),
    ("tan", "dtan"),
    ("asin", "dasin"),
    ("acos", "dacos"),
    ("atan", "datan"),
    ("power", "dpow"),
    ("atan2", "datan2"),
];

/// Some of the functions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Functions(u16);

impl Functions {
    /// Every one.
    pub const ALL: Functions = Functions((1 << FUNCTIONS.len()) - 1);

    /// None.
    #[must_use]
    pub fn none() -> Functions {
        Functions::default()
    }

    /// The one behind Postgres' name of code, if it is one.
    pub(crate) fn of(code: &str) -> Functions {
        let place = FUNCTIONS.iter().position(|(_, known)| *known == code);
        Functions(place.map_or(0, |place| 1 << place))
    }

    /// Adds some.
    pub fn add(&mut self, others: Functions) {
        self.0 |= others.0;
    }

    /// Whether all of them are among others.
    #[must_use]
    pub fn are_among(self, others: Functions) -> bool {
        self.0 & !others.0 == 0
    }
}

/// One function, and what a server is asked about it.
#[derive(Debug)]
pub struct Question {
    /// The function.
    pub about: Functions,
    /// `$1` first arguments, `$2` second ones, both `float8[]`; gives one `float8[]`, in their order.
    pub statement: String,
    /// The first arguments.
    pub first: Vec<f64>,
    /// Empty where the function takes one.
    pub second: Vec<f64>,
    ours: Vec<f64>,
}

impl Question {
    fn new(name: &str, code: &str) -> Option<Question> {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for line in CASES.lines() {
            let mut words = line.split('\t');
            if words.next() != Some(name) {
                continue;
            }
            let mut floats = words.map(|word| u64::from_str_radix(word, 16).map(f64::from_bits));
            first.push(floats.next()?.ok()?);
            second.extend(floats.next().transpose().ok()?);
        }
        let (arguments, ours) = match by_code(code)? {
            Code::None(_) => return None,
            Code::One(of) => ("x", first.iter().map(|x| of(*x)).collect::<Result<_, _>>()),
            Code::Two(of) => ("x, y", first.iter().zip(&second).map(|(x, y)| of(*x, *y)).collect()),
        };
        let statement = format!(
            "SELECT ARRAY(SELECT pg_catalog.{name}({arguments}) \
             FROM unnest($1::float8[], $2::float8[]) WITH ORDINALITY AS asked (x, y, place) ORDER BY place)"
        );
        Some(Question { about: Functions::of(code), statement, first, second, ours: ours.ok()? })
    }

    /// Whether the server's results are ours, bit by bit.
    #[must_use]
    pub fn agrees(&self, theirs: &[f64]) -> bool {
        theirs.len() == self.ours.len()
            && self.ours.iter().zip(theirs).all(|(ours, theirs)| ours.to_bits() == theirs.to_bits())
    }
}

/// All that is to be asked; clauses may have the functions on which the server agrees ([`crate::Tables::mathematics`]).
#[must_use]
pub fn questions() -> Vec<Question> {
    FUNCTIONS.iter().filter_map(|(name, code)| Question::new(name, code)).collect()
}

/// Whether a clause may have such a function: more often than it has one.
#[must_use]
pub fn may_be_in(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let parts = ["^", "pow", "exp", "ln", "log", "cbrt", "||/", "sin", "cos", "tan"];
    parts.iter().any(|part| lower.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_its_arguments() {
        let questions = questions();
        assert_eq!(questions.len(), FUNCTIONS.len());
        let mut all = Functions::none();
        questions.iter().for_each(|question| all.add(question.about));
        assert_eq!(all, Functions::ALL);
        assert!(Functions::of("dexp").are_among(all) && !all.are_among(Functions::of("dexp")));
        assert_eq!(Functions::of("dsqrt"), Functions::none());
        let asked: usize = questions.iter().map(|question| question.first.len()).sum();
        assert_eq!(asked, CASES.lines().count());
        assert!(questions.iter().all(|question| question.first.len() >= 40));
        assert!(
            questions
                .iter()
                .all(|one| one.second.is_empty() || one.second.len() == one.first.len())
        );
    }

    #[test]
    fn a_last_bit_is_a_difference() {
        for question in questions() {
            let mut theirs = question.ours.clone();
            assert!(question.agrees(&theirs));
            let last = theirs.last_mut().unwrap();
            *last = f64::from_bits(last.to_bits() ^ 1);
            assert!(!question.agrees(&theirs));
            theirs.pop();
            assert!(!question.agrees(&theirs));
        }
    }
}

//! Regular expressions: from the subset of Postgres' language that we take to that of the `regex`
//! crate.
//!
//! *Enters*: a pattern of Postgres' advanced form. *Leaves*: one that matches the same texts.
//! *Invariant*: everything is spelled out (classes as ranges, both cases of a letter), so that no
//! table of the other engine decides anything. Refused: references back, looking around, word
//! boundaries, options, collating elements, classes of characters that depend on the locale.

use crate::CaseMap;

/// Which classes of characters are known under the collation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Classes {
    /// None: they depend on the locale.
    None,
    /// Digits are the ASCII ones.
    Digits,
    /// All are those of ASCII: the `C` collation.
    Ascii,
}

/// What is asked of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Whether there is one.
    Whether,
    /// Where it is, and where its groups are. Postgres takes the longest of the first ones, the other engine
    /// what a search in the order of the pattern finds first. The two are the same for single characters
    /// repeated greedily, one behind the other, with groups that are not repeated themselves: a
    /// search that takes as much as it can is never ahead, in the pattern, of another one at the same place of
    /// the text, so it can go on wherever the other one does. Everything else is refused.
    Span,
}

/// Repetitions that Postgres allows.
const REPETITIONS_MAX: u32 = 255;

type Ranges = Vec<(char, char)>;

struct Translator<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    fold: Option<&'a CaseMap>,
    classes: Classes,
    out: String,
    use_of: Use,
    /// Whether something stands before that can be repeated.
    repeatable: bool,
    open: usize,
}

/// Translates a pattern.
pub(super) fn translate(
    pattern: &str,
    fold: Option<&CaseMap>,
    classes: Classes,
    use_of: Use,
) -> Result<String, String> {
    if pattern.starts_with("***") || pattern.starts_with("(?") && !pattern.starts_with("(?:") {
        return Err(refusal("options and directives"));
    }
    if fold.is_some_and(|map| map.lower('I') != 'i') {
        return Err("ignoring case is not supported under this collation".to_owned());
    }
    let rest = pattern.chars().peekable();
    let out = BEGINNING.to_owned();
    let mut translator =
        Translator { rest, fold, classes, out, use_of, repeatable: false, open: 0 };
    while let Some(c) = translator.rest.next() {
        translator.one(c)?;
    }
    if translator.open > 0 {
        return Err("invalid regular expression: parentheses () not balanced".to_owned());
    }
    Ok(translator.out)
}

/// A dot is every character.
const BEGINNING: &str = "(?s)";

fn refused_span(what: &str) -> String {
    format!(
        "{what} in regular expressions are only supported where it does not matter what they match"
    )
}

fn refusal(what: &str) -> String {
    format!("{what} in regular expressions are not supported")
}

impl Translator<'_> {
    fn one(&mut self, c: char) -> Result<(), String> {
        match c {
            '.' => self.atom("."),
            '^' | '$' => {
                self.anchor(c == '^')?;
                self.out.push(c);
                self.repeatable = false;
            }
            '|' if self.use_of == Use::Span => return Err(refused_span("alternatives")),
            '|' => {
                self.out.push('|');
                self.repeatable = false;
            }
            '(' => self.group()?,
            ')' if self.open == 0 => {
                return Err("invalid regular expression: parentheses () not balanced".to_owned());
            }
            ')' => {
                self.open -= 1;
                self.atom(")");
                if self.use_of == Use::Span
                    && matches!(self.rest.peek(), Some('*' | '+' | '?' | '{'))
                {
                    return Err(refused_span("repeated groups"));
                }
            }
            '*' | '+' | '?' => self.quantify(&c.to_string())?,
            '{' if self.rest.peek().is_some_and(char::is_ascii_digit) => {
                let bounds = self.bounds()?;
                self.quantify(&bounds)?;
            }
            '{' => return Err(refusal("braces without a number")),
            '[' => {
                let (ranges, negated) = self.bracket()?;
                self.ranges(&ranges, negated);
            }
            '\\' => self.escape()?,
            literal => {
                let mut ranges = vec![(literal, literal)];
                self.add_cases(&mut ranges)?;
                self.ranges(&ranges, false);
            }
        }
        Ok(())
    }

    fn atom(&mut self, text: &str) {
        self.out += text;
        self.repeatable = true;
    }

    /// A place that no character has; where spans count only around the whole.
    fn anchor(&mut self, start: bool) -> Result<(), String> {
        let outermost = if start { self.out == BEGINNING } else { self.rest.peek().is_none() };
        match self.use_of {
            Use::Span if !outermost => Err(refused_span("^ and $ within")),
            _ => Ok(()),
        }
    }

    fn group(&mut self) -> Result<(), String> {
        let mut opened = if self.use_of == Use::Span { "(" } else { "(?:" };
        if self.rest.peek() == Some(&'?') {
            self.rest.next();
            if self.rest.next() != Some(':') {
                return Err(refusal("looking around and options"));
            }
            opened = "(?:";
        }
        self.open += 1;
        if self.open > 100 {
            return Err(refusal("groups nested so deeply"));
        }
        self.out += opened;
        self.repeatable = false;
        Ok(())
    }

    fn quantify(&mut self, quantifier: &str) -> Result<(), String> {
        if !self.repeatable {
            return Err("invalid regular expression: quantifier operand invalid".to_owned());
        }
        self.out += quantifier;
        if self.rest.peek() == Some(&'?') {
            if self.use_of == Use::Span {
                return Err(refused_span("repetitions that are not greedy"));
            }
            // Whether a text matches does not depend on how much of it does.
            self.rest.next();
        }
        self.repeatable = false;
        Ok(())
    }

    /// The inside of `{m,n}`.
    fn bounds(&mut self) -> Result<String, String> {
        let mut bounds = "{".to_owned();
        loop {
            match self.rest.next() {
                Some('}') => break,
                Some(c) if c.is_ascii_digit() || c == ',' => bounds.push(c),
                _ => return Err(refusal("such bounds")),
            }
        }
        let parts: Vec<&str> = bounds[1..].split(',').collect();
        let number = |part: &&str| part.parse::<u32>().ok().filter(|n| *n <= REPETITIONS_MAX);
        let sound = match parts.as_slice() {
            [one] => number(one).is_some(),
            [low, ""] => number(low).is_some(),
            [low, high] => match (number(low), number(high)) {
                (Some(low), Some(high)) => low <= high,
                _ => false,
            },
            _ => false,
        };
        if sound { Ok(bounds + "}") } else { Err(refusal("such bounds")) }
    }

    fn escape(&mut self) -> Result<(), String> {
        match self.rest.next() {
            None => Err("invalid regular expression: invalid escape \\ sequence".to_owned()),
            Some('A') => {
                self.anchor(true)?;
                self.out += "\\A";
                self.repeatable = false;
                Ok(())
            }
            Some('Z') => {
                self.anchor(false)?;
                self.out += "\\z";
                self.repeatable = false;
                Ok(())
            }
            Some(letter) if letter.is_ascii_alphanumeric() => {
                let (ranges, negated) = self.class_escape(letter)?;
                self.ranges(&ranges, negated);
                Ok(())
            }
            Some(other) => {
                let mut ranges = vec![(other, other)];
                self.add_cases(&mut ranges)?;
                self.ranges(&ranges, false);
                Ok(())
            }
        }
    }

    /// What a backslash and a letter stand for.
    fn class_escape(&self, letter: char) -> Result<(Ranges, bool), String> {
        let one = |c: char| Ok((vec![(c, c)], false));
        match letter {
            'n' => one('\n'),
            't' => one('\t'),
            'r' => one('\r'),
            'f' => one('\u{C}'),
            'v' => one('\u{B}'),
            'd' | 'D' => Ok((self.class("digit")?, letter == 'D')),
            's' | 'S' => Ok((self.class("space")?, letter == 'S')),
            'w' | 'W' => {
                let mut ranges = self.class("alnum")?;
                ranges.push(('_', '_'));
                Ok((ranges, letter == 'W'))
            }
            other => Err(refusal(&format!("escapes like \\{other}"))),
        }
    }

    fn class(&self, name: &str) -> Result<Ranges, String> {
        let ascii = self.classes == Classes::Ascii;
        match name {
            "digit" if self.classes != Classes::None => Ok(vec![('0', '9')]),
            "alpha" if ascii => Ok(vec![('A', 'Z'), ('a', 'z')]),
            "alnum" if ascii => Ok(vec![('0', '9'), ('A', 'Z'), ('a', 'z')]),
            "upper" if ascii && self.fold.is_none() => Ok(vec![('A', 'Z')]),
            "lower" if ascii && self.fold.is_none() => Ok(vec![('a', 'z')]),
            "space" if ascii => Ok(vec![('\t', '\r'), (' ', ' ')]),
            _ => Err(format!(
                "the class {name} depends on the locale and is not supported: spell it out ([0-9]), \
                 or say COLLATE \"C\""
            )),
        }
    }

    /// The inside of `[…]`.
    fn bracket(&mut self) -> Result<(Ranges, bool), String> {
        let unbalanced = || "invalid regular expression: brackets [] not balanced".to_owned();
        let negated = self.rest.peek() == Some(&'^');
        if negated {
            self.rest.next();
        }
        let mut ranges: Ranges = Vec::new();
        let mut first = true;
        loop {
            let c = self.rest.next().ok_or_else(unbalanced)?;
            let from = match c {
                ']' if !first => break,
                '[' => match self.rest.peek() {
                    Some(':') => {
                        self.rest.next();
                        let name = self.class_name()?;
                        ranges.extend(self.class(&name)?);
                        first = false;
                        continue;
                    }
                    Some('.' | '=') => return Err(refusal("collating elements")),
                    _ => '[',
                },
                '\\' => {
                    let letter = self.rest.next().ok_or_else(unbalanced)?;
                    if !letter.is_ascii_alphanumeric() {
                        letter
                    } else {
                        let (class, complement) = self.class_escape(letter)?;
                        if complement {
                            return Err(refusal("complements of classes in brackets"));
                        }
                        ranges.extend(class);
                        first = false;
                        continue;
                    }
                }
                '-' if !first && self.rest.peek() != Some(&']') => {
                    return Err(refusal("hyphens in such places"));
                }
                other => other,
            };
            first = false;
            let to = self.range_end(from)?;
            ranges.push((from, to));
        }
        self.add_cases(&mut ranges)?;
        Ok((ranges, negated))
    }

    /// The end of a range that begins with `from`, which is `from` where there is none.
    fn range_end(&mut self, from: char) -> Result<char, String> {
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('-') || ahead.peek().is_none_or(|c| *c == ']') {
            return Ok(from);
        }
        self.rest.next();
        match self.rest.next() {
            Some(to) if from <= to && !matches!(to, '[' | '\\') => Ok(to),
            _ => Err(refusal("such ranges")),
        }
    }

    fn class_name(&mut self) -> Result<String, String> {
        let mut name = String::new();
        loop {
            match self.rest.next() {
                Some(':') if self.rest.peek() == Some(&']') => {
                    self.rest.next();
                    return Ok(name);
                }
                Some(c) if c.is_ascii_lowercase() => name.push(c),
                _ => return Err(refusal("such classes")),
            }
        }
    }

    /// Adds the other case of letters where case does not count.
    fn add_cases(&self, ranges: &mut Ranges) -> Result<(), String> {
        if self.fold.is_none() {
            return Ok(());
        }
        for (from, to) in ranges.clone() {
            if !to.is_ascii() {
                return Err(refusal("letters beyond ASCII where case is ignored"));
            }
            for c in (from..=to).filter(char::is_ascii_alphabetic) {
                let other = if c.is_ascii_lowercase() {
                    c.to_ascii_uppercase()
                } else {
                    c.to_ascii_lowercase()
                };
                ranges.push((other, other));
            }
        }
        Ok(())
    }

    fn ranges(&mut self, ranges: &Ranges, negated: bool) {
        let mut text = if negated { "[^" } else { "[" }.to_owned();
        for (from, to) in ranges {
            text += &format!("\\x{{{:X}}}-\\x{{{:X}}}", u32::from(*from), u32::from(*to));
        }
        self.atom(&(text + "]"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> Option<bool> {
        let translated = translate(pattern, None, Classes::Ascii, Use::Whether).ok()?;
        Some(regex::Regex::new(&translated).ok()?.is_match(text))
    }

    #[test]
    fn spans_are_refused_where_engines_differ() {
        let span = |pattern| translate(pattern, None, Classes::Ascii, Use::Span);
        for taken in ["^a+(b*)c?$", "(?:a)(b(c.*))", r"\d{2,3}-(\d+)\Z", "[^0-9]+", "()"] {
            assert!(span(taken).is_ok(), "{taken}");
        }
        for refused in ["a|b", "a+?", "(a)*", "(?:ab){2}", "a^b", "a$b", "(^a)", "(a$)", "a??"] {
            assert!(span(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn means_what_postgres_means() {
        assert_eq!(matches("a.b", "a\nb"), Some(true));
        assert_eq!(matches("^[A-Z]{3}$", "ABC"), Some(true));
        assert_eq!(matches("^b$", "a\nb"), Some(false));
        assert_eq!(matches("[]x]", "]"), Some(true));
        assert_eq!(matches("a|b+?", "xxb"), Some(true));
        assert_eq!(matches(r"\d\.\d", "1.5"), Some(true));
        assert_eq!(matches("(a|b)*c", "abac"), Some(true));
        for refused in
            [r"(a)\1", "(?=a)", r"\ma", "(?i)a", "a**", "*a", "^*", "(", "a{300}", "[[.a.]]", "[a"]
        {
            assert_eq!(matches(refused, "a"), None, "{refused}");
        }
        let folded =
            translate("a[b-d]", Some(&CaseMap::ascii()), Classes::None, Use::Whether).unwrap();
        assert!(regex::Regex::new(&folded).unwrap().is_match("AC"));
        assert!(!regex::Regex::new(&folded).unwrap().is_match("AE"));
    }
}

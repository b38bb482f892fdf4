//! `json`: text that is looked into and never changed.
//!
//! *Enters*: text. *Leaves*: pieces of it, blanks and repeated keys included.
//! *Invariant*: what is found under repeated keys and under indexes from the end is what Postgres'
//! single pass finds: a later key overrides, a later miss does not.

use super::reader::escape;

/// Why a value could not be looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainError {
    /// Not JSON.
    Syntax,
    /// An escape that is no character, such as U+0000; allowed until somebody looks.
    Escape,
}

/// What the pass sees. Levels count the containers around.
trait Visit {
    /// Whether strings are decoded.
    const DECODES: bool;

    fn array(&mut self, _text: &str, _at: usize, _level: usize) -> Result<(), PlainError> {
        Ok(())
    }

    /// A member or an element, whose value begins at `at`.
    fn item(&mut self, _text: &str, _at: usize, _level: usize, _key: Option<&str>) {}

    fn item_end(&mut self, _text: &str, _end: usize, _level: usize) {}

    /// The text of a string, decoded.
    fn string(&mut self, _decoded: &str) {}
}

struct Validity;

impl Visit for Validity {
    const DECODES: bool = false;
}

/// Whether text is JSON.
pub(crate) fn is_valid(text: &str) -> bool {
    whole(text, &mut Validity).is_ok()
}

/// `json_typeof`, of what is JSON.
pub(crate) fn plain_kind(text: &str) -> &'static str {
    match text.as_bytes().get(after_blanks(text, 0)) {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

struct Elements(i32);

impl Visit for Elements {
    const DECODES: bool = false;

    fn item(&mut self, _: &str, _: usize, level: usize, _: Option<&str>) {
        if level == 1 {
            self.0 = self.0.saturating_add(1);
        }
    }
}

/// How many elements an array has.
pub(crate) fn count_elements(text: &str) -> Result<i32, PlainError> {
    let mut elements = Elements(0);
    value(text, 0, &mut elements).map(|_| elements.0)
}

/// The steps of a path and what has been found of it so far.
struct Search<'a> {
    steps: &'a [(Option<&'a str>, Option<i32>)],
    /// Indexes from the end become indexes from the start at the first array of their level,
    /// wherever it stands, as in Postgres.
    indexes: Vec<Option<i32>>,
    /// Where the array of each level has got to.
    current: Vec<i32>,
    /// Whether the way to each level is the path's.
    open: Vec<bool>,
    /// Whether the items around are the path's.
    matched: Vec<bool>,
    as_text: bool,
    start: Option<usize>,
    wants_string: bool,
    found: Option<String>,
}

impl Visit for Search<'_> {
    const DECODES: bool = true;

    fn array(&mut self, text: &str, at: usize, level: usize) -> Result<(), PlainError> {
        let Some(current) = self.current.get_mut(level) else { return Ok(()) };
        *current = -1;
        if let Some(index) = self.indexes[level].filter(|index| *index < 0) {
            let elements = count_elements(&text[at..])?;
            if -index <= elements {
                self.indexes[level] = Some(index + elements);
            }
        }
        Ok(())
    }

    fn item(&mut self, text: &str, at: usize, level: usize, key: Option<&str>) {
        let step = level - 1;
        let is_step = match (self.steps.get(step), key) {
            (None, _) => false,
            (Some((name, _)), Some(key)) => *name == Some(key),
            (Some(_), None) => {
                self.current[step] = self.current[step].saturating_add(1);
                self.indexes[step] == Some(self.current[step])
            }
        };
        let matched = is_step && self.open[step];
        self.matched.push(matched);
        if matched && level < self.steps.len() {
            self.open[level] = true;
        } else if matched {
            self.found = None;
            self.wants_string = self.as_text && text[at..].starts_with('"');
            self.start = (!self.wants_string).then_some(at);
        }
    }

    fn item_end(&mut self, text: &str, end: usize, level: usize) {
        let matched = self.matched.pop() == Some(true);
        if matched && level < self.steps.len() {
            self.open[level] = false;
        } else if matched && let Some(start) = self.start.take() {
            let piece = &text[start..end];
            self.found = (!self.as_text || piece != "null").then(|| piece.to_owned());
        }
    }

    fn string(&mut self, decoded: &str) {
        if self.wants_string {
            self.found = Some(decoded.to_owned());
            self.wants_string = false;
        }
    }
}

/// What stands at a path of keys and indexes; `as_text` without quotes, and NULL for null.
pub(crate) fn at_path(
    text: &str,
    steps: &[(Option<&str>, Option<i32>)],
    as_text: bool,
) -> Result<Option<String>, PlainError> {
    let mut search = Search {
        steps,
        indexes: steps.iter().map(|(_, index)| *index).collect(),
        current: vec![-1; steps.len()],
        open: (0..steps.len()).map(|step| step == 0).collect(),
        matched: Vec::new(),
        as_text,
        start: None,
        wants_string: false,
        found: None,
    };
    let start = after_blanks(text, 0);
    let is_container = text[start..].starts_with(['{', '[']);
    search.wants_string = steps.is_empty() && as_text && text[start..].starts_with('"');
    let wants_string = search.wants_string;
    let end = whole(text, &mut search)?;
    if !steps.is_empty() || wants_string {
        return Ok(search.found);
    }
    // Of a lone scalar, blanks before it stay.
    let piece = &text[if is_container { start } else { 0 }..end];
    Ok((!as_text || &text[start..end] != "null").then(|| piece.to_owned()))
}

fn after_blanks(text: &str, at: usize) -> usize {
    let blanks = text.as_bytes()[at..].iter();
    at + blanks.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// One value and nothing else; where it ends.
fn whole<V: Visit>(text: &str, visit: &mut V) -> Result<usize, PlainError> {
    let end = value(text, 0, visit)?;
    if after_blanks(text, end) == text.len() { Ok(end) } else { Err(PlainError::Syntax) }
}

/// One value; where it ends. Keeps its own stack: values nest as deep as they like.
fn value<V: Visit>(text: &str, at: usize, visit: &mut V) -> Result<usize, PlainError> {
    let bytes = text.as_bytes();
    // Whether each container around is an object.
    let mut around: Vec<bool> = Vec::new();
    let mut at = after_blanks(text, at);
    loop {
        let level = around.len();
        match bytes.get(at) {
            Some(open @ (b'{' | b'[')) => {
                let is_object = *open == b'{';
                if !is_object {
                    visit.array(text, at, level)?;
                }
                let first = after_blanks(text, at + 1);
                if bytes.get(first) != Some(&if is_object { b'}' } else { b']' }) {
                    around.push(is_object);
                    at = item(text, first, is_object, level + 1, visit)?;
                    continue;
                }
                at = first + 1;
            }
            Some(b'"') => {
                let (end, decoded) = string(text, at, V::DECODES)?;
                visit.string(&decoded);
                at = end;
            }
            Some(b'-' | b'0'..=b'9') => at = number(bytes, at)?,
            _ => at = word(bytes, at)?,
        }
        // What follows a value: the next item, or the ends of containers.
        loop {
            let Some(is_object) = around.last().copied() else { return Ok(at) };
            visit.item_end(text, at, around.len());
            let next = after_blanks(text, at);
            match (bytes.get(next), is_object) {
                (Some(b','), _) => {
                    let next = after_blanks(text, next + 1);
                    at = item(text, next, is_object, around.len(), visit)?;
                    break;
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    around.pop();
                    at = next + 1;
                }
                _ => return Err(PlainError::Syntax),
            }
        }
    }
}

/// The key of a member, if it has one; where its value begins.
fn item<V: Visit>(
    text: &str,
    at: usize,
    is_member: bool,
    level: usize,
    visit: &mut V,
) -> Result<usize, PlainError> {
    if !is_member {
        visit.item(text, at, level, None);
        return Ok(at);
    }
    let (end, key) = string(text, at, V::DECODES)?;
    let colon = after_blanks(text, end);
    if text.as_bytes().get(colon) != Some(&b':') {
        return Err(PlainError::Syntax);
    }
    let at = after_blanks(text, colon + 1);
    visit.item(text, at, level, Some(&key));
    Ok(at)
}

/// Where a string ends, and its text if that is asked for.
fn string(text: &str, at: usize, decode: bool) -> Result<(usize, String), PlainError> {
    let body = text[at..].strip_prefix('"').ok_or(PlainError::Syntax)?;
    let (mut rest, mut decoded) = (body.chars(), String::new());
    loop {
        match rest.next().ok_or(PlainError::Syntax)? {
            '"' => return Ok((text.len() - rest.as_str().len(), decoded)),
            '\\' => {
                let mut ahead = rest.clone();
                match ahead.next() {
                    Some('u')
                        if ahead.by_ref().take(4).filter(char::is_ascii_hexdigit).count() == 4 => {}
                    Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => {}
                    _ => return Err(PlainError::Syntax),
                }
                if decode {
                    decoded.push(escape(&mut rest).ok_or(PlainError::Escape)?);
                } else {
                    rest = ahead;
                }
            }
            control if control < ' ' => return Err(PlainError::Syntax),
            other if decode => decoded.push(other),
            _ => {}
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Result<usize, PlainError> {
    let digits = |from: usize| {
        let count = bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count > 0 { Ok(from + count) } else { Err(PlainError::Syntax) }
    };
    let start = at + usize::from(bytes.get(at) == Some(&b'-'));
    let mut end = digits(start)?;
    if bytes[start] == b'0' && end > start + 1 {
        return Err(PlainError::Syntax);
    }
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let signed = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        end = digits(end + 1 + usize::from(signed))?;
    }
    Ok(end)
}

fn word(bytes: &[u8], at: usize) -> Result<usize, PlainError> {
    let rest = &bytes[at.min(bytes.len())..];
    let words: [&[u8]; 3] = [b"null", b"true", b"false"];
    let found = words.into_iter().find(|word| rest.starts_with(word));
    found.map(|word| at + word.len()).ok_or(PlainError::Syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, path: &[&str]) -> Option<String> {
        let steps: Vec<_> = path.iter().map(|step| (Some(*step), step.parse().ok())).collect();
        at_path(text, &steps, false).unwrap()
    }

    #[test]
    fn pieces_keep_their_text() {
        let text = r#" {"a" : [1 , 2.50 ], "b":{ "c" :"x"} , "a": null }"#;
        assert_eq!(at(text, &["a"]).unwrap(), "null");
        assert_eq!(at(text, &["b"]).unwrap(), r#"{ "c" :"x"}"#);
        assert_eq!(at(text, &["a", "1"]).unwrap(), "2.50");
        assert_eq!(at(r#"{"a":{"b":1},"a":{"c":2}}"#, &["a", "b"]).unwrap(), "1");
        assert_eq!(at("[[1,2,3],[4]]", &["1", "-1"]), None);
        assert_eq!(at(" 5 ", &[]).unwrap(), " 5");
    }

    #[test]
    fn knows_what_is_json() {
        for text in ["1", "-0.5e+3", r#""\u0000""#, "[]", " { } ", r#"{"a":[{}]}"#, "null"] {
            assert!(is_valid(text), "{text}");
        }
        let bad =
            ["", "01", "1.", "[1,]", "{a:1}", "nulls", "'a'", r#""\x""#, r#""\u12""#, "[", "1 2"];
        for text in bad {
            assert!(!is_valid(text), "{text}");
        }
        assert!(is_valid(&("[".repeat(100_000) + &"]".repeat(100_000))));
        assert_eq!(at_path(r#"["\u0000",1]"#, &[(None, Some(1))], false), Err(PlainError::Escape));
    }
}

//! Where we may differ from Postgres: what it evaluates in an order of its own, and what we refuse.

use crate::Tally;
use crate::generate::constructs::outside_quotes;
use crate::generate::expression::Expression;
use crate::oracle::{Oracle, Value};

/// What may have an answer without all of its operands, so that an error in one of them is seen or not as
/// the order goes: lists and rows are AND and OR of comparisons. Postgres computes constants in branches first.
const HIDING: [&str; 7] = [" AND ", " OR ", " IN (", "CASE ", "coalesce(", "ROW(", "(({}, {}"];

/// What a refusal says that the page about the language has, of what Postgres has an answer to. (Before Postgres 16
/// the difference of far instants wraps round. Of dates we read the forms that are written; Postgres takes '{Infinity]' for
/// one, too.)
const DOCUMENTED: [&str; 3] = ["supported", ": interval out of range", "(write it like "];

impl Oracle {
    /// Whether an error may be seen in one order of evaluation and not in another, for each of these rows: an
    /// operand of what need not look at all of them fails by itself.
    pub async fn may_hide(&self, one: &Expression, rows: &[usize]) -> bool {
        if rows.is_empty() {
            return true;
        }
        let mut unseen = rows.to_vec();
        for part in one.parts() {
            if !HIDING.iter().any(|words| part.template.contains(words)) && !self.is_constant(part)
            {
                continue;
            }
            for operand in &part.operands {
                let Ok(values) = self.ask(&operand.text()).await else { continue };
                unseen.retain(|row| !values[*row].is_error());
                if unseen.is_empty() {
                    return true;
                }
            }
        }
        false
    }

    /// Whether one operand alone says what the value is: a NULL, or a list without elements. Postgres sees that of
    /// some constants only.
    fn is_constant(&self, one: &Expression) -> bool {
        self.compile(&one.text()).is_ok_and(|predicate| {
            let printed = predicate.sql();
            let value = printed.strip_prefix("(\"expected\" IS NOT DISTINCT FROM '");
            printed == "(\"expected\" IS NULL)"
                || value.is_some_and(|value| value.ends_with("'::text)"))
        })
    }

    /// What is wrong with a refusal of ours, if anything.
    pub async fn refused(
        &self,
        one: &Expression,
        refusal: &str,
        theirs: &Result<Vec<Value>, String>,
        tally: &mut Tally,
    ) -> Option<String> {
        if theirs.as_ref().is_ok_and(|values| values.iter().all(Value::is_error)) || theirs.is_err()
        {
            tally.refused_by_both += 1;
            return None;
        }
        // What is to blame is the smallest part that we refuse.
        let part = one.parts().into_iter().find_map(|part| {
            let refusal = self.compile(&part.text()).err()?;
            Some((part, refusal))
        });
        let (part, refusal) = part.unwrap_or((one, refusal.to_owned()));
        if DOCUMENTED.iter().any(|words| refusal.contains(words)) {
            let words = refusal.split_once(": ").map_or(&*refusal, |(_, words)| words);
            *tally.refused.entry(outside_quotes(words)).or_default() += 1;
            return None;
        }
        // A constant that fails, which Postgres does not look at in a branch or beside a NULL.
        match self.ask(&part.text()).await {
            Ok(values) if values.iter().any(Value::is_error) => {}
            Ok(values) if values.iter().all(|one| *one == Value::Text(None)) => {}
            _ => return Some(format!("Postgres accepts {}, we say {refusal}", part.text())),
        }
        tally.failing_constants += 1;
        None
    }
}

//! LIKE, ILIKE, SIMILAR TO and regular expressions.

use std::sync::Arc;

use super::Resolver;
use super::call::constant_text;
use super::collate::Derived;
use crate::WhereError;
use crate::expr::Expr;
use crate::routine::{self, Call, Classes, Pattern};
use crate::scalar::Scalar;
use crate::syntax::{Node, PatternForm};

impl Resolver<'_> {
    pub(super) fn like(
        &mut self,
        operand: &Node,
        pattern: &Node,
        escape: Option<&Node>,
        form: PatternForm,
        at: usize,
    ) -> Result<Expr, WhereError> {
        let (operand, pattern) = (self.item(operand)?, self.item(pattern)?);
        let escape = escape.map(|escape| self.item(escape)).transpose()?;
        let (symbol, rewriting) = match form {
            PatternForm::Like => ("~~", "like_escape"),
            PatternForm::Ilike => ("~~*", "like_escape"),
            PatternForm::Similar => ("~", "similar_to_escape"),
        };
        let pattern = match (escape, form) {
            (None, PatternForm::Like | PatternForm::Ilike) => pattern,
            (escape, _) => {
                let arguments: Vec<Scalar> = std::iter::once(pattern).chain(escape).collect();
                self.function_of(rewriting, arguments, at)?
            }
        };
        let found = self.operator(symbol, vec![operand, pattern], at)?;
        self.truth(found, "WHERE")
    }

    /// Whether letters and digits are those of ASCII: what else is one only the C library knows.
    pub(super) fn is_ascii(&self, items: &[Scalar]) -> bool {
        match self.derive_used(items) {
            Derived::Explicit => true,
            Derived::Column(collation) => collation.is_ascii(),
            _ => false,
        }
    }

    /// A regular expression is compiled once; one that is no constant is refused.
    pub(super) fn compile_pattern(
        &self,
        call: &mut Call,
        items: &[Scalar],
        at: usize,
    ) -> Result<(), WhereError> {
        let Some(use_of) = routine::wants_expression(call.code) else { return Ok(()) };
        let Some(pattern) = items.get(1) else { return Ok(()) };
        if matches!(pattern.constant(), Some(None)) {
            return Ok(());
        }
        let Some(text) = constant_text(pattern) else {
            let reason = "regular expressions that are no constants are not supported";
            return Err(WhereError::at(at, reason));
        };
        let classes = match self.derive_used(items) {
            Derived::Explicit => Classes::Ascii,
            Derived::Column(collation) if collation.is_ascii() => Classes::Ascii,
            Derived::Column(collation) if collation.has_ascii_digits() => Classes::Digits,
            _ => Classes::None,
        };
        let compiled = Pattern::expression(text, call.fold.as_deref(), classes, use_of);
        let compiled = compiled.map_err(|reason| WhereError::at(pattern.at, reason))?;
        call.pattern = Some(Arc::new(compiled));
        Ok(())
    }
}

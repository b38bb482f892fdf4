//! A syntax tree back into SQL.

use super::column;
use crate::catalog::catalog;
use crate::limits::PARAMETER_BYTES_MAX;
use crate::name::{literal, quote};
use crate::syntax::{Node, PatternForm, Subscript, Syntax, TypeName};
use crate::{TableSchema, WhereError};

/// Prints what it may, and remembers the columns.
pub(super) struct Printer<'a> {
    table: &'a TableSchema,
    params: &'a [String],
    visible: Option<&'a [usize]>,
    pub(super) columns: Vec<usize>,
}

/// Functions that the grammar knows by their words alone.
const KEYWORD_FUNCTIONS: [&str; 4] = ["coalesce", "nullif", "greatest", "least"];

impl<'a> Printer<'a> {
    pub(super) fn new(
        table: &'a TableSchema,
        params: &'a [String],
        visible: Option<&'a [usize]>,
    ) -> Printer<'a> {
        Printer { table, params, visible, columns: Vec::new() }
    }

    pub(super) fn print(&mut self, node: &Node) -> Result<String, WhereError> {
        let at = node.at;
        Ok(match &node.syntax {
            Syntax::Column(path) => {
                let index = column(self.table, path, self.visible, at)?;
                self.columns.push(index);
                quote(&self.table.columns[index].name)
            }
            // A sign must not run into the operator before it.
            Syntax::Number(digits) if digits.starts_with('-') => format!("({digits})"),
            Syntax::Number(digits) => digits.clone(),
            Syntax::Text(text) => literal(text),
            Syntax::Parameter(number) => literal(parameter(self.params, *number, at)?),
            Syntax::Bool(value) => value.to_string(),
            Syntax::Null => "NULL".to_owned(),
            Syntax::Moment(word) => word.to_uppercase(),
            Syntax::Unary { operator, operand } => {
                known_operator(operator, 1, at)?;
                format!("({operator} {})", self.print(operand)?)
            }
            Syntax::Binary { operator, left, right } => {
                known_operator(operator, 2, at)?;
                format!("({} {operator} {})", self.print(left)?, self.print(right)?)
            }
            Syntax::Quantified { operator, left, array, all } => {
                known_operator(operator, 2, at)?;
                let word = if *all { "ALL" } else { "ANY" };
                format!("({} {operator} {word} ({}))", self.print(left)?, self.print(array)?)
            }
            Syntax::Cast { operand, target } => {
                format!("CAST({} AS {})", self.print(operand)?, self.type_name(target)?)
            }
            Syntax::Not(operand) => format!("(NOT {})", self.print(operand)?),
            Syntax::And(list) => format!("({})", self.list(list, " AND ")?),
            Syntax::Or(list) => format!("({})", self.list(list, " OR ")?),
            Syntax::Array(list) => format!("ARRAY[{}]", self.list(list, ", ")?),
            Syntax::Row(list) => format!("ROW({})", self.list(list, ", ")?),
            Syntax::Call { name, arguments } => self.call(name, arguments, at)?,
            Syntax::Named { name, value } => format!("{} => {}", quote(name), self.print(value)?),
            Syntax::Collate { operand, collation } => {
                let collation: Vec<String> = collation.iter().map(|part| quote(part)).collect();
                format!("({} COLLATE {})", self.print(operand)?, collation.join("."))
            }
            _ => self.test(node)?,
        })
    }

    /// The forms with words of their own.
    fn test(&mut self, node: &Node) -> Result<String, WhereError> {
        let not = |negated: bool| if negated { "NOT " } else { "" };
        Ok(match &node.syntax {
            Syntax::Distinct { left, right, negated } => {
                let (left, right) = (self.print(left)?, self.print(right)?);
                format!("({left} IS {}DISTINCT FROM {right})", not(*negated))
            }
            Syntax::IsNull { operand, negated } => {
                format!("({} IS {}NULL)", self.print(operand)?, not(*negated))
            }
            Syntax::Test { operand, expected, negated } => {
                let word = match expected {
                    Some(true) => "TRUE",
                    Some(false) => "FALSE",
                    None => "UNKNOWN",
                };
                format!("({} IS {}{word})", self.print(operand)?, not(*negated))
            }
            Syntax::In { operand, list, negated } => {
                let operand = self.print(operand)?;
                format!("({operand} {}IN ({}))", not(*negated), self.list(list, ", ")?)
            }
            Syntax::Between { operand, low, high, symmetric, negated } => {
                let operand = self.print(operand)?;
                let symmetric = if *symmetric { "SYMMETRIC " } else { "" };
                let (low, high) = (self.print(low)?, self.print(high)?);
                format!("({operand} {}BETWEEN {symmetric}{low} AND {high})", not(*negated))
            }
            Syntax::Like { operand, pattern, escape, form, negated } => {
                let (operand, pattern) = (self.print(operand)?, self.print(pattern)?);
                let escape = match escape {
                    Some(escape) => format!(" ESCAPE {}", self.print(escape)?),
                    None => String::new(),
                };
                let not = not(*negated);
                format!("({operand} {not}{} {pattern}{escape})", PatternForm::words(*form))
            }
            Syntax::Case { operand, branches, otherwise } => {
                let mut text = "CASE".to_owned();
                if let Some(operand) = operand {
                    text += &format!(" {}", self.print(operand)?);
                }
                for (when, then) in branches {
                    text += &format!(" WHEN {} THEN {}", self.print(when)?, self.print(then)?);
                }
                if let Some(otherwise) = otherwise {
                    text += &format!(" ELSE {}", self.print(otherwise)?);
                }
                format!("({text} END)")
            }
            Syntax::Subscript { operand, subscripts } => {
                let mut text = format!("({})", self.print(operand)?);
                for subscript in subscripts {
                    text += &self.subscript(subscript)?;
                }
                format!("({text})")
            }
            _ => return Err(WhereError::at(node.at, "syntax error")),
        })
    }

    fn subscript(&mut self, subscript: &Subscript) -> Result<String, WhereError> {
        let mut bound = |bound: &Option<Node>| match bound {
            Some(node) => self.print(node),
            None => Ok(String::new()),
        };
        Ok(match subscript {
            Subscript::Slice(low, high) => format!("[{} : {}]", bound(low)?, bound(high)?),
            Subscript::Index(index) => format!("[{}]", self.print(index)?),
        })
    }

    fn list(&mut self, list: &[Node], between: &str) -> Result<String, WhereError> {
        let parts: Vec<String> =
            list.iter().map(|node| self.print(node)).collect::<Result<_, _>>()?;
        Ok(parts.join(between))
    }

    fn call(
        &mut self,
        name: &[String],
        arguments: &[Node],
        at: usize,
    ) -> Result<String, WhereError> {
        let unknown = || {
            let reason =
                format!("unknown or unsupported function {}/{}", name.join("."), arguments.len());
            WhereError::at(at, reason)
        };
        let function = match name {
            [function] => function,
            [schema, function] if schema == "pg_catalog" => function,
            _ => return Err(unknown()),
        };
        let list = self.list(arguments, ", ")?;
        if name.len() == 1 && KEYWORD_FUNCTIONS.contains(&function.as_str()) {
            return Ok(format!("{}({list})", function.to_uppercase()));
        }
        if function == "ilike" && arguments.len() == 2 {
            return Ok(format!(
                "({} ~~* {})",
                self.print(&arguments[0])?,
                self.print(&arguments[1])?
            ));
        }
        if catalog().functions(function).is_empty() {
            return Err(unknown());
        }
        Ok(format!("pg_catalog.{}({list})", quote(function)))
    }

    /// A built-in type or the type of one of the table's columns.
    fn type_name(&self, target: &TypeName) -> Result<String, WhereError> {
        let brackets = "[]".repeat(target.dimensions);
        let built_in = match target.path.as_slice() {
            [name] => Some(name),
            [schema, name] if schema == "pg_catalog" => Some(name),
            _ => None,
        }
        .filter(|name| is_data(name));
        if let Some(name) = built_in {
            let modifiers: Vec<String> = target.modifiers.iter().map(i32::to_string).collect();
            let modifiers = match modifiers.as_slice() {
                [] => String::new(),
                list => format!("({})", list.join(", ")),
            };
            if let Some(fields) = &target.fields {
                return Ok(format!("interval {fields}{brackets}"));
            }
            return Ok(format!("pg_catalog.{}{modifiers}{brackets}", quote(name)));
        }
        let last = target.path.last().map(String::as_str).unwrap_or_default();
        let of_column = self.table.columns.iter().any(|column| {
            column.type_name == last || column.type_name.strip_prefix('_') == Some(last)
        });
        if !of_column || !target.modifiers.is_empty() {
            let reason = format!("type {target} is not supported");
            return Err(WhereError::at(target.at, reason));
        }
        let path: Vec<String> = target.path.iter().map(|part| quote(part)).collect();
        Ok(format!("{}{brackets}", path.join(".")))
    }
}

/// A built-in type that values can have; the others are pseudo-types.
fn is_data(name: &str) -> bool {
    let oid = catalog().named(name);
    oid.and_then(|oid| catalog().type_of(oid)).is_some_and(|entry| entry.category != 'P')
}

fn known_operator(operator: &str, operands: usize, at: usize) -> Result<(), WhereError> {
    if catalog().operators(operator, operands).is_empty() {
        return Err(WhereError::at(at, format!("the operator {operator} is not supported")));
    }
    Ok(())
}

/// The text of a parameter.
pub(crate) fn parameter(params: &[String], number: usize, at: usize) -> Result<&str, WhereError> {
    let text = (params.get(number.wrapping_sub(1)))
        .ok_or_else(|| WhereError::at(at, format!("parameter ${number} was not provided")))?;
    if text.len() > PARAMETER_BYTES_MAX {
        let reason = format!("parameter ${number} is over {PARAMETER_BYTES_MAX} bytes");
        return Err(WhereError::at(at, reason));
    }
    if text.contains('\0') {
        let reason = format!("parameter ${number} holds U+0000, which Postgres does not have");
        return Err(WhereError::at(at, reason));
    }
    Ok(text)
}

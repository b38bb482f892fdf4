//! Arguments by name, and those left out for which Postgres has a value.
//!
//! *Enters*: a call as it is written. *Leaves*: its arguments in the order of the declaration.
//! *Invariant*: of the functions whose arguments have names, no two take the same ones.

use crate::WhereError;
use crate::catalog::{ArgumentNames, catalog};
use crate::oid::Oid;
use crate::syntax::{Node, Syntax, TypeName};

/// The arguments in order; those of a call that names none and leaves none out stay as they are.
pub(super) fn in_order(
    name: &str,
    arguments: &[Node],
    at: usize,
) -> Result<Option<Vec<Node>>, WhereError> {
    let named = arguments.iter().any(|one| matches!(one.syntax, Syntax::Named { .. }));
    let declared = catalog().argument_names(name);
    let complete = catalog().functions(name).iter().any(|one| one.takes(arguments.len()));
    if !named && (complete || declared.is_empty()) {
        return Ok(None);
    }
    let found = declared.iter().find_map(|names| matched(names, arguments, at));
    match found {
        Some(list) => Ok(Some(list)),
        None if named => {
            let known = match declared {
                [] => "which has no arguments with names".to_owned(),
                list => {
                    let list: Vec<String> = list.iter().map(|one| one.names.join(", ")).collect();
                    format!("whose arguments are {}", list.join("; or "))
                }
            };
            let reason = format!("no function {name} takes these arguments, {known}");
            Err(WhereError::at(at, reason))
        }
        None => Ok(None),
    }
}

fn matched(names: &ArgumentNames, arguments: &[Node], at: usize) -> Option<Vec<Node>> {
    if arguments.len() > names.names.len() {
        return None;
    }
    let mut found: Vec<Option<Node>> = vec![None; names.names.len()];
    for (position, argument) in arguments.iter().enumerate() {
        let (slot, value) = match &argument.syntax {
            Syntax::Named { name, value } => {
                (names.names.iter().position(|one| one == name)?, value.as_ref())
            }
            _ => (position, argument),
        };
        if found[slot].replace(value.clone()).is_some() {
            return None;
        }
    }
    let required = names.names.len() - names.defaults.len();
    let filled = found.into_iter().enumerate().map(|(slot, value)| {
        let default = || default(names, slot.checked_sub(required)?, names.types[slot], at);
        value.or_else(default)
    });
    filled.collect()
}

/// The value of an argument that was left out, as a constant of its type.
fn default(names: &ArgumentNames, index: usize, data_type: Oid, at: usize) -> Option<Node> {
    let text = names.defaults.get(index)?;
    let target = TypeName {
        path: vec![catalog().type_of(data_type)?.name.to_owned()],
        modifiers: Vec::new(),
        dimensions: 0,
        fields: None,
        at,
    };
    let constant = Node { syntax: Syntax::Text((*text).to_owned()), at, height: 1 };
    Some(Node { syntax: Syntax::Cast { operand: Box::new(constant), target }, at, height: 2 })
}

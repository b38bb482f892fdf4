//! Plans by the range that a row's key must lie in.
//!
//! *Enters*: ranges, bounds included, of plans that come and go. *Leaves*: the plans whose range a key
//! lies in. *Invariant*: a treap in the order of (low, high); every node knows the highest end of its
//! subtree, so parts in which nothing can be found are not looked at. Coming and going costs the
//! logarithm of the number of ranges, finding that and what is found.
//!
//! Nodes are numbers in one vector: 48 bytes for a range of eight-byte keys.

use std::cmp::Ordering;
use std::sync::Arc;

use super::held::Held;
use crate::plan::{ShapeId, ShapePlan};

/// A bound.
pub(crate) trait Edge: Ord + Clone {
    /// What rows have.
    type Key: ?Sized;

    fn compare(&self, key: &Self::Key) -> Ordering;
    fn bottom() -> Self;
    fn top() -> Self;
    fn at(bytes: &[u8]) -> Self;
}

impl Edge for u64 {
    type Key = u64;

    fn compare(&self, key: &u64) -> Ordering {
        self.cmp(key)
    }

    fn bottom() -> u64 {
        u64::MIN
    }

    fn top() -> u64 {
        u64::MAX
    }

    fn at(bytes: &[u8]) -> u64 {
        narrow(bytes)
    }
}

/// Eight bytes as the number in the same order.
pub(crate) fn narrow(bytes: &[u8]) -> u64 {
    let mut number = [0; 8];
    let length = bytes.len().min(8);
    number[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(number)
}

/// Bytes of any length; `None` is above all.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Wide(Option<Box<[u8]>>);

impl Ord for Wide {
    fn cmp(&self, other: &Wide) -> Ordering {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => one.cmp(other),
            (one, other) => one.is_none().cmp(&other.is_none()),
        }
    }
}

impl PartialOrd for Wide {
    fn partial_cmp(&self, other: &Wide) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Edge for Wide {
    type Key = [u8];

    fn compare(&self, key: &[u8]) -> Ordering {
        self.0.as_ref().map_or(Ordering::Greater, |own| (**own).cmp(key))
    }

    fn bottom() -> Wide {
        Wide(Some(Box::default()))
    }

    fn top() -> Wide {
        Wide(None)
    }

    fn at(bytes: &[u8]) -> Wide {
        Wide(Some(bytes.into()))
    }
}

const NIL: u32 = u32::MAX;

struct Node<E> {
    low: E,
    high: E,
    /// `None` while the node is free.
    plans: Option<Held>,
    left: u32,
    right: u32,
    /// The node with the highest end in this subtree.
    highest: u32,
    priority: u32,
}

/// The ranges.
pub(crate) struct Intervals<E> {
    nodes: Vec<Node<E>>,
    free: Vec<u32>,
    root: u32,
    /// The state that priorities are made of.
    dice: u32,
}

impl<E> Default for Intervals<E> {
    fn default() -> Intervals<E> {
        Intervals { nodes: Vec::new(), free: Vec::new(), root: NIL, dice: 0x9E37_79B9 }
    }
}

impl<E: Edge> Intervals<E> {
    pub(crate) fn is_empty(&self) -> bool {
        self.root == NIL
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ShapePlan>> {
        self.nodes.iter().filter_map(|node| node.plans.as_ref()).flat_map(Held::as_slice)
    }

    pub(crate) fn insert(&mut self, low: E, high: E, plan: &Arc<ShapePlan>, steps: &mut u64) {
        let mut at = self.root;
        while at != NIL {
            *steps += 1;
            let node = &mut self.nodes[at as usize];
            at = match (&low, &high).cmp(&(&node.low, &node.high)) {
                Ordering::Less => node.left,
                Ordering::Greater => node.right,
                Ordering::Equal => {
                    if let Some(plans) = &mut node.plans {
                        plans.insert(plan);
                    }
                    return;
                }
            };
        }
        // Xorshift: anything that ranges do not follow.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 17;
        self.dice ^= self.dice << 5;
        let plans = Some(Held::new(plan));
        let node =
            Node { low, high, plans, left: NIL, right: NIL, highest: NIL, priority: self.dice };
        let new = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                // Ranges are shapes, whose number is far below.
                (self.nodes.len() - 1) as u32
            }
        };
        self.refresh(new);
        self.root = self.grow(self.root, new, steps);
    }

    pub(crate) fn remove(&mut self, low: &E, high: &E, shape: ShapeId, steps: &mut u64) {
        self.root = self.shrink(self.root, low, high, shape, steps);
        if self.root == NIL {
            *self = Intervals { dice: self.dice, ..Intervals::default() };
        }
    }

    /// Shows the plans whose range holds a key, until `visit` says that it is enough.
    pub(crate) fn find<'a>(
        &'a self,
        key: &E::Key,
        steps: &mut u64,
        visit: &mut impl FnMut(&'a [Arc<ShapePlan>]) -> bool,
    ) {
        self.find_below(self.root, key, steps, visit);
    }

    fn find_below<'a>(
        &'a self,
        at: u32,
        key: &E::Key,
        steps: &mut u64,
        visit: &mut impl FnMut(&'a [Arc<ShapePlan>]) -> bool,
    ) -> bool {
        let Some(node) = self.nodes.get(at as usize) else { return true };
        *steps += 1;
        if self.nodes[node.highest as usize].high.compare(key).is_lt() {
            return true;
        }
        if !self.find_below(node.left, key, steps, visit) {
            return false;
        }
        if node.low.compare(key).is_gt() {
            return true;
        }
        let holds = node.high.compare(key).is_ge();
        if holds && !visit(node.plans.as_ref().map_or(&[], Held::as_slice)) {
            return false;
        }
        self.find_below(node.right, key, steps, visit)
    }

    fn node(&self, at: u32) -> &Node<E> {
        &self.nodes[at as usize]
    }

    fn node_mut(&mut self, at: u32) -> &mut Node<E> {
        &mut self.nodes[at as usize]
    }

    fn order(&self, one: u32, other: u32) -> Ordering {
        let (one, other) = (self.node(one), self.node(other));
        (&one.low, &one.high).cmp(&(&other.low, &other.high))
    }

    /// Finds the highest end below a node anew, after its children have changed.
    fn refresh(&mut self, at: u32) {
        let node = self.node(at);
        let mut highest = at;
        for child in [node.left, node.right].into_iter().filter(|child| *child != NIL) {
            let other = self.node(child).highest;
            if self.node(other).high > self.node(highest).high {
                highest = other;
            }
        }
        self.node_mut(at).highest = highest;
    }

    /// Puts a node below another; gives the root of the two.
    fn grow(&mut self, at: u32, new: u32, steps: &mut u64) -> u32 {
        if at == NIL {
            return new;
        }
        *steps += 1;
        if self.node(new).priority > self.node(at).priority {
            let (left, right) = self.split(at, new, steps);
            self.node_mut(new).left = left;
            self.node_mut(new).right = right;
            self.refresh(new);
            return new;
        }
        if self.order(new, at).is_lt() {
            self.node_mut(at).left = self.grow(self.node(at).left, new, steps);
        } else {
            self.node_mut(at).right = self.grow(self.node(at).right, new, steps);
        }
        self.refresh(at);
        at
    }

    /// What is below a node in two: before `pivot` and after it.
    fn split(&mut self, at: u32, pivot: u32, steps: &mut u64) -> (u32, u32) {
        if at == NIL {
            return (NIL, NIL);
        }
        *steps += 1;
        let halves = if self.order(at, pivot).is_lt() {
            let (left, right) = self.split(self.node(at).right, pivot, steps);
            self.node_mut(at).right = left;
            (at, right)
        } else {
            let (left, right) = self.split(self.node(at).left, pivot, steps);
            self.node_mut(at).left = right;
            (left, at)
        };
        self.refresh(at);
        halves
    }

    /// Two subtrees as one, the first before the second.
    fn merge(&mut self, left: u32, right: u32, steps: &mut u64) -> u32 {
        if left == NIL || right == NIL {
            return left.min(right);
        }
        *steps += 1;
        let root = if self.node(left).priority > self.node(right).priority {
            self.node_mut(left).right = self.merge(self.node(left).right, right, steps);
            left
        } else {
            self.node_mut(right).left = self.merge(left, self.node(right).left, steps);
            right
        };
        self.refresh(root);
        root
    }

    /// Takes a plan out of what is below a node; gives its root.
    fn shrink(&mut self, at: u32, low: &E, high: &E, shape: ShapeId, steps: &mut u64) -> u32 {
        if at == NIL {
            return NIL;
        }
        *steps += 1;
        let node = self.node(at);
        let (left, right) = (node.left, node.right);
        match (low, high).cmp(&(&node.low, &node.high)) {
            Ordering::Less => {
                self.node_mut(at).left = self.shrink(left, low, high, shape, steps);
            }
            Ordering::Greater => {
                self.node_mut(at).right = self.shrink(right, low, high, shape, steps);
            }
            Ordering::Equal => {
                let plans = &mut self.node_mut(at).plans;
                if !plans.as_mut().is_some_and(|plans| plans.remove(shape)) {
                    return at;
                }
                *plans = None;
                self.node_mut(at).low = E::bottom();
                self.node_mut(at).high = E::bottom();
                self.free.push(at);
                return self.merge(left, right, steps);
            }
        }
        self.refresh(at);
        at
    }
}

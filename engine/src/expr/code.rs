//! Flat code: what an expression becomes when it is compiled, and where its operands come from.
//!
//! Nodes refer to earlier nodes by position. Slots are request values, columns are policy cells,
//! sites are patterns compiled per row. Nothing here is evaluated.

use crate::bounds::SLOTS_MAX;
use crate::expr::ast::{CustomFunction, Expr, ExprKind, Function, Operator};
use crate::value::Value;

/// Position of a node in `Code::nodes`.
pub(crate) type NodeId = u32;

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Node {
    Constant(u32),
    Slot(u16),
    Column(u16),
    Not(NodeId),
    Negate(NodeId),
    And(NodeId, NodeId),
    Or(NodeId, NodeId),
    Compare(Operator, NodeId, NodeId),
    Arithmetic(Operator, NodeId, NodeId),
    In(NodeId, NodeId),
    /// Membership in a list written in the expression: `len` entries of `Code::items`.
    InItems {
        needle: NodeId,
        first: u32,
        len: u32,
    },
    Role {
        graph: u16,
        member: NodeId,
        role: NodeId,
        domain: Option<NodeId>,
    },
    KeyMatch(NodeId, NodeId),
    IpMatch(NodeId, NodeId),
    /// keyMatch2 or regexMatch.
    Pattern {
        text: NodeId,
        site: Site,
    },
    KeyGet(NodeId, NodeId),
    /// keyGet2 or keyGet3.
    Get {
        text: NodeId,
        site: Site,
        name: NodeId,
    },
    /// A function of the host: its arguments are `len` entries of `Code::items`.
    Custom {
        function: u16,
        first: u32,
        len: u32,
    },
    /// The expression that the row brings: position in `Code::evals`.
    Eval(u16),
}

/// Where a compiled pattern comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// A string in the expression: position in `Code::fixed`.
    Fixed(u16),
    /// A policy column: position in `Code::sites`.
    Row(u16),
}

/// A constant of the expression, owned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Constant {
    Str(Box<str>),
    Value(Value<'static>),
}

impl Constant {
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Constant::Str(text) => Value::Str(text),
            Constant::Value(value) => *value,
        }
    }
}

/// A request value that an expression reads: a token, or an attribute below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Position in the request definition.
    pub token: usize,
    /// Dotted path below the token; empty for the token itself.
    pub path: String,
    /// Read by no expression: `casbin-rs` looks here to tell a missing attribute of an object from
    /// an attribute of something that is no object.
    pub probe: bool,
}

/// Compiled expressions of one policy or one set of limits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Code {
    pub(crate) nodes: Vec<Node>,
    pub(crate) items: Vec<NodeId>,
    pub(crate) constants: Vec<Constant>,
    pub(crate) slots: Vec<Slot>,
    /// Patterns written in the expression.
    pub(crate) fixed: Vec<(Function, String)>,
    /// Patterns that each row brings: the function and the column.
    pub(crate) sites: Vec<(Function, usize)>,
    /// Functions of the host.
    pub(crate) functions: Vec<CustomFunction>,
    /// Columns of expressions that each row brings.
    pub(crate) evals: Vec<usize>,
}

/// The expression reads more than `SLOTS_MAX` request values, or a list where none may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    TooManySlots,
    ListOutsideIn,
}

impl Code {
    /// Compiles `expr` and returns the position of its root.
    pub(crate) fn compile(&mut self, expr: &Expr) -> Result<NodeId, Refused> {
        let node = match &expr.kind {
            ExprKind::Str(text) => self.constant(Constant::Str(text.as_str().into())),
            ExprKind::Number(value) => self.constant(Constant::Value(*value)),
            ExprKind::Bool(bool) => self.constant(Constant::Value(Value::Bool(*bool))),
            ExprKind::Request { token, path } => Node::Slot(self.slot(*token, path)?),
            ExprKind::Policy { column } => Node::Column(narrow(*column)),
            ExprKind::Not(inner) => Node::Not(self.compile(inner)?),
            ExprKind::Negate(inner) => Node::Negate(self.compile(inner)?),
            ExprKind::Binary(operator, left, right) => self.binary(*operator, left, right)?,
            ExprKind::List(_) => return Err(Refused::ListOutsideIn),
            ExprKind::Call(function, arguments) => self.call(*function, arguments)?,
            ExprKind::Eval { column } => {
                let known = self.evals.iter().position(|known| known == column);
                Node::Eval(narrow(known.unwrap_or_else(|| {
                    self.evals.push(*column);
                    self.evals.len() - 1
                })))
            }
        };
        Ok(self.push(node))
    }

    /// The nodes that a node reads.
    pub(crate) fn below(&self, node: &Node) -> Vec<NodeId> {
        let list = |first: u32, len: u32| {
            self.items.get(first as usize..(first + len) as usize).unwrap_or(&[]).to_vec()
        };
        match *node {
            Node::Constant(_) | Node::Slot(_) | Node::Column(_) | Node::Eval(_) => Vec::new(),
            Node::Not(inner) | Node::Negate(inner) => vec![inner],
            Node::And(left, right)
            | Node::Or(left, right)
            | Node::Compare(_, left, right)
            | Node::Arithmetic(_, left, right)
            | Node::In(left, right)
            | Node::KeyMatch(left, right)
            | Node::KeyGet(left, right)
            | Node::IpMatch(left, right) => vec![left, right],
            Node::InItems { needle, first, len } => [vec![needle], list(first, len)].concat(),
            Node::Role { member, role, domain, .. } => {
                [member, role].into_iter().chain(domain).collect()
            }
            Node::Pattern { text, .. } => vec![text],
            Node::Get { text, name, .. } => vec![text, name],
            Node::Custom { first, len, .. } => list(first, len),
        }
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        wide(self.nodes.len() - 1)
    }

    fn constant(&mut self, constant: Constant) -> Node {
        self.constants.push(constant);
        Node::Constant(wide(self.constants.len() - 1))
    }

    /// The slot of a request value, shared by every use of it.
    pub(crate) fn slot(&mut self, token: usize, path: &str) -> Result<u16, Refused> {
        let known = self.slots.iter().position(|slot| slot.token == token && slot.path == path);
        if let Some(index) = known {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.probe = false;
            }
            return Ok(narrow(index));
        }
        if self.slots.len() >= SLOTS_MAX {
            return Err(Refused::TooManySlots);
        }
        self.slots.push(Slot { token, path: path.to_owned(), probe: false });
        Ok(narrow(self.slots.len() - 1))
    }

    /// Adds a probe for every token of which only attributes are read.
    pub(crate) fn add_probes(&mut self) -> Result<(), Refused> {
        let tokens: Vec<usize> = self.slots.iter().map(|slot| slot.token).collect();
        for token in tokens {
            if !self.slots.iter().any(|slot| slot.token == token && slot.path.is_empty()) {
                let index = self.slot(token, "")?;
                if let Some(slot) = self.slots.get_mut(usize::from(index)) {
                    slot.probe = true;
                }
            }
        }
        Ok(())
    }

    /// Compiles expressions as entries of `items`: the first one and how many.
    fn list(&mut self, exprs: &[Expr]) -> Result<(u32, u32), Refused> {
        let compiled =
            exprs.iter().map(|expr| self.compile(expr)).collect::<Result<Vec<_>, _>>()?;
        let (first, len) = (wide(self.items.len()), wide(compiled.len()));
        self.items.extend(compiled);
        Ok((first, len))
    }

    fn binary(&mut self, operator: Operator, left: &Expr, right: &Expr) -> Result<Node, Refused> {
        let first = self.compile(left)?;
        if let (Operator::In, ExprKind::List(items)) = (operator, &right.kind) {
            let (start, len) = self.list(items)?;
            return Ok(Node::InItems { needle: first, first: start, len });
        }
        let second = self.compile(right)?;
        Ok(match operator {
            Operator::And => Node::And(first, second),
            Operator::Or => Node::Or(first, second),
            Operator::In => Node::In(first, second),
            Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::LessEqual
            | Operator::Greater
            | Operator::GreaterEqual => Node::Compare(operator, first, second),
            _ => Node::Arithmetic(operator, first, second),
        })
    }

    fn call(&mut self, function: Function, arguments: &[Expr]) -> Result<Node, Refused> {
        if let Function::Custom(function) = function {
            let (first, len) = self.list(arguments)?;
            return Ok(Node::Custom { function: narrow(function), first, len });
        }
        let mut nodes = arguments.iter();
        let mut next = |code: &mut Code| match nodes.next() {
            Some(argument) => code.compile(argument).map(Some),
            None => Ok(None),
        };
        let first = next(self)?.unwrap_or(0);
        if let (true, Some(pattern)) = (function.takes_pattern(), arguments.get(1)) {
            let (text, site) = (first, self.site(function, pattern));
            return Ok(match arguments.get(2) {
                Some(name) if function.gets_a_name() => {
                    Node::Get { text, site, name: self.compile(name)? }
                }
                _ => Node::Pattern { text, site },
            });
        }
        let second = next(self)?.unwrap_or(0);
        Ok(match function {
            Function::Role(graph) => {
                let domain = next(self)?;
                Node::Role { graph: narrow(graph), member: first, role: second, domain }
            }
            Function::IpMatch => Node::IpMatch(first, second),
            Function::KeyGet => Node::KeyGet(first, second),
            _ => Node::KeyMatch(first, second),
        })
    }

    fn site(&mut self, function: Function, pattern: &Expr) -> Site {
        match &pattern.kind {
            ExprKind::Policy { column } => {
                let wanted = (function, *column);
                let known = self.sites.iter().position(|site| *site == wanted);
                Site::Row(narrow(known.unwrap_or_else(|| {
                    self.sites.push(wanted);
                    self.sites.len() - 1
                })))
            }
            ExprKind::Str(text) => {
                self.fixed.push((function, text.clone()));
                Site::Fixed(narrow(self.fixed.len() - 1))
            }
            // The parser lets only columns and strings through; this pattern matches nothing.
            _ => {
                self.fixed.push((Function::RegexMatch, "[^\\s\\S]".to_owned()));
                Site::Fixed(narrow(self.fixed.len() - 1))
            }
        }
    }
}

fn narrow(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

fn wide(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

//! The syntax tree of an expression, names already resolved to positions.
//!
//! The parser makes it, the compiler and the naive interpreter read it.

use crate::dialect::Dialect;
use crate::value::Value;

/// One node and the bytes of the expression's text that it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    pub kind: ExprKind,
    pub start: usize,
    pub end: usize,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    Str(String),
    Number(Value<'static>),
    Bool(bool),
    /// `r.sub` (empty path) or `r.sub.a.b` (path `a.b`); `token` counts in the request definition.
    Request {
        token: usize,
        path: String,
    },
    /// `p.obj`; `column` counts in the policy definition.
    Policy {
        column: usize,
    },
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    List(Vec<Expr>),
    Call(Function, Vec<Expr>),
    /// `eval(p.rule)`: what the row's cell says, an expression of its own.
    Eval {
        column: usize,
    },
}

/// A binary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    In,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    /// How tightly it binds; a higher number binds first. All group from the left. Go's comparisons bind alike.
    pub(crate) fn precedence(self, dialect: Dialect) -> u8 {
        match self {
            Operator::Or => 1,
            Operator::And => 2,
            Operator::In
            | Operator::Less
            | Operator::LessEqual
            | Operator::Greater
            | Operator::GreaterEqual
                if dialect == Dialect::CasbinGo =>
            {
                3
            }
            Operator::Equal | Operator::NotEqual => 3,
            Operator::In => 4,
            Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual => 5,
            Operator::Add | Operator::Subtract => 6,
            Operator::Multiply | Operator::Divide | Operator::Remainder => 7,
        }
    }
}

/// A function that an expression may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// `g`, `g2`, …: the position of the role definition.
    Role(usize),
    KeyMatch,
    KeyMatch2,
    KeyMatch3,
    KeyMatch4,
    KeyMatch5,
    GlobMatch,
    RegexMatch,
    IpMatch,
    KeyGet,
    KeyGet2,
    KeyGet3,
    /// Position in the functions that the caller brought.
    Custom(usize),
}

/// A function that the host of the engine brings: pure, and quick, since decisions call it. What it cannot answer is
/// `Value::Missing`, which is *unknown*.
#[derive(Debug, Clone, Copy)]
pub struct CustomFunction {
    pub name: &'static str,
    /// Arguments that it takes, at most `CUSTOM_ARGUMENTS_MAX`.
    pub arity: usize,
    pub call: for<'v> fn(&[Value<'v>]) -> Value<'v>,
}

impl Function {
    /// The built-in functions by name.
    pub const BUILT_IN: &'static [(&'static str, Function)] = &[
        ("keyMatch", Function::KeyMatch),
        ("keyMatch2", Function::KeyMatch2),
        ("keyMatch3", Function::KeyMatch3),
        ("keyMatch4", Function::KeyMatch4),
        ("keyMatch5", Function::KeyMatch5),
        ("globMatch", Function::GlobMatch),
        ("regexMatch", Function::RegexMatch),
        ("ipMatch", Function::IpMatch),
        ("keyGet", Function::KeyGet),
        ("keyGet2", Function::KeyGet2),
        ("keyGet3", Function::KeyGet3),
    ];

    /// Functions that Casbin knows and this version refuses.
    pub const UNSUPPORTED: &'static [&'static str] = &["timeMatch"];

    /// Whether links may write patterns of this function.
    pub fn matches_links(self) -> bool {
        matches!(
            self,
            Function::KeyMatch
                | Function::KeyMatch2
                | Function::KeyMatch3
                | Function::KeyMatch4
                | Function::KeyMatch5
                | Function::GlobMatch
        )
    }

    /// Whether the second argument is a pattern that is compiled at load.
    pub fn takes_pattern(self) -> bool {
        !matches!(
            self,
            Function::Role(_)
                | Function::KeyMatch
                | Function::IpMatch
                | Function::KeyGet
                | Function::Custom(_)
        )
    }

    /// Whether it answers what a name of its pattern stands for.
    pub(crate) fn gets_a_name(self) -> bool {
        matches!(self, Function::KeyGet2 | Function::KeyGet3)
    }
}

impl Expr {
    /// Calls `visit` for this node and every node below it.
    pub fn walk<'e>(&'e self, visit: &mut impl FnMut(&'e Expr)) {
        visit(self);
        match &self.kind {
            ExprKind::Not(inner) | ExprKind::Negate(inner) => inner.walk(visit),
            ExprKind::Binary(_, left, right) => {
                left.walk(visit);
                right.walk(visit);
            }
            ExprKind::List(items) | ExprKind::Call(_, items) => {
                items.iter().for_each(|item| item.walk(visit));
            }
            ExprKind::Str(_)
            | ExprKind::Number(_)
            | ExprKind::Bool(_)
            | ExprKind::Request { .. }
            | ExprKind::Policy { .. }
            | ExprKind::Eval { .. } => {}
        }
    }

    /// Whether the answer depends on the policy row.
    pub fn reads_policy(&self) -> bool {
        self.varies(|_| false)
    }

    /// Whether the answer may depend on the row where some columns are the same in all rows. A row's own expression
    /// may read any of its cells.
    pub(crate) fn varies(&self, is_same: impl Fn(usize) -> bool) -> bool {
        let mut found = false;
        self.walk(&mut |expr| match expr.kind {
            ExprKind::Policy { column } => found |= !is_same(column),
            ExprKind::Eval { .. } => found = true,
            _ => {}
        });
        found
    }

    /// Puts a row's cells in the place of its columns.
    pub(crate) fn put_cells(&mut self, cells: &[&str]) {
        match &mut self.kind {
            ExprKind::Policy { column } => {
                let cell = cells.get(*column).copied().unwrap_or("");
                self.kind = ExprKind::Str(cell.to_owned());
            }
            ExprKind::Not(inner) | ExprKind::Negate(inner) => inner.put_cells(cells),
            ExprKind::Binary(_, left, right) => {
                left.put_cells(cells);
                right.put_cells(cells);
            }
            ExprKind::List(items) | ExprKind::Call(_, items) => {
                items.iter_mut().for_each(|item| item.put_cells(cells));
            }
            _ => {}
        }
    }
}

//! Tokens to a syntax tree, names resolved against a model's definitions.
//!
//! Precedence, from loose to tight: `||`, `&&`, `== !=`, `in`, `< <= > >=`, `+ -`, `* / %`, `! -`.
//! Every unknown name is reported; a syntax error ends the parse.

mod names;

use crate::bounds::{EXPR_BYTES_MAX, EXPR_DEPTH_MAX};
use crate::diagnostic::Code;
use crate::dialect::Dialect;
use crate::expr::ast::{CustomFunction, Expr, ExprKind, Operator};
use crate::expr::error::ParseError;
use crate::expr::lex::{Kind, Token, tokens};
use crate::model::RoleDefinition;
use crate::value::Value;

/// The names that an expression may use.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    pub request: &'a [String],
    pub policy: &'a [String],
    /// What the two are called: `r` and `p`, in a context such as `r2` and `p2`.
    pub prefixes: (&'a str, &'a str),
    pub roles: &'a [RoleDefinition],
    /// Functions of the host.
    pub functions: &'a [CustomFunction],
    pub dialect: Dialect,
}

/// Parses one expression.
///
/// # Errors
/// Every unknown name, unsupported function and wrong argument; or the one syntax error.
pub fn parse(text: &str, names: Names<'_>) -> Result<Expr, Vec<ParseError>> {
    if text.len() > EXPR_BYTES_MAX {
        let message = format!(
            "the expression has {} bytes, at most {EXPR_BYTES_MAX} are allowed",
            text.len()
        );
        return Err(vec![ParseError::new(Code::BoundExceeded, 0, text.len(), message)]);
    }
    let escaped;
    let text = match names.dialect {
        // Go's text was rewritten: in a matcher and in a row's expression not alike.
        Dialect::Strict | Dialect::CasbinGo => text,
        Dialect::CasbinRs => {
            escaped = crate::policy::casbin_text::escape_assertion(text);
            escaped.as_str()
        }
    };
    let tokens = tokens(text, names.dialect).map_err(|error| vec![error])?;
    let mut parser = Parser { names, tokens, at: 0, text_end: text.len(), errors: Vec::new() };
    let parsed = parser.expression(0, 0).and_then(|expr| match parser.peek() {
        None => Ok(expr),
        Some(token) => Err(parser.unexpected(&token, "an operator or the end")),
    });
    match parsed {
        Ok(expr) if parser.errors.is_empty() => Ok(expr),
        Ok(_) => Err(parser.errors),
        Err(error) => {
            parser.errors.push(error);
            Err(parser.errors)
        }
    }
}

struct Parser<'a> {
    names: Names<'a>,
    tokens: Vec<Token>,
    at: usize,
    text_end: usize,
    errors: Vec<ParseError>,
}

type Parsed = Result<Expr, ParseError>;

impl Parser<'_> {
    fn expression(&mut self, loosest: u8, depth: usize) -> Parsed {
        let mut left = self.unary(depth)?;
        while let Some(Token { kind: Kind::Operator(operator), .. }) = self.peek() {
            let precedence = operator.precedence(self.names.dialect);
            if precedence <= loosest {
                break;
            }
            self.at += 1;
            let is_tuple = operator == Operator::In && self.names.dialect == Dialect::CasbinGo;
            let right = match self.next_is(&Kind::Open) {
                true if is_tuple => self.tuple(depth + 1)?,
                _ => self.expression(precedence, depth + 1)?,
            };
            let (start, end) = (left.start, right.end);
            let kind = ExprKind::Binary(operator, Box::new(left), Box::new(right));
            left = Expr { kind, start, end };
        }
        Ok(left)
    }

    fn unary(&mut self, depth: usize) -> Parsed {
        let Some(token) = self.next() else {
            let message = "the expression ends where a value was expected".to_owned();
            return Err(ParseError::new(Code::Syntax, self.text_end, self.text_end, message));
        };
        if depth > EXPR_DEPTH_MAX {
            let message = format!("more than {EXPR_DEPTH_MAX} levels of nesting");
            return Err(ParseError::new(Code::BoundExceeded, token.start, token.end, message));
        }
        let start = token.start;
        match token.kind {
            Kind::Not => {
                let inner = self.operand(depth + 1)?;
                let end = inner.end;
                Ok(Expr { kind: ExprKind::Not(Box::new(inner)), start, end })
            }
            Kind::Operator(Operator::Subtract) => {
                let inner = self.operand(depth + 1)?;
                let end = inner.end;
                Ok(Expr { kind: ExprKind::Negate(Box::new(inner)), start, end })
            }
            Kind::Open => self.parenthesis(start, depth),
            Kind::OpenList if self.names.dialect != Dialect::CasbinGo => {
                let (items, end) = self.items(&Kind::CloseList, depth)?;
                Ok(Expr { kind: ExprKind::List(items), start, end })
            }
            Kind::Str(text) => Ok(Expr { kind: ExprKind::Str(text), start, end: token.end }),
            Kind::Number(ref text) => self.number(text, &token),
            Kind::Name(ref name) => self.named(name, &token, depth),
            _ => Err(self.unexpected(&token, "a value")),
        }
    }

    /// What a sign stands before. In Go that is neither another sign nor a text.
    fn operand(&mut self, depth: usize) -> Parsed {
        let is_operand = |kind: &Kind| {
            !matches!(kind, Kind::Not | Kind::Str(_) | Kind::Operator(Operator::Subtract))
        };
        match self.peek() {
            Some(token) if self.names.dialect == Dialect::CasbinGo && !is_operand(&token.kind) => {
                Err(self.unexpected(&token, "a value, a call or a parenthesis"))
            }
            _ => self.unary(depth),
        }
    }

    /// Go's list behind `in`: one literal alone is a list, one other value is the list itself.
    fn tuple(&mut self, depth: usize) -> Parsed {
        let start = self.next().map_or(0, |token| token.start);
        let (mut items, end) = self.items(&Kind::Close, depth)?;
        let is_literal = |item: &Expr| {
            matches!(item.kind, ExprKind::Str(_) | ExprKind::Number(_) | ExprKind::Bool(_))
        };
        match items.as_slice() {
            [] => {
                let message = "expected a list such as (\"a\", \"b\")".to_owned();
                Err(ParseError::new(Code::Syntax, start, end, message))
            }
            [item] if !is_literal(item) => Ok(items.remove(0)),
            _ => Ok(Expr { kind: ExprKind::List(items), start, end }),
        }
    }

    /// `(a)`, or Go's tuple `(a, b)` in strict.
    fn parenthesis(&mut self, start: usize, depth: usize) -> Parsed {
        let (mut items, end) = self.items(&Kind::Close, depth)?;
        match (items.len(), self.names.dialect) {
            (1, _) => Ok(items.remove(0)),
            (2.., Dialect::Strict) => Ok(Expr { kind: ExprKind::List(items), start, end }),
            _ => {
                let message = "expected one expression in the parentheses".to_owned();
                Err(ParseError::new(Code::Syntax, start, end, message)
                    .help("write a list as [\"a\", \"b\"]"))
            }
        }
    }

    fn items(&mut self, close: &Kind, depth: usize) -> Result<(Vec<Expr>, usize), ParseError> {
        let mut items = Vec::new();
        loop {
            if let Some(token) = self.peek().filter(|token| token.kind == *close) {
                self.at += 1;
                return Ok((items, token.end));
            }
            items.push(self.expression(0, depth + 1)?);
            match self.next() {
                Some(token) if token.kind == *close => return Ok((items, token.end)),
                Some(Token { kind: Kind::Comma, .. }) => {}
                Some(token) => return Err(self.unexpected(&token, "`,` or a closing bracket")),
                None => {
                    let message = "a bracket is not closed".to_owned();
                    let end = self.text_end;
                    return Err(ParseError::new(Code::Syntax, end, end, message));
                }
            }
        }
    }

    fn number(&self, text: &str, token: &Token) -> Parsed {
        let value = Value::parse_number(text).filter(|value| match self.names.dialect {
            Dialect::Strict | Dialect::CasbinGo => true,
            Dialect::CasbinRs => matches!(value, Value::Int(int) if i32::try_from(*int).is_ok()),
        });
        match value {
            Some(value) => {
                Ok(Expr { kind: ExprKind::Number(value), start: token.start, end: token.end })
            }
            None => {
                let message = format!("the number `{text}` does not fit");
                Err(ParseError::new(Code::Syntax, token.start, token.end, message))
            }
        }
    }

    fn unexpected(&self, token: &Token, expected: &str) -> ParseError {
        let message = format!("expected {expected} here");
        ParseError::new(Code::Syntax, token.start, token.end, message)
    }

    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).cloned()
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn next_is(&self, kind: &Kind) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.kind == *kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<String, Code> {
        let request = ["sub", "obj", "act"].map(String::from);
        let policy = ["sub", "obj", "act"].map(String::from);
        let roles = [RoleDefinition::new("g", 2)];
        let names = Names {
            request: &request,
            policy: &policy,
            prefixes: ("r", "p"),
            roles: &roles,
            functions: &[],
            dialect: Dialect::Strict,
        };
        parse(text, names).map(|expr| show(&expr)).map_err(|errors| errors[0].code)
    }

    fn show(expr: &Expr) -> String {
        match &expr.kind {
            ExprKind::Binary(operator, a, b) => format!("({operator:?} {} {})", show(a), show(b)),
            ExprKind::Not(a) => format!("!{}", show(a)),
            ExprKind::Negate(a) => format!("-{}", show(a)),
            ExprKind::Request { token, path } if path.is_empty() => format!("r{token}"),
            ExprKind::Request { token, path } => format!("r{token}.{path}"),
            ExprKind::Eval { column } => format!("eval p{column}"),
            ExprKind::Policy { column } => format!("p{column}"),
            ExprKind::Str(text) => format!("{text:?}"),
            ExprKind::Number(value) => format!("{value:?}"),
            ExprKind::Bool(bool) => bool.to_string(),
            ExprKind::List(items) => format!("{:?}", items.iter().map(show).collect::<Vec<_>>()),
            ExprKind::Call(function, items) => {
                format!("{function:?}{:?}", items.iter().map(show).collect::<Vec<_>>())
            }
        }
    }

    #[test]
    fn precedence_follows_the_table() {
        for (text, expected) in [
            ("r.sub == p.sub && r.act == p.act", "(And (Equal r0 p0) (Equal r2 p2))"),
            ("true || false && true", "(Or true (And false true))"),
            ("1 + 2 * 3 < 10", "(Less (Add Int(1) (Multiply Int(2) Int(3))) Int(10))"),
            ("!r.sub.a.b == true", "(Equal !r0.a.b true)"),
            ("1 - 2 - 3", "(Subtract (Subtract Int(1) Int(2)) Int(3))"),
        ] {
            assert_eq!(check(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_has_its_code() {
        for (text, code) in [
            ("r.sub ==", Code::Syntax),
            ("r.sub = p.sub", Code::Syntax),
            ("r.subb == p.sub", Code::UnknownToken),
            ("sub == p.sub", Code::UnknownToken),
            ("p.obj.x == \"a\"", Code::UnknownToken),
            ("keyMatch(r.obj)", Code::ArgumentCount),
            ("keyMatch9(r.obj, p.obj)", Code::UnknownFunction),
            ("g2(r.sub, p.sub)", Code::UnknownFunction),
            ("timeMatch(r.obj, p.obj)", Code::UnsupportedFunction),
            ("keyGet2(r.obj, p.obj)", Code::ArgumentCount),
            ("eval(r.sub)", Code::ArgumentKind),
            ("eval(p.sub, p.obj)", Code::ArgumentKind),
            ("keyMatch2(r.obj, r.sub)", Code::ArgumentKind),
            ("\"abc", Code::Syntax),
            ("(r.sub == p.sub", Code::Syntax),
            ("r.sub == p.sub)", Code::Syntax),
            ("99999999999999999999 == 1", Code::Syntax),
        ] {
            assert_eq!(check(text), Err(code), "{text}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let nested = |n: usize| format!("{}true{}", "(".repeat(n), ")".repeat(n));
        assert!(check(&nested(EXPR_DEPTH_MAX)).is_ok());
        assert_eq!(check(&nested(EXPR_DEPTH_MAX + 1)), Err(Code::BoundExceeded));
        let long = |n: usize| format!("true{}", " ".repeat(n - 4));
        assert!(check(&long(EXPR_BYTES_MAX)).is_ok());
        assert_eq!(check(&long(EXPR_BYTES_MAX + 1)), Err(Code::BoundExceeded));
    }
}

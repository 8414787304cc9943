//! Tokens to a syntax tree, names resolved against a model's definitions.
//!
//! Precedence, from loose to tight: `||`, `&&`, `== !=`, `in`, `< <= > >=`, `+ -`, `* / %`, `! -`.
//! Every unknown name is reported; a syntax error ends the parse.

use crate::bounds::{EXPR_BYTES_MAX, EXPR_DEPTH_MAX};
use crate::diagnostic::Code;
use crate::dialect::Dialect;
use crate::expr::ast::{CustomFunction, Expr, ExprKind, Function, Operator};
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
        Dialect::Strict => text,
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
            let precedence = operator.precedence();
            if precedence <= loosest {
                break;
            }
            self.at += 1;
            let right = self.expression(precedence, depth + 1)?;
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
                let inner = self.unary(depth + 1)?;
                let end = inner.end;
                Ok(Expr { kind: ExprKind::Not(Box::new(inner)), start, end })
            }
            Kind::Operator(Operator::Subtract) => {
                let inner = self.unary(depth + 1)?;
                let end = inner.end;
                Ok(Expr { kind: ExprKind::Negate(Box::new(inner)), start, end })
            }
            Kind::Open => self.parenthesis(start, depth),
            Kind::OpenList => {
                let (items, end) = self.items(&Kind::CloseList, depth)?;
                Ok(Expr { kind: ExprKind::List(items), start, end })
            }
            Kind::Str(text) => Ok(Expr { kind: ExprKind::Str(text), start, end: token.end }),
            Kind::Number(ref text) => self.number(text, &token),
            Kind::Name(ref name) => self.named(name, &token, depth),
            _ => Err(self.unexpected(&token, "a value")),
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
            Dialect::Strict => true,
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

    fn named(&mut self, name: &str, token: &Token, depth: usize) -> Parsed {
        let (start, end) = (token.start, token.end);
        match name {
            "true" | "false" => {
                return Ok(Expr { kind: ExprKind::Bool(name == "true"), start, end });
            }
            _ if self.is_prefix(name) && self.next_is(&Kind::Dot) => {
                self.at += 1;
                let Some(Token { kind: Kind::Name(member), end, .. }) = self.next() else {
                    let message = format!("`{name}.` needs a name behind the point");
                    return Err(ParseError::new(Code::Syntax, start, end, message));
                };
                return Ok(self.reference(name, &member, start, end));
            }
            _ => {}
        }
        if is_definition(name) && self.next_is(&Kind::Dot) {
            return Ok(self.foreign(name, start, end));
        }
        if self.names.dialect == Dialect::CasbinRs {
            let (request, policy) = self.names.prefixes;
            for side in [request, policy] {
                let member = name.strip_prefix(side).and_then(|rest| rest.strip_prefix('_'));
                if let Some(member) = member {
                    return Ok(self.reference(side, member, start, end));
                }
            }
        }
        if self.next_is(&Kind::Open) {
            self.at += 1;
            let (arguments, end) = self.items(&Kind::Close, depth)?;
            return Ok(self.call(name, arguments, start, end));
        }
        let message =
            format!("`{name}` is neither a request token, a policy column nor a function");
        self.errors
            .push(ParseError::new(Code::UnknownToken, start, end, message).help(self.names_help()));
        Ok(Expr { kind: ExprKind::Bool(false), start, end })
    }

    /// `r.sub` in a context of `r2`, or `p3.obj` in none.
    fn foreign(&mut self, name: &str, start: usize, mut end: usize) -> Expr {
        while self.next_is(&Kind::Dot) {
            self.at += 1;
            if let Some(token) = self.next() {
                end = token.end;
            }
        }
        let message = format!("this matcher does not read `{name}`");
        let error = ParseError::new(Code::UnknownToken, start, end, message);
        self.errors.push(error.help(self.names_help()));
        Expr { kind: ExprKind::Bool(false), start, end }
    }

    /// `r.sub`, `r.sub.x`, `p.obj`.
    fn reference(&mut self, side: &str, member: &str, start: usize, mut end: usize) -> Expr {
        let mut path = Vec::new();
        while self.next_is(&Kind::Dot) {
            self.at += 1;
            match self.next() {
                Some(Token { kind: Kind::Name(part), end: part_end, .. }) => {
                    path.push(part);
                    end = part_end;
                }
                _ => {
                    let message = "a name must follow the point".to_owned();
                    self.errors.push(ParseError::new(Code::Syntax, start, end, message));
                }
            }
        }
        let is_request = side == self.names.prefixes.0;
        let (known, what) = match is_request {
            true => (self.names.request, "the request definition"),
            false => (self.names.policy, "the policy definition"),
        };
        let position = known.iter().position(|name| name == member);
        if position.is_none() {
            let message = format!("{what} has no `{member}`");
            self.errors.push(
                ParseError::new(Code::UnknownToken, start, end, message)
                    .suggest(member, known.iter().map(String::as_str)),
            );
        } else if !is_request && !path.is_empty() {
            let message = format!("a policy cell has no attribute `{}`", path.join("."));
            self.errors.push(ParseError::new(Code::UnknownToken, start, end, message));
        }
        let position = position.unwrap_or(0);
        let kind = match is_request {
            true => ExprKind::Request { token: position, path: path.join(".") },
            false => ExprKind::Policy { column: position },
        };
        Expr { kind, start, end }
    }

    fn call(&mut self, name: &str, arguments: Vec<Expr>, start: usize, end: usize) -> Expr {
        let role = self.names.roles.iter().position(|role| role.name == name);
        if name == "eval" && role.is_none() {
            return self.eval(&arguments, start, end);
        }
        let (function, expected) = match role.map_or_else(
            || self.function(name),
            |index| {
                let arity = self.names.roles.get(index).map_or(2, |role| role.arity);
                Some((Function::Role(index), arity))
            },
        ) {
            Some(found) => found,
            None => {
                self.errors.push(self.unknown_function(name, start));
                return Expr { kind: ExprKind::Bool(false), start, end };
            }
        };
        if arguments.len() != expected {
            let message =
                format!("`{name}` takes {expected} arguments, {} are given", arguments.len());
            self.errors.push(ParseError::new(Code::ArgumentCount, start, end, message));
        } else if function.takes_pattern() {
            self.check_pattern(name, &arguments);
        }
        Expr { kind: ExprKind::Call(function, arguments), start, end }
    }

    /// A built-in function or one of the host, with the number of its arguments.
    fn function(&self, name: &str) -> Option<(Function, usize)> {
        let custom = self.names.functions.iter().position(|function| function.name == name);
        if let Some((index, function)) =
            custom.and_then(|at| Some((at, self.names.functions.get(at)?)))
        {
            return Some((Function::Custom(index), function.arity));
        }
        let (_, function) = Function::BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some((*function, 2 + usize::from(function.gets_a_name())))
    }

    fn is_prefix(&self, name: &str) -> bool {
        let (request, policy) = self.names.prefixes;
        name == request || name == policy
    }

    fn names_help(&self) -> String {
        let (request, policy) = self.names.prefixes;
        format!("write {request}.<token> for the request and {policy}.<column> for the policy row")
    }

    fn eval(&mut self, arguments: &[Expr], start: usize, end: usize) -> Expr {
        let kind = match arguments.first().map(|argument| &argument.kind) {
            Some(ExprKind::Policy { column }) if arguments.len() == 1 => {
                ExprKind::Eval { column: *column }
            }
            _ => {
                let message = "`eval` takes one policy column".to_owned();
                self.errors.push(
                    ParseError::new(Code::ArgumentKind, start, end, message)
                        .help("each row's expression is compiled when the policy loads"),
                );
                ExprKind::Bool(false)
            }
        };
        Expr { kind, start, end }
    }

    fn check_pattern(&mut self, name: &str, arguments: &[Expr]) {
        let Some(pattern) = arguments.get(1) else { return };
        if !matches!(pattern.kind, ExprKind::Policy { .. } | ExprKind::Str(_)) {
            let message = format!("the pattern of `{name}` must be a policy column or a string");
            self.errors.push(
                ParseError::new(Code::ArgumentKind, pattern.start, pattern.end, message)
                    .help("patterns are compiled when the policy loads, never per request"),
            );
        }
    }

    fn unknown_function(&self, name: &str, start: usize) -> ParseError {
        let end = start + name.len();
        if Function::UNSUPPORTED.contains(&name) {
            let message = format!("`{name}` cannot be compiled by this version");
            return ParseError::new(Code::UnsupportedFunction, start, end, message).help(
                "use keyMatch to keyMatch5, keyGet to keyGet3, globMatch, regexMatch or ipMatch",
            );
        }
        let roles = self.names.roles.iter().map(|role| role.name.as_str());
        let custom = self.names.functions.iter().map(|function| function.name);
        let known = Function::BUILT_IN.iter().map(|(known, _)| *known).chain(roles).chain(custom);
        let message = format!("there is no function `{name}`");
        let error = ParseError::new(Code::UnknownFunction, start, end, message);
        match name.strip_prefix('g').is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit())) {
            true => error.help(format!("define `{name} = _, _` under [role_definition]")),
            false => error.suggest(name, known),
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

/// `r`, `p`, `r2`, `p2`, ….
fn is_definition(name: &str) -> bool {
    let digits = name.strip_prefix(['r', 'p']);
    digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<String, Code> {
        let request = ["sub", "obj", "act"].map(String::from);
        let policy = ["sub", "obj", "act"].map(String::from);
        let roles = [RoleDefinition { name: "g".to_owned(), arity: 2, is_timed: false }];
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

//! Text to tokens. Knows no names and no precedence.

use crate::diagnostic::Code;
use crate::dialect::Dialect;
use crate::expr::ast::Operator;
use crate::expr::error::ParseError;

/// A token and the bytes it came from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Name(String),
    Str(String),
    Number(String),
    Operator(Operator),
    Not,
    Dot,
    Comma,
    Open,
    Close,
    OpenList,
    CloseList,
}

const SYMBOLS: &[(&str, Kind)] = &[
    ("&&", Kind::Operator(Operator::And)),
    ("||", Kind::Operator(Operator::Or)),
    ("==", Kind::Operator(Operator::Equal)),
    ("!=", Kind::Operator(Operator::NotEqual)),
    ("<=", Kind::Operator(Operator::LessEqual)),
    (">=", Kind::Operator(Operator::GreaterEqual)),
    ("<", Kind::Operator(Operator::Less)),
    (">", Kind::Operator(Operator::Greater)),
    ("+", Kind::Operator(Operator::Add)),
    ("-", Kind::Operator(Operator::Subtract)),
    ("*", Kind::Operator(Operator::Multiply)),
    ("/", Kind::Operator(Operator::Divide)),
    ("%", Kind::Operator(Operator::Remainder)),
    ("!", Kind::Not),
    (".", Kind::Dot),
    (",", Kind::Comma),
    ("(", Kind::Open),
    (")", Kind::Close),
    ("[", Kind::OpenList),
    ("]", Kind::CloseList),
];

/// All tokens of `text`, or the first place that is none.
pub(super) fn tokens(text: &str, dialect: Dialect) -> Result<Vec<Token>, ParseError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let first = rest.chars().next().unwrap_or(' ');
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (kind, length) = match first {
            '"' | '\'' => string(rest, at, first, dialect)?,
            '0'..='9' => number(rest),
            'a'..='z' | 'A'..='Z' | '_' => name(rest, dialect),
            _ => symbol(rest, at, dialect)?,
        };
        found.push(Token { kind, start: at, end: at + length });
        at += length;
    }
    Ok(found)
}

fn name(rest: &str, dialect: Dialect) -> (Kind, usize) {
    let length =
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let word = rest.get(..length).unwrap_or("");
    match word {
        "in" => (Kind::Operator(Operator::In), length),
        "IN" if dialect == Dialect::CasbinGo => (Kind::Operator(Operator::In), length),
        _ => (Kind::Name(word.to_owned()), length),
    }
}

fn number(rest: &str) -> (Kind, usize) {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut length = digits(rest);
    if let Some(fraction) = rest.get(length..).and_then(|tail| tail.strip_prefix('.')) {
        let fraction_length = digits(fraction);
        if fraction_length > 0 {
            length += 1 + fraction_length;
        }
    }
    (Kind::Number(rest.get(..length).unwrap_or("").to_owned()), length)
}

fn string(
    rest: &str,
    at: usize,
    quote: char,
    dialect: Dialect,
) -> Result<(Kind, usize), ParseError> {
    if quote == '\'' && dialect == Dialect::CasbinRs {
        let message = "a single quote begins a character in casbin-rs, not a string".to_owned();
        return Err(ParseError::new(Code::Syntax, at, at + 1, message)
            .help("write the string in double quotes"));
    }
    if dialect == Dialect::CasbinGo {
        return go_string(rest, at);
    }
    let mut content = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((Kind::Str(content), index + 1)),
            '\\' => match chars.next() {
                Some((_, escaped @ ('"' | '\'' | '\\'))) => content.push(escaped),
                _ => {
                    let message = "unknown escape in a string".to_owned();
                    return Err(ParseError::new(Code::Syntax, at + index, at + index + 1, message)
                        .help(r#"only \" \' and \\ are escapes"#));
                }
            },
            _ => content.push(c),
        }
    }
    let message = format!("this string has no closing {quote}");
    Err(ParseError::new(Code::Syntax, at, at + rest.len(), message))
}

/// Up to the next quote of either kind, every character as it stands. What Go would read as a time is refused.
fn go_string(rest: &str, at: usize) -> Result<(Kind, usize), ParseError> {
    let quoted = rest.get(1..).unwrap_or("");
    let Some((content, _)) = quoted.split_once(['"', '\'']) else {
        let message = "this string has no closing quote".to_owned();
        return Err(ParseError::new(Code::Syntax, at, at + rest.len(), message));
    };
    let length = content.len() + 2;
    if reads_as_time(content) {
        let message = format!("`{content}` is a time in Go, which makes a number of it");
        return Err(ParseError::new(Code::Syntax, at, at + length, message)
            .help("compare numbers of seconds, or let the text be an attribute"));
    }
    Ok((Kind::Str(content.to_owned()), length))
}

/// Whether a text begins as one of the layouts that govaluate tries: `2006-01-02…`, `3:04PM`, `Mon …`.
fn reads_as_time(text: &str) -> bool {
    let shape: String =
        text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).take(10).collect();
    let days = ["Mon ", "Tue ", "Wed ", "Thu ", "Fri ", "Sat ", "Sun "];
    let kitchen = ["0:00AM", "0:00PM", "00:00AM", "00:00PM"];
    let starts = |day: &&str| shape.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(day));
    shape == "0000-00-00" || kitchen.contains(&shape.as_str()) || days.iter().any(starts)
}

fn symbol(rest: &str, at: usize, dialect: Dialect) -> Result<(Kind, usize), ParseError> {
    let stands = |text: &str| match dialect {
        // Go takes all of a run of symbols for one.
        Dialect::CasbinGo if !matches!(text, "." | "," | "(" | ")" | "[" | "]") => {
            let ends = |c: char| c.is_alphanumeric() || c.is_whitespace() || "()[]'\"".contains(c);
            rest.split(ends).next() == Some(text)
        }
        _ => rest.starts_with(text),
    };
    SYMBOLS
        .iter()
        .find(|(text, _)| stands(text))
        .map(|(text, kind)| (kind.clone(), text.len()))
        .ok_or_else(|| {
            let c = rest.chars().next().unwrap_or(' ');
            let message = format!("`{c}` is not part of the expression language");
            ParseError::new(Code::Syntax, at, at + c.len_utf8(), message)
        })
}

//! The values that attributes, constants and cells can have, and how two of them compare.
//!
//! There is no `f64`: a number is an integer or an exact decimal, or the request is refused.
//! `Missing` doubles as *unknown*, the third truth value: whatever cannot be answered is Missing.

use std::cmp::Ordering;

/// Digits after the point that a decimal may have.
pub const SCALE_MAX: u8 = 18;

/// One value. Objects do not exist here: they are flattened to dotted paths by the doors.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Value<'a> {
    #[default]
    Missing,
    Null,
    Bool(bool),
    Int(i64),
    Dec {
        mantissa: i64,
        scale: u8,
    },
    Str(&'a str),
    List(&'a [Value<'a>]),
}

impl<'a> Value<'a> {
    /// The text of a string value.
    pub fn as_str(&self) -> Option<&'a str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// What a person calls this kind of value.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Missing => "nothing",
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Dec { .. } => "a number",
            Value::Str(_) => "a string",
            Value::List(_) => "a list",
        }
    }

    /// Equality, or `None` where the two do not compare (mixed types, missing values, lists).
    pub fn equals(&self, other: &Value<'_>) -> Option<bool> {
        match (self, other) {
            (Value::Null, Value::Null) => Some(true),
            (Value::Bool(a), Value::Bool(b)) => Some(a == b),
            (Value::Str(a), Value::Str(b)) => Some(a == b),
            _ => self.order(other).map(|order| order == Ordering::Equal),
        }
    }

    /// Order of two numbers or two strings, or `None` where there is none.
    pub fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        if let (Value::Str(a), Value::Str(b)) = (self, other) {
            return Some(a.cmp(b));
        }
        let ((a, a_scale), (b, b_scale)) = (self.exact()?, other.exact()?);
        let scale = a_scale.max(b_scale);
        Some(rescale(a, a_scale, scale)?.cmp(&rescale(b, b_scale, scale)?))
    }

    /// A number as mantissa and scale.
    pub(crate) fn exact(&self) -> Option<(i128, u8)> {
        match *self {
            Value::Int(int) => Some((i128::from(int), 0)),
            Value::Dec { mantissa, scale } => Some((i128::from(mantissa), scale)),
            _ => None,
        }
    }

    /// The number `mantissa / 10^scale` in its shortest form; `None` if it does not fit.
    pub(crate) fn number(mut mantissa: i128, mut scale: u8) -> Option<Value<'static>> {
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        let mantissa = i64::try_from(mantissa).ok()?;
        match scale {
            0 => Some(Value::Int(mantissa)),
            1..=SCALE_MAX => Some(Value::Dec { mantissa, scale }),
            _ => None,
        }
    }

    /// Reads a JSON number exactly; `None` if it is no number or fits neither Int nor Dec.
    pub fn parse_number(text: &str) -> Option<Value<'static>> {
        let (mantissa_text, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa_text.split_once('.').unwrap_or((mantissa_text, ""));
        let (negative, whole) = match whole.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, whole),
        };
        if whole.is_empty() || (mantissa_text.contains('.') && fraction.is_empty()) {
            return None;
        }
        let mut mantissa: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            let digit = digit.is_ascii_digit().then(|| i128::from(digit - b'0'))?;
            mantissa = mantissa.checked_mul(10)?.checked_add(digit)?;
        }
        if negative {
            mantissa = -mantissa;
        }
        let mut scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        if mantissa == 0 {
            return Some(Value::Int(0));
        }
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        while scale < 0 {
            mantissa = mantissa.checked_mul(10)?;
            scale += 1;
        }
        Value::number(mantissa, u8::try_from(scale).ok()?)
    }
}

/// `mantissa` counted in units of `10^-to` instead of `10^-from`.
pub(crate) fn rescale(mantissa: i128, from: u8, to: u8) -> Option<i128> {
    mantissa.checked_mul(10i128.checked_pow(u32::from(to.checked_sub(from)?))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_or_refused() {
        let rows: &[(&str, Option<Value<'_>>)] = &[
            ("0", Some(Value::Int(0))),
            ("-0", Some(Value::Int(0))),
            ("42", Some(Value::Int(42))),
            ("1.50", Some(Value::Dec { mantissa: 15, scale: 1 })),
            ("0.1", Some(Value::Dec { mantissa: 1, scale: 1 })),
            ("1e3", Some(Value::Int(1000))),
            ("12e-1", Some(Value::Dec { mantissa: 12, scale: 1 })),
            ("9223372036854775807", Some(Value::Int(i64::MAX))),
            ("9223372036854775808", None),
            ("0.0000000000000000001", None),
            ("1e400", None),
            ("1.", None),
            (".5", None),
            ("abc", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(Value::parse_number(text), *expected, "{text}");
        }
    }

    #[test]
    fn comparison_is_exact_and_mixed_types_are_unknown() {
        let half = Value::Dec { mantissa: 5, scale: 1 };
        assert_eq!(half.order(&Value::Int(1)), Some(Ordering::Less));
        assert_eq!(Value::Int(2).equals(&Value::Dec { mantissa: 20, scale: 1 }), Some(true));
        assert_eq!(Value::Str("a").order(&Value::Str("b")), Some(Ordering::Less));
        assert_eq!(Value::Null.equals(&Value::Null), Some(true));
        for (a, b) in [
            (Value::Int(1), Value::Str("1")),
            (Value::Bool(true), Value::Int(1)),
            (Value::Missing, Value::Missing),
            (Value::Null, Value::Int(0)),
            (Value::List(&[]), Value::List(&[])),
        ] {
            assert_eq!(a.equals(&b), None, "{a:?} {b:?}");
            assert_eq!(a.order(&b), None, "{a:?} {b:?}");
        }
        assert_eq!(Value::Bool(true).order(&Value::Bool(false)), None);
    }
}

//! The id of a decision, by which it is found again.

use std::fmt;
use std::str::FromStr;

/// `5f3a90c1-1a2`: the run of the sidecar and the decision's number in it, both in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecisionId {
    pub prefix: u32,
    pub number: u64,
}

impl DecisionId {
    /// A decision that is not kept has none.
    pub const NONE: DecisionId = DecisionId { prefix: 0, number: 0 };

    /// Whether there is one.
    pub fn is_some(self) -> bool {
        self.number != 0
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:x}", self.prefix, self.number)
    }
}

impl FromStr for DecisionId {
    type Err = String;

    fn from_str(text: &str) -> Result<DecisionId, String> {
        let parts = text.split_once('-').filter(|(prefix, _)| prefix.len() == 8);
        let parse = |(prefix, number): (&str, &str)| {
            let prefix = u32::from_str_radix(prefix, 16).ok()?;
            Some(DecisionId { prefix, number: u64::from_str_radix(number, 16).ok()? })
        };
        parts.and_then(parse).ok_or_else(|| format!("`{text}` is no request id of a sidecar"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = DecisionId { prefix: 0xab, number: 0x1f2 };
        assert_eq!(id.to_string(), "000000ab-1f2");
        assert_eq!("000000ab-1f2".parse(), Ok(id));
        for text in ["", "ab-1", "000000ab", "000000ab-", "000000ag-1", "000000ab-1-2"] {
            assert!(text.parse::<DecisionId>().is_err(), "{text}");
        }
    }
}

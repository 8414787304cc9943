//! The one place where values become bytes of a bundle: a format byte, then bincode.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};

/// Bytes in memory that one decoded value may announce.
const VALUE_BYTES_MAX: usize = 1 << 30;
/// The format of values.
const FORMAT: u8 = 1;

type Config = Configuration<LittleEndian, Fixint, Limit<VALUE_BYTES_MAX>>;

fn config() -> Config {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<VALUE_BYTES_MAX>()
}

/// A value in bytes; `None` only if it is larger than the codec writes.
pub(crate) fn encode(value: &impl Encode) -> Option<Vec<u8>> {
    let mut bytes = vec![FORMAT];
    bytes.extend(bincode::encode_to_vec(value, config()).ok()?);
    Some(bytes)
}

/// The value of these bytes: all of them, in this format.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Option<T> {
    let rest = bytes.strip_prefix(&[FORMAT])?;
    let (value, read) = bincode::decode_from_slice(rest, config()).ok()?;
    (read == rest.len()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_all_read_or_refused() {
        let bytes = encode(&vec![7_u32, 8]).unwrap();
        assert_eq!(decode::<Vec<u32>>(&bytes), Some(vec![7, 8]));
        for cut in 0..bytes.len() {
            assert_eq!(decode::<Vec<u32>>(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(decode::<Vec<u32>>(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(decode::<Vec<u32>>(&[&[2], &bytes[1..]].concat()), None);
        let huge = [&[FORMAT], &u64::MAX.to_le_bytes()[..]].concat();
        assert_eq!(decode::<Vec<u8>>(&huge), None);
    }
}

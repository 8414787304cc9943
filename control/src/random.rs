//! Random names and ids.

pub(crate) const BASE62: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Crockford's: sorts as the number it stands for.
const ORDERED: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Random bytes of the system.
///
/// # Panics
/// Where the system has no randomness: nothing could be made safely then.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
}

fn text(alphabet: &[u8], chars: usize) -> String {
    // Bytes beyond the last whole multiple are thrown again, so that each letter is as likely.
    let bound = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(chars);
    while text.len() < chars {
        for byte in bytes::<64>() {
            if usize::from(byte) < bound && text.len() < chars {
                let letter = alphabet.get(usize::from(byte) % alphabet.len());
                text.push(letter.map_or('0', |letter| char::from(*letter)));
            }
        }
    }
    text
}

pub fn base62(chars: usize) -> String {
    text(BASE62, chars)
}

pub fn base32(chars: usize) -> String {
    text(BASE32, chars)
}

/// An id that sorts by time: 48 bits of milliseconds, 80 random bits, as 26 letters (the shape of ULID).
pub fn id(prefix: &str, now_ms: u64) -> String {
    let random = bytes::<10>();
    let random = random.iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte));
    let number = u128::from(now_ms) << 80 | random;
    let letter = |place: u32| {
        let index = usize::try_from(number >> (5 * place) & 31).unwrap_or(0);
        ORDERED.get(index).map_or('0', |letter| char::from(*letter))
    };
    let text: String = (0..26).rev().map(letter).collect();
    format!("{prefix}_{text}")
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ() {
        let ids: Vec<String> = (0..100).map(|ms| id("op", 1_000 + ms)).collect();
        assert!(ids.is_sorted());
        assert_ne!(id("op", 7), id("op", 7));
        assert_eq!(id("op", 7).len(), 29);
    }
}

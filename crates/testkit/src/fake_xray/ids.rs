//! How Xray reads the text of a UUID, which is not how anybody would expect.

use uuid::Uuid;

/// Lengths of the groups of digits; a dash may stand before each.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// Reads an id; the error is Xray's text.
///
/// 32 to 36 bytes are read as hexadecimal digits. One to thirty are hashed: any word makes a UUID.
pub(super) fn parse(text: &str) -> Result<Uuid, String> {
    match text.len() {
        32..=36 => digits(text.as_bytes()),
        1..=30 => Ok(Uuid::new_v5(&Uuid::nil(), text.as_bytes())),
        _ => Err(format!("common/uuid: invalid UUID: {text}")),
    }
}

fn digits(mut text: &[u8]) -> Result<Uuid, String> {
    let mut hex = String::with_capacity(32);
    for group in GROUPS {
        text = text.strip_prefix(b"-").unwrap_or(text);
        let taken = text.get(..group).ok_or_else(|| "encoding/hex: odd length hex string".to_owned())?;
        if let Some(&bad) = taken.iter().find(|byte| !byte.is_ascii_hexdigit()) {
            return Err(format!("encoding/hex: invalid byte: U+{bad:04X} {:?}", char::from(bad)));
        }
        hex.extend(taken.iter().map(|&byte| char::from(byte)));
        text = &text[group..];
    }
    Uuid::try_parse(&hex).map_err(|error| error.to_string())
}

/// What a connecting client is looked up by: since v25.8.29 the third group of the UUID does not count.
pub(super) fn credential(uuid: Uuid) -> [u8; 16] {
    let mut bytes = uuid.into_bytes();
    bytes[6] = 0;
    bytes[7] = 0;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_short_word_is_an_id() {
        assert_eq!(parse("hello").unwrap().to_string(), "b7502f40-1152-59f2-ba10-69aeed522cdf");
        assert_eq!(parse(&"x".repeat(31)), Err(format!("common/uuid: invalid UUID: {}", "x".repeat(31))));
        assert!(parse("").is_err() && parse(&"a".repeat(37)).is_err());
    }

    #[test]
    fn dashes_and_case_do_not_matter() {
        let uuid = Uuid::from_u128(0x4f1b_0c8e_7d7d_4b52_9d0e_2f6f_7e6a_1c33);
        assert_eq!(parse("4F1B0C8E7D7D4B529D0E2F6F7E6A1C33"), Ok(uuid));
        assert_eq!(parse("4f1b0c8e-7d7d-4b52-9d0e-2f6f7e6a1c33"), Ok(uuid));
        assert_eq!(parse(&"z".repeat(36)), Err("encoding/hex: invalid byte: U+007A 'z'".to_owned()));
    }

    #[test]
    fn the_third_group_is_no_part_of_the_credential() {
        let [one, other] = [0x4b52, 0x4fff].map(|group| Uuid::from_fields(1, 2, group, &[3; 8]));
        assert_ne!(one, other);
        assert_eq!(credential(one), credential(other));
    }
}

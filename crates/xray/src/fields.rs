//! The wire format of protobuf, read in place: one field after the other of a message that is all there.
//!
//! The generated messages copy every text they meet. A list of a million users is read with this instead.

/// These bytes are no message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What a field holds, as far as anybody here wants to know it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
    /// A number, in whatever form.
    Number,
}

/// Longest encoding of a number of 64 bits.
const VARINT_BYTES_MAX: usize = 10;

/// A number and how many bytes it takes; none while it is not all there.
pub(crate) fn varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, Malformed> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((value, place + 1)));
        }
    }
    if bytes.len() < VARINT_BYTES_MAX { Ok(None) } else { Err(Malformed) }
}

/// The field at the start of `bytes`: its number, its value and its length; none while it is not all there.
///
/// `limit` is the longest value taken: a longer one can never come to an end here.
pub(crate) fn field(bytes: &[u8], limit: usize) -> Result<Option<(u64, Value<'_>, usize)>, Malformed> {
    let Some((key, key_bytes)) = varint(bytes)? else { return Ok(None) };
    let (number, rest) = (key >> 3, &bytes[key_bytes..]);
    let (head_bytes, value_bytes) = match key & 7 {
        0 => match varint(rest)? {
            Some((_, varint_bytes)) => (varint_bytes, 0),
            None => return Ok(None),
        },
        1 => (8, 0),
        5 => (4, 0),
        2 => match varint(rest)? {
            Some((length, varint_bytes)) => {
                (varint_bytes, usize::try_from(length).ok().filter(|&length| length <= limit).ok_or(Malformed)?)
            }
            None => return Ok(None),
        },
        _ => return Err(Malformed),
    };
    if number == 0 {
        return Err(Malformed);
    }
    let total = key_bytes + head_bytes + value_bytes;
    let Some(whole) = bytes.get(..total) else { return Ok(None) };
    let value = if key & 7 == 2 { Value::Bytes(&whole[key_bytes + head_bytes..]) } else { Value::Number };
    Ok(Some((number, value, total)))
}

/// All fields of a whole message.
pub(crate) fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u64, Value<'_>), Malformed>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let found = field(bytes, bytes.len()).and_then(|found| found.ok_or(Malformed));
        Some(match found {
            Ok((number, value, total)) => {
                bytes = &bytes[total..];
                Ok((number, value))
            }
            Err(malformed) => {
                bytes = &[];
                Err(malformed)
            }
        })
    })
}

/// A text field; protobuf wants UTF-8.
pub(crate) fn text<'a>(value: &Value<'a>) -> Result<&'a str, Malformed> {
    match value {
        Value::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|_| Malformed),
        Value::Number => Err(Malformed),
    }
}

/// A field that is a message or bytes.
pub(crate) fn message<'a>(value: &Value<'a>) -> Result<&'a [u8], Malformed> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        Value::Number => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_once_it_is_all_there() {
        assert_eq!(varint(&[]), Ok(None));
        assert_eq!(varint(&[0x96]), Ok(None));
        assert_eq!(varint(&[0x96, 0x01, 0xff]), Ok(Some((150, 2))));
        assert_eq!(varint(&[0xff; 10]), Err(Malformed));
        assert_eq!(varint(&[0xff; 9]), Ok(None));
    }

    #[test]
    fn fields_of_every_kind_are_stepped_over() {
        let bytes = [0x08, 0x96, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1d, 1, 2, 3, 4, 0x22, 2, b'o', b'k'];
        let read: Result<Vec<_>, _> = fields(&bytes).collect();
        assert_eq!(
            read.unwrap(),
            [(1, Value::Number), (2, Value::Number), (3, Value::Number), (4, Value::Bytes(b"ok"))]
        );
    }

    #[test]
    fn a_message_that_breaks_off_is_malformed() {
        for bytes in [&[0x22, 2, b'o'][..], &[0x08], &[0x08, 0x96], &[0x11, 1], &[0x0b], &[0x00, 1], &[0xff]] {
            assert!(fields(bytes).any(|field| field == Err(Malformed)), "{bytes:?}");
        }
    }

    #[test]
    fn a_value_beyond_the_limit_is_refused_before_it_has_arrived() {
        assert_eq!(field(&[0x0a, 0x64], 99), Err(Malformed));
        assert_eq!(field(&[0x0a, 0x64], 100), Ok(None));
    }
}

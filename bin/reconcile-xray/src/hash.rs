//! Names for secrets: what stands in logs and audit rows instead of a UUID.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use uuid::Uuid;

/// Enough to tell two users of one server apart, and to find one whose UUID is known; a UUID's 122 random bits cannot be
/// found out from it.
const SHOWN_BYTES: usize = 8;

/// The beginning of a UUID's hash.
pub(crate) fn uuid_hash(uuid: Uuid) -> String {
    hex(&digest(&SHA256, uuid.as_bytes()).as_ref()[..SHOWN_BYTES])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_shows_nothing_of_the_uuid() {
        let uuid = Uuid::from_u128(0x4f1b_0c8e_7d7d_4b52_9d0e_2f6f_7e6a_1c33);
        let hash = uuid_hash(uuid);
        assert_eq!(hash.len(), 16);
        assert_eq!(hash, uuid_hash(uuid));
        assert_ne!(hash, uuid_hash(Uuid::from_u128(1)));
        assert!(!hash.contains("4f1b"));
    }
}

//! Shares in the settings file, written as numbers. The core, which they belong to, reads no files.

use std::fmt;

use perennial_core::share::Share;
use serde::{Deserializer, de};

/// For `deserialize_with`.
pub(super) fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Share>, D::Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = Share;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a share from 0 to 1, such as 0.3")
        }

        fn visit_f64<E: de::Error>(self, share: f64) -> Result<Share, E> {
            // The shortest form that gives the same number back, so 0.3 is "0.3".
            share.to_string().parse().map_err(|error| E::custom(format!("{share}: {error}")))
        }

        fn visit_i64<E: de::Error>(self, share: i64) -> Result<Share, E> {
            share.to_string().parse().map_err(|error| E::custom(format!("{share}: {error}")))
        }
    }
    deserializer.deserialize_any(Visitor).map(Some)
}

//! Where in a settings file something stands: turns the parser's byte offsets into key and line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The text of a settings file.
pub(super) struct Source<'a>(pub(super) &'a str);

impl Source<'_> {
    /// The line of a byte, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = &self.0.as_bytes()[..offset.min(self.0.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// The dotted path of the innermost key around a byte, `node[2].api`; none where the file cannot be parsed at all.
    pub(super) fn key_at(&self, offset: usize) -> Option<String> {
        let table = DeTable::parse(self.0).ok()?;
        let mut found = None;
        walk(table.get_ref(), "", &mut |path, key, value| {
            if key.contains(&offset) || value.contains(&offset) {
                found = Some(path.to_owned());
            }
        });
        found
    }

    /// The line of a key written as [`key_at`](Self::key_at) gives it.
    pub(super) fn line_of(&self, wanted: &str) -> Option<usize> {
        let table = DeTable::parse(self.0).ok()?;
        let mut found = None;
        walk(table.get_ref(), "", &mut |path, key, _| {
            if path == wanted {
                found.get_or_insert(key.start);
            }
        });
        found.map(|offset| self.line(offset))
    }
}

type Bytes = std::ops::Range<usize>;

/// Calls `visit` with path, place of the key and place of the value, outer before inner.
fn walk(table: &DeTable<'_>, prefix: &str, visit: &mut dyn FnMut(&str, &Bytes, &Bytes)) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        visit(&path, &key.span(), &value.span());
        descend(value, &path, visit);
    }
}

fn descend(value: &Spanned<DeValue<'_>>, path: &str, visit: &mut dyn FnMut(&str, &Bytes, &Bytes)) {
    match value.get_ref() {
        DeValue::Table(table) => walk(table, path, visit),
        DeValue::Array(array) => {
            for (index, item) in array.iter().enumerate() {
                // People count from one.
                let path = format!("{path}[{}]", index + 1);
                visit(&path, &item.span(), &item.span());
                descend(item, &path, visit);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "owner_prefix = \"p.\"\n\n[renew]\nwindow = \"6h\"\n\n[[node]]\nname = \"a\"\n\n[[node]]\nname = \"b\"\n";

    #[test]
    fn keys_and_lines_are_found_both_ways() {
        let source = Source(TEXT);
        for (needle, key, line) in [
            ("p.", "owner_prefix", 1),
            ("window", "renew.window", 4),
            ("6h", "renew.window", 4),
            ("\"b\"", "node[2].name", 10),
        ] {
            let offset = TEXT.find(needle).unwrap();
            assert_eq!(source.key_at(offset).as_deref(), Some(key));
            assert_eq!(source.line(offset), line);
            assert_eq!(source.line_of(key), Some(line));
        }
        assert_eq!(source.line_of("renew.grace"), None);
    }
}

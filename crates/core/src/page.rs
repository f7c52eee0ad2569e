//! Keyset pages that cannot forget their cursor: [`Pages::next`] consumes, only [`Page::listed`] gives pages back.

/// A row that was listed, and the key it was listed by.
pub trait Listed {
    /// The key in the order of the list.
    type Key: Copy + Ord;
    /// The key of this row, as listed (a later change of the row does not move the cursor).
    fn key(&self) -> Self::Key;
}

/// Where a list goes on.
#[derive(Debug)]
#[must_use]
pub struct Pages<K> {
    after: Option<K>,
    rows: usize,
}

/// One page to be read: rows after `after`, at most `rows` of them.
#[derive(Debug)]
#[must_use]
pub struct Page<K> {
    /// The last key listed before this page.
    pub after: K,
    /// At most so many rows.
    pub rows: usize,
    /// What the pages after it have at most.
    later: usize,
}

impl<K: Copy + Ord> Pages<K> {
    /// All pages of at most `rows` rows with a key above `after`.
    pub fn above(after: K, rows: usize) -> Self {
        Self { after: Some(after), rows }
    }

    /// The next page to read, or none after the last.
    pub fn next(self) -> Option<Page<K>> {
        self.after.map(|after| Page { after, rows: self.rows, later: self.rows })
    }
}

impl<K: Copy + Ord> Page<K> {
    /// The same page with at most `rows` rows; those after it are as long as ever.
    pub fn at_most(self, rows: usize) -> Self {
        Self { rows: self.rows.min(rows), ..self }
    }

    /// The number of rows as a statement takes it.
    #[must_use]
    pub fn limit(&self) -> i64 {
        i64::try_from(self.rows).unwrap_or(i64::MAX)
    }

    /// Moves the cursor to the last row of what this page listed. A short page was the last one; so is one that does
    /// not go forward, which no list in key order can give: ending is better than going round.
    pub fn listed<R: Listed<Key = K>>(self, listed: &[R]) -> Pages<K> {
        let last = listed.last().map(Listed::key).filter(|last| *last > self.after);
        let after = if listed.len() < self.rows { None } else { last };
        Pages { after, rows: self.later }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Listed for i32 {
        type Key = i32;
        fn key(&self) -> i32 {
            *self
        }
    }

    fn walk(all: &[i32], rows: usize) -> Vec<i32> {
        let mut seen = Vec::new();
        let mut pages = Pages::above(i32::MIN, rows);
        while let Some(page) = pages.next() {
            let listed: Vec<i32> = all.iter().copied().filter(|key| *key > page.after).take(page.rows).collect();
            seen.extend(&listed);
            pages = page.listed(&listed);
        }
        seen
    }

    #[test]
    fn every_row_is_listed_once_whatever_the_page_size() {
        let all: Vec<i32> = (0..10).collect();
        for rows in 1..12 {
            assert_eq!(walk(&all, rows), all);
        }
        assert!(walk(&[], 3).is_empty());
    }

    #[test]
    fn a_list_that_does_not_go_forward_ends() {
        let page = Pages::above(5, 2).next().unwrap();
        assert!(page.listed(&[5, 5]).next().is_none());
    }
}

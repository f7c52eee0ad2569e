//! One bad row costs one row: a batch is one transaction, and when a row breaks it, it is run again row by row, each in
//! a transaction of its own.
//!
//! Some errors may be a row's or everybody's: a function that is missing is called by one row's trigger, or by all of
//! them. Who is to blame shows when others come through, in that page or in another: see [`Suspects`]. A row of which
//! nothing had to be written proves nothing: a customer who is short of money comes through where no charge does.

use std::cell::RefCell;

use crate::allowance::Allowance;
use crate::crash_point;
use crate::db::{Database, DbError, Tx};
use crate::time::Deadline;

/// Rows that somebody holds and that are kept for their second try; more of them are tried before the pass goes on, so
/// that memory does not grow with the number of due rows.
pub const BUSY_KEPT: usize = 20_000;

/// What became of a part of a batch.
#[derive(Debug)]
pub enum Piece<K, R> {
    /// Committed: the whole batch, or one row of it.
    Done(R),
    /// The row failed by its own fault, and left no trace.
    Failed(K, DbError),
    /// Nobody's fault: the row was held, took too long, or the budget ended before its turn.
    Held(K),
}

/// What became of a batch. An error of the database's ends it; the pieces before it are committed.
#[derive(Debug)]
#[must_use]
pub struct Batch<K, R> {
    /// In order.
    pub pieces: Vec<Piece<K, R>>,
    /// Why the rest was not run.
    pub error: Option<DbError>,
}

/// Pages without a row that came through, with an error that may be anybody's, are so many before the pass is ended by it.
const SUSPECT_PAGES: usize = 3;
/// And so many rows: small pages of a few bad rows must not keep the others from their turn.
const SUSPECT_ROWS: usize = 30;

/// Rows that failed with an error that may be anybody's, while nothing has come through yet in the whole pass. The first
/// page in which a row does lays it at their door; [`SUSPECT_PAGES`] in a row, or the end of the pass, at everybody's.
#[derive(Debug)]
pub struct Suspects<K, R> {
    held: RefCell<Held<K>>,
    came_through: fn(&R) -> bool,
}

#[derive(Debug)]
struct Held<K> {
    rows: Vec<(K, DbError)>,
    pages: usize,
    some_came_through: bool,
}

impl<K, R> Suspects<K, R> {
    /// Nobody yet. `came_through` says of a committed transaction whether the pass's own work was done in it for any row:
    /// not that all were held by others, or that nothing had to be written.
    #[must_use]
    pub fn unless(came_through: fn(&R) -> bool) -> Self {
        Self { held: RefCell::new(Held { rows: Vec::new(), pages: 0, some_came_through: false }), came_through }
    }

    /// Takes the pieces of a page that has run to its end and gives those whose fate is known now; an error when it is
    /// everybody's.
    fn judge(&self, pieces: Vec<Piece<K, R>>) -> Batch<K, R> {
        let held = &mut *self.held.borrow_mut();
        held.some_came_through |=
            pieces.iter().any(|piece| matches!(piece, Piece::Done(done) if (self.came_through)(done)));
        let held_before = held.rows.len();
        let mut known = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                Piece::Failed(key, error) if !error.is_of_a_row() => held.rows.push((key, error)),
                piece => known.push(piece),
            }
        }
        if held.some_came_through {
            known.extend(held.rows.drain(..).map(|(key, error)| Piece::Failed(key, error)));
        }
        held.pages += usize::from(held.rows.len() > held_before);
        let is_everybodys = held.pages >= SUSPECT_PAGES && held.rows.len() >= SUSPECT_ROWS;
        let error = if is_everybodys { held.rows.pop().map(|(_, error)| error) } else { None };
        Batch { pieces: known, error }
    }

    /// At the end of a pass: the error of rows beside which nothing came through. Nobody can say whose it is, so it is
    /// the pass's, and the rows are tried by the next one.
    ///
    /// # Errors
    /// That one.
    pub fn acquit(self) -> Result<(), DbError> {
        self.held.into_inner().rows.pop().map_or(Ok(()), |(_, error)| Err(error))
    }
}

/// Runs `body` over all keys in one transaction, and row by row if that fails by a row's fault or for want of time. A
/// pass has one [`Suspects`] for all its pages.
pub async fn run_batch<K: Copy, R>(
    db: &Database,
    deadline: &Deadline,
    name: &'static str,
    keys: &[K],
    suspects: &Suspects<K, R>,
    body: impl AsyncFn(&Tx<'_>, &[K]) -> Result<R, DbError>,
) -> Batch<K, R> {
    if keys.is_empty() {
        return Batch { pieces: Vec::new(), error: None };
    }
    match db.run_tx(name, async |tx| body(tx, keys).await).await {
        Ok(done) => return suspects.judge(vec![Piece::Done(done)]),
        Err(error) if error.may_be_of_a_row() || error.is_timeout() => {
            log::warn!(rows = keys.len(), error:% = error; "a batch failed and is run again row by row");
        }
        Err(error) => return Batch { pieces: Vec::new(), error: Some(error) },
    }
    let mut pieces = Vec::with_capacity(keys.len());
    for &key in keys {
        if deadline.is_over() {
            pieces.push(Piece::Held(key));
            continue;
        }
        pieces.push(match db.run_tx(name, async |tx| body(tx, &[key]).await).await {
            Ok(done) => {
                crash_point!("batch.row_done");
                Piece::Done(done)
            }
            Err(error) if error.may_be_of_a_row() => Piece::Failed(key, error),
            Err(error) if error.is_timeout() => {
                log::warn!(error:% = error; "a row took too long and is left to the next pass");
                Piece::Held(key)
            }
            Err(error) => return Batch { pieces, error: Some(error) },
        });
    }
    suspects.judge(pieces)
}

/// The second try of rows that somebody held, page by page, while there is time and something may still be done. `work`
/// does a page, spends what it did and adds the rows that are held again. Gives these, and those not got to.
///
/// # Errors
/// The first of `work`.
pub async fn try_again<K: Copy>(
    busy: &[K],
    rows: usize,
    deadline: &Deadline,
    allowance: &Allowance,
    mut work: impl AsyncFnMut(&[K], &mut Vec<K>) -> Result<(), DbError>,
) -> Result<Vec<K>, DbError> {
    let (mut held, mut rest) = (Vec::new(), busy);
    while !rest.is_empty() && !deadline.is_over() && !allowance.is_used_up() {
        let (listed, later) = rest.split_at(rest.len().min(allowance.rows(rows)));
        work(listed, &mut held).await?;
        rest = later;
    }
    held.extend_from_slice(rest);
    Ok(held)
}

//! One bad row costs one row: a batch is one transaction, and when a row breaks it, it is run again row by row, each in
//! a transaction of its own.

use crate::db::{Database, DbError, Tx};
use crate::time::Deadline;

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

/// Runs `body` over all keys in one transaction, and row by row if that fails by a row's fault or for want of time.
pub async fn run_batch<K: Copy, R>(
    db: &Database,
    deadline: &Deadline,
    name: &'static str,
    keys: &[K],
    body: impl AsyncFn(&Tx<'_>, &[K]) -> Result<R, DbError>,
) -> Batch<K, R> {
    if keys.is_empty() {
        return Batch { pieces: Vec::new(), error: None };
    }
    match db.run_tx(name, async |tx| body(tx, keys).await).await {
        Ok(done) => return Batch { pieces: vec![Piece::Done(done)], error: None },
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
            Ok(done) => Piece::Done(done),
            Err(error) if error.may_be_of_a_row() => Piece::Failed(key, error),
            Err(error) if error.is_timeout() => {
                log::warn!(error:% = error; "a row took too long and is left to the next pass");
                Piece::Held(key)
            }
            Err(error) => return Batch { pieces, error: Some(error) },
        });
    }
    blame(pieces)
}

/// An error that may be anybody's is the rows' fault only if other rows came through.
fn blame<K, R>(mut pieces: Vec<Piece<K, R>>) -> Batch<K, R> {
    let is_open = |piece: &Piece<K, R>| matches!(piece, Piece::Failed(_, error) if !error.is_of_a_row());
    if !pieces.is_empty()
        && pieces.iter().all(is_open)
        && let Some(Piece::Failed(_, error)) = pieces.pop()
    {
        return Batch { pieces: Vec::new(), error: Some(error) };
    }
    Batch { pieces, error: None }
}

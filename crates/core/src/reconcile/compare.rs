//! One comparison: the lists first, the database second.

use futures_util::future::{join, try_join_all};

use super::decide::Owners;
use super::merge::{Comparison, Merge};
use crate::db::{CredentialState, Database};
use crate::ids::CredentialId;
use crate::node::{Node, Trouble};
use crate::page::Pages;
use crate::ports::{Xray, XrayError};
use crate::time::Deadline;

/// Credentials read at a time. They are not locked and soon forgotten; smaller pages cost round trips, a million rows
/// are two hundred of these.
const PAGE_ROWS: usize = 5_000;
/// Credentials merged at a time: well under a millisecond.
const SLICE_ROWS: usize = 250;

/// Lists all inbounds of a node, then reads the database and compares. An inbound that refuses to be listed, because the
/// settings do not fit it, costs its own users the comparison and nobody else's; where all do, there is none.
///
/// # Errors
/// [`Trouble`]: half of a list says nothing about anybody, so nothing is given.
pub async fn compare<X: Xray>(
    db: &Database,
    deadline: &Deadline,
    node: &Node<X>,
    owners: &Owners,
) -> Result<Comparison, Trouble> {
    let lists =
        try_join_all(node.inbounds.iter().map(async |inbound| match node.xray.list_users(&inbound.tag).await {
            Err(error @ (XrayError::Misconfigured { .. } | XrayError::Refused { .. })) => Ok(Err(error)),
            listed => listed.map(Ok),
        }));
    let lists = lists.await?;
    if let Some(Err(error)) = lists.first().filter(|_| lists.iter().all(Result::is_err)) {
        return Err(error.clone().into());
    }
    let mut merge = Merge::of(&node.inbounds, owners, lists);
    let groups: Vec<&str> = node.inbounds.iter().map(|inbound| inbound.group.as_str()).collect();
    let mut pages = Pages::above(CredentialId(0), PAGE_ROWS);
    let mut rows = Vec::new();
    while let Some(page) = pages.next() {
        must_have_time(deadline)?;
        let next = db.run_tx("list_open_credentials", async |tx| tx.list_open_credentials(&page, &groups).await);
        // The database reads this page while the one before it is merged.
        let (next, ()) = join(next, take_all(&mut merge, &rows)).await;
        rows = next?;
        pages = page.listed(&rows);
    }
    take_all(&mut merge, &rows).await;
    let leftovers = merge.end_of_credentials();
    for from in (0..leftovers).step_by(PAGE_ROWS) {
        must_have_time(deadline)?;
        let emails = merge.leftovers(from, PAGE_ROWS);
        let known = db.run_tx("credentials_by_email", async |tx| tx.credentials_by_email(&emails).await);
        let known = known.await?;
        merge.take_leftovers(from, PAGE_ROWS, &known);
    }
    Ok(merge.finish())
}

/// Merges in slices: what else there is to do on this thread comes in between.
async fn take_all(merge: &mut Merge<'_>, rows: &[CredentialState]) {
    for slice in rows.chunks(SLICE_ROWS) {
        tokio::task::yield_now().await;
        slice.iter().for_each(|row| merge.take(row));
    }
}

fn must_have_time(deadline: &Deadline) -> Result<(), Trouble> {
    if deadline.is_over() { Err(Trouble::OutOfTime) } else { Ok(()) }
}

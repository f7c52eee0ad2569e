//! Two passes at once, each held up before one of its messages to the database while somebody acts; then the one goes on as
//! far as it can, and then the other.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use perennial_testkit::{TestDb, db_test_unchecked};
use tokio::sync::oneshot::Receiver;
use tokio_postgres::Client;

use crate::access_support::World;
use crate::access_support::gate::Gate;
use crate::scene::{Act, Subject};
use crate::{messages, set_scene, somebody_waits};

/// Passes and acts under way.
#[derive(Default)]
struct UnderWay<'a>(FuturesUnordered<Pin<Box<dyn Future<Output = ()> + 'a>>>);

/// Why the wait for something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// It is held up where it is to be.
    There,
    /// It has come to its end.
    ToItsEnd,
    /// It waits for what somebody holds who is held up.
    ToALock,
}

impl<'a> UnderWay<'a> {
    /// Begins something; the cell tells when it is at its end.
    fn begin(&self, what: impl Future<Output = ()> + 'a) -> Rc<Cell<bool>> {
        let is_over = Rc::new(Cell::new(false));
        let told = is_over.clone();
        self.0.push(Box::pin(async move {
            what.await;
            told.set(true);
        }));
        is_over
    }

    /// Lets all go on until that one is over, held up, or stands before a lock.
    async fn until(&mut self, watcher: &Client, is_over: &Cell<bool>, held: Option<Receiver<String>>) -> Came {
        let there = async move {
            let has_come = match held {
                Some(reached) => reached.await.is_ok(),
                None => false,
            };
            if !has_come {
                std::future::pending::<()>().await;
            }
        };
        tokio::pin!(there);
        let waits = somebody_waits(watcher);
        tokio::pin!(waits);
        while !is_over.get() {
            tokio::select! {
                ended = self.0.next() => assert!(ended.is_some(), "nothing is under way"),
                () = &mut there => return Came::There,
                () = &mut waits => return Came::ToALock,
            }
        }
        Came::ToItsEnd
    }
}

/// Holds both passes up, the first before its `at[0]`-th message and the second before its `at[1]`-th. Answers whether both
/// have come that far.
async fn hold_both(
    world: &Rc<World>,
    actor: &Client,
    subjects: [Subject; 2],
    at: [usize; 2],
    act: Act,
    second_first: bool,
) -> bool {
    let what = format!("{subjects:?} at {at:?}, {act:?}, the second one first: {second_first}");
    let (scene, before) = set_scene(world).await;
    let mut under_way = UnderWay::default();
    let (mut go, mut over, mut came) = (Vec::new(), Vec::new(), Vec::new());
    let gates = at.map(|at| Gate::before(&world.db, at));
    let mut helds = Vec::new();
    let gates = gates.map(|(gate, held)| {
        helds.push(held);
        gate
    });
    for ((subject, gate), held) in subjects.into_iter().zip(&gates).zip(helds) {
        let (scene, via) = (scene.clone(), gate.config(&world.db));
        let is_over = under_way.begin(async move { scene.run(subject, Some(via)).await });
        came.push(under_way.until(&world.client, &is_over, Some(held.reached)).await);
        over.push(is_over);
        go.push(held.go);
    }
    let acted = under_way.begin(scene.act(act, actor));
    under_way.until(&world.client, &acted, None).await;
    let order = if second_first { [1, 0] } else { [0, 1] };
    let mut go: Vec<_> = go.into_iter().map(Some).collect();
    for pass in order {
        // Who has come to its end or to a lock before hears nothing.
        let _is_heard = go[pass].take().map(|go| go.send(()));
        under_way.until(&world.client, &over[pass], None).await;
    }
    while under_way.0.next().await.is_some() {}
    drop(under_way);
    scene.come_to_rest(act, &what).await;
    scene.assert_rested(&before, act, &what).await;
    came == [Came::There; 2]
}

/// Of so many pairs of points one is tried, of each act another one: two of all, and with `PERENNIAL_SOAK` (`make soak`)
/// one in eleven.
fn stride(pairs: usize) -> usize {
    if std::env::var_os("PERENNIAL_SOAK").is_some() { 11 } else { pairs.div_ceil(2) }
}

async fn everywhere(db: TestDb, subjects: [Subject; 2], acts: &[Act]) {
    let actor = db.client().await;
    let world = Rc::new(World::new(db).await);
    let (one, other) = (messages(&world, subjects[0]).await, messages(&world, subjects[1]).await);
    let pairs: Vec<[usize; 2]> = one.iter().flat_map(|n| other.iter().map(|m| [*n, *m])).collect();
    let (mut tried, mut held, stride) = (0_usize, 0_usize, stride(pairs.len()));
    for (turn, act) in acts.iter().enumerate() {
        for at in pairs.iter().skip(turn * 37 % stride).step_by(stride) {
            tried += 1;
            held += usize::from(hold_both(&world, &actor, subjects, *at, *act, tried.is_multiple_of(2)).await);
        }
    }
    println!("{subjects:?}: {tried} of {} times {} pairs, both held at {held}", acts.len(), pairs.len());
    assert!(held > 0, "both were held at none of {tried} pairs of points");
}

#[test]
fn two_copies_of_reconcile_are_held_up_at_pairs_of_points() {
    let acts = [Act::TakeUnused, Act::Rotate, Act::Cancel, Act::AnHourLater, Act::Restart, Act::Drop];
    db_test_unchecked(async |db| everywhere(db, [Subject::Reconcile; 2], &acts).await);
}

#[test]
fn expire_fast_and_reconcile_are_held_up_at_pairs_of_points() {
    let acts = [Act::Purchase, Act::Rotate, Act::TopUpAndRenew, Act::TakeUnused];
    db_test_unchecked(async |db| everywhere(db, [Subject::Expire, Subject::Reconcile], &acts).await);
}

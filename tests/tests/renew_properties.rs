//! Short random sequences of top-up, price change, pass and time step, against the model; a failed one is made as short
//! as it can be. `PROPTEST_CASES` sets how many.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use perennial_testkit::db_test;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::prop_oneof;
use proptest::test_runner::{Config, TestRunner};
use support::sim::op::{Op, PassKind};
use support::sim::run::Simulation;

const USERS: usize = 3;
/// Sequences tried, when nothing else is said.
const CASES: u32 = 24;

fn operation() -> impl Strategy<Value = Op> {
    let user = 0..USERS;
    let tariff = 0..5_usize;
    prop_oneof![
        4 => (user.clone(), 1..60_000_i64).prop_map(|(user, kopecks)| Op::TopUp { user, kopecks }),
        2 => (tariff.clone(), prop_oneof![0..2_i64, 0..40_000_i64]).prop_map(|(tariff, kopecks)| Op::SetPrice { tariff, kopecks }),
        1 => (user.clone(), tariff, any::<bool>())
            .prop_map(|(user, tariff, auto_renew)| Op::Buy { user, tariff, auto_renew }),
        1 => user.clone().prop_map(|user| Op::Refund { user }),
        1 => (user.clone(), any::<bool>()).prop_map(|(user, on)| Op::SetAutoRenew { user, on }),
        1 => user.prop_map(|user| Op::Cancel { user }),
        // Minutes about the bounds of window, grace and the last hour, and any other.
        4 => prop_oneof![1..30_i64, 1_070..1_090_i64, 1_375..1_385_i64, 1_430..1_460_i64, 1..3_000_i64]
            .prop_map(|minutes| Op::Wait { minutes }),
        6 => (1..4_usize, 1..3_usize, any::<bool>()).prop_map(|(batch_rows, workers, copies)| Op::Pass {
            kind: if copies { PassKind::Copies } else { PassKind::Plain },
            batch_rows,
            workers,
        }),
    ]
}

/// Everybody buys a day, a pass looks on; then whatever comes.
async fn run(simulation: &mut Simulation, operations: &[Op]) {
    for user in 0..USERS {
        simulation.apply(&Op::TopUp { user, kopecks: 20_000 }).await;
        simulation.apply(&Op::Buy { user, tariff: 0, auto_renew: true }).await;
    }
    for op in operations {
        simulation.apply(op).await;
    }
    simulation.apply(&Op::Pass { kind: PassKind::Plain, batch_rows: 10, workers: 1 }).await;
}

#[test]
fn any_short_sequence_of_events_comes_out_as_the_model_says() {
    let cases = std::env::var("PROPTEST_CASES").map_or(CASES, |given| given.parse().unwrap());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let outcome = TestRunner::new(config).run(&vec(operation(), 1..24), |operations| {
        db_test(async |db| {
            let mut simulation = Simulation::new(db, USERS).await;
            run(&mut simulation, &operations).await;
            simulation.finish().await;
        });
        Ok(())
    });
    // Shows the shortest sequence that fails.
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
